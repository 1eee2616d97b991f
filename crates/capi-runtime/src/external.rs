//! Objects of kinds that only a reference names: infrastructure, bootstrap and control-plane objects of any provider.
//!
//! The first reference to a kind finds out which of its versions implements the contract (labels of its
//! CustomResourceDefinition), starts a watch and subscribes the controller that asked. When the definition comes, goes
//! or changes its labels, the watch is replaced and everybody concerned is woken.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use capi_api::{
    contract::{ContractVersion, choose},
    labels::CONTRACT_GROUP,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, PartialObjectMeta};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::{
    error::Error,
    key::{Key, KindId},
    queue::{Priority, WorkQueue},
    store::{Delta, SYNC_LIMIT, Store, Stores},
};

/// CustomResourceDefinitions are watched as metadata only: their schemas are large and not needed.
pub(crate) type Definition = PartialObjectMeta<CustomResourceDefinition>;

/// Where a reference leads.
#[derive(Clone, Debug)]
pub struct External {
    /// The contract that the object's version implements; decides where its fields are.
    pub contract: ContractVersion,
    /// The resource in that version.
    pub resource: ApiResource,
    /// The object, none if it does not exist.
    pub object: Option<Arc<DynamicObject>>,
}

/// A kind met at run time.
#[derive(Clone)]
pub struct ForeignKind {
    /// The contract that its version implements.
    pub contract: ContractVersion,
    /// The resource in that version.
    pub resource: ApiResource,
    /// Its store, filled.
    pub store: Store<DynamicObject>,
}

/// Whom to wake when a foreign object changes.
pub(crate) type ReferencedMapper = Arc<dyn Fn(&DynamicObject, &Stores) -> Vec<Key> + Send + Sync>;

/// A controller that follows references.
#[derive(Clone)]
pub(crate) struct Subscriber {
    pub(crate) map: ReferencedMapper,
    pub(crate) queue: Arc<WorkQueue>,
}

/// The reconcile that asks.
#[derive(Clone)]
pub(crate) struct Waiter {
    pub(crate) controller: Arc<str>,
    pub(crate) key: Key,
    pub(crate) queue: Arc<WorkQueue>,
}

pub(crate) struct Externals {
    stores: Stores,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By controller.
    subscribers: BTreeMap<Arc<str>, Subscriber>,
    open: BTreeMap<KindId, Open>,
    /// By CustomResourceDefinition.
    waiting: BTreeMap<String, Waiters>,
    watching_definitions: bool,
}

/// By controller and object, the queue to wake them through.
type Waiters = BTreeMap<(Arc<str>, Key), Arc<WorkQueue>>;

/// Who waits for which object to appear. Behind a lock of its own: stores call while they hold theirs.
type Missing = Arc<Mutex<BTreeMap<Key, Waiters>>>;

struct Open {
    kind: ForeignKind,
    cancel: CancellationToken,
    subscribed: BTreeSet<Arc<str>>,
    missing: Missing,
}

impl Externals {
    pub(crate) fn new(stores: Stores) -> Arc<Self> {
        Arc::new(Self {
            stores,
            state: Mutex::default(),
        })
    }

    pub(crate) fn subscribe(&self, controller: Arc<str>, subscriber: Subscriber) {
        self.state.lock().subscribers.insert(controller, subscriber);
    }

    /// Ends all watches.
    pub(crate) fn close(&self) {
        let state = std::mem::take(&mut *self.state.lock());
        for (id, open) in state.open {
            open.cancel.cancel();
            self.stores.close_foreign(&id);
        }
    }

    pub(crate) async fn resolve(
        self: &Arc<Self>,
        kind: &KindId,
        name: &str,
        waiter: Option<&Waiter>,
    ) -> Result<ForeignKind, Error> {
        let definitions = self.stores.declare::<Definition>();
        if !self.state.lock().watching_definitions {
            self.watch_definitions(&definitions);
        }
        definitions.wait_for_sync(SYNC_LIMIT).await?;
        let found = self.find(kind, name, waiter, &definitions)?;
        found.store.wait_for_sync(SYNC_LIMIT).await?;
        Ok(found)
    }

    /// The object of a kind. Who does not find it is woken when it appears: nothing in it need name him, as owners are
    /// set only by those who have found it.
    pub(crate) fn object(
        &self,
        id: &KindId,
        kind: &ForeignKind,
        key: &Key,
        waiter: Option<&Waiter>,
    ) -> Option<Arc<DynamicObject>> {
        let found = kind.store.get(key);
        let (None, Some(waiter)) = (&found, waiter) else {
            return found;
        };
        if let Some(missing) = self.state.lock().open.get(id).map(|open| open.missing.clone()) {
            let who = (waiter.controller.clone(), waiter.key.clone());
            let mut missing = missing.lock();
            missing
                .entry(key.clone())
                .or_default()
                .insert(who, waiter.queue.clone());
        }
        // It may have come in between.
        kind.store.get(key)
    }

    fn watch_definitions(self: &Arc<Self>, definitions: &Store<Definition>) {
        if std::mem::replace(&mut self.state.lock().watching_definitions, true) {
            return;
        }
        let externals = Arc::downgrade(self);
        definitions.on_change(false, move |delta| {
            if let Some(externals) = externals.upgrade() {
                externals.definition_changed(delta);
            }
        });
    }

    /// Looks the kind up and opens its watch. Under one lock, so that a definition that arrives meanwhile either is
    /// found here or finds the waiter.
    fn find(
        &self,
        kind: &KindId,
        name: &str,
        waiter: Option<&Waiter>,
        definitions: &Store<Definition>,
    ) -> Result<ForeignKind, Error> {
        let mut state = self.state.lock();
        let crd = kind.crd_name();
        let object = format!("{} {name}", kind.kind);
        let definition = definitions.get(&Key::new("", crd.clone()));
        let chosen = definition.as_deref().map(chosen);
        let (contract, version) = match chosen {
            None => {
                state.wait(&crd, waiter);
                return Err(Error::CrdMissing { object, crd });
            }
            Some(None) => {
                state.wait(&crd, waiter);
                let labels = ContractVersion::COMPATIBLE
                    .iter()
                    .map(|contract| format!("{CONTRACT_GROUP}/{contract}"));
                return Err(Error::ContractMissing {
                    object,
                    labels: labels.collect(),
                    crd,
                });
            }
            Some(Some(chosen)) => chosen,
        };
        let fits = |open: &Open| open.kind.contract == contract && open.kind.resource.version == version;
        if state.open.get(kind).is_some_and(|open| !fits(open)) {
            self.shut(&mut state, kind);
        }
        let open = state.open.entry(kind.clone()).or_insert_with(|| {
            let plural = crd.split('.').next().unwrap_or_default();
            let gvk = GroupVersionKind::gvk(&kind.group, &version, &kind.kind);
            let resource = ApiResource::from_gvk_with_plural(&gvk, plural);
            let cancel = CancellationToken::new();
            let store = self.stores.open_foreign(&resource, cancel.clone());
            let missing = Missing::default();
            let appeared = missing.clone();
            store.on_change(false, move |delta: &Delta<DynamicObject>| {
                if delta.new.is_some() {
                    for ((_, key), queue) in appeared.lock().remove(&delta.key).unwrap_or_default() {
                        queue.add(key, Priority::High);
                    }
                }
            });
            tracing::info!(kind = %kind, %contract, version, "following references to a new kind");
            Open {
                kind: ForeignKind {
                    contract,
                    resource,
                    store,
                },
                cancel,
                subscribed: BTreeSet::new(),
                missing,
            }
        });
        let found = open.kind.clone();
        if let Some(waiter) = waiter
            && open.subscribed.insert(waiter.controller.clone())
            && let Some(subscriber) = state.subscribers.get(&waiter.controller).cloned()
        {
            let stores = self.stores.downgrade();
            found.store.on_change(false, move |delta: &Delta<DynamicObject>| {
                if let Some(stores) = Stores::upgrade(&stores) {
                    subscriber.wake(delta, &stores);
                }
            });
        }
        Ok(found)
    }

    fn definition_changed(&self, delta: &Delta<Definition>) {
        let mut state = self.state.lock();
        for ((_, key), queue) in state.waiting.remove(&delta.key.name).unwrap_or_default() {
            queue.add(key, Priority::High);
        }
        let Some(kind) = state
            .open
            .keys()
            .find(|kind| kind.crd_name() == delta.key.name)
            .cloned()
        else {
            return;
        };
        let now = delta.new.as_deref().and_then(chosen);
        let unchanged = state.open.get(&kind).is_some_and(|open| {
            now.as_ref().is_some_and(|(contract, version)| {
                open.kind.contract == *contract && open.kind.resource.version == *version
            })
        });
        if !unchanged {
            tracing::info!(%kind, "its definition changed; references to it are resolved anew");
            self.shut(&mut state, &kind);
        }
    }

    /// Ends a watch and wakes everybody who used it.
    fn shut(&self, state: &mut State, kind: &KindId) {
        let Some(open) = state.open.remove(kind) else {
            return;
        };
        open.cancel.cancel();
        self.stores.close_foreign(kind);
        for ((_, key), queue) in std::mem::take(&mut *open.missing.lock()).into_values().flatten() {
            queue.add(key, Priority::High);
        }
        for object in open.kind.store.list(None) {
            for controller in &open.subscribed {
                if let Some(subscriber) = state.subscribers.get(controller) {
                    subscriber.wake_for(&object, &self.stores, Priority::High);
                }
            }
        }
    }
}

impl State {
    fn wait(&mut self, crd: &str, waiter: Option<&Waiter>) {
        if let Some(waiter) = waiter {
            let who = (waiter.controller.clone(), waiter.key.clone());
            self.waiting
                .entry(crd.to_owned())
                .or_default()
                .insert(who, waiter.queue.clone());
        }
    }
}

impl Subscriber {
    fn wake(&self, delta: &Delta<DynamicObject>, stores: &Stores) {
        let priority = if delta.initial {
            Priority::Low
        } else {
            Priority::High
        };
        for object in [&delta.old, &delta.new].into_iter().flatten() {
            self.wake_for(object, stores, priority);
        }
    }

    fn wake_for(&self, object: &DynamicObject, stores: &Stores, priority: Priority) {
        for key in (self.map)(object, stores) {
            self.queue.add(key, priority);
        }
    }
}

/// The version of a kind that its definition offers for the contract, if the definition is known.
pub(crate) fn served_version(definitions: &Store<Definition>, group: &str, kind: &str) -> Option<String> {
    let name = capi_api::contract::crd_name(group, kind);
    let definition = definitions.get(&Key::new("", name))?;
    chosen(&definition).map(|(_, version)| version)
}

fn chosen(definition: &Definition) -> Option<(ContractVersion, String)> {
    choose(definition.metadata.labels.as_ref()?)
}
