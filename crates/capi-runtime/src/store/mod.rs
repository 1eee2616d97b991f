//! Stores: what is known of each kind, kept current by one watch per kind and process.
//!
//! A [`Store`] is a cheap handle. Reads never wait and never see half an update; results are sorted by key. Changes are
//! handed to handlers in the order of the watch, old and new object both, deletes included. Handlers only turn a change
//! into queue keys, so a slow reconcile never holds up a watch. Filling a store is the business of `feed`, finding one
//! that of [`Stores`]; `slot` and `warmth` pack what nobody uses, which readers do not notice.

mod feed;
mod index;
mod registry;
mod slot;
mod warmth;
mod watch;

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Weak},
    time::Duration,
};

use kube::api::ApiResource;
use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;

pub(crate) use feed::Feed;
pub(crate) use index::Extract;
use index::Index;
pub use registry::Stores;
pub(crate) use registry::{AnyStore, SYNC_LIMIT, StoreNotReady};
use slot::{Packing, Slot};
use warmth::Packs;
pub(crate) use warmth::Warmth;

use crate::{
    error::Error,
    key::{Key, KindId, Stored, version_of},
};

/// The built-in index by cluster: `namespace/value of the cluster-name label`.
pub const BY_CLUSTER: &str = "cluster";
/// The built-in index by the uid of each owner.
pub const BY_OWNER: &str = "owner";

/// One change of one object.
#[derive(Debug)]
pub struct Delta<K> {
    /// Which object.
    pub key: Key,
    /// What was known before, none for a new object.
    pub old: Option<Arc<K>>,
    /// What is known now, none for a deleted object.
    pub new: Option<Arc<K>>,
    /// True if this belongs to the first list and not to a change.
    pub initial: bool,
}

impl<K> Delta<K> {
    /// The newest state of the object that is known, be it deleted or not.
    pub fn latest(&self) -> Option<&Arc<K>> {
        self.new.as_ref().or(self.old.as_ref())
    }
}

type Handler<K> = Box<dyn Fn(&Delta<K>) + Send + Sync>;

/// Everything known of one kind.
pub struct Store<K>(Arc<Inner<K>>);

impl<K> Clone for Store<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

struct Inner<K> {
    resource: ApiResource,
    kind: KindId,
    state: RwLock<State<K>>,
    handlers: Mutex<Vec<Handler<K>>>,
    /// Counts applied changes; readers that wait for something follow it.
    /// Wakes those who wait for a change, in the order in which they came; a `tokio::sync::watch` wakes its receivers in
    /// random order, and simulations must repeat.
    changes: Notify,
    warmth: Arc<Warmth>,
    myself: Weak<dyn Packs>,
}

/// More objects than this are not unpacked for good by one question.
const MANY: usize = 16;

struct State<K> {
    objects: BTreeMap<Arc<Key>, Slot<K>>,
    indexes: BTreeMap<String, Index<K>>,
    /// The highest resource version seen on the watch.
    latest: u64,
    synced: bool,
}

impl<K: Stored> Store<K> {
    pub(crate) fn new(resource: ApiResource, warmth: Arc<Warmth>) -> Self {
        let indexes = BTreeMap::from([
            (BY_CLUSTER.to_owned(), Index::new(index::by_cluster::<K>())),
            (BY_OWNER.to_owned(), Index::new(index::by_owner::<K>())),
        ]);
        let state = State {
            objects: BTreeMap::new(),
            indexes,
            latest: 0,
            synced: false,
        };
        Self(Arc::new_cyclic(|myself: &Weak<Inner<K>>| Inner {
            kind: KindId::of_resource(&resource),
            resource,
            state: RwLock::new(state),
            handlers: Mutex::default(),
            changes: Notify::new(),
            warmth,
            myself: myself.clone(),
        }))
    }

    /// The object of that key.
    pub fn get(&self, key: &Key) -> Option<Arc<K>> {
        let state = self.0.state.read();
        let (kept, slot) = state.objects.get_key_value(key)?;
        let (object, warmed) = slot.get();
        let warmed = warmed.then(|| kept.clone());
        drop(state);
        self.warmed(warmed);
        object
    }

    /// Whether there is an object of that key, which takes less than a look at it.
    pub fn contains(&self, key: &Key) -> bool {
        self.version(key).is_some()
    }

    /// The number of an object's resource version, which takes less than a look at the object.
    pub(crate) fn version(&self, key: &Key) -> Option<u64> {
        self.0.state.read().objects.get(key).map(|slot| slot.version)
    }

    /// The keys of all objects, or of those of one namespace.
    pub fn keys(&self, namespace: Option<&str>) -> Vec<Key> {
        let state = self.0.state.read();
        let within = |key: &&Arc<Key>| namespace.is_none_or(|namespace| key.namespace == namespace);
        state
            .objects
            .keys()
            .filter(within)
            .map(|key| (**key).clone())
            .collect()
    }

    /// All objects, or those of one namespace.
    pub fn list(&self, namespace: Option<&str>) -> Vec<Arc<K>> {
        let state = self.0.state.read();
        let slots: Vec<_> = match namespace {
            None => state.objects.iter().collect(),
            Some(namespace) => state
                .objects
                .range(Key::new(namespace, "")..)
                .take_while(|(key, _)| key.namespace == namespace)
                .collect(),
        };
        let (objects, warmed) = unpacked(slots);
        drop(state);
        self.warmed(warmed);
        objects
    }

    /// The objects that an index files under a value; none if there is no such index.
    pub fn by_index(&self, index: &str, value: &str) -> Vec<Arc<K>> {
        let state = self.0.state.read();
        let Some(index) = state.indexes.get(index) else {
            tracing::error!(kind = %self.0.kind, index, "no such index");
            return Vec::new();
        };
        let slots = index
            .keys(value)
            .filter_map(|key| state.objects.get_key_value(key))
            .collect();
        let (objects, warmed) = unpacked(slots);
        drop(state);
        self.warmed(warmed);
        objects
    }

    fn warmed(&self, keys: impl IntoIterator<Item = Arc<Key>>) {
        self.0.warmth.warmed(&self.0.myself, keys.into_iter().collect());
    }

    /// The objects with an owner reference to this uid.
    pub fn by_owner(&self, uid: &str) -> Vec<Arc<K>> {
        self.by_index(BY_OWNER, uid)
    }

    /// The objects of a cluster: same namespace, cluster-name label with its name.
    pub fn by_cluster(&self, cluster: &Key) -> Vec<Arc<K>> {
        self.by_index(BY_CLUSTER, &cluster.to_string())
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.0.state.read().objects.len()
    }

    /// True if there are no objects.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The API resource this store watches.
    pub fn resource(&self) -> &ApiResource {
        &self.0.resource
    }

    /// True once the first list is complete.
    pub fn is_synced(&self) -> bool {
        self.0.state.read().synced
    }

    /// Waits until the first list is complete.
    pub async fn wait_for_sync(&self, limit: Duration) -> Result<(), Error> {
        self.wait_until(limit, |store| store.is_synced())
            .await
            .then_some(())
            .ok_or_else(|| Error::NotSynced {
                kind: self.0.kind.to_string(),
                after: limit,
            })
    }

    /// Waits until a condition on this store holds; false if the time ran out.
    pub async fn wait_until(&self, limit: Duration, condition: impl Fn(&Self) -> bool) -> bool {
        let wait = async {
            loop {
                // Queued before the look, so that a change in between is not missed.
                let mut change = std::pin::pin!(self.0.changes.notified());
                change.as_mut().enable();
                if condition(self) {
                    return;
                }
                change.await;
            }
        };
        tokio::time::timeout(limit, wait).await.is_ok()
    }

    /// Adds an index, over what is there already too.
    pub(crate) fn add_index(&self, name: &str, extract: Extract<K>) {
        let mut state = self.0.state.write();
        let mut index = Index::new(extract);
        for (key, slot) in &state.objects {
            if let Some(object) = slot.peek() {
                index.insert(key, &object);
            }
        }
        state.indexes.insert(name.to_owned(), index);
    }

    /// Calls `handler` for every change from now on, in order; with `replay` first for every object known now (as
    /// initial), without a gap between both.
    pub(crate) fn on_change(&self, replay: bool, handler: impl Fn(&Delta<K>) + Send + Sync + 'static) {
        let mut handlers = self.0.handlers.lock();
        let known: Vec<(Key, Arc<K>)> = match replay {
            true => self
                .0
                .state
                .read()
                .objects
                .iter()
                .filter_map(|(key, slot)| Some(((**key).clone(), slot.peek()?)))
                .collect(),
            false => Vec::new(),
        };
        for (key, object) in known {
            self.call(
                &handler,
                &Delta {
                    key,
                    old: None,
                    new: Some(object),
                    initial: true,
                },
            );
        }
        handlers.push(Box::new(handler));
    }

    /// Drops all handlers, which may hold other stores.
    pub(crate) fn clear_handlers(&self) {
        self.0.handlers.lock().clear();
    }

    /// Replaces everything by a complete list.
    pub(crate) fn replace(&self, objects: Vec<K>) {
        let handlers = self.0.handlers.lock();
        let mut warmed = Vec::new();
        let (initial, deltas) = {
            let mut state = self.0.state.write();
            let initial = !state.synced;
            let listed: BTreeMap<Key, K> = objects
                .into_iter()
                .map(|object| (Key::of(&object), object))
                .collect();
            let gone: Vec<Key> = state
                .objects
                .keys()
                .filter(|key| !listed.contains_key(&***key))
                .map(|key| (**key).clone())
                .collect();
            let mut deltas: Vec<Delta<K>> =
                gone.iter().filter_map(|key| state.remove(key, initial)).collect();
            for (key, object) in listed {
                let put = state.put(key, object, initial);
                deltas.extend(put.delta);
                warmed.extend(put.warmed);
            }
            state.synced = true;
            (initial, deltas)
        };
        if initial {
            tracing::debug!(kind = %self.0.kind, objects = deltas.len(), "store is filled");
        }
        self.deliver(&handlers, &deltas);
        drop(deltas);
        self.warmed(warmed);
    }

    /// Takes in one new or changed object.
    pub(crate) fn apply(&self, object: K) {
        let handlers = self.0.handlers.lock();
        let put = self.0.state.write().put(Key::of(&object), object, false);
        self.deliver(&handlers, put.delta.as_slice());
        self.warmed(put.warmed);
    }

    /// Takes in the deletion of an object.
    pub(crate) fn delete(&self, meta: &kube::api::ObjectMeta) {
        let handlers = self.0.handlers.lock();
        let delta = {
            let mut state = self.0.state.write();
            state.latest = state.latest.max(version_of(meta));
            state.remove(&Key::of_meta(meta), false)
        };
        self.deliver(&handlers, delta.as_slice());
    }

    /// Takes note of a change that could not be decoded, so that nobody waits for it.
    pub(crate) fn note_version(&self, meta: &kube::api::ObjectMeta) {
        let mut state = self.0.state.write();
        state.latest = state.latest.max(version_of(meta));
        drop(state);
        self.0.changes.notify_waiters();
    }

    fn deliver(&self, handlers: &[Handler<K>], deltas: &[Delta<K>]) {
        for delta in deltas {
            for handler in handlers {
                self.call(handler, delta);
            }
        }
        self.0.changes.notify_waiters();
    }

    /// A mapper that panics must not end the watch of a kind for the whole process.
    fn call(&self, handler: &dyn Fn(&Delta<K>), delta: &Delta<K>) {
        let (kind, key) = (&self.0.kind, &delta.key);
        let Err(panic) = catch_unwind(AssertUnwindSafe(|| handler(delta))) else {
            return;
        };
        match panic.downcast::<StoreNotReady>() {
            Ok(missing) => {
                let missing = missing.0.kind();
                tracing::error!(%kind, %key, %missing, "a mapper reads a store that its controller does not declare; add .reads to the controller");
            }
            Err(_) => {
                tracing::error!(%kind, %key, "a mapper panicked; its objects are not woken by this change");
            }
        }
    }
}

/// The objects of some slots, and the keys of those that were packed until now.
fn unpacked<K: Stored>(slots: Vec<(&Arc<Key>, &Slot<K>)>) -> (Vec<Arc<K>>, Vec<Arc<Key>>) {
    if slots.len() > MANY {
        return (
            slots.into_iter().filter_map(|(_, slot)| slot.peek()).collect(),
            Vec::new(),
        );
    }
    let mut warmed = Vec::new();
    let mut objects = Vec::with_capacity(slots.len());
    for (key, slot) in slots {
        let (object, was_packed) = slot.get();
        objects.extend(object);
        warmed.extend(was_packed.then(|| key.clone()));
    }
    (objects, warmed)
}

impl<K: Stored> Packs for Inner<K> {
    fn pack(&self, key: &Key) -> Packing {
        let state = self.state.read();
        state.objects.get(key).map_or(Packing::Compressed, Slot::pack)
    }

    fn compress(&self, key: &Key) {
        if let Some(slot) = self.state.read().objects.get(key) {
            slot.compress();
        }
    }
}

/// What putting an object into a store did.
struct Put<K> {
    /// None if the object is known in this version.
    delta: Option<Delta<K>>,
    /// The object, if it is one more that is not packed.
    warmed: Option<Arc<Key>>,
}

impl<K: Stored> State<K> {
    fn put(&mut self, key: Key, object: K, initial: bool) -> Put<K> {
        let version = version_of(object.meta());
        self.latest = self.latest.max(version);
        let known = self.objects.get_key_value(&key);
        let was_packed = known.is_none_or(|(_, slot)| slot.is_packed());
        let (kept, old) = match known {
            Some((kept, slot)) => (kept.clone(), slot.peek()),
            None => (Arc::new(key), None),
        };
        if let Some(old) = &old
            && version != 0
            && old.meta().resource_version == object.meta().resource_version
            && old.meta().uid == object.meta().uid
        {
            return Put {
                delta: None,
                warmed: None,
            };
        }
        let new = Arc::new(object);
        for index in self.indexes.values_mut() {
            if let Some(old) = &old {
                index.remove(&kept, old);
            }
            index.insert(&kept, &new);
        }
        self.objects.insert(kept.clone(), Slot::new(new.clone()));
        Put {
            delta: Some(Delta {
                key: (*kept).clone(),
                old,
                new: Some(new),
                initial,
            }),
            warmed: was_packed.then_some(kept),
        }
    }

    fn remove(&mut self, key: &Key, initial: bool) -> Option<Delta<K>> {
        let (kept, slot) = self.objects.remove_entry(key)?;
        let old = slot.peek()?;
        for index in self.indexes.values_mut() {
            index.remove(&kept, &old);
        }
        Some(Delta {
            key: (*kept).clone(),
            old: Some(old),
            new: None,
            initial,
        })
    }
}

#[cfg(test)]
mod tests;
