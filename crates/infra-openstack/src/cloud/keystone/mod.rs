//! Logging in: tokens and the catalog of endpoints.
//!
//! [`KeystoneAuth`] logs in once for all who wait, renews tokens before they end, replaces a token that a service no
//! longer accepts, and resolves service types with all their aliases. It also is an authentication type of `osauth`.

mod auth;
mod body;
mod catalog;

pub use auth::{KeystoneAuth, Token};
pub use body::login_body;
pub use catalog::Catalog;

/// A domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DomainRef {
    /// By id.
    Id(String),
    /// By name.
    Name(String),
}

/// A user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserRef {
    /// By id.
    Id(String),
    /// By name within a domain.
    Name {
        /// The name.
        name: String,
        /// The domain.
        domain: DomainRef,
    },
}

/// How to prove who we are.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// User and password.
    Password {
        /// The user.
        user: UserRef,
        /// The password.
        password: String,
    },
    /// An application credential, by id.
    ApplicationCredentialId {
        /// The id.
        id: String,
        /// The secret.
        secret: String,
    },
    /// An application credential, by name.
    ApplicationCredentialName {
        /// The name.
        name: String,
        /// Whose it is.
        user: UserRef,
        /// The secret.
        secret: String,
    },
    /// Another token.
    Token {
        /// The token.
        token: String,
    },
}

impl std::fmt::Debug for Credentials {
    /// Without what is secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Password { user, .. } => write!(f, "password of {user:?}"),
            Self::ApplicationCredentialId { id, .. } => write!(f, "application credential {id}"),
            Self::ApplicationCredentialName { name, user, .. } => {
                write!(f, "application credential {name} of {user:?}")
            }
            Self::Token { .. } => f.write_str("token"),
        }
    }
}

/// What a token is good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// A project, by id.
    ProjectId(String),
    /// A project, by name within a domain.
    ProjectName {
        /// The name.
        name: String,
        /// The domain.
        domain: DomainRef,
    },
    /// A domain.
    Domain(DomainRef),
    /// The whole system.
    System,
    /// What the credentials say themselves.
    Unscoped,
}

/// Where and how to log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// The URL of Keystone, with or without version.
    pub url: String,
    /// Who we are.
    pub credentials: Credentials,
    /// What for.
    pub scope: Scope,
}
