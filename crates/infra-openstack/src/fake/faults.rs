//! Trouble on request: answers that are errors, late, lost, or never come.

use std::time::Duration;

use ::http::{HeaderMap, HeaderValue, StatusCode, header};
use bytes::Bytes;

use crate::cloud::{Fault, FaultKind, HttpRequest, HttpResponse};

/// Disturbs some requests.
#[derive(Clone, Debug)]
pub struct FaultRule {
    method: String,
    path: String,
    skip: usize,
    count: usize,
    action: FaultAction,
}

/// What happens to a disturbed request.
#[derive(Clone, Debug)]
pub enum FaultAction {
    /// It is not carried out; this is the answer, perhaps with a wish to be left alone.
    Refuse(StatusCode, Option<u64>),
    /// It is not carried out, and no connection comes about.
    NoConnection,
    /// It is carried out, but the answer is lost.
    LoseAnswer,
    /// It is carried out, but nobody ever answers.
    Silence,
    /// It is not even heard.
    Deafness,
    /// It is carried out after a while.
    Delay(Duration),
}

impl FaultRule {
    /// Disturbs requests of this method (`*` for all) whose path contains this text.
    pub fn new(method: &str, path: &str, action: FaultAction) -> Self {
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            skip: 0,
            count: usize::MAX,
            action,
        }
    }

    /// Leaves the first requests alone.
    pub fn skip(mut self, skip: usize) -> Self {
        self.skip = skip;
        self
    }

    /// Disturbs so many requests.
    pub fn times(mut self, count: usize) -> Self {
        self.count = count;
        self
    }

    /// What happens to this request; counts.
    pub(super) fn apply(&mut self, request: &HttpRequest) -> Option<FaultAction> {
        let method = self.method == "*" || self.method == request.method.as_str();
        if !method || !request.url.path().contains(&self.path) || self.count == 0 {
            return None;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return None;
        }
        self.count = self.count.saturating_sub(1);
        Some(self.action.clone())
    }
}

type Outcome = Result<HttpResponse, Fault>;

impl FaultAction {
    pub(super) fn delay(&self) -> Option<Duration> {
        match self {
            Self::Delay(delay) => Some(*delay),
            Self::Deafness => Some(Duration::from_secs(86_400)),
            _ => None,
        }
    }

    /// The outcome of a request that is not carried out.
    pub(super) fn instead(&self) -> Option<Outcome> {
        match self {
            Self::Refuse(status, retry_after) => {
                let mut headers = HeaderMap::new();
                if let Some(seconds) = retry_after {
                    headers.insert(header::RETRY_AFTER, HeaderValue::from(*seconds));
                }
                Some(Ok(HttpResponse {
                    status: *status,
                    headers,
                    body: Bytes::from_static(b"<html><h1>disturbed</h1></html>"),
                }))
            }
            Self::NoConnection => Some(Err(Fault {
                kind: FaultKind::Connect,
                message: "connection refused".to_owned(),
            })),
            Self::LoseAnswer | Self::Silence | Self::Deafness | Self::Delay(_) => None,
        }
    }

    /// True if there will be no answer.
    pub(super) fn is_silent(&self) -> bool {
        matches!(self, Self::Silence)
    }

    /// The outcome of a request that was carried out, if not its answer.
    pub(super) fn afterwards(&self) -> Option<Outcome> {
        matches!(self, Self::LoseAnswer).then(|| {
            Err(Fault {
                kind: FaultKind::Broken,
                message: "connection reset by peer".to_owned(),
            })
        })
    }
}
