//! What the host says about users: plain data.

use std::collections::BTreeMap;
use std::fmt;

use super::User;

/// Whether requests are checked against a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Authorization {
    /// Whoever is connected may do everything.
    #[default]
    AlwaysAllow,
    /// Roles and bindings decide; the server starts with those that kube-apiserver starts with.
    Rbac,
}

/// How users prove who they are, besides client certificates, which are the TLS configuration's business.
#[derive(Clone)]
pub struct Authentication {
    /// Bearer tokens that never change.
    pub tokens: BTreeMap<String, User>,
    /// Whether Secrets of type `bootstrap.kubernetes.io/token` in `kube-system` are bearer tokens.
    pub bootstrap_tokens: bool,
    /// Whether those who prove nothing are `system:anonymous` rather than refused.
    pub anonymous: bool,
    /// Tokens of service accounts. With them, every namespace gets a ServiceAccount `default`.
    pub service_accounts: Option<ServiceAccounts>,
}

impl Default for Authentication {
    fn default() -> Self {
        Self {
            tokens: BTreeMap::new(),
            bootstrap_tokens: true,
            anonymous: true,
            service_accounts: None,
        }
    }
}

impl fmt::Debug for Authentication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authentication")
            .field(
                "tokens",
                &self.tokens.values().map(|user| &user.name).collect::<Vec<_>>(),
            )
            .field("bootstrap_tokens", &self.bootstrap_tokens)
            .field("anonymous", &self.anonymous)
            .field("service_accounts", &self.service_accounts)
            .finish()
    }
}

/// How tokens of service accounts are made and checked.
#[derive(Clone)]
pub struct ServiceAccounts {
    /// The issuer that tokens name.
    pub issuer: String,
    /// The private key in PEM: RSA (same token from the same claims), P-256 or P-384.
    pub signing_key: String,
    /// Whom tokens are for when nothing else is asked, and whom they must be for to be taken here; empty: the issuer.
    pub audiences: Vec<String>,
}

impl ServiceAccounts {
    /// The issuer that clusters have by default.
    pub const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

    /// Tokens signed by a key (PEM), of the usual issuer.
    pub fn new(signing_key: impl Into<String>) -> Self {
        Self {
            issuer: Self::ISSUER.to_owned(),
            signing_key: signing_key.into(),
            audiences: Vec::new(),
        }
    }
}

impl fmt::Debug for ServiceAccounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceAccounts")
            .field("issuer", &self.issuer)
            .field("audiences", &self.audiences)
            .finish_non_exhaustive()
    }
}
