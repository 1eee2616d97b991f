//! When a request is sent again. Pure.
//!
//! What may have been carried out is repeated only if that does no harm: a POST whose answer got lost is left to the
//! controllers, which look for what they wanted to make before they make it.

use std::time::Duration;

use http::{Method, StatusCode};

use super::FaultKind;

/// How often and how patiently requests are repeated.
#[derive(Clone, Copy, Debug)]
pub struct RetryPolicy {
    /// How often a request is sent at most.
    pub attempts: u32,
    /// The wait before the second attempt; it doubles from then on.
    pub base: Duration,
    /// The longest wait. When OpenStack asks for more, the error is handed on at once.
    pub longest: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: 4,
            base: Duration::from_millis(500),
            longest: Duration::from_secs(15),
        }
    }
}

/// What to do about a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Hand the failure on.
    GiveUp,
    /// Send the request again after this time.
    After(Duration),
}

/// What an attempt led to.
#[derive(Clone, Copy, Debug)]
pub enum Attempt {
    /// There was an answer, perhaps with a wish to be left alone for a while.
    Answer(StatusCode, Option<Duration>),
    /// There was none.
    Fault(FaultKind),
}

impl RetryPolicy {
    /// What to do after attempt number `made` (counted from 1).
    pub fn verdict(&self, method: &Method, made: u32, attempt: Attempt) -> Verdict {
        let repeatable = method != Method::POST;
        let again = match attempt {
            Attempt::Answer(StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE, _) => true,
            Attempt::Answer(StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT, _) => repeatable,
            Attempt::Answer(..) => false,
            Attempt::Fault(FaultKind::Connect) => true,
            Attempt::Fault(FaultKind::Timeout | FaultKind::Broken) => repeatable,
        };
        if !again || made >= self.attempts {
            return Verdict::GiveUp;
        }
        let backoff = self
            .base
            .saturating_mul(1 << (made - 1).min(16))
            .min(self.longest);
        match attempt {
            Attempt::Answer(_, Some(wish)) if wish > self.longest => Verdict::GiveUp,
            Attempt::Answer(_, Some(wish)) => Verdict::After(wish.max(backoff)),
            _ => Verdict::After(backoff),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_does_no_harm_is_repeated() {
        let policy = RetryPolicy::default();
        let (busy, lost) = (StatusCode::SERVICE_UNAVAILABLE, StatusCode::GATEWAY_TIMEOUT);
        let after = |ms| Verdict::After(Duration::from_millis(ms));
        for (method, made, attempt, expected) in [
            (Method::GET, 1, Attempt::Answer(busy, None), after(500)),
            (Method::GET, 3, Attempt::Answer(busy, None), after(2000)),
            (Method::GET, 4, Attempt::Answer(busy, None), Verdict::GiveUp),
            (Method::POST, 1, Attempt::Answer(busy, None), after(500)),
            (Method::GET, 1, Attempt::Answer(lost, None), after(500)),
            (Method::POST, 1, Attempt::Answer(lost, None), Verdict::GiveUp),
            (Method::POST, 1, Attempt::Fault(FaultKind::Connect), after(500)),
            (
                Method::POST,
                1,
                Attempt::Fault(FaultKind::Timeout),
                Verdict::GiveUp,
            ),
            (Method::DELETE, 1, Attempt::Fault(FaultKind::Broken), after(500)),
            (
                Method::GET,
                1,
                Attempt::Answer(StatusCode::CONFLICT, None),
                Verdict::GiveUp,
            ),
            (
                Method::GET,
                1,
                Attempt::Answer(StatusCode::TOO_MANY_REQUESTS, Some(Duration::from_secs(7))),
                after(7000),
            ),
            (
                Method::GET,
                1,
                Attempt::Answer(StatusCode::TOO_MANY_REQUESTS, Some(Duration::from_secs(70))),
                Verdict::GiveUp,
            ),
        ] {
            assert_eq!(
                policy.verdict(&method, made, attempt),
                expected,
                "{method} {made} {attempt:?}"
            );
        }
    }
}
