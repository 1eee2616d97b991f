//! A management and a workload cluster in this process on simulated time, the core provider between them, and the
//! smallest providers that fulfil the contracts: a machine boots in 1 s, its node is there 1 s later.
#![allow(dead_code, clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

pub mod gate;
pub mod provider;

use std::{future::Future, sync::Arc, time::Duration};

use async_trait::async_trait;
use capi_runtime::{Key, Manager, WorkloadConnection, WorkloadConnector, workload::ConnectError};
use embedded_apiserver::{Audit, AuditEvent, MemoryStorage, Server};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client, Resource,
    api::{ApiResource, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams, PostParams},
};
use parking_lot::Mutex;
use seams::{SeededRandomness, SimulatedClock};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use self::gate::Gate;

/// The kinds of the small providers: group and kind.
pub const FOREIGN: [(&str, &str); 6] = [
    ("infrastructure.example.com", "FakeCluster"),
    ("infrastructure.example.com", "FakeMachine"),
    ("infrastructure.example.com", "FakeMachineTemplate"),
    ("bootstrap.example.com", "FakeConfig"),
    ("bootstrap.example.com", "FakeConfigTemplate"),
    ("controlplane.example.com", "FakeControlPlane"),
];

/// Requests of the manager that write, as `verb resource/name[/subresource] code`, and all requests.
#[derive(Default)]
pub struct Requests {
    writes: Mutex<Vec<String>>,
    all: Mutex<Vec<String>>,
}

impl Audit for Requests {
    fn observe(&self, event: &AuditEvent) {
        if event.user_agent != "manager" {
            return;
        }
        let hash = event.body_hash();
        self.all.lock().push(format!(
            "{} {} {} {}",
            event.verb,
            event.path,
            event.code,
            &hash[..8]
        ));
        if event.is_write() {
            let slash = if event.subresource.is_empty() { "" } else { "/" };
            let what = format!("{}/{}{slash}{}", event.resource, event.name, event.subresource);
            self.writes
                .lock()
                .push(format!("{} {what} {}", event.verb, event.code));
        }
    }
}

impl Requests {
    /// The writes so far, and forgets them.
    pub fn take_writes(&self) -> Vec<String> {
        std::mem::take(&mut *self.writes.lock())
    }

    pub fn all(&self) -> Vec<String> {
        self.all.lock().clone()
    }
}

pub struct World {
    pub management: Server,
    pub workload: Server,
    pub client: Client,
    pub requests: Arc<Requests>,
    clock: Arc<SimulatedClock>,
    seed: u64,
    provider: CancellationToken,
    manager: Option<Running>,
}

struct Running {
    shutdown: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

struct Reach(Client);

#[async_trait]
impl WorkloadConnector for Reach {
    async fn connect(&self, _: &Key, _: &str) -> Result<WorkloadConnection, ConnectError> {
        Ok(WorkloadConnection {
            client: self.0.clone(),
            upgrades: self.0.clone(),
        })
    }
}

impl World {
    /// Both clusters with all providers at work.
    pub async fn start(seed: u64) -> Self {
        let mut world = Self::without_manager(seed).await;
        world.run_manager(&Gate::default());
        world
    }

    /// Both clusters and the small providers, but not the core provider.
    pub async fn without_manager(seed: u64) -> Self {
        if std::env::var_os("LOG").is_some() {
            capi_runtime::cli::init_logs(4, false);
        }
        let clock = Arc::new(SimulatedClock::starting_at(
            "2026-01-01T00:00:00Z".parse().unwrap(),
        ));
        let requests = Arc::new(Requests::default());
        let server = |seed, audit: Arc<dyn Audit>| {
            let randomness = Arc::new(SeededRandomness::new(seed));
            Server::builder()
                .clock(clock.clone())
                .randomness(randomness)
                .storage(MemoryStorage::new())
                .audit(audit)
                .build()
        };
        let management = server(seed, requests.clone()).await.unwrap();
        let workload = server(seed + 1, Arc::new(Requests::default())).await.unwrap();
        let world = Self {
            client: management.client_as("test"),
            management,
            workload,
            requests,
            clock,
            seed,
            provider: CancellationToken::new(),
            manager: None,
        };
        let definitions: Api<CustomResourceDefinition> = Api::all(world.client.clone());
        for shipped in capi_api::crd::crds().unwrap() {
            let kind = shipped.definition.spec.names.kind.as_str();
            if [
                "Cluster",
                "Machine",
                "MachineSet",
                "MachineDeployment",
                "MachinePool",
                "MachineDrainRule",
                "MachineHealthCheck",
                "ClusterResourceSet",
                "ClusterResourceSetBinding",
            ]
            .contains(&kind)
            {
                definitions
                    .create(&PostParams::default(), &shipped.definition)
                    .await
                    .unwrap();
            }
        }
        for (group, kind) in FOREIGN {
            let definition = serde_json::from_value(definition(group, kind)).unwrap();
            definitions
                .create(&PostParams::default(), &definition)
                .await
                .unwrap();
        }
        provider::spawn(
            world.management.client_as("provider"),
            world.workload.client_as("kubelet"),
            world.provider.clone(),
        );
        world
    }

    /// Starts the core provider behind `gate`.
    pub fn run_manager(&mut self, gate: &Gate) {
        let mut manager = Manager::builder(gate.client(&self.management, "manager"))
            .name("capi-controller-manager")
            .clock(self.clock.clone())
            .randomness(Arc::new(SeededRandomness::new(self.seed)))
            .keys(Arc::new(cluster_pki::PooledKeys::new()))
            .workload_connector(Arc::new(Reach(gate.client(&self.workload, "manager"))))
            .build()
            .unwrap();
        capi_core::register(&mut manager);
        let shutdown = CancellationToken::new();
        let stop = shutdown.clone();
        let task = tokio::spawn(async move { drop(manager.run(stop).await) });
        self.manager = Some(Running { shutdown, task });
    }

    /// Takes away a core provider whose gate is closed: from outside it has crashed already.
    pub async fn remove_manager(&mut self) {
        if let Some(running) = self.manager.take() {
            running.shutdown.cancel();
            running.task.await.unwrap();
        }
    }

    /// The simulated time.
    pub fn now(&self) -> jiff::Timestamp {
        seams::Clock::now(&*self.clock)
    }

    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), "default")
    }

    pub fn foreign(&self, kind: &str) -> Api<DynamicObject> {
        foreign_api(self.client.clone(), kind)
    }

    pub async fn create<K: Object>(&self, object: Value) -> K {
        let object: K = serde_json::from_value(object).unwrap();
        self.api::<K>()
            .create(&PostParams::default(), &object)
            .await
            .unwrap()
    }

    pub async fn create_foreign(&self, kind: &str, name: &str, spec: Value) {
        let (group, _) = FOREIGN.iter().find(|(_, k)| *k == kind).unwrap();
        let object = json!({ "apiVersion": format!("{group}/v1"), "kind": kind,
            "metadata": { "name": name, "namespace": "default" }, "spec": spec });
        let object: DynamicObject = serde_json::from_value(object).unwrap();
        self.foreign(kind)
            .create(&PostParams::default(), &object)
            .await
            .unwrap();
    }

    pub async fn patch<K: Object>(&self, name: &str, patch: Value) {
        self.api::<K>()
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .unwrap();
    }

    pub async fn get<K: Object>(&self, name: &str) -> K {
        self.api::<K>().get(name).await.unwrap()
    }

    pub async fn list<K: Object>(&self) -> Vec<K> {
        self.api::<K>().list(&ListParams::default()).await.unwrap().items
    }

    /// Cluster `c` with the small providers, and MachineDeployment `md` with so many replicas.
    pub async fn apply_manifest(&self, replicas: i32) {
        self.create_foreign("FakeCluster", "c", json!({})).await;
        self.create_foreign("FakeControlPlane", "c", json!({ "version": "v1.35.0" }))
            .await;
        self.create_foreign(
            "FakeMachineTemplate",
            "t",
            json!({ "template": { "spec": { "size": "small" } } }),
        )
        .await;
        self.create_foreign("FakeConfigTemplate", "t", json!({ "template": { "spec": {} } }))
            .await;
        self.create::<capi_api::core::v1beta2::Cluster>(json!({
            "metadata": { "name": "c", "namespace": "default" },
            "spec": {
                "infrastructureRef": { "apiGroup": "infrastructure.example.com", "kind": "FakeCluster", "name": "c" },
                "controlPlaneRef": { "apiGroup": "controlplane.example.com", "kind": "FakeControlPlane", "name": "c" },
            },
        }))
        .await;
        self.create::<capi_api::core::v1beta2::MachineDeployment>(json!({
            "metadata": { "name": "md", "namespace": "default" },
            "spec": {
                "clusterName": "c", "replicas": replicas, "selector": {},
                "template": {
                    "metadata": { "labels": { "node-role.kubernetes.io/worker": "" } },
                    "spec": {
                        "clusterName": "c", "version": "v1.35.0",
                        "bootstrap": { "configRef": { "apiGroup": "bootstrap.example.com", "kind": "FakeConfigTemplate", "name": "t" } },
                        "infrastructureRef": { "apiGroup": "infrastructure.example.com", "kind": "FakeMachineTemplate", "name": "t" },
                    },
                },
            },
        }))
        .await;
    }

    /// Whether so many Machines are available and no other exists.
    pub async fn has_machines(&self, count: i32) -> bool {
        let deployment: capi_api::core::v1beta2::MachineDeployment = self.get("md").await;
        let status = deployment.status.unwrap_or_default();
        let counters = [
            status.replicas,
            status.ready_replicas,
            status.available_replicas,
            status.up_to_date_replicas,
        ];
        counters.iter().all(|c| *c == Some(count))
            && self.list::<capi_api::core::v1beta2::Machine>().await.len() == count as usize
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.provider.cancel();
        if let Some(running) = &self.manager {
            running.shutdown.cancel();
        }
        self.management.shutdown();
        self.workload.shutdown();
    }
}

/// What the helpers need of a kind.
pub trait Object:
    Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
    + DeserializeOwned
    + Serialize
    + Clone
    + std::fmt::Debug
{
}

impl<K> Object for K where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + DeserializeOwned
        + Serialize
        + Clone
        + std::fmt::Debug
{
}

pub fn foreign_api(client: Client, kind: &str) -> Api<DynamicObject> {
    let (group, _) = FOREIGN.iter().find(|(_, k)| *k == kind).unwrap();
    let resource = ApiResource::from_gvk_with_plural(
        &GroupVersionKind::gvk(group, "v1", kind),
        &format!("{}s", kind.to_lowercase()),
    );
    Api::namespaced_with(client, "default", &resource)
}

fn definition(group: &str, kind: &str) -> Value {
    let plural = format!("{}s", kind.to_lowercase());
    json!({
        "metadata": { "name": format!("{plural}.{group}"), "labels": { "cluster.x-k8s.io/v1beta2": "v1" } },
        "spec": {
            "group": group, "scope": "Namespaced",
            "names": { "plural": plural, "kind": kind, "singular": kind.to_lowercase(), "listKind": format!("{kind}List") },
            "versions": [{ "name": "v1", "served": true, "storage": true, "subresources": { "status": {} },
                "schema": { "openAPIV3Schema": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } } }],
        },
    })
}

/// Waits (simulated time) until a condition holds.
pub async fn eventually<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) {
    for _ in 0..1200 {
        if condition().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("not within two minutes: {what}");
}

/// After which writes a manager is cut off: every `step`th, all of them with `SIM_CRASH=all`.
pub fn crash_points(writes: usize, step: usize) -> impl Iterator<Item = usize> {
    let all = std::env::var("SIM_CRASH").is_ok_and(|mode| mode == "all");
    let (first, step) = if all { (1, 1) } else { (2, step) };
    (first..=writes).step_by(step)
}
