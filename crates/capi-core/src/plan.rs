//! What all plans have in common: steps that carry their reason, and the time of the next look.

use std::time::Duration;

use capi_runtime::Next;
use jiff::Timestamp;
use kube::core::ObjectMeta;

/// Something to do, and why.
#[derive(Clone, Debug)]
pub struct Step<A> {
    /// What to do.
    pub action: A,
    /// Why, for people who ask for the plan.
    pub why: String,
}

impl<A> Step<A> {
    /// A step with its reason.
    pub fn new(action: A, why: impl Into<String>) -> Self {
        Self {
            action,
            why: why.into(),
        }
    }
}

/// A look at `time`, nothing if that is past.
pub fn look_at(time: Timestamp, now: Timestamp) -> Next {
    // Conditions have whole seconds: a look a little later than the full second never comes too early.
    match Duration::try_from(time.duration_since(now)) {
        Ok(wait) if !wait.is_zero() => Next::After(wait),
        _ => Next::Done,
    }
}

/// Counts the generation on if this reconcile is about to change the spec: what is said now is said of the spec that is
/// written now. Otherwise the own write would make every condition look old, and cost another write.
pub fn foresee_generation(metadata: &mut ObjectMeta, spec_changes: bool) {
    if spec_changes {
        metadata.generation = metadata.generation.map(|generation| generation + 1);
    }
}

/// `time` moved by whole seconds.
pub fn after_seconds(time: Timestamp, seconds: i64) -> Timestamp {
    time.checked_add(jiff::SignedDuration::from_secs(seconds))
        .unwrap_or(Timestamp::MAX)
}

/// Whole and broken seconds from `from` to `to`, negative if `to` is earlier.
pub fn elapsed(from: Timestamp, to: Timestamp) -> jiff::SignedDuration {
    to.duration_since(from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_in_the_past_is_none() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        assert_eq!(look_at(now, now), Next::Done);
        assert_eq!(look_at(after_seconds(now, -1), now), Next::Done);
        assert_eq!(
            look_at(after_seconds(now, 3), now),
            Next::After(Duration::from_secs(3))
        );
    }
}
