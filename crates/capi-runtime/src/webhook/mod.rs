//! Admission: defaults and validation of kinds, as functions and over HTTPS; and [`conversion`] between their versions.
//!
//! A kind has a [`Defaulter`] and a [`Validator`]; [`Admission`] finds and calls them, whether the request comes from an
//! API server in the same process or over the network ([`WebhookServer`]).

mod admission;
mod certificate;
pub mod configuration;
pub mod conversion;
mod inject;
mod server;

use async_trait::async_trait;
use jiff::Timestamp;
use kube::Client;

pub use admission::{Admission, AdmittedKind};
pub use capi_api::field::{FieldError, Reason};
pub(crate) use certificate::self_signed;
pub use server::{WebhookOptions, WebhookServer};

use crate::{key::Kind, store::Stores};

/// What is about to happen to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// It is created.
    Create,
    /// It is changed.
    Update,
    /// It is deleted.
    Delete,
}

/// The circumstances of an admission request.
#[derive(Clone)]
pub struct Request {
    /// What is about to happen.
    pub operation: Operation,
    /// The subresource that is written, empty for the object itself.
    pub subresource: String,
    /// Who asks.
    pub user: String,
    /// True if nothing will be stored.
    pub dry_run: bool,
    /// The time.
    pub now: Timestamp,
    /// The stores of the manager, for rules that look at other objects. While they are not filled, a rule that asks for
    /// one is answered for with "try again"; use `client` for what must be known at once.
    pub stores: Stores,
    /// A client, for rules that must know the truth.
    pub client: Client,
}

/// What a validator says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Errors; none means that the request is admitted.
    pub errors: Vec<FieldError>,
    /// Advice for the user that does not stop the request.
    pub warnings: Vec<String>,
    /// Refuses the request as forbidden, for reasons that lie in no field.
    pub forbidden: Option<String>,
}

impl Verdict {
    /// Everything is fine.
    pub fn allow() -> Self {
        Self::default()
    }

    /// Fine if there are no errors.
    pub fn of(errors: Vec<FieldError>) -> Self {
        Self {
            errors,
            ..Self::default()
        }
    }

    /// Not allowed now, for a reason that lies in no field.
    pub fn forbid(reason: impl Into<String>) -> Self {
        Self {
            forbidden: Some(reason.into()),
            ..Self::default()
        }
    }

    /// With advice for the user.
    pub fn warn(mut self, warning: impl Into<String>) -> Self {
        self.warnings.push(warning.into());
        self
    }
}

/// Fills in what the user left open.
#[async_trait]
pub trait Defaulter<K: Kind>: Send + Sync + 'static {
    /// Changes `object`, which is about to be stored; `old` is what is stored now. Refuses with a text.
    async fn default(&self, request: &Request, old: Option<&K>, object: &mut K) -> Result<(), String>;
}

/// Says whether an object may be stored or deleted.
#[async_trait]
pub trait Validator<K: Kind>: Send + Sync + 'static {
    /// Judges a new object.
    async fn create(&self, request: &Request, new: &K) -> Verdict;

    /// Judges a change.
    async fn update(&self, request: &Request, old: &K, new: &K) -> Verdict;

    /// Whether a change of replicas through the scale subresource is judged too, as an update.
    fn judges_scale(&self) -> bool {
        false
    }

    /// Whether deletions are judged: whoever writes [`Validator::delete`] says so here, or the API server does not ask.
    fn judges_deletion(&self) -> bool {
        false
    }

    /// Judges a deletion.
    async fn delete(&self, _request: &Request, _old: &K) -> Verdict {
        Verdict::allow()
    }
}
