//! Failures of this provider's reconciles.

use capi_runtime::{Class, Classify};

use crate::{cloud::CloudError, rules::security_groups::NoSuchGroup};

/// Everything that can fail in a reconcile.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The management cluster.
    #[error(transparent)]
    Runtime(#[from] capi_runtime::Error),
    /// OpenStack.
    #[error(transparent)]
    Cloud(#[from] CloudError),
    /// A rule names a security group that there is not.
    #[error(transparent)]
    Group(#[from] NoSuchGroup),
    /// What a spec refers to is not there, or not one.
    #[error("{what}: {reason}")]
    Reference {
        /// What is referred to, with the field.
        what: String,
        /// Why it cannot be used.
        reason: String,
    },
}

impl Error {
    /// What a spec refers to cannot be used.
    pub fn reference(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Reference {
            what: what.into(),
            reason: reason.into(),
        }
    }

    /// True if the credentials or their configuration are at fault.
    pub fn is_authentication(&self) -> bool {
        matches!(self, Self::Cloud(error) if error.is_authentication())
    }

    /// True if it is about OpenStack or about what users say of it, so that users should read it on their object.
    pub fn is_for_users(&self) -> bool {
        !matches!(self, Self::Runtime(_))
    }

    /// The only one of several.
    pub(crate) fn only<T>(found: Vec<T>, what: impl FnOnce() -> String) -> Result<T, Self> {
        let count = found.len();
        match found.into_iter().next() {
            Some(one) if count == 1 => Ok(one),
            Some(_) => Err(Self::reference(
                what(),
                format!("{count} match, but exactly one must; use an id or a narrower filter"),
            )),
            None => Err(Self::reference(what(), "nothing in OpenStack matches")),
        }
    }
}

impl Classify for Error {
    fn class(&self) -> Class {
        match self {
            Self::Runtime(error) => error.class(),
            Self::Cloud(_) | Self::Group(_) | Self::Reference { .. } => Class::Transient,
        }
    }
}
