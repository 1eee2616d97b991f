//! Declaring a controller: what it reconciles and what wakes it.
//!
//! Nothing runs here; see `runner`.

mod runner;
mod waker;

use std::{marker::PhantomData, sync::Arc, time::Duration};

use async_trait::async_trait;
use capi_api::labels::WATCH_FILTER;
use kube::api::DynamicObject;

use runner::Belonging;
pub(crate) use runner::{Primary, Runner};
pub use waker::Waker;

use crate::{
    context::Context,
    error::{Failure, Next},
    external::{ReferencedMapper, Subscriber},
    key::{Key, Kind},
    meta,
    queue::{Pace, Priority, WorkQueue},
    ring::ShardKey,
    store::{Delta, Stores},
    workload::WorkloadWatch,
};

/// Brings one object (and what it stands for) closer to what its spec asks for.
///
/// Level-triggered: it is told which object to look at, never what happened. It may be interrupted after any write and
/// is then called again. If the object does not exist any more it is called once more, to forget what it knows of it.
#[async_trait]
pub trait Reconciler: Send + Sync + 'static {
    /// Looks at the object and acts.
    async fn reconcile(&self, ctx: &Context, key: &Key) -> Result<Next, Failure>;
}

type Declare = Box<dyn Fn(&Stores) + Send + Sync>;
type Wire = Box<dyn FnOnce(&Stores, &Arc<WorkQueue>) + Send>;

/// A controller of objects of kind `K`.
pub struct Controller<K> {
    name: Arc<str>,
    reconciler: Arc<dyn Reconciler>,
    concurrency: usize,
    deadline: Duration,
    pace: Pace,
    declares: Vec<Declare>,
    wires: Vec<Wire>,
    referenced: ReferencedMapper,
    uses_workloads: bool,
    workload_watches: Vec<WorkloadWatch>,
    of_cluster: Option<OfClusterMapper>,
    kind: PhantomData<fn() -> K>,
}

/// Which objects have to do with a cluster.
type OfClusterMapper = Arc<dyn Fn(&Key, &Stores) -> Vec<Key> + Send + Sync>;

impl<K: Kind> Controller<K> {
    /// A controller that is woken by changes of its own objects. The name is used in logs, metrics, events and flags:
    /// the kind in lower case, as upstream has it.
    pub fn new(name: &str, reconciler: impl Reconciler) -> Self {
        Self {
            name: name.into(),
            reconciler: Arc::new(reconciler),
            concurrency: 10,
            deadline: Duration::from_secs(300),
            pace: Pace::default(),
            declares: vec![Box::new(|stores| drop(stores.declare::<K>()))],
            wires: Vec::new(),
            referenced: Arc::new(|object: &DynamicObject, _: &Stores| owners_of_kind::<K>(&object.metadata)),
            uses_workloads: false,
            workload_watches: Vec::new(),
            of_cluster: None,
            kind: PhantomData,
        }
    }

    /// Wakes the objects that `map` names when an object of kind `W` changes; `map` is called with the old and with the
    /// new state, so that former owners learn of it too.
    pub fn watches<W: Kind>(self, map: impl Fn(&W, &Stores) -> Vec<Key> + Send + Sync + 'static) -> Self {
        self.watches_changes::<W>(move |old, new, stores| {
            [old, new]
                .into_iter()
                .flatten()
                .flat_map(|object| map(object, stores))
                .collect()
        })
    }

    /// Like [`Self::watches`], for mappers that compare old and new state and wake nobody when nothing of interest
    /// changed.
    pub fn watches_changes<W: Kind>(
        mut self,
        map: impl Fn(Option<&W>, Option<&W>, &Stores) -> Vec<Key> + Send + Sync + 'static,
    ) -> Self {
        self.declares.push(Box::new(|stores| drop(stores.declare::<W>())));
        self.wires.push(Box::new(move |stores, queue| {
            let (queue, weak) = (queue.clone(), stores.downgrade());
            stores.declare::<W>().on_change(false, move |delta: &Delta<W>| {
                let Some(stores) = Stores::upgrade(&weak) else {
                    return;
                };
                let priority = if delta.initial {
                    Priority::Low
                } else {
                    Priority::High
                };
                for key in map(delta.old.as_deref(), delta.new.as_deref(), &stores) {
                    queue.add(key, priority);
                }
            });
        }));
        self
    }

    /// Wakes the owners of kind `K` of objects of kind `W`.
    pub fn watches_owned<W: Kind>(self) -> Self {
        self.watches::<W>(|owned, _| owners_of_kind::<K>(owned.meta()))
    }

    /// Makes the store of a kind available without being woken by it.
    pub fn reads<W: Kind>(mut self) -> Self {
        self.declares.push(Box::new(|stores| drop(stores.declare::<W>())));
        self
    }

    /// Is woken from outside of the API too.
    pub fn woken_by(mut self, waker: &Waker) -> Self {
        let waker = waker.clone();
        self.wires
            .push(Box::new(move |_, queue| waker.attach(queue.clone())));
        self
    }

    /// Says whom to wake when an object of a kind met at run time changes; without this, its owners of kind `K`.
    pub fn watches_referenced(
        mut self,
        map: impl Fn(&DynamicObject, &Stores) -> Vec<Key> + Send + Sync + 'static,
    ) -> Self {
        self.referenced = Arc::new(map);
        self
    }

    /// Wakes the objects that `map` names when an object of kind `W` changes in a workload cluster, and all objects of
    /// a cluster when the connection to it comes or goes.
    pub fn watches_workload<W: Kind>(
        mut self,
        map: impl Fn(&Key, &W, &Stores) -> Vec<Key> + Send + Sync + 'static,
    ) -> Self {
        let map = Arc::new(map);
        self.workload_watches
            .push(Arc::new(move |cluster, workload, management, queue| {
                let (cluster, queue, map, weak) = (
                    cluster.clone(),
                    queue.clone(),
                    map.clone(),
                    management.downgrade(),
                );
                workload.declare::<W>().on_change(true, move |delta: &Delta<W>| {
                    let Some(stores) = Stores::upgrade(&weak) else {
                        return;
                    };
                    let priority = if delta.initial {
                        Priority::Low
                    } else {
                        Priority::High
                    };
                    for object in [&delta.old, &delta.new].into_iter().flatten() {
                        for key in map(&cluster, object, &stores) {
                            queue.add(key, priority);
                        }
                    }
                });
            }));
        self.connects_workloads()
    }

    /// Uses workload clusters without watching anything there: all objects of a cluster are woken when the connection
    /// to it comes or goes.
    pub fn connects_workloads(mut self) -> Self {
        self.uses_workloads = true;
        self
    }

    /// Like [`Self::connects_workloads`] for kinds without a cluster-name label: `map` says which objects have to do
    /// with a cluster.
    pub fn connects_workloads_by(
        mut self,
        map: impl Fn(&Key, &Stores) -> Vec<Key> + Send + Sync + 'static,
    ) -> Self {
        self.of_cluster = Some(Arc::new(map));
        self.connects_workloads()
    }

    /// How many objects may be reconciled at the same time (10 if not said).
    pub fn concurrency(mut self, concurrency: usize) -> Self {
        self.concurrency = concurrency.max(1);
        self
    }

    /// How long one reconcile may take before it is broken off and counted as failed (5 minutes if not said).
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Other delays and limits than usual.
    pub fn pace(mut self, pace: Pace) -> Self {
        self.pace = pace;
        self
    }
}

/// Keys of the owners of kind `K`, whatever their version.
pub fn owners_of_kind<K: Kind>(meta: &kube::api::ObjectMeta) -> Vec<Key> {
    let namespace = meta.namespace.clone().unwrap_or_default();
    meta.owner_references
        .iter()
        .flatten()
        .filter(|owner| owner.kind == K::kind(&()) && meta::group_of(owner) == K::group(&()))
        .map(|owner| Key::new(namespace.clone(), owner.name.clone()))
        .collect()
}

/// A controller whose kind is no longer of interest.
pub(crate) trait AnyController: Send {
    fn name(&self) -> &str;
    fn uses_workloads(&self) -> bool;
    fn set_concurrency(&mut self, concurrency: usize);
    fn declare(&self, stores: &Stores);
    fn into_runner(self: Box<Self>, stores: &Stores) -> Runner;
}

impl<K: Kind> AnyController for Controller<K> {
    fn name(&self) -> &str {
        &self.name
    }

    fn uses_workloads(&self) -> bool {
        self.uses_workloads
    }

    fn set_concurrency(&mut self, concurrency: usize) {
        self.concurrency = concurrency.max(1);
    }

    fn declare(&self, stores: &Stores) {
        for declare in &self.declares {
            declare(stores);
        }
    }

    /// Attaches the queue to the stores, which are filled by now. Only the own kind is replayed: it names every object.
    fn into_runner(self: Box<Self>, stores: &Stores) -> Runner {
        let queue = Arc::new(WorkQueue::new(self.pace));
        for wire in self.wires {
            wire(stores, &queue);
        }
        let primary = stores.declare::<K>();
        let own = queue.clone();
        primary.on_change(true, move |delta| {
            own.add(
                delta.key.clone(),
                if delta.initial {
                    Priority::Low
                } else {
                    Priority::High
                },
            );
            if delta.new.is_none() {
                own.forget(&delta.key);
            }
        });
        let by_cluster = primary.clone();
        let all = primary.clone();
        let chosen = self.of_cluster;
        let weak = stores.downgrade();
        Runner {
            name: self.name,
            reconciler: self.reconciler,
            concurrency: self.concurrency,
            deadline: self.deadline,
            primary: Primary {
                look: Box::new(move |key| {
                    let object = primary.get(key)?;
                    let meta = object.meta();
                    let filter = meta
                        .labels
                        .as_ref()
                        .and_then(|labels| labels.get(WATCH_FILTER))
                        .cloned();
                    Some(Belonging {
                        shard: ShardKey::of(meta),
                        filter,
                    })
                }),
                keys: Box::new(move || all.keys(None)),
                of_cluster: Arc::new(move |cluster| {
                    if let Some(chosen) = &chosen {
                        return Stores::upgrade(&weak)
                            .map_or_else(Vec::new, |stores| chosen(cluster, &stores));
                    }
                    let mut keys: Vec<Key> = by_cluster
                        .by_cluster(cluster)
                        .iter()
                        .map(|object| Key::of(&**object))
                        .collect();
                    // A Cluster has no cluster-name label of its own.
                    if by_cluster.get(cluster).is_some()
                        && K::kind(&()) == "Cluster"
                        && !keys.contains(cluster)
                    {
                        keys.push(cluster.clone());
                    }
                    keys
                }),
            },
            subscriber: Subscriber {
                map: self.referenced,
                queue: queue.clone(),
            },
            queue,
            uses_workloads: self.uses_workloads,
            workload_watches: self.workload_watches,
        }
    }
}
