//! The manager: everything one process needs, and the order in which it starts and stops.
//!
//! Stores first; once all are filled, the controllers; on shutdown the controllers first, then what they used.

mod builder;

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

pub use builder::Builder;
use cluster_pki::SharedKeys;
use futures::future::BoxFuture;
use kube::Client;
use parking_lot::Mutex;
use seams::{SharedClock, SharedRandomness};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    context::{ApplyCache, Context},
    controller::{AnyController, Controller},
    error::Error,
    events::Recorder,
    external::{self, Definition, Externals},
    key::{Key, Kind},
    metrics::Metrics,
    ring::{Ring, leases::Keeper},
    store::Stores,
    webhook::{
        self, Admission, Defaulter, Validator, WebhookServer,
        conversion::{Conversion, Conversions, Definitions},
    },
    workload::Workloads,
};

/// How long the first lists may take before the manager gives up.
const FIRST_SYNC_LIMIT: Duration = Duration::from_secs(5 * 60);

/// What all parts of a manager share.
pub(crate) struct Shared {
    pub(crate) client: Client,
    pub(crate) clock: SharedClock,
    pub(crate) randomness: SharedRandomness,
    pub(crate) keys: SharedKeys,
    pub(crate) stores: Stores,
    pub(crate) externals: Arc<Externals>,
    pub(crate) workloads: Arc<Workloads>,
    pub(crate) events: Arc<Recorder>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) ring: Ring,
    pub(crate) applies: ApplyCache,
    pub(crate) watch_filter: Option<String>,
    pub(crate) field_manager: String,
    tasks: TaskTracker,
    cancel: CancellationToken,
}

impl Shared {
    /// Is cancelled when the manager ends.
    pub(crate) fn cancelled(&self) -> CancellationToken {
        self.cancel.clone()
    }

    /// Runs something beside the reconciles; it ends with the manager.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let cancel = self.cancel.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                biased;
                () = cancel.cancelled() => {}
                () = task => {}
            }
        });
    }
}

/// Whether the manager does its work: its stores are filled and its controllers run.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// True from the start of the controllers to the shutdown.
    pub fn is_ready(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

type Background = Box<dyn FnOnce(Context) -> BoxFuture<'static, ()> + Send>;

/// Runs the controllers of one process over one set of stores.
pub struct Manager {
    shared: Arc<Shared>,
    admission: Admission,
    conversions: Conversions,
    controllers: Vec<Box<dyn AnyController>>,
    background: Vec<(String, Background)>,
    webhook_server: Option<WebhookServer>,
    keeper: Option<Keeper>,
    features: BTreeMap<String, bool>,
    ready: Readiness,
}

impl Manager {
    /// Starts to build a manager that talks to the management cluster through `client`.
    pub fn builder(client: Client) -> Builder {
        Builder::new(client)
    }

    /// Adds a controller.
    pub fn register<K: Kind>(&mut self, controller: Controller<K>) {
        controller.declare(&self.shared.stores);
        self.controllers.push(Box::new(controller));
    }

    /// Adds an index to the store of a kind; `Store::by_index` reads it.
    pub fn index<K: Kind>(
        &mut self,
        name: &str,
        extract: impl Fn(&K) -> Vec<String> + Send + Sync + 'static,
    ) {
        self.shared.stores.index::<K>(name, Arc::new(extract));
    }

    /// Adds an index to the store of a kind in every workload cluster (the kind is watched there from the connection
    /// on).
    pub fn index_workload<K: Kind>(
        &mut self,
        name: &str,
        extract: impl Fn(&K) -> Vec<String> + Send + Sync + 'static,
    ) {
        self.shared.workloads.index::<K>(name, Arc::new(extract));
    }

    /// Removes from each object of a kind, as it arrives, what no controller reads. Call it before controllers of that
    /// kind are registered.
    pub fn trim<K: Kind>(&mut self, trim: impl Fn(&mut K) + Send + Sync + 'static) {
        self.shared.stores.trim::<K>(trim);
    }

    /// Adds admission of a kind: a defaulter and a validator.
    pub fn webhook<K: Kind>(&mut self, defaulter: impl Defaulter<K>, validator: impl Validator<K>) {
        self.admission.set_defaulter::<K>(defaulter);
        self.admission.set_validator::<K>(validator);
    }

    /// Adds a defaulter of a kind.
    pub fn defaulter<K: Kind>(&mut self, defaulter: impl Defaulter<K>) {
        self.admission.set_defaulter::<K>(defaulter);
    }

    /// Adds a validator of a kind.
    pub fn validator<K: Kind>(&mut self, validator: impl Validator<K>) {
        self.admission.set_validator::<K>(validator);
    }

    /// Adds the conversions between the versions of a kind.
    pub fn conversion(&mut self, conversion: Conversion) {
        self.conversions.add(conversion);
    }

    /// Adds the conversions of kinds that have tables; `definitions` makes the definitions of the kinds.
    pub fn conversion_tables(
        &mut self,
        kinds: &'static [capi_api::conversion::Kind],
        definitions: Definitions,
    ) {
        self.conversions.add_tables(kinds, definitions);
    }

    /// The conversions as functions, for an API server in the same process.
    pub fn conversions(&self) -> Conversions {
        self.conversions.clone()
    }

    /// Serves the registered admission and conversions over HTTPS.
    pub fn serve_webhooks(&mut self, server: WebhookServer) {
        self.webhook_server = Some(server);
    }

    /// Runs something beside the controllers, from when the stores are filled until the shutdown.
    pub fn background<F>(&mut self, name: &str, task: impl FnOnce(Context) -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.background
            .push((name.to_owned(), Box::new(move |ctx| Box::pin(task(ctx)))));
    }

    /// Changes how many objects the controller of this name reconciles at a time; false if there is none.
    pub fn set_concurrency(&mut self, controller: &str, concurrency: usize) -> bool {
        let found = self
            .controllers
            .iter_mut()
            .find(|candidate| candidate.name() == controller);
        found
            .map(|controller| controller.set_concurrency(concurrency))
            .is_some()
    }

    /// The names of the controllers, in the order of registration.
    pub fn controllers(&self) -> Vec<String> {
        self.controllers
            .iter()
            .map(|controller| controller.name().to_owned())
            .collect()
    }

    /// Whether the user switched a feature on or off; `default` if neither.
    pub fn feature(&self, name: &str, default: bool) -> bool {
        self.features.get(name).copied().unwrap_or(default)
    }

    /// The client of the management cluster.
    pub fn client(&self) -> Client {
        self.shared.client.clone()
    }

    /// TLS with a certificate that nobody else vouches for, for pages that operators read.
    pub(crate) fn self_signed_tls(&self) -> Result<TlsAcceptor, Error> {
        webhook::self_signed(&self.shared)
    }

    /// Admission as a function, for an API server in the same process.
    pub fn admission(&self) -> Admission {
        self.admission.clone()
    }

    /// The stores.
    pub fn stores(&self) -> &Stores {
        &self.shared.stores
    }

    /// The metrics.
    pub fn metrics(&self) -> Arc<Metrics> {
        self.shared.metrics.clone()
    }

    /// Tells later whether the manager is ready.
    pub fn readiness(&self) -> Readiness {
        self.ready.clone()
    }

    /// The members that share the work.
    pub fn ring(&self) -> Ring {
        self.shared.ring.clone()
    }

    /// A context outside of any reconcile, for tests and tools.
    pub fn context(&self, name: &str) -> Context {
        Context::new(self.shared.clone(), name.into(), Key::default(), None)
    }

    /// References of older versions name the version of what they refer to, as its definition says.
    fn look_up_versions(&self) {
        if self.conversions.definitions().is_empty() {
            return;
        }
        let definitions = self.shared.stores.declare::<Definition>();
        self.conversions.look_up_versions(Arc::new(move |group, kind| {
            external::served_version(&definitions, group, kind)
        }));
    }

    /// Runs until `shutdown`, then lets reconciles in flight end.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), Error> {
        self.look_up_versions();
        let shared = self.shared.clone();
        let (leave, keeper) = (CancellationToken::new(), self.keeper.take());
        let members = TaskTracker::new();
        let ready = self.ready.clone();
        let controllers = TaskTracker::new();
        let failure: Arc<Mutex<Option<Error>>> = Arc::default();
        tokio::select! {
            biased;
            () = shutdown.cancelled() => {}
            result = self.start(&controllers, &shutdown, &failure) => {
                match result {
                    Ok(()) => {
                        if let Some(keeper) = keeper {
                            members.spawn(keeper.run(leave.clone()));
                        }
                        ready.0.store(true, Ordering::Relaxed);
                        shutdown.cancelled().await;
                    }
                    Err(error) => *failure.lock() = Some(error),
                }
            }
        }
        ready.0.store(false, Ordering::Relaxed);
        shutdown.cancel();
        controllers.close();
        controllers.wait().await;
        // Nothing is worked on any more: others may take over at once.
        leave.cancel();
        members.close();
        members.wait().await;
        shared.workloads.close();
        shared.externals.close();
        shared.cancel.cancel();
        shared.tasks.close();
        shared.tasks.wait().await;
        shared.stores.clear();
        let failure = failure.lock().take();
        failure.map_or(Ok(()), Err)
    }

    async fn start(
        self,
        controllers: &TaskTracker,
        shutdown: &CancellationToken,
        failure: &Arc<Mutex<Option<Error>>>,
    ) -> Result<(), Error> {
        let shared = self.shared;
        shared.tasks.spawn(
            shared
                .events
                .clone()
                .run(shared.client.clone(), shared.cancel.clone()),
        );
        if let Some(server) = self.webhook_server {
            let (admission, conversions) = (self.admission, self.conversions);
            let (shared, shutdown) = (shared.clone(), shutdown.clone());
            let failure = failure.clone();
            // Not cut off at the end: it still has to answer those that have not heard of it.
            shared.tasks.clone().spawn(async move {
                if let Err(error) = server.run(admission, conversions, shared).await {
                    tracing::error!(%error, "the webhook server ended");
                    *failure.lock() = Some(error);
                    shutdown.cancel();
                }
            });
        }
        if self
            .controllers
            .iter()
            .any(|controller| controller.uses_workloads())
        {
            Workloads::declare(&shared.stores);
        }
        shared.stores.start(&shared.cancel, &shared.tasks);
        for store in shared.stores.all() {
            store.wait_synced(FIRST_SYNC_LIMIT).await?;
        }
        let mut uses_workloads = false;
        let mut runners = Vec::new();
        for controller in self.controllers {
            uses_workloads |= controller.uses_workloads();
            let runner = controller.into_runner(&shared.stores);
            runner.subscribe(&shared);
            runners.push(runner);
        }
        if uses_workloads {
            shared.workloads.start(&shared.cancel, &shared.tasks);
        }
        for runner in runners {
            controllers.spawn(runner.run(shared.clone(), shutdown.clone()));
        }
        for (name, task) in self.background {
            let ctx = Context::new(shared.clone(), name.as_str().into(), Key::default(), None);
            shared.spawn(task(ctx));
        }
        Ok(())
    }
}
