//! All stores of a process, one per kind.

use std::{
    any::{Any, TypeId},
    collections::BTreeMap,
    panic::resume_unwind,
    sync::{Arc, Weak},
    time::Duration,
};

use futures::future::BoxFuture;
use kube::api::{ApiResource, DynamicObject};
use parking_lot::{Mutex, RwLock};
use seams::SharedRandomness;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Extract, Feed, Store, Warmth, feed::Trim};
use crate::{
    error::Error,
    key::{Key, Kind, KindId, ScopeOf, Stored},
    metrics::Metrics,
    transport::Requests,
};

/// How long a store may take for its first list before reads that wait for it fail.
pub(crate) const SYNC_LIMIT: Duration = Duration::from_secs(30);

/// Finds the store of a kind; a kind that was not declared before gets its watch when it is first asked for.
#[derive(Clone)]
pub struct Stores {
    inner: Arc<StoresInner>,
}

/// What a read unwinds with when its store is not filled yet; the runner catches it, waits, and repeats the reconcile.
/// An empty answer instead would make controllers create what exists already.
pub(crate) struct StoreNotReady(pub(crate) Arc<dyn AnyStore>);

pub(crate) struct StoresInner {
    requests: Arc<dyn Requests>,
    namespace: Option<String>,
    randomness: SharedRandomness,
    metrics: Arc<Metrics>,
    warmth: Arc<Warmth>,
    typed: RwLock<BTreeMap<(KindId, TypeId), Arc<dyn AnyStore>>>,
    /// Stores of kinds met at run time.
    foreign: RwLock<BTreeMap<KindId, Store<DynamicObject>>>,
    run: Mutex<Run>,
}

type Start = Box<dyn FnOnce(CancellationToken, &TaskTracker) + Send>;

/// Feeds that wait for the start, then the means to start more.
#[derive(Default)]
struct Run {
    waiting: Vec<Start>,
    selectors: BTreeMap<KindId, String>,
    trims: BTreeMap<KindId, Vec<Box<dyn Any + Send + Sync>>>,
    started: Option<(CancellationToken, TaskTracker)>,
}

impl Stores {
    pub(crate) fn new(
        requests: Arc<dyn Requests>,
        namespace: Option<String>,
        randomness: SharedRandomness,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self::sharing(requests, namespace, randomness, metrics, Arc::default())
    }

    fn sharing(
        requests: Arc<dyn Requests>,
        namespace: Option<String>,
        randomness: SharedRandomness,
        metrics: Arc<Metrics>,
        warmth: Arc<Warmth>,
    ) -> Self {
        Self {
            inner: Arc::new(StoresInner {
                requests,
                namespace,
                randomness,
                metrics,
                warmth,
                typed: RwLock::default(),
                foreign: RwLock::default(),
                run: Mutex::default(),
            }),
        }
    }

    /// Stores of another API server, for the same process.
    pub(crate) fn beside(&self, requests: Arc<dyn Requests>) -> Self {
        Self::sharing(
            requests,
            None,
            self.inner.randomness.clone(),
            self.inner.metrics.clone(),
            self.inner.warmth.clone(),
        )
    }

    /// The store of a kind, whether it is filled or not.
    pub fn declare<K: Kind>(&self) -> Store<K> {
        let id = (KindId::of::<K>(), TypeId::of::<K>());
        let mut typed = self.inner.typed.write();
        if let Some(found) = typed.get(&id).and_then(|store| downcast::<K>(store)) {
            return found;
        }
        let store = Store::<K>::new(ApiResource::erase::<K>(&()), self.inner.warmth.clone());
        typed.insert(id, Arc::new(store.clone()));
        drop(typed);
        self.feed::<K>(store.clone(), <K::Scope as ScopeOf>::NAMESPACED, None);
        store
    }

    /// The filled store of a kind, for reads in a reconcile or a mapper.
    ///
    /// Should it not be filled yet, the call unwinds to the runner, which repeats the reconcile as soon as it is.
    pub fn get<K: Kind>(&self) -> Store<K> {
        let store = self.declare::<K>();
        if !store.is_synced() {
            resume_unwind(Box::new(StoreNotReady(Arc::new(store))));
        }
        store
    }

    /// The store of a kind, none while it is not filled; for code outside of reconciles.
    pub fn try_get<K: Kind>(&self) -> Option<Store<K>> {
        Some(self.declare::<K>()).filter(Store::is_synced)
    }

    /// The store of a kind met at run time, if a reference led there already.
    pub fn foreign(&self, kind: &KindId) -> Option<Store<DynamicObject>> {
        self.inner.foreign.read().get(kind).cloned()
    }

    /// Opens the store of a foreign kind; its watch ends with `cancel`.
    pub(crate) fn open_foreign(
        &self,
        resource: &ApiResource,
        cancel: CancellationToken,
    ) -> Store<DynamicObject> {
        let store = Store::new(resource.clone(), self.inner.warmth.clone());
        self.inner
            .foreign
            .write()
            .insert(KindId::of_resource(resource), store.clone());
        self.feed(store.clone(), true, Some(cancel));
        store
    }

    pub(crate) fn close_foreign(&self, kind: &KindId) -> Option<Store<DynamicObject>> {
        let store = self.inner.foreign.write().remove(kind)?;
        store.clear_handlers();
        Some(store)
    }

    /// Watches only objects with these labels; to be called before the kind is declared.
    pub(crate) fn select<K: Kind>(&self, label_selector: &str) {
        self.inner
            .run
            .lock()
            .selectors
            .insert(KindId::of::<K>(), label_selector.to_owned());
    }

    /// Shrinks objects as they arrive; to be called before the kind is declared.
    pub(crate) fn trim<K: Kind>(&self, trim: impl Fn(&mut K) + Send + Sync + 'static) {
        let trim: Trim<K> = Arc::new(trim);
        self.inner
            .run
            .lock()
            .trims
            .entry(KindId::of::<K>())
            .or_default()
            .push(Box::new(trim));
    }

    pub(crate) fn index<K: Kind>(&self, name: &str, extract: Extract<K>) {
        self.declare::<K>().add_index(name, extract);
    }

    fn feed<K: Stored>(&self, store: Store<K>, namespaced: bool, own_cancel: Option<CancellationToken>) {
        let inner = &self.inner;
        let mut run = inner.run.lock();
        let kind = KindId::of_resource(store.resource());
        let feed = Feed {
            requests: inner.requests.clone(),
            resource: store.resource().clone(),
            namespace: inner.namespace.clone().filter(|_| namespaced),
            // Selectors spare memory; a watch of metadata alone needs little, and is there to see all objects.
            label_selector: run.selectors.get(&kind).filter(|_| !K::metadata_api()).cloned(),
            trims: run
                .trims
                .get(&kind)
                .into_iter()
                .flatten()
                .filter_map(|trim| trim.downcast_ref::<Trim<K>>().cloned())
                .collect(),
            randomness: inner.randomness.clone(),
            metrics: inner.metrics.clone(),
        };
        let start = move |cancel: CancellationToken, tasks: &TaskTracker| {
            let cancel = own_cancel.unwrap_or(cancel);
            tasks.spawn(feed.run(store, cancel));
        };
        match &run.started {
            Some((cancel, tasks)) => start(cancel.clone(), tasks),
            None => run.waiting.push(Box::new(start)),
        }
    }

    /// Starts all watches, and from now on each further one at once.
    pub(crate) fn start(&self, cancel: &CancellationToken, tasks: &TaskTracker) {
        let waiting = {
            let mut run = self.inner.run.lock();
            run.started = Some((cancel.clone(), tasks.clone()));
            std::mem::take(&mut run.waiting)
        };
        for start in waiting {
            start(cancel.clone(), tasks);
        }
    }

    /// All typed stores, in the order of their kinds.
    pub(crate) fn all(&self) -> Vec<Arc<dyn AnyStore>> {
        self.inner.typed.read().values().cloned().collect()
    }

    /// Every store of a kind, typed or foreign.
    pub(crate) fn of_kind(&self, kind: &KindId) -> Vec<Arc<dyn AnyStore>> {
        let mut found: Vec<Arc<dyn AnyStore>> = self
            .inner
            .typed
            .read()
            .iter()
            .filter(|((id, _), _)| id == kind)
            .map(|(_, store)| store.clone())
            .collect();
        if let Some(store) = self.foreign(kind) {
            found.push(Arc::new(store));
        }
        found
    }

    /// Whether the watch of a kind shows an object with this key and these labels: it may be restricted to a namespace
    /// or by a label. Selectors that are more than one label are taken to show it.
    pub(crate) fn shows(&self, kind: &KindId, key: &Key, labels: Option<&serde_json::Value>) -> bool {
        let here = self
            .inner
            .namespace
            .as_ref()
            .is_none_or(|only| key.scope().is_none_or(|scope| scope == only));
        here && match self.inner.run.lock().selectors.get(kind) {
            Some(selector) => match selector.split_once('=') {
                Some((label, value)) => labels
                    .and_then(|labels| labels.get(label))
                    .is_some_and(|found| found == value),
                None => {
                    selector.contains([',', ' ', '!'])
                        || labels.is_some_and(|labels| labels.get(selector).is_some())
                }
            },
            None => true,
        }
    }

    /// Drops what handlers hold, so that the process part of a manager can be freed after its end.
    pub(crate) fn clear(&self) {
        for store in self.all() {
            store.clear();
        }
        for store in std::mem::take(&mut *self.inner.foreign.write()).into_values() {
            store.clear_handlers();
        }
    }

    pub(crate) fn downgrade(&self) -> Weak<StoresInner> {
        Arc::downgrade(&self.inner)
    }

    pub(crate) fn upgrade(weak: &Weak<StoresInner>) -> Option<Self> {
        weak.upgrade().map(|inner| Self { inner })
    }
}

fn downcast<K: Kind>(store: &Arc<dyn AnyStore>) -> Option<Store<K>> {
    store.as_any().downcast_ref::<Store<K>>().cloned()
}

/// What can be asked of a store without knowing its kind.
pub(crate) trait AnyStore: Send + Sync {
    fn kind(&self) -> &KindId;
    fn is_synced(&self) -> bool;
    /// True if the store is at least as new as `version`, which was given to this object.
    fn has_seen(&self, key: &Key, version: u64) -> bool;
    /// True if the store holds the object with this uid.
    fn holds(&self, key: &Key, uid: &str) -> bool;
    fn wait_synced(&self, limit: Duration) -> BoxFuture<'_, Result<(), Error>>;
    fn wait_seen<'a>(
        &'a self,
        seen: &'a (dyn Fn(&dyn AnyStore) -> bool + Sync),
        limit: Duration,
    ) -> BoxFuture<'a, bool>;
    fn clear(&self);
    fn as_any(&self) -> &dyn Any;
}

impl<K: Stored> AnyStore for Store<K> {
    fn kind(&self) -> &KindId {
        &self.0.kind
    }

    fn is_synced(&self) -> bool {
        Store::is_synced(self)
    }

    fn has_seen(&self, key: &Key, version: u64) -> bool {
        let state = self.0.state.read();
        // Versions are given in one order to all objects of a kind, and the watch keeps that order.
        state.latest >= version || state.objects.get(key).is_some_and(|slot| slot.version >= version)
    }

    fn holds(&self, key: &Key, uid: &str) -> bool {
        self.get(key)
            .is_some_and(|object| object.meta().uid.as_deref() == Some(uid))
    }

    fn wait_synced(&self, limit: Duration) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(self.wait_for_sync(limit))
    }

    fn wait_seen<'a>(
        &'a self,
        seen: &'a (dyn Fn(&dyn AnyStore) -> bool + Sync),
        limit: Duration,
    ) -> BoxFuture<'a, bool> {
        Box::pin(self.wait_until(limit, move |store| seen(store)))
    }

    fn clear(&self) {
        self.clear_handlers();
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
