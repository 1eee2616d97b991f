//! Holding back status writes, so that what changes in quick succession is written once.
//!
//! Only what nobody waits for is held back, and never for longer than a second. What is held is not remembered: the next
//! reconcile computes it anew, so an interruption loses nothing but that second.

use std::{collections::BTreeMap, time::Duration};

use capi_runtime::Key;
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;

use crate::plan::elapsed;

/// For how long a write is held back at most.
const PATIENCE: SignedDuration = SignedDuration::from_secs(1);

/// What is known of the writes of one controller's objects.
#[derive(Debug, Default)]
pub struct Pace {
    changed: Mutex<BTreeMap<Key, Timestamp>>,
    written: Mutex<BTreeMap<Key, Timestamp>>,
}

impl Pace {
    /// For objects whose changes come in flocks: holds a change back for a second, to be written with those that follow.
    /// Says how long to hold it; nothing if it is to be written now.
    pub fn gather(&self, key: &Key, now: Timestamp, urgent: bool) -> Option<Duration> {
        let mut changed = self.changed.lock();
        let since = *changed.entry(key.clone()).or_insert(now);
        let hold = (!urgent).then(|| rest(since, now)).flatten();
        if hold.is_none() {
            changed.remove(key);
        }
        hold
    }

    /// For objects that sum up others: writes a change at once, but only once a second.
    pub fn space_out(&self, key: &Key, now: Timestamp, urgent: bool) -> Option<Duration> {
        let mut written = self.written.lock();
        let hold = written
            .get(key)
            .filter(|_| !urgent)
            .and_then(|last| rest(*last, now));
        if hold.is_none() {
            written.insert(key.clone(), now);
        }
        hold
    }

    /// Nothing differs any more from what is written.
    pub fn settled(&self, key: &Key) {
        self.changed.lock().remove(key);
    }

    /// The object is gone.
    pub fn forget(&self, key: &Key) {
        self.changed.lock().remove(key);
        self.written.lock().remove(key);
    }
}

/// What is left of the second that began at `since`. A clock that was set back does not prolong it.
fn rest(since: Timestamp, now: Timestamp) -> Option<Duration> {
    let passed = elapsed(since, now);
    if passed.is_negative() {
        return None;
    }
    let rest = Duration::try_from(PATIENCE - passed).ok()?;
    (!rest.is_zero()).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        format!("2026-01-01T00:00:{text}Z").parse().unwrap()
    }

    #[test]
    fn changes_are_gathered_for_a_second_unless_somebody_waits() {
        let (pace, key) = (Pace::default(), Key::new("ns", "m"));
        let half = Some(Duration::from_millis(500));
        assert_eq!(pace.gather(&key, at("00"), false), Some(Duration::from_secs(1)));
        assert_eq!(pace.gather(&key, at("00.5"), false), half);
        assert_eq!(pace.gather(&key, at("01"), false), None);
        assert_eq!(pace.gather(&key, at("05"), false), Some(Duration::from_secs(1)));
        assert_eq!(pace.gather(&key, at("05.5"), true), None);
        assert_eq!(pace.gather(&key, at("06"), false), Some(Duration::from_secs(1)));
        pace.settled(&key);
        assert_eq!(pace.gather(&key, at("06.5"), false), Some(Duration::from_secs(1)));
        assert_eq!(pace.gather(&key, at("03"), false), None, "the clock was set back");
    }

    #[test]
    fn sums_are_written_at_once_but_once_a_second() {
        let (pace, key) = (Pace::default(), Key::new("ns", "ms"));
        assert_eq!(pace.space_out(&key, at("00"), false), None);
        assert_eq!(
            pace.space_out(&key, at("00.25"), false),
            Some(Duration::from_millis(750))
        );
        assert_eq!(pace.space_out(&key, at("00.3"), true), None);
        assert_eq!(
            pace.space_out(&key, at("01"), false),
            Some(Duration::from_millis(300))
        );
        assert_eq!(pace.space_out(&key, at("01.3"), false), None);
    }
}
