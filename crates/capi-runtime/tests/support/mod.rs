//! What the tests share: an API server on simulated time, with the definitions of Cluster API and of a foreign kind,
//! and managers that run on it.
#![allow(dead_code)]

use std::{collections::BTreeMap, future::Future, sync::Arc, time::Duration};

use capi_runtime::{Builder, Context, Failure, Key, Manager, Next, Reconciler};
use embedded_apiserver::{Audit, AuditEvent, Server};
use futures::future::BoxFuture;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams},
};
use parking_lot::Mutex;
use seams::{SeededRandomness, SimulatedClock};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

pub struct World {
    pub server: Server,
    pub client: Client,
    pub requests: Arc<Requests>,
    pub seed: u64,
}

/// Every request of managers, as `verb path code body-hash`.
#[derive(Default)]
pub struct Requests(Mutex<Vec<(String, bool)>>);

impl Audit for Requests {
    fn observe(&self, event: &AuditEvent) {
        if event.user_agent == "manager" {
            let line = format!(
                "{} {} {} {}",
                event.verb,
                event.path,
                event.code,
                &event.body_hash()[..8]
            );
            self.0.lock().push((line, event.is_write()));
        }
    }
}

impl Requests {
    pub fn all(&self) -> Vec<String> {
        self.0.lock().iter().map(|(line, _)| line.clone()).collect()
    }

    pub fn writes(&self) -> Vec<String> {
        self.0
            .lock()
            .iter()
            .filter(|(_, write)| *write)
            .map(|(line, _)| line.clone())
            .collect()
    }

    pub fn clear(&self) {
        self.0.lock().clear();
    }
}

pub fn clock() -> Arc<SimulatedClock> {
    Arc::new(SimulatedClock::starting_at(
        "2026-01-01T00:00:00Z".parse().unwrap(),
    ))
}

pub async fn world() -> World {
    seeded_world(1).await
}

pub async fn seeded_world(seed: u64) -> World {
    let requests = Arc::new(Requests::default());
    let server = Server::builder()
        .clock(clock())
        .randomness(Arc::new(SeededRandomness::new(seed)))
        .audit(requests.clone())
        .build()
        .await
        .unwrap();
    let world = World {
        client: server.client_as("test"),
        server,
        requests,
        seed,
    };
    for shipped in capi_api::crd::crds().unwrap() {
        let name = shipped.definition.metadata.name.as_deref().unwrap();
        if ["clusters.cluster.x-k8s.io", "machines.cluster.x-k8s.io"].contains(&name) {
            world.define(shipped.definition).await;
        }
    }
    world
}

impl World {
    pub fn builder(&self) -> Builder {
        self.builder_for(self.server.client_as("manager"))
    }

    pub fn builder_for(&self, client: Client) -> Builder {
        Manager::builder(client)
            .name("test-manager")
            .clock(clock())
            .randomness(Arc::new(SeededRandomness::new(self.seed)))
            .keys(Arc::new(cluster_pki::PooledKeys::new()))
    }

    pub async fn define(&self, definition: CustomResourceDefinition) {
        let api: Api<CustomResourceDefinition> = Api::all(self.client.clone());
        api.create(&PostParams::default(), &definition).await.unwrap();
    }

    /// Installs the foreign kind `Widget` in versions v1 and v2, with these contract labels.
    pub async fn define_widgets(&self, labels: Value) {
        self.define(serde_json::from_value(widgets(labels)).unwrap())
            .await;
    }

    pub async fn create<K>(&self, object: Value) -> K
    where
        K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
        K: serde::de::DeserializeOwned + serde::Serialize + Clone + std::fmt::Debug,
    {
        let object: K = serde_json::from_value(object).unwrap();
        let namespace = object
            .meta()
            .namespace
            .clone()
            .unwrap_or_else(|| "default".into());
        let api: Api<K> = Api::namespaced(self.client.clone(), &namespace);
        api.create(&PostParams::default(), &object).await.unwrap()
    }

    pub fn dynamic(&self, api_version: &str, kind: &str) -> Api<DynamicObject> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        Api::namespaced_with(self.client.clone(), "default", &resource)
    }

    pub async fn merge(&self, api_version: &str, kind: &str, name: &str, patch: Value) {
        let patch = Patch::Merge(patch);
        self.dynamic(api_version, kind)
            .patch(name, &PatchParams::default(), &patch)
            .await
            .unwrap();
    }
}

pub fn widgets(labels: Value) -> Value {
    let version = |name: &str, storage: bool| {
        json!({
            "name": name, "served": true, "storage": storage, "subresources": {"status": {}},
            "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
        })
    };
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.dev", "labels": labels},
        "spec": {
            "group": "example.dev", "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget"},
            "versions": [version("v1", false), version("v2", true)],
        },
    })
}

pub fn config_map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "default", "name": name}})
}

pub fn machine(name: &str, cluster: &str) -> Value {
    json!({
        "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Machine",
        "metadata": {
            "namespace": "default", "name": name, "labels": {"cluster.x-k8s.io/cluster-name": cluster},
        },
        "spec": {
            "clusterName": cluster, "bootstrap": {"dataSecretName": "x"},
            "infrastructureRef": {"apiGroup": "example.dev", "kind": "Widget", "name": name},
        },
    })
}

pub fn cluster(name: &str) -> Value {
    json!({
        "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster",
        "metadata": {"namespace": "default", "name": name},
        "spec": {"controlPlaneEndpoint": {"host": "example.dev", "port": 6443}},
    })
}

type Work = Box<dyn for<'a> Fn(&'a Context, &'a Key) -> BoxFuture<'a, Result<Next, Failure>> + Send + Sync>;

/// A reconciler from a closure, that counts its calls.
pub struct Probe {
    work: Work,
    pub calls: Arc<Mutex<Vec<String>>>,
}

impl Probe {
    pub fn new(
        work: impl for<'a> Fn(&'a Context, &'a Key) -> BoxFuture<'a, Result<Next, Failure>>
        + Send
        + Sync
        + 'static,
    ) -> (Self, Arc<Mutex<Vec<String>>>) {
        let calls = Arc::new(Mutex::new(Vec::new()));
        (
            Self {
                work: Box::new(work),
                calls: calls.clone(),
            },
            calls,
        )
    }

    pub fn idle() -> (Self, Arc<Mutex<Vec<String>>>) {
        Self::new(|_, _| Box::pin(async { Ok(Next::Done) }))
    }
}

#[async_trait::async_trait]
impl Reconciler for Probe {
    async fn reconcile(&self, ctx: &Context, key: &Key) -> Result<Next, Failure> {
        self.calls.lock().push(key.name.clone());
        (self.work)(ctx, key).await
    }
}

pub struct Running {
    shutdown: CancellationToken,
    task: tokio::task::JoinHandle<Result<(), capi_runtime::Error>>,
}

impl Running {
    pub async fn start(manager: Manager) -> Self {
        let shutdown = CancellationToken::new();
        let ready = manager.readiness();
        let task = tokio::spawn(manager.run(shutdown.clone()));
        eventually("the manager is ready", || ready.is_ready()).await;
        Self { shutdown, task }
    }

    pub async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap().unwrap();
    }
}

/// Waits (simulated time) until a condition holds.
pub async fn eventually(what: &str, condition: impl Fn() -> bool) {
    eventually_async(what, || std::future::ready(condition())).await;
}

pub async fn eventually_async<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) {
    for _ in 0..6000 {
        if condition().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("not within two minutes: {what}");
}

pub async fn settle() {
    tokio::time::sleep(Duration::from_secs(5)).await;
}

pub fn counts(calls: &Mutex<Vec<String>>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for call in calls.lock().iter() {
        *counts.entry(call.clone()).or_default() += 1;
    }
    counts
}
