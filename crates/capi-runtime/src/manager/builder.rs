//! What a manager is made of, with defaults for production.

use std::{collections::BTreeMap, sync::Arc};

use cluster_pki::{FreshKeys, KeySource, SharedKeys};
use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use seams::{SharedClock, SharedRandomness, SystemClock, SystemRandomness};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Manager, Readiness, Shared};
use crate::{
    context::ApplyCache,
    error::Error,
    events::Recorder,
    external::Externals,
    metrics::Metrics,
    ring::{
        Ring,
        leases::{Keeper, Membership},
    },
    store::Stores,
    webhook::{Admission, conversion::Conversions},
    workload::{HttpConnector, ProbeSettings, WorkloadConnector, Workloads},
};

/// Collects the parts of a [`Manager`].
pub struct Builder {
    client: Client,
    name: String,
    clock: SharedClock,
    randomness: SharedRandomness,
    keys: SharedKeys,
    connector: Arc<dyn WorkloadConnector>,
    probe: ProbeSettings,
    namespace: Option<String>,
    watch_filter: Option<String>,
    ring: Option<Ring>,
    membership: Option<Membership>,
    features: BTreeMap<String, bool>,
}

impl Builder {
    pub(super) fn new(client: Client) -> Self {
        Self {
            client,
            name: "capi-manager".to_owned(),
            clock: Arc::new(SystemClock),
            randomness: Arc::new(SystemRandomness),
            keys: Arc::new(FreshKeys),
            connector: Arc::new(HttpConnector),
            probe: ProbeSettings::default(),
            namespace: None,
            watch_filter: None,
            ring: None,
            membership: None,
            features: BTreeMap::new(),
        }
    }

    /// The name in logs, events and as field manager (the name of the binary).
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Another clock than the machine's.
    pub fn clock(mut self, clock: SharedClock) -> Self {
        self.clock = clock;
        self
    }

    /// Another source of chance than the operating system.
    pub fn randomness(mut self, randomness: SharedRandomness) -> Self {
        self.randomness = randomness;
        self
    }

    /// Another source of private keys than fresh ones.
    pub fn keys(mut self, keys: Arc<dyn KeySource>) -> Self {
        self.keys = keys;
        self
    }

    /// Another way to workload clusters than the network.
    pub fn workload_connector(mut self, connector: Arc<dyn WorkloadConnector>) -> Self {
        self.connector = connector;
        self
    }

    /// Other times for probing workload clusters.
    pub fn probe(mut self, settings: ProbeSettings) -> Self {
        self.probe = settings;
        self
    }

    /// Watches one namespace only.
    pub fn namespace(mut self, namespace: Option<String>) -> Self {
        self.namespace = namespace.filter(|name| !name.is_empty());
        self
    }

    /// Reconciles only objects whose label `cluster.x-k8s.io/watch-filter` has this value.
    pub fn watch_filter(mut self, filter: Option<String>) -> Self {
        self.watch_filter = filter.filter(|value| !value.is_empty());
        self
    }

    /// Shares the work with other replicas.
    pub fn ring(mut self, ring: Ring) -> Self {
        self.ring = Some(ring);
        self
    }

    /// Shares the work with other replicas, which find each other by Leases.
    pub fn replicas(mut self, membership: Membership) -> Self {
        self.membership = Some(membership);
        self
    }

    /// Feature gates that the user set.
    pub fn features(mut self, features: BTreeMap<String, bool>) -> Self {
        self.features = features;
        self
    }

    /// The manager, without controllers yet.
    pub fn build(self) -> Result<Manager, Error> {
        let metrics = Arc::new(Metrics::new()?);
        let keeper = self.membership.map(|membership| {
            let (clock, randomness) = (self.clock.clone(), self.randomness.clone());
            Keeper::new(membership, self.client.clone(), clock, randomness)
        });
        let ring = keeper.as_ref().map(Keeper::ring).or(self.ring);
        let stores = Stores::new(
            Arc::new(self.client.clone()),
            self.namespace,
            self.randomness.clone(),
            metrics.clone(),
        );
        // All other Secrets of a management cluster are nobody's business here.
        stores.select::<Secret>(capi_api::labels::CLUSTER_NAME);
        stores.trim::<Secret>(forget_user_data);
        let workloads = Workloads::new(
            self.connector,
            self.probe,
            self.clock.clone(),
            self.randomness.clone(),
            metrics.clone(),
            stores.clone(),
        );
        let events = Arc::new(Recorder::new(&self.name, self.clock.clone(), metrics.clone()));
        let shared = Shared {
            externals: Externals::new(stores.clone()),
            events,
            workloads,
            stores,
            metrics,
            client: self.client,
            clock: self.clock,
            randomness: self.randomness,
            keys: self.keys,
            ring: ring.unwrap_or_else(|| Ring::alone(self.name.clone())),
            applies: ApplyCache::default(),
            watch_filter: self.watch_filter,
            field_manager: self.name,
            tasks: TaskTracker::new(),
            cancel: CancellationToken::new(),
        };
        let admission = Admission::new(shared.stores.clone(), shared.client.clone(), shared.clock.clone());
        Ok(Manager {
            shared: Arc::new(shared),
            admission,
            conversions: Conversions::default(),
            controllers: Vec::new(),
            background: Vec::new(),
            webhook_server: None,
            keeper,
            features: self.features,
            ready: Readiness::default(),
        })
    }
}

/// User data is large, is read once in the life of a machine, and contains keys: whoever boots the machine reads it live.
fn forget_user_data(secret: &mut Secret) {
    let mut owners = secret.metadata.owner_references.iter().flatten();
    if owners.any(|owner| owner.api_version.starts_with("bootstrap.cluster.x-k8s.io/")) {
        secret.data = None;
    }
}
