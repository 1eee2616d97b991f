//! Holding back status writes, so that what changes in quick succession is written once.
//!
//! Only what nobody waits for is held back, and never for long. What is held is not remembered: the next reconcile
//! computes it anew, so an interruption loses nothing but that time.

use std::{collections::BTreeMap, time::Duration};

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;

use crate::key::Key;

/// How soon a change of a status has to be written. A write carries whatever else has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// Texts and counters of something that is still under way: within five seconds.
    Later,
    /// What people look for after they have changed something: within a second.
    Soon,
    /// Somebody waits for it.
    Now,
}

impl Urgency {
    /// The first that applies of `Now` and `Soon`, otherwise `Later`.
    pub fn first(now: bool, soon: bool) -> Self {
        match (now, soon) {
            (true, _) => Self::Now,
            (false, true) => Self::Soon,
            (false, false) => Self::Later,
        }
    }

    fn patience(self) -> SignedDuration {
        match self {
            Self::Now => SignedDuration::ZERO,
            Self::Soon => SignedDuration::from_secs(1),
            Self::Later => SignedDuration::from_secs(5),
        }
    }
}

/// Since when the statuses of one controller's objects differ from what is written.
#[derive(Debug, Default)]
pub struct StatusPace(Mutex<BTreeMap<Key, Timestamp>>);

impl StatusPace {
    /// For how long a changed status is held back; nothing if it is to be written now.
    pub fn hold(&self, key: &Key, now: Timestamp, urgency: Urgency) -> Option<Duration> {
        let mut changed = self.0.lock();
        let since = *changed.entry(key.clone()).or_insert(now);
        let passed = now.duration_since(since);
        // A clock that was set back prolongs nothing.
        let left = (!passed.is_negative())
            .then(|| Duration::try_from(urgency.patience() - passed).ok())
            .flatten()
            .filter(|left| !left.is_zero());
        if left.is_none() {
            changed.remove(key);
        }
        left
    }

    /// Nothing differs from what is written, or the object is gone.
    pub fn settled(&self, key: &Key) {
        self.0.lock().remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        format!("2026-01-01T00:00:{text}Z").parse().unwrap()
    }

    #[test]
    fn a_change_waits_as_long_as_the_most_urgent_part_of_it_may() {
        let (pace, key) = (StatusPace::default(), Key::new("ns", "m"));
        let some = |millis| Some(Duration::from_millis(millis));
        for (time, urgency, expected) in [
            ("00", Urgency::Later, some(5_000)),
            ("00.5", Urgency::Later, some(4_500)),
            ("00.6", Urgency::Soon, some(400)),
            ("01", Urgency::Soon, None),
            ("02", Urgency::Later, some(5_000)),
            ("04", Urgency::Soon, None),
            ("05", Urgency::Now, None),
            ("06", Urgency::Later, some(5_000)),
            ("11", Urgency::Later, None),
        ] {
            assert_eq!(pace.hold(&key, at(time), urgency), expected, "{time}");
        }
    }

    #[test]
    fn what_is_settled_begins_anew_and_a_clock_set_back_delays_nothing() {
        let (pace, key) = (StatusPace::default(), Key::new("ns", "m"));
        assert!(pace.hold(&key, at("10"), Urgency::Soon).is_some());
        pace.settled(&key);
        assert_eq!(
            pace.hold(&key, at("12"), Urgency::Soon),
            Some(Duration::from_secs(1))
        );
        assert_eq!(pace.hold(&key, at("03"), Urgency::Later), None);
    }
}
