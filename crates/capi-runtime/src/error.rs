//! Failures of reconciles: what went wrong, and what the runner should do about it.

use std::{error::Error as StdError, fmt, time::Duration};

use jiff::Timestamp;

use crate::key::Key;

/// Everything that can fail in this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The API server refused or could not be reached.
    #[error("{verb} {kind} {key}: {}", describe(.source))]
    Api {
        /// What was tried, for example `create`.
        verb: &'static str,
        /// The kind it was tried on.
        kind: String,
        /// The object.
        key: Key,
        /// The cause.
        #[source]
        source: kube::Error,
    },
    /// An object could not be turned into JSON or back.
    #[error("{kind} {key} cannot be converted: {source}")]
    Convert {
        /// The kind.
        kind: String,
        /// The object.
        key: Key,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
    /// The CustomResourceDefinition of a referenced object does not exist.
    #[error(
        "{object} refers to a kind whose CustomResourceDefinition {crd} does not exist; install its provider"
    )]
    CrdMissing {
        /// Kind and name of the referenced object.
        object: String,
        /// The CustomResourceDefinition that is missing.
        crd: String,
    },
    /// A CustomResourceDefinition does not say which version implements the contract.
    #[error(
        "{object}: CustomResourceDefinition {crd} has neither of the labels {} that name the versions implementing the contract",
        .labels.join(", ")
    )]
    ContractMissing {
        /// Kind and name of the referenced object.
        object: String,
        /// The CustomResourceDefinition.
        crd: String,
        /// The labels that were looked for.
        labels: Vec<String>,
    },
    /// A store did not fill in time.
    #[error("the store of {kind} has not been filled within {} s; is the API server reachable and listing allowed?", .after.as_secs())]
    NotSynced {
        /// The kind.
        kind: String,
        /// How long it was waited.
        after: Duration,
    },
    /// The workload cluster cannot be reached now.
    #[error(transparent)]
    Disconnected(#[from] Disconnected),
    /// A configuration value cannot be used.
    #[error("{what}: {reason}")]
    Config {
        /// The flag, file or field.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An operation on the operating system or network failed.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
}

/// There is no connection to a workload cluster.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("workload cluster {cluster} is not connected since {since}: {reason}")]
pub struct Disconnected {
    /// The cluster.
    pub cluster: Key,
    /// Since when.
    pub since: Timestamp,
    /// Why, for people.
    pub reason: String,
}

/// The shortest useful text of a client error (kube's own repeats the whole status in debug form).
pub fn describe(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if !status.message.is_empty() => status.message.clone(),
        kube::Error::Api(status) => format!("{} ({})", status.reason, status.code),
        kube::Error::Service(source) => chain(source.as_ref()),
        other => joined(other),
    }
}

fn joined(error: &(dyn StdError + 'static)) -> String {
    match error.source() {
        Some(cause) => {
            let (text, cause) = (error.to_string(), joined(cause));
            if text.contains(&cause) {
                text
            } else {
                format!("{text}: {cause}")
            }
        }
        None => error.to_string(),
    }
}

/// An error with all its causes, once each.
pub(crate) fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let client_error = error.downcast_ref::<kube::Error>();
        let part = client_error.map_or_else(|| error.to_string(), describe);
        if text.is_empty() {
            text = part;
        } else if !text.contains(&part) {
            text = format!("{text}: {part}");
        }
        // What is below a client's error is in its description already.
        next = error.source().filter(|_| client_error.is_none());
    }
    text
}

impl Error {
    pub(crate) fn api(verb: &'static str, kind: &str, key: &Key, source: kube::Error) -> Self {
        Self::Api {
            verb,
            kind: kind.to_owned(),
            key: key.clone(),
            source,
        }
    }

    pub(crate) fn convert(kind: &str, key: &Key, source: serde_json::Error) -> Self {
        Self::Convert {
            kind: kind.to_owned(),
            key: key.clone(),
            source,
        }
    }

    pub(crate) fn config(what: impl Into<String>, reason: impl fmt::Display) -> Self {
        Self::Config {
            what: what.into(),
            reason: reason.to_string(),
        }
    }

    /// The API server's answer, if it was one.
    pub fn status(&self) -> Option<&kube::core::Status> {
        match self {
            Self::Api {
                source: kube::Error::Api(status),
                ..
            } => Some(status),
            _ => None,
        }
    }

    /// True if the object does not exist.
    pub fn is_not_found(&self) -> bool {
        self.status().is_some_and(|status| status.code == 404)
    }

    /// True if an object of that name exists already.
    pub fn is_already_exists(&self) -> bool {
        self.status()
            .is_some_and(|status| status.reason == "AlreadyExists")
    }

    /// True if the object changed in between.
    pub fn is_conflict(&self) -> bool {
        self.status()
            .is_some_and(|status| status.reason == "Conflict" || status.code == 409)
            && !self.is_already_exists()
    }

    /// True if the API server found the object wrong.
    pub fn is_invalid(&self) -> bool {
        self.status().is_some_and(|status| status.code == 422)
    }

    /// True if the namespace of the object is being deleted, so that nothing can be created in it.
    pub fn is_namespace_terminating(&self) -> bool {
        self.status().is_some_and(|status| {
            status.code == 403
                && status.details.as_ref().is_some_and(|details| {
                    details
                        .causes
                        .iter()
                        .any(|cause| cause.reason == "NamespaceTerminating")
                })
        })
    }
}

/// What the runner does with a failed reconcile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Try again with growing delays; logged as an error.
    Transient,
    /// Trying again cannot help before something changes; logged as an error, not repeated.
    Terminal,
    /// Somebody else was faster: try again soon, silently.
    Conflict,
    /// Something is not there yet and its watch will tell; repeated only as a rare last resort.
    Waiting,
}

/// Sorts errors into classes; provider error enums implement it and then convert into [`Failure`] with `?`.
pub trait Classify {
    /// The class of this error.
    fn class(&self) -> Class;
}

impl Classify for Error {
    fn class(&self) -> Class {
        match self {
            Self::Api { .. } if self.is_conflict() || self.is_already_exists() => Class::Conflict,
            Self::Api { .. } if self.is_namespace_terminating() => Class::Waiting,
            Self::Api { .. } if self.is_invalid() => Class::Transient,
            Self::Api { .. } | Self::NotSynced { .. } | Self::Io { .. } => Class::Transient,
            Self::Convert { .. } | Self::Config { .. } => Class::Terminal,
            Self::CrdMissing { .. } | Self::ContractMissing { .. } | Self::Disconnected(_) => Class::Waiting,
        }
    }
}

impl Classify for Disconnected {
    fn class(&self) -> Class {
        Class::Waiting
    }
}

/// A reconcile that did not succeed.
#[derive(Debug)]
pub struct Failure {
    /// What to do about it.
    pub class: Class,
    /// What happened.
    pub source: Box<dyn StdError + Send + Sync>,
}

impl Failure {
    /// A failure of a given class.
    pub fn new(class: Class, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self {
            class,
            source: source.into(),
        }
    }

    /// A failure that is worth another try.
    pub fn transient(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::new(Class::Transient, source)
    }

    /// A failure that waits for a change.
    pub fn waiting(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::new(Class::Waiting, source)
    }

    /// A failure that no repetition can heal.
    pub fn terminal(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::new(Class::Terminal, source)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&chain(self.source.as_ref()))
    }
}

impl<E> From<E> for Failure
where
    E: Classify + StdError + Send + Sync + 'static,
{
    fn from(error: E) -> Self {
        Self {
            class: error.class(),
            source: Box::new(error),
        }
    }
}

/// When an object is looked at again after a successful reconcile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Next {
    /// With the next event.
    #[default]
    Done,
    /// After this time at the latest.
    After(Duration),
}

impl Next {
    /// The earlier of both.
    #[must_use]
    pub fn earliest(self, other: Next) -> Next {
        match (self, other) {
            (Next::After(a), Next::After(b)) => Next::After(a.min(b)),
            (Next::Done, next) | (next, Next::Done) => next,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("simulated cluster: {}", describe(.0))]
    struct Outer(#[source] kube::Error);

    fn refused() -> kube::Error {
        kube::Error::Api(
            kube::core::Status::failure("it is wrong", "Invalid")
                .with_code(422)
                .boxed(),
        )
    }

    #[test]
    fn a_failure_says_everything_once() {
        let failure = Failure::transient(Outer(refused()));
        assert_eq!(failure.to_string(), "simulated cluster: it is wrong");
        let error = Error::api("create", "Machine", &Key::new("ns", "m"), refused());
        assert_eq!(
            Failure::from(error).to_string(),
            "create Machine ns/m: it is wrong"
        );
        let unreachable = kube::Error::Service("no connection to h:1: refused".into());
        assert_eq!(
            Failure::transient(unreachable).to_string(),
            "no connection to h:1: refused"
        );
    }

    #[test]
    fn errors_of_the_api_server_have_classes() {
        let status = |code: u16, reason: &str| {
            let status = kube::core::Status::failure("x", reason).with_code(code).boxed();
            Error::api("patch", "Machine", &Key::default(), kube::Error::Api(status))
        };
        for (error, class) in [
            (status(409, "Conflict"), Class::Conflict),
            (status(409, "AlreadyExists"), Class::Conflict),
            (status(422, "Invalid"), Class::Transient),
            (status(500, "InternalError"), Class::Transient),
            (status(403, "Forbidden"), Class::Transient),
        ] {
            assert_eq!(error.class(), class, "{error:?}");
        }
        assert!(status(404, "NotFound").is_not_found());
        assert!(
            status(409, "AlreadyExists").is_already_exists() && !status(409, "AlreadyExists").is_conflict()
        );
    }
}
