//! Who watches what, and whom a list wakes. Pure, but for the clock that it is told.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};

use super::Collection;

/// Wakes somebody.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// Somebody depends on a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interest {
    /// Where it is.
    pub collection: Collection,
    /// Its id.
    pub id: String,
    /// As what it is known: its status or revision. Nothing if it is not known; then the next list says it.
    pub seen: Option<String>,
    /// True if somebody waits for it to change.
    pub waiting: bool,
}

impl Interest {
    /// A resource that should stay as it is.
    pub fn resting(collection: Collection, id: &str, seen: Option<String>) -> Self {
        Self {
            collection,
            id: id.to_owned(),
            seen,
            waiting: false,
        }
    }

    /// A resource that should become something else than it is.
    pub fn waiting(collection: Collection, id: &str, seen: &str) -> Self {
        Self {
            collection,
            id: id.to_owned(),
            seen: Some(seen.to_owned()),
            waiting: true,
        }
    }
}

/// While somebody waits, lists follow each other after this time at first, and ever slower while nothing happens.
const FIRST: Duration = Duration::from_secs(2);
const SLOWEST: Duration = Duration::from_secs(10);
/// Who waits looks again by itself after this time, should everything else fail.
const PATIENCE: Duration = Duration::from_secs(60);
/// Who rests looks again by itself after this time.
const AUDIT: Duration = Duration::from_secs(3600);

/// How often a collection is listed while nobody waits.
fn at_rest(collection: Collection) -> Option<Duration> {
    match collection {
        // A server that somebody deletes is missed within a minute.
        Collection::Servers => Some(Duration::from_secs(25)),
        Collection::LoadBalancers => Some(Duration::from_secs(60)),
        // Volumes go with their servers.
        Collection::Volumes => None,
        _ => Some(Duration::from_secs(120)),
    }
}

/// As what a watcher knows a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    Unknown,
    As(String),
    Gone,
}

struct Watched {
    id: String,
    seen: Seen,
    waiting: bool,
}

struct Watcher {
    wake: Wake,
    since: Instant,
    watched: BTreeMap<Collection, Vec<Watched>>,
}

#[derive(Default)]
struct State {
    watchers: BTreeMap<String, Watcher>,
    /// How many lists in a row told nothing new.
    quiet: BTreeMap<Collection, u32>,
    followed: bool,
}

/// Who watches what in one project.
#[derive(Default)]
pub struct Watches {
    state: Mutex<State>,
    changed: BTreeMap<Collection, Notify>,
}

impl std::fmt::Debug for Watches {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Watches")
    }
}

impl Watches {
    /// Nobody watches anything.
    pub fn new() -> Self {
        Self {
            state: Mutex::default(),
            changed: Collection::ALL
                .map(|collection| (collection, Notify::new()))
                .into(),
        }
    }

    /// What `watcher` depends on from now on, instead of what it depended on so far.
    pub fn set(&self, watcher: &str, wake: Wake, interests: Vec<Interest>) {
        let mut affected = BTreeSet::new();
        {
            let mut state = self.state.lock();
            let mut watched: BTreeMap<Collection, Vec<Watched>> = BTreeMap::new();
            for interest in interests {
                affected.insert(interest.collection);
                if interest.waiting {
                    state.quiet.remove(&interest.collection);
                }
                watched.entry(interest.collection).or_default().push(Watched {
                    id: interest.id,
                    seen: interest.seen.map_or(Seen::Unknown, Seen::As),
                    waiting: interest.waiting,
                });
            }
            let since = Instant::now();
            match watched.is_empty() {
                true => drop(state.watchers.remove(watcher)),
                false => drop(
                    state
                        .watchers
                        .insert(watcher.to_owned(), Watcher { wake, since, watched }),
                ),
            }
        }
        for collection in affected {
            self.notify(collection);
        }
    }

    /// `watcher` depends on nothing any more.
    pub fn forget(&self, watcher: &str) {
        self.state.lock().watchers.remove(watcher);
    }

    /// True if nobody watches anything.
    pub fn is_empty(&self) -> bool {
        self.state.lock().watchers.is_empty()
    }

    /// Lists are read from now on; false if they were already.
    pub fn start(&self) -> bool {
        !std::mem::replace(&mut self.state.lock().followed, true)
    }

    /// True if lists are read, so that who watches need not look.
    pub fn is_followed(&self) -> bool {
        self.state.lock().followed
    }

    /// When somebody with these interests should look again by itself; `alone` if no lists are read.
    pub fn patience(&self, alone: Duration, interests: &[Interest]) -> Duration {
        match self.is_followed() && !interests.is_empty() {
            false => alone,
            true if interests.iter().any(|interest| interest.waiting) => alone.max(PATIENCE),
            true => alone.max(AUDIT),
        }
    }

    /// How long after a list the next one is read; nothing if nobody wants to know.
    pub fn pause(&self, collection: Collection) -> Option<Duration> {
        let state = self.state.lock();
        let mut watched = state
            .watchers
            .values()
            .filter_map(|watcher| watcher.watched.get(&collection))
            .flatten()
            .peekable();
        watched.peek()?;
        if !watched.any(|watched| watched.waiting) {
            return at_rest(collection);
        }
        let quiet = state.quiet.get(&collection).copied().unwrap_or(0);
        Some(FIRST.mul_f64(1.3_f64.powi(quiet.min(20) as i32)).min(SLOWEST))
    }

    /// Comes back when [`Self::pause`] may have become shorter.
    pub async fn changed(&self, collection: Collection) {
        if let Some(changed) = self.changed.get(&collection) {
            changed.notified().await;
        }
    }

    /// Reads no list before its time: somebody says that there is news.
    pub fn notify(&self, collection: Collection) {
        if let Some(changed) = self.changed.get(&collection) {
            changed.notify_one();
        }
    }

    /// Compares a list with what watchers know, and wakes those who know something else. `asked`: when the list was asked
    /// for; it says nothing about what came later.
    pub fn compare(&self, collection: Collection, asked: Instant, found: &BTreeMap<String, String>) {
        let mut woken = Vec::new();
        {
            let mut state = self.state.lock();
            for watcher in state
                .watchers
                .values_mut()
                .filter(|watcher| watcher.since <= asked)
            {
                let mut wake = false;
                for watched in watcher.watched.get_mut(&collection).into_iter().flatten() {
                    let now = found.get(&watched.id).cloned().map_or(Seen::Gone, Seen::As);
                    if watched.seen != now {
                        wake |= watched.seen != Seen::Unknown || now == Seen::Gone;
                        watched.seen = now;
                    }
                }
                woken.extend(wake.then(|| watcher.wake.clone()));
            }
            let quiet = state.quiet.entry(collection).or_default();
            *quiet = if woken.is_empty() { *quiet + 1 } else { 0 };
        }
        for wake in woken {
            wake();
        }
    }

    /// Wakes everybody: what they use does not work any more.
    pub fn alarm(&self) {
        let all: Vec<Wake> = self
            .state
            .lock()
            .watchers
            .values()
            .map(|watcher| watcher.wake.clone())
            .collect();
        for wake in all {
            wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn counter() -> (Wake, Arc<AtomicUsize>) {
        let count = Arc::new(AtomicUsize::new(0));
        let counted = count.clone();
        (
            Arc::new(move || {
                counted.fetch_add(1, Ordering::Relaxed);
            }),
            count,
        )
    }

    fn found(items: &[(&str, &str)]) -> BTreeMap<String, String> {
        items
            .iter()
            .map(|(id, seen)| ((*id).to_owned(), (*seen).to_owned()))
            .collect()
    }

    const LB: Collection = Collection::LoadBalancers;

    #[tokio::test(start_paused = true)]
    async fn a_watcher_is_woken_once_for_each_change() {
        let watches = Watches::new();
        let (wake, count) = counter();
        watches.set("a", wake, vec![Interest::waiting(LB, "l", "PENDING_CREATE")]);
        let woken = |items: &[(&str, &str)]| {
            let before = count.load(Ordering::Relaxed);
            watches.compare(LB, Instant::now(), &found(items));
            count.load(Ordering::Relaxed) - before
        };
        assert_eq!(woken(&[("l", "PENDING_CREATE"), ("other", "ACTIVE")]), 0);
        assert_eq!(woken(&[("l", "ACTIVE")]), 1);
        assert_eq!(woken(&[("l", "ACTIVE")]), 0);
        assert_eq!(woken(&[]), 1, "it is gone");
        assert_eq!(woken(&[]), 0);
        watches.forget("a");
        assert_eq!(woken(&[("l", "ACTIVE")]), 0);
        assert!(watches.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_known_is_learnt_but_for_what_is_gone() {
        let watches = Watches::new();
        let (wake, count) = counter();
        let interests = ["n", "m"].map(|id| Interest::resting(Collection::Networks, id, None));
        watches.set("a", wake, interests.into());
        let list = found(&[("n", "1")]);
        watches.compare(Collection::Networks, Instant::now(), &list);
        assert_eq!(count.load(Ordering::Relaxed), 1, "m is gone");
        watches.compare(Collection::Networks, Instant::now(), &found(&[("n", "2")]));
        assert_eq!(count.load(Ordering::Relaxed), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_says_nothing_about_what_came_after_it_was_asked_for() {
        let watches = Watches::new();
        let (wake, count) = counter();
        let asked = Instant::now();
        tokio::time::sleep(Duration::from_millis(10)).await;
        watches.set("a", wake, vec![Interest::waiting(LB, "l", "PENDING_CREATE")]);
        watches.compare(LB, asked, &found(&[]));
        assert_eq!(count.load(Ordering::Relaxed), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn lists_follow_each_other_as_closely_as_somebody_needs() {
        let watches = Watches::new();
        let (wake, _) = counter();
        assert_eq!(watches.pause(LB), None);
        watches.set(
            "a",
            wake.clone(),
            vec![Interest::resting(LB, "l", Some("ACTIVE".into()))],
        );
        assert_eq!(watches.pause(LB), Some(Duration::from_secs(60)));
        assert_eq!(watches.pause(Collection::Servers), None);
        watches.set("b", wake, vec![Interest::waiting(LB, "m", "PENDING_UPDATE")]);
        assert_eq!(watches.pause(LB), Some(FIRST));
        for _ in 0..20 {
            watches.compare(
                LB,
                Instant::now(),
                &found(&[("l", "ACTIVE"), ("m", "PENDING_UPDATE")]),
            );
        }
        assert_eq!(watches.pause(LB), Some(SLOWEST));
        watches.compare(LB, Instant::now(), &found(&[("l", "ACTIVE"), ("m", "ACTIVE")]));
        assert_eq!(watches.pause(LB), Some(FIRST), "something happens");
    }

    #[test]
    fn who_is_woken_need_not_look() {
        let watches = Watches::new();
        let (alone, interests) = (
            Duration::from_secs(5),
            [Interest::resting(LB, "l", Some("ACTIVE".into()))],
        );
        assert_eq!(watches.patience(alone, &interests), alone);
        assert!(watches.start() && !watches.start());
        assert_eq!(watches.patience(alone, &interests), AUDIT);
        assert_eq!(watches.patience(alone, &[]), alone);
        let waiting = [Interest::waiting(LB, "l", "PENDING_UPDATE")];
        assert_eq!(watches.patience(alone, &waiting), PATIENCE);
    }
}
