//! What can go wrong with a cloud, in the cloud's own words.

use std::{fmt, time::Duration};

use http::{HeaderMap, Method, StatusCode};
use serde_json::Value;

use super::{Fault, HttpResponse};

/// What was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// The method.
    pub method: Method,
    /// The service, as its catalog type.
    pub service: &'static str,
    /// The path below the endpoint of the service.
    pub path: String,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.service, self.method, self.path)
    }
}

/// A request to OpenStack did not succeed. Cloneable, because many may wait for one login.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CloudError {
    /// OpenStack refused.
    #[error("{operation}: {message} ({status})")]
    Api {
        /// What was tried.
        operation: Operation,
        /// The status.
        status: StatusCode,
        /// The type of the error, where the service names one (Neutron does).
        kind: String,
        /// What OpenStack says, word for word.
        message: String,
        /// How long OpenStack wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// There was no answer.
    #[error("{operation}: no answer: {fault}")]
    Unreachable {
        /// What was tried.
        operation: Operation,
        /// What kept the answer away.
        fault: Fault,
    },
    /// Keystone does not accept the credentials.
    #[error("login at {url}: {message}; check the credentials in clouds.yaml")]
    Login {
        /// The URL of Keystone.
        url: String,
        /// What Keystone says, word for word.
        message: String,
    },
    /// The catalog has no endpoint of a service.
    #[error(
        "the catalog has no {interface} endpoint of {service} in {}; known: {known}",
        .region.as_deref().map_or_else(|| "any region".to_owned(), |region| format!("region {region}"))
    )]
    NoEndpoint {
        /// The service, as its catalog type.
        service: &'static str,
        /// The interface.
        interface: String,
        /// The region, if one was asked for.
        region: Option<String>,
        /// What the catalog has.
        known: String,
    },
    /// A service is too old for what is asked of it.
    #[error("{service} speaks microversions up to {highest}, but {needed} is needed")]
    TooOld {
        /// The service, as its catalog type.
        service: &'static str,
        /// What it speaks.
        highest: String,
        /// What is needed.
        needed: String,
    },
    /// An answer is not what it should be.
    #[error("{operation}: the answer cannot be understood: {reason}")]
    Answer {
        /// What was tried.
        operation: Operation,
        /// What does not fit.
        reason: String,
    },
    /// The credentials or settings cannot be used.
    #[error("{what}: {reason}")]
    Config {
        /// The field or file.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl CloudError {
    /// What a refusing answer says.
    pub(crate) fn of_answer(operation: Operation, answer: &HttpResponse) -> Self {
        let (kind, message) = words(&answer.body);
        let message = if message.is_empty() {
            answer.status.canonical_reason().unwrap_or("refused").to_owned()
        } else {
            message
        };
        Self::Api {
            operation,
            status: answer.status,
            kind,
            message,
            retry_after: retry_after(&answer.headers),
        }
    }

    /// The status that OpenStack answered with.
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Api { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// True if what was asked for does not exist.
    pub fn is_not_found(&self) -> bool {
        self.status() == Some(StatusCode::NOT_FOUND)
    }

    /// True if what exists already, is in use or busy stands in the way.
    pub fn is_conflict(&self) -> bool {
        self.status() == Some(StatusCode::CONFLICT)
    }

    /// True if OpenStack cannot do what was asked for at all (501).
    pub fn is_not_implemented(&self) -> bool {
        self.status() == Some(StatusCode::NOT_IMPLEMENTED)
    }

    /// True if the credentials or their configuration are at fault.
    pub fn is_authentication(&self) -> bool {
        matches!(
            self,
            Self::Login { .. } | Self::Config { .. } | Self::NoEndpoint { .. }
        ) || self.status() == Some(StatusCode::UNAUTHORIZED)
            || matches!(self, Self::Unreachable { operation, .. } if operation.service == "identity")
    }

    /// How long OpenStack wants to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Api { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// The words of OpenStack alone, for conditions.
    pub fn words(&self) -> String {
        match self {
            Self::Api { message, .. } | Self::Login { message, .. } => message.clone(),
            other => other.to_string(),
        }
    }
}

/// How long the server wants to be left alone, when it says so in seconds.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(http::header::RETRY_AFTER)?.to_str().ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
}

/// Longest text that is taken over from an answer that is no JSON.
const LONGEST_TEXT: usize = 500;

/// Type and message of an error body. Every service has its own form:
/// `{"itemNotFound": {"message"}}` (Nova, Cinder), `{"NeutronError": {"type", "message", "detail"}}`,
/// `{"faultstring"}` (Octavia), `{"error": {"message"}}` (Keystone), HTML or text (Glance and proxies).
fn words(body: &[u8]) -> (String, String) {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    let Ok(Value::Object(map)) = serde_json::from_slice::<Value>(body) else {
        return (String::new(), plain(&String::from_utf8_lossy(body)));
    };
    for key in ["faultstring", "message"] {
        if map.contains_key(key) {
            return (text(map.get("faultcode")), text(map.get(key)));
        }
    }
    for (key, inner) in &map {
        match inner {
            Value::Object(inner) => {
                let kind = inner
                    .get("type")
                    .and_then(Value::as_str)
                    .unwrap_or(key)
                    .to_owned();
                let detail = text(inner.get("detail"));
                let message = text(inner.get("message"));
                return match detail.is_empty() {
                    true => (kind, message),
                    false => (kind, format!("{message} {detail}")),
                };
            }
            Value::String(message) => return (key.clone(), message.clone()),
            _ => {}
        }
    }
    (String::new(), plain(&String::from_utf8_lossy(body)))
}

/// Text without tags and repeated spaces, cut to a bearable length.
fn plain(text: &str) -> String {
    let mut out = String::new();
    let mut tag = false;
    for character in text.chars() {
        match character {
            '<' => tag = true,
            '>' => {
                tag = false;
                out.push(' ');
            }
            _ if !tag => out.push(character),
            _ => {}
        }
    }
    let words: Vec<&str> = out.split_whitespace().collect();
    words.join(" ").chars().take(LONGEST_TEXT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_every_service_are_found() {
        for (body, kind, message) in [
            (
                r#"{"forbidden": {"code": 403, "message": "Quota exceeded for instances: Requested 1, but already used 10 of 10 instances"}}"#,
                "forbidden",
                "Quota exceeded for instances: Requested 1, but already used 10 of 10 instances",
            ),
            (
                r#"{"NeutronError": {"type": "OverQuota", "message": "Quota exceeded for resources: ['port'].", "detail": ""}}"#,
                "OverQuota",
                "Quota exceeded for resources: ['port'].",
            ),
            (
                r#"{"debuginfo": null, "faultcode": "Client", "faultstring": "Load Balancer x is immutable and cannot be updated."}"#,
                "Client",
                "Load Balancer x is immutable and cannot be updated.",
            ),
            (
                r#"{"error": {"code": 401, "title": "Unauthorized", "message": "The request you have made requires authentication."}}"#,
                "error",
                "The request you have made requires authentication.",
            ),
            (
                "<html><body><h1>503 Service Unavailable</h1>\nNo server is available.</body></html>",
                "",
                "503 Service Unavailable No server is available.",
            ),
            (r#"{"badRequest": "no"}"#, "badRequest", "no"),
            ("", "", ""),
        ] {
            assert_eq!(
                words(body.as_bytes()),
                (kind.to_owned(), message.to_owned()),
                "{body}"
            );
        }
    }
}
