//! What a manager is made of, with defaults for production.

use std::{collections::BTreeMap, sync::Arc};

use capi_api::secrets;
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
/// Certificates that a bootstrap provider made for a cluster without a control plane object have the same owner and stay.
fn forget_user_data(secret: &mut Secret) {
    let mut owners = secret.metadata.owner_references.iter().flatten();
    if owners.any(|owner| owner.api_version.starts_with("bootstrap.cluster.x-k8s.io/"))
        && let Some(data) = &mut secret.data
    {
        data.remove(secrets::VALUE_KEY);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn of_what_a_bootstrap_provider_makes_only_user_data_is_forgotten() {
        let bootstrap = "bootstrap.cluster.x-k8s.io/v1beta2";
        for (owner, kind, key, kept) in [
            (bootstrap, "KubeadmConfig", "value", false),
            (bootstrap, "SomebodysConfig", "value", false),
            (bootstrap, "KubeadmConfig", "format", true),
            (bootstrap, "KubeadmConfig", "tls.crt", true),
            (bootstrap, "KubeadmConfig", "tls.key", true),
            // A kubeconfig.
            (
                "controlplane.cluster.x-k8s.io/v1beta2",
                "KubeadmControlPlane",
                "value",
                true,
            ),
            ("cluster.x-k8s.io/v1beta2", "Cluster", "value", true),
        ] {
            let mut secret: Secret = serde_json::from_value(json!({
                "metadata": { "name": "s", "ownerReferences": [
                    { "apiVersion": owner, "kind": kind, "name": "o", "uid": "u" }] },
                "data": { key: "eA==" },
            }))
            .unwrap();
            forget_user_data(&mut secret);
            let found = secret.data.unwrap_or_default().contains_key(key);
            assert_eq!(found, kept, "{key} of {kind}");
        }
        let mut alone = Secret {
            data: Some([("value".to_owned(), Default::default())].into()),
            ..Secret::default()
        };
        forget_user_data(&mut alone);
        assert!(alone.data.unwrap().contains_key("value"), "without an owner");
    }
}
