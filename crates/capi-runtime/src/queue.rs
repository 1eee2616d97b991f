//! The work queue of a controller: which object is reconciled next, and when.
//!
//! An object is in the queue at most once and is never worked on twice at a time. Changes go ahead of the backlog of a
//! start; failures come back with growing delays; a token bucket per object bounds how often an object that changes
//! all the time is looked at. The order is a function of the calls and of (tokio's) time alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};

use crate::key::Key;

/// How urgent an object is; smaller comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Something changed.
    High,
    /// Backlog: the first list, a re-list, another shard layout.
    Low,
}

/// How a queue spreads work over time.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Delay after the first failure; doubles with each further one.
    pub first_delay: Duration,
    /// The longest delay after failures.
    pub longest_delay: Duration,
    /// How many reconciles of one object may follow each other at once.
    pub burst: u32,
    /// After a burst, one reconcile of an object in this time.
    pub refill: Duration,
    /// How long an object waits for further events after the first one: changes come in flocks (an object and its
    /// owner, a status and its summary), and one reconcile can answer them together.
    pub settle: Duration,
    /// The least time between the starts of two reconciles of an object that events ask for, so that what a burst of
    /// them leads to is written once instead of step by step. The first event after a pause does not wait for it.
    pub spacing: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            first_delay: Duration::from_millis(5),
            longest_delay: Duration::from_secs(1000),
            burst: 10,
            refill: Duration::from_secs(1),
            settle: Duration::from_millis(5),
            spacing: Duration::from_millis(100),
        }
    }
}

/// A queue of object keys.
#[derive(Debug)]
pub struct WorkQueue {
    state: Mutex<State>,
    changed: Notify,
    pace: Pace,
}

#[derive(Debug, Default)]
struct State {
    /// What waits, and where it stands in `ready` or `delayed`.
    pending: BTreeMap<Key, Place>,
    ready: BTreeSet<(Priority, u64, Key)>,
    delayed: BTreeSet<(Instant, u64, Key)>,
    in_flight: BTreeSet<Key>,
    /// Objects that were added while they are worked on.
    again: BTreeMap<Key, (Priority, Option<Instant>)>,
    failures: BTreeMap<Key, u32>,
    /// What objects did lately.
    recent: BTreeMap<Key, Recent>,
    /// Objects that something else than their own timer asked for since they were taken last.
    asked: BTreeSet<Key>,
    sequence: u64,
    closed: bool,
}

/// What the queue hands out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) key: Key,
    /// Since when it could be worked on.
    pub(crate) due: Instant,
    /// Nothing happened: only the time has come that the last work on it asked for.
    pub(crate) by_timer: bool,
}

#[derive(Clone, Copy, Debug)]
struct Recent {
    started: Instant,
    /// When the bucket will be full again.
    full_at: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    priority: Priority,
    at: Option<Instant>,
    /// From when on it could be taken.
    due: Instant,
    sequence: u64,
}

impl Default for WorkQueue {
    fn default() -> Self {
        Self::new(Pace::default())
    }
}

impl WorkQueue {
    /// An empty queue.
    pub fn new(pace: Pace) -> Self {
        Self {
            state: Mutex::default(),
            changed: Notify::new(),
            pace,
        }
    }

    /// Puts an object into the queue because of an event.
    pub fn add(&self, key: Key, priority: Priority) {
        let now = Instant::now();
        let settled = now + self.pace.settle;
        let recent = {
            let mut state = self.state.lock();
            if !state.closed {
                state.asked.insert(key.clone());
            }
            state.recent.get(&key).copied()
        };
        let at = recent.map_or(settled, |recent| settled.max(recent.started + self.pace.spacing));
        self.insert(key, priority, (at > now).then_some(at));
    }

    /// Puts an object into the queue after a delay: its timer. If it is there already, the earlier time wins.
    pub fn add_after(&self, key: Key, priority: Priority, delay: Duration) {
        self.insert(key, priority, (!delay.is_zero()).then(|| Instant::now() + delay));
    }

    fn insert(&self, key: Key, priority: Priority, at: Option<Instant>) {
        let mut state = self.state.lock();
        if state.closed {
            return;
        }
        if state.in_flight.contains(&key) {
            let entry = state.again.entry(key).or_insert((priority, at));
            *entry = (entry.0.min(priority), earlier(entry.1, at));
        } else {
            state.place(key, priority, at);
            drop(state);
            self.changed.notify_one();
        }
    }

    /// The next object to work on; none once the queue is closed. Dropping the future loses nothing.
    pub async fn next(&self) -> Option<Key> {
        self.take_next().await.map(|taken| taken.key)
    }

    /// Like [`Self::next`], with what is known of why.
    pub(crate) async fn take_next(&self) -> Option<Taken> {
        loop {
            let changed = self.changed.notified();
            let wake_at = {
                let mut state = self.state.lock();
                if state.closed {
                    return None;
                }
                match state.take(&self.pace) {
                    Ok(taken) => return Some(taken),
                    Err(wake_at) => wake_at,
                }
            };
            match wake_at {
                Some(at) => {
                    tokio::select! {
                        biased;
                        () = changed => {}
                        () = tokio::time::sleep_until(at) => {}
                    }
                }
                None => changed.await,
            }
        }
    }

    /// The work on an object succeeded: its failures are forgotten, and it comes back if it was added meanwhile.
    pub fn succeeded(&self, key: &Key) {
        self.finish(key, |state| {
            state.failures.remove(key);
            None
        });
    }

    /// The work on an object failed; it comes back after a delay that grows with each failure in a row.
    pub fn failed(&self, key: &Key) {
        let pace = self.pace;
        self.finish(key, |state| {
            let failures = state.failures.entry(key.clone()).or_default();
            let delay = pace
                .first_delay
                .saturating_mul(1 << (*failures).min(30))
                .min(pace.longest_delay);
            *failures = failures.saturating_add(1);
            Some(Instant::now() + delay)
        });
    }

    fn finish(&self, key: &Key, outcome: impl FnOnce(&mut State) -> Option<Instant>) {
        let mut state = self.state.lock();
        state.in_flight.remove(key);
        let retry_at = outcome(&mut state);
        if state.closed {
            return;
        }
        if let Some((priority, at)) = state.again.remove(key) {
            // An event cancels a longer back-off, as in client-go.
            state.place(key.clone(), priority, at);
        }
        if retry_at.is_some() {
            state.asked.insert(key.clone());
            state.place(key.clone(), Priority::High, retry_at);
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Forgets the history of an object that is gone.
    pub fn forget(&self, key: &Key) {
        let mut state = self.state.lock();
        state.failures.remove(key);
        state.recent.remove(key);
    }

    /// How often the work on an object failed in a row.
    pub fn failures(&self, key: &Key) -> u32 {
        self.state.lock().failures.get(key).copied().unwrap_or(0)
    }

    /// How many objects wait, delayed ones included.
    pub fn len(&self) -> usize {
        self.state.lock().pending.len()
    }

    /// True if nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// True if nothing is ready or worked on; delayed objects may remain.
    pub fn is_idle(&self) -> bool {
        let state = self.state.lock();
        state.ready.is_empty() && state.in_flight.is_empty()
    }

    /// Ends the queue: `next` returns none from now on.
    pub fn close(&self) {
        self.state.lock().closed = true;
        self.changed.notify_waiters();
        self.changed.notify_one();
    }
}

/// The earlier of two times, where none means at once.
fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        _ => None,
    }
}

impl State {
    /// Puts a key into `ready` or `delayed`; keeps the better of the old and the new place.
    fn place(&mut self, key: Key, priority: Priority, at: Option<Instant>) {
        let now = Instant::now();
        let mut place = Place {
            priority,
            at,
            due: at.unwrap_or(now),
            sequence: self.sequence,
        };
        if let Some(old) = self.pending.get(&key).copied() {
            let better = Place {
                priority: old.priority.min(priority),
                at: earlier(old.at, at),
                due: old.due.min(place.due),
                // A key that was ready keeps its turn unless it moves to the front class.
                sequence: if old.at.is_none() && old.priority <= priority {
                    old.sequence
                } else {
                    self.sequence
                },
            };
            if better.priority == old.priority && better.at == old.at {
                return;
            }
            self.remove(&key, old);
            place = better;
        }
        self.sequence += 1;
        match place.at {
            None => self.ready.insert((place.priority, place.sequence, key.clone())),
            Some(at) => self.delayed.insert((at, place.sequence, key.clone())),
        };
        self.pending.insert(key, place);
    }

    fn remove(&mut self, key: &Key, place: Place) {
        match place.at {
            None => self.ready.remove(&(place.priority, place.sequence, key.clone())),
            Some(at) => self.delayed.remove(&(at, place.sequence, key.clone())),
        };
    }

    /// Takes the next key, or tells when to look again.
    fn take(&mut self, pace: &Pace) -> Result<Taken, Option<Instant>> {
        let now = Instant::now();
        while let Some((at, _, _)) = self.delayed.first()
            && *at <= now
        {
            if let Some((_, sequence, key)) = self.delayed.pop_first()
                && let Some(place) = self.pending.get_mut(&key)
            {
                place.at = None;
                self.ready.insert((place.priority, sequence, key));
            }
        }
        while let Some((priority, sequence, key)) = self.ready.pop_first() {
            match self.draw(&key, now, pace) {
                None => {
                    let due = self.pending.remove(&key).map_or(now, |place| place.due);
                    self.in_flight.insert(key.clone());
                    let by_timer = !self.asked.remove(&key);
                    return Ok(Taken { key, due, by_timer });
                }
                Some(at) => {
                    self.pending.insert(
                        key.clone(),
                        Place {
                            priority,
                            at: Some(at),
                            due: at,
                            sequence,
                        },
                    );
                    self.delayed.insert((at, sequence, key));
                }
            }
        }
        self.sweep(now, pace);
        Err(self.delayed.first().map(|(at, _, _)| *at))
    }

    /// Takes a token of the object's bucket, or tells when there will be one.
    fn draw(&mut self, key: &Key, now: Instant, pace: &Pace) -> Option<Instant> {
        let limited = !pace.refill.is_zero() && pace.burst > 0;
        let mut full_at = self.recent.get(key).map_or(now, |recent| recent.full_at.max(now));
        if limited {
            let depth = pace.refill * (pace.burst - 1);
            if full_at > now + depth {
                return Some(full_at - depth);
            }
            full_at += pace.refill;
        }
        let recent = Recent {
            started: now,
            full_at,
        };
        self.recent.insert(key.clone(), recent);
        None
    }

    /// Forgets objects that were quiet for long enough, so that they cost nothing.
    fn sweep(&mut self, now: Instant, pace: &Pace) {
        if self.recent.len() > 64 {
            self.recent
                .retain(|_, recent| recent.full_at > now || recent.started + pace.spacing > now);
        }
    }
}

#[cfg(test)]
mod tests;
