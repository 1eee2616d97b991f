//! Which replica reconciles what.
//!
//! Everything that belongs to one cluster has one [`ShardKey`] and so one owner among the members of the ring
//! (rendezvous hashing: when a member comes or goes, only its own share moves). One replica alone is the ring of one.
//! Owning a shard saves work; it is never what makes a write safe. `leases` tells who the members are.

pub(crate) mod leases;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    pin::pin,
    sync::Arc,
};

use capi_api::labels::CLUSTER_NAME;
use kube::api::ObjectMeta;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::key::Key;

/// What is given to one member as a whole: `namespace/cluster name`, or an object's own key if it belongs to no cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardKey(String);

impl ShardKey {
    /// The shard of a cluster.
    pub fn of_cluster(cluster: &Key) -> Self {
        Self(cluster.to_string())
    }

    /// The shard of an object: that of its cluster if it is labelled with one, else its own (a Cluster's own name is
    /// its cluster's name, so both agree).
    pub fn of(meta: &ObjectMeta) -> Self {
        let key = Key::of_meta(meta);
        let cluster = meta.labels.as_ref().and_then(|labels| labels.get(CLUSTER_NAME));
        Self::of_cluster(&cluster.map_or(key.clone(), |name| key.sibling(name.clone())))
    }
}

/// The members of the ring and the work this one is doing.
#[derive(Clone, Debug)]
pub struct Ring {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    me: String,
    state: Mutex<State>,
    /// Told of changed members and, during a hand-over, of work that ended. (A tokio watch would wake in random order.)
    changes: Notify,
}

#[derive(Debug)]
struct State {
    members: BTreeSet<String>,
    /// During a hand-over the members to be; only what both give us may be started.
    next: Option<BTreeSet<String>>,
    /// True while nothing may be started: not all other members know of this one.
    paused: bool,
    /// Counts the changes after which more may be ours than before.
    generation: u64,
    /// The latest generations, the present one last.
    eras: VecDeque<Era>,
    working: BTreeMap<ShardKey, usize>,
}

/// One generation.
#[derive(Debug)]
struct Era {
    generation: u64,
    /// All members that divided the work in it, one set after the other; an empty one where nothing could be started.
    divided: Vec<BTreeSet<String>>,
}

/// How many generations are remembered.
const ERAS: usize = 64;

/// What this member could start without interruption since some generation.
#[derive(Debug)]
pub(crate) struct Kept {
    me: String,
    /// None if that is too long ago.
    divided: Option<BTreeSet<BTreeSet<String>>>,
}

impl Kept {
    /// Whether nothing of the shard can have been missed.
    pub(crate) fn covers(&self, shard: &ShardKey) -> bool {
        let mine = |members: &BTreeSet<String>| owner(members, shard) == Some(self.me.as_str());
        self.divided
            .as_ref()
            .is_some_and(|divided| divided.iter().all(mine))
    }
}

/// Permission to work on a shard, until dropped.
#[derive(Debug)]
pub struct Work {
    ring: Arc<Inner>,
    shard: ShardKey,
}

impl Ring {
    /// The ring with one member.
    pub fn alone(me: impl Into<String>) -> Self {
        let me = me.into();
        Self::with(BTreeSet::from([me.clone()]), me)
    }

    /// A ring whose members are not known yet: nothing is ours.
    pub(crate) fn unknown(me: impl Into<String>) -> Self {
        Self::with(BTreeSet::new(), me.into())
    }

    fn with(members: BTreeSet<String>, me: String) -> Self {
        let state = State {
            eras: VecDeque::from([Era {
                generation: 0,
                divided: vec![members.clone()],
            }]),
            members,
            next: None,
            paused: false,
            generation: 0,
            working: BTreeMap::new(),
        };
        Self {
            inner: Arc::new(Inner {
                me,
                state: Mutex::new(state),
                changes: Notify::new(),
            }),
        }
    }

    /// True if this member may start work on the shard.
    pub fn owns(&self, shard: &ShardKey) -> bool {
        self.inner.state.lock().owns(&self.inner.me, shard)
    }

    /// Starts work on a shard, if it is ours; a hand-over waits until it is dropped.
    pub fn enter(&self, shard: &ShardKey) -> Option<Work> {
        let mut state = self.inner.state.lock();
        if !state.owns(&self.inner.me, shard) {
            return None;
        }
        *state.working.entry(shard.clone()).or_default() += 1;
        Some(Work {
            ring: self.inner.clone(),
            shard: shard.clone(),
        })
    }

    /// Changes the members: stops to start work on shards that leave, waits for their work in flight, then takes over
    /// what is new. Returns once nothing of the leaving shards is being worked on.
    pub async fn hand_over(&self, members: BTreeSet<String>) {
        self.restrict(members.clone());
        self.drained().await;
        self.activate(members, true);
    }

    /// From now on only work that both the members now and these give us is started.
    pub(crate) fn restrict(&self, members: BTreeSet<String>) {
        {
            let mut state = self.inner.state.lock();
            if let Some(era) = state.eras.back_mut() {
                era.divided.push(members.clone());
            }
            state.next = Some(members);
        }
        self.inner.changes.notify_waiters();
    }

    /// Waits until nothing is worked on that the members to be do not give us.
    pub(crate) async fn drained(&self) {
        loop {
            let mut ended = pin!(self.inner.changes.notified());
            ended.as_mut().enable();
            {
                let state = self.inner.state.lock();
                let Some(members) = &state.next else { return };
                let leaving = |shard: &ShardKey| owner(members, shard) != Some(self.inner.me.as_str());
                if !state.working.keys().any(leaving) {
                    return;
                }
            }
            ended.await;
        }
    }

    /// These are the members now; `known` says whether all of them know that this one is a member too.
    pub(crate) fn activate(&self, members: BTreeSet<String>, known: bool) {
        {
            let mut state = self.inner.state.lock();
            if state.members == members && state.next.is_none() && state.paused != known {
                return;
            }
            let divided = if known { members.clone() } else { BTreeSet::new() };
            state.members = members;
            state.next = None;
            state.paused = !known;
            state.generation += 1;
            let generation = state.generation;
            state.eras.push_back(Era {
                generation,
                divided: vec![divided],
            });
            if state.eras.len() > ERAS {
                state.eras.pop_front();
            }
        }
        self.inner.changes.notify_waiters();
    }

    /// Waits until more may be ours than at `generation`, so that queues can take up what is new; returns the
    /// generation now.
    pub(crate) async fn changed_from(&self, generation: u64) -> u64 {
        loop {
            let mut changed = pin!(self.inner.changes.notified());
            changed.as_mut().enable();
            let now = self.generation();
            if now != generation {
                return now;
            }
            changed.await;
        }
    }

    /// What could be started all the time since `generation` began: only of the rest something can have been missed.
    pub(crate) fn kept_since(&self, generation: u64) -> Kept {
        let state = self.inner.state.lock();
        let eras = state.eras.iter().filter(|era| era.generation >= generation);
        let remembered = state.eras.front().is_some_and(|era| era.generation <= generation);
        Kept {
            me: self.inner.me.clone(),
            divided: remembered.then(|| eras.flat_map(|era| era.divided.iter().cloned()).collect()),
        }
    }

    /// See [`Self::changed_from`].
    pub(crate) fn generation(&self) -> u64 {
        self.inner.state.lock().generation
    }

    /// The members now, as a value that can be compared.
    pub fn members(&self) -> BTreeSet<String> {
        self.inner.state.lock().members.clone()
    }
}

impl State {
    fn owns(&self, me: &str, shard: &ShardKey) -> bool {
        !self.paused
            && owner(&self.members, shard) == Some(me)
            && self
                .next
                .as_ref()
                .is_none_or(|members| owner(members, shard) == Some(me))
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let mut state = self.ring.state.lock();
        if let Some(count) = state.working.get_mut(&self.shard) {
            *count -= 1;
            if *count == 0 {
                state.working.remove(&self.shard);
            }
        }
        let handing_over = state.next.is_some();
        drop(state);
        if handing_over {
            self.ring.changes.notify_waiters();
        }
    }
}

/// The member with the highest hash of member and shard.
fn owner<'a>(members: &'a BTreeSet<String>, shard: &ShardKey) -> Option<&'a str> {
    members
        .iter()
        .max_by_key(|member| hash(&[member.as_bytes(), shard.0.as_bytes()]))
        .map(String::as_str)
}

/// FNV-1a with a final mix: all members and all releases must agree on it, so it is spelt out here.
pub(crate) fn hash(parts: &[&[u8]]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for part in parts {
        for byte in part.iter().chain(&[0xff]) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn members(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn shards(count: usize) -> Vec<ShardKey> {
        (0..count)
            .map(|number| ShardKey::of_cluster(&Key::new("ns", format!("cluster-{number}"))))
            .collect()
    }

    #[test]
    fn a_member_alone_owns_everything() {
        let ring = Ring::alone("a");
        assert!(shards(100).iter().all(|shard| ring.owns(shard)));
    }

    #[test]
    fn only_the_share_of_a_lost_member_moves_and_shares_are_even() {
        let (three, two) = (members(&["a", "b", "c"]), members(&["a", "b"]));
        let mut share = BTreeMap::<&str, usize>::new();
        let shards = shards(3000);
        for shard in &shards {
            let before = owner(&three, shard).unwrap();
            *share.entry(before).or_default() += 1;
            if before != "c" {
                assert_eq!(owner(&two, shard), Some(before));
            }
        }
        assert!(
            share.values().all(|count| (850..1150).contains(count)),
            "{share:?}"
        );
    }

    #[test]
    fn objects_of_a_cluster_share_its_shard() {
        let labels = Some(BTreeMap::from([(CLUSTER_NAME.to_owned(), "c".to_owned())]));
        let meta = |name: &str, labels| ObjectMeta {
            namespace: Some("ns".into()),
            name: Some(name.into()),
            labels,
            ..ObjectMeta::default()
        };
        assert_eq!(ShardKey::of(&meta("m", labels)), ShardKey::of(&meta("c", None)));
        assert_ne!(ShardKey::of(&meta("x", None)), ShardKey::of(&meta("c", None)));
    }

    #[test]
    fn what_was_ours_all_the_time_is_kept_and_what_could_not_be_started_for_a_moment_is_not() {
        let (alone, both, three) = (members(&["a"]), members(&["a", "b"]), members(&["a", "b", "c"]));
        let shards = shards(300);
        let mine = |members: &BTreeSet<String>| -> Vec<&ShardKey> {
            shards
                .iter()
                .filter(|shard| owner(members, shard) == Some("a"))
                .collect()
        };
        let kept = |ring: &Ring, since| -> Vec<&ShardKey> {
            let kept = ring.kept_since(since);
            shards.iter().filter(|shard| kept.covers(shard)).collect()
        };
        let ring = Ring::unknown("a");
        ring.activate(both.clone(), true);
        assert!(kept(&ring, 0).is_empty(), "nothing was ours at first");
        let since = ring.generation();
        assert_eq!(kept(&ring, since), mine(&both));
        ring.activate(alone.clone(), true);
        assert_eq!(kept(&ring, since), mine(&both), "those of the dead one are new");

        // A newcomer that never comes: for a while its share was not started.
        let since = ring.generation();
        ring.restrict(three.clone());
        ring.activate(alone.clone(), true);
        assert_eq!(kept(&ring, since), mine(&three));
        let since = ring.generation();
        ring.activate(alone.clone(), false);
        ring.activate(alone.clone(), true);
        assert!(kept(&ring, since).is_empty(), "nothing was started for a moment");
        let since = ring.generation();
        for _ in 0..ERAS {
            ring.activate(both.clone(), true);
            ring.activate(alone.clone(), true);
        }
        assert!(kept(&ring, since).is_empty(), "too long ago");
    }

    #[tokio::test(start_paused = true)]
    async fn a_hand_over_waits_for_work_in_flight_and_starts_no_new_work_on_what_leaves() {
        let ring = Ring::alone("a");
        let both = members(&["a", "b"]);
        let (leaving, staying): (Vec<_>, Vec<_>) = shards(20)
            .into_iter()
            .partition(|shard| owner(&both, shard) == Some("b"));
        let work = ring.enter(&leaving[0]).unwrap();
        let hand_over = tokio::spawn({
            let ring = ring.clone();
            async move { ring.hand_over(both).await }
        });
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert!(!hand_over.is_finished());
        assert!(ring.enter(&leaving[1]).is_none());
        assert!(ring.enter(&staying[0]).is_some());
        drop(work);
        hand_over.await.unwrap();
        assert_eq!(ring.members().len(), 2);
        assert!(!ring.owns(&leaving[0]));
        ring.hand_over(members(&["a"])).await;
        assert!(ring.owns(&leaving[0]));
    }
}
