//! A management API server with Cluster API's kinds and a foreign infrastructure kind, one workload cluster (another API
//! server whose etcd pods answer etcd's API), and a manager with this provider. All in one process on simulated time.
#![allow(dead_code, clippy::panic, clippy::unwrap_used, reason = "helpers of tests")]

use std::{collections::BTreeMap, future::Future, io, sync::Arc, time::Duration};

use async_trait::async_trait;
use capi_runtime::{Key, Manager, WorkloadConnection, WorkloadConnector, workload::ConnectError};
use controlplane_kubeadm::{Settings, workload::etcd::PortForwardPlain};
use embedded_apiserver::{Audit, AuditEvent, ByteStream, MemoryStorage, PortForward, Server};
use etcd_api::{Status, messages as etcd};
use k8s_openapi::{
    api::{
        apps::v1::{DaemonSet, Deployment},
        core::v1::{ConfigMap, Node, Pod},
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, Resource,
    api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams},
};
use parking_lot::Mutex;
use seams::{SeededRandomness, SimulatedClock};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

pub struct World {
    pub server: Server,
    pub client: Client,
    pub requests: Arc<Requests>,
    pub workload: Arc<WorkloadCluster>,
    pub manager: Option<Running>,
    pub seed: u64,
}

/// Every request of the manager.
#[derive(Default)]
pub struct Requests {
    lines: Mutex<Vec<(String, bool)>>,
    /// After so many more writes the storage is copied.
    fork: Mutex<Option<(usize, Server)>>,
    forked: Mutex<Option<MemoryStorage>>,
}

impl Audit for Requests {
    fn observe(&self, event: &AuditEvent) {
        if event.user_agent != "manager" {
            return;
        }
        let line = format!(
            "{} {} {} {}",
            event.verb,
            event.path,
            event.code,
            &event.body_hash()[..8]
        );
        self.lines.lock().push((line, event.is_write()));
        let mut fork = self.fork.lock();
        if let Some((left, server)) = fork.as_mut().filter(|_| event.is_write()) {
            *left -= 1;
            if *left == 0 {
                *self.forked.lock() = Some(server.fork());
                *fork = None;
            }
        }
    }
}

impl Requests {
    pub fn all(&self) -> Vec<String> {
        self.lines.lock().iter().map(|(line, _)| line.clone()).collect()
    }

    pub fn writes(&self) -> Vec<String> {
        self.lines
            .lock()
            .iter()
            .filter(|(_, write)| *write)
            .map(|(line, _)| line.clone())
            .collect()
    }

    /// Copies the storage right after so many more writes: what a crash at that point leaves behind.
    pub fn fork_after(&self, writes: usize, server: &Server) {
        *self.fork.lock() = Some((writes, server.clone()));
    }

    pub fn forked(&self) -> Option<MemoryStorage> {
        self.forked.lock().take()
    }

    pub fn clear(&self) {
        self.lines.lock().clear();
    }
}

pub fn clock() -> Arc<SimulatedClock> {
    Arc::new(SimulatedClock::starting_at(
        "2026-01-01T00:00:00Z".parse().unwrap(),
    ))
}

/// One workload cluster; it cannot be reached before it is switched on.
pub struct WorkloadCluster {
    pub server: Server,
    pub etcd: Arc<Etcd>,
    up: Mutex<bool>,
}

#[async_trait]
impl WorkloadConnector for Reach {
    async fn connect(&self, _: &Key, kubeconfig: &str) -> Result<WorkloadConnection, ConnectError> {
        cluster_pki::Kubeconfig::parse(kubeconfig)?;
        if !*self.0.up.lock() {
            return Err("connection refused".into());
        }
        let client = self.0.server.client_as("manager");
        Ok(WorkloadConnection {
            client: client.clone(),
            upgrades: client,
        })
    }
}

struct Reach(Arc<WorkloadCluster>);

/// etcd of a workload cluster: members by name.
#[derive(Default)]
pub struct Etcd {
    pub members: Mutex<BTreeMap<String, u64>>,
    pub leader: Mutex<u64>,
    pub calls: Mutex<Vec<String>>,
    /// Members whose process does not run.
    pub down: Mutex<std::collections::BTreeSet<String>>,
}

struct MemberOf(Arc<Etcd>, String);

#[async_trait]
impl etcd_api::Member for MemberOf {
    async fn status(&self, _: etcd::StatusRequest) -> Result<etcd::StatusResponse, Status> {
        Ok(etcd::StatusResponse {
            leader: *self.0.leader.lock(),
            ..Default::default()
        })
    }

    async fn member_list(&self, _: etcd::MemberListRequest) -> Result<etcd::MemberListResponse, Status> {
        let member = |(name, id): (&String, &u64)| etcd::Member {
            id: *id,
            name: name.clone(),
            ..Default::default()
        };
        let members = self.0.members.lock().iter().map(member).collect();
        Ok(etcd::MemberListResponse {
            members,
            ..Default::default()
        })
    }

    async fn alarm(&self, _: etcd::AlarmRequest) -> Result<etcd::AlarmResponse, Status> {
        Ok(etcd::AlarmResponse::default())
    }

    async fn member_remove(
        &self,
        request: etcd::MemberRemoveRequest,
    ) -> Result<etcd::MemberRemoveResponse, Status> {
        self.0.calls.lock().push(format!("remove {}", request.id));
        self.0.members.lock().retain(|_, id| *id != request.id);
        let mut leader = self.0.leader.lock();
        if *leader == request.id {
            *leader = self.0.members.lock().values().next().copied().unwrap_or(0);
        }
        Ok(etcd::MemberRemoveResponse::default())
    }

    async fn move_leader(
        &self,
        request: etcd::MoveLeaderRequest,
    ) -> Result<etcd::MoveLeaderResponse, Status> {
        self.0
            .calls
            .lock()
            .push(format!("move {} by {}", request.target_id, self.1));
        *self.0.leader.lock() = request.target_id;
        Ok(etcd::MoveLeaderResponse::default())
    }
}

struct Pods(Arc<Etcd>);

#[async_trait]
impl PortForward for Pods {
    async fn connect(&self, namespace: &str, pod: &str, port: u16) -> io::Result<Box<dyn ByteStream>> {
        let node = pod
            .strip_prefix("etcd-")
            .filter(|_| namespace == "kube-system" && port == 2379);
        let node = node
            .filter(|node| self.0.members.lock().contains_key(*node) && !self.0.down.lock().contains(*node));
        let Some(node) = node else {
            return Err(io::Error::other("connection refused"));
        };
        let (near, far) = tokio::io::duplex(4096);
        tokio::spawn(etcd_api::serve(
            far,
            Arc::new(MemberOf(self.0.clone(), node.to_owned())),
        ));
        Ok(Box::new(near))
    }
}

impl WorkloadCluster {
    async fn new() -> Arc<Self> {
        let etcd = Arc::new(Etcd::default());
        let server = Server::builder()
            .clock(clock())
            .port_forward(Arc::new(Pods(etcd.clone())))
            .build()
            .await
            .unwrap();
        Arc::new(Self {
            server,
            etcd,
            up: Mutex::new(false),
        })
    }

    /// What `kubeadm init` leaves behind.
    pub async fn initialize(&self) {
        let map = json!({ "metadata": { "name": "kubeadm-config", "namespace": "kube-system" },
            "data": { "ClusterConfiguration": "" } });
        let api: Api<ConfigMap> = Api::namespaced(self.server.client_as("kubeadm"), "kube-system");
        api.create(&PostParams::default(), &serde_json::from_value(map).unwrap())
            .await
            .unwrap();
        *self.up.lock() = true;
    }

    /// kubeadm's add-ons of this version.
    pub async fn add_addons(&self, version: &str, coredns: &str) {
        let client = self.server.client_as("kubeadm");
        let spec = |name: &str, image: String| {
            json!({ "selector": { "matchLabels": { "a": name } }, "template": {
                "metadata": { "labels": { "a": name } },
                "spec": { "containers": [{ "name": name, "image": image }],
                    "volumes": [{ "name": "config-volume", "configMap": { "name": name,
                        "items": [{ "key": "Corefile", "path": "Corefile" }] } }] } } })
        };
        let sets: Api<DaemonSet> = Api::namespaced(client.clone(), "kube-system");
        let set = json!({ "metadata": { "name": "kube-proxy" },
            "spec": spec("kube-proxy", format!("registry.k8s.io/kube-proxy:{version}")) });
        sets.create(&PostParams::default(), &serde_json::from_value(set).unwrap())
            .await
            .unwrap();
        let deployments: Api<Deployment> = Api::namespaced(client.clone(), "kube-system");
        let deployment = json!({ "metadata": { "name": "coredns" },
            "spec": spec("coredns", format!("registry.k8s.io/coredns/coredns:{coredns}")) });
        deployments
            .create(
                &PostParams::default(),
                &serde_json::from_value(deployment).unwrap(),
            )
            .await
            .unwrap();
        let maps: Api<ConfigMap> = Api::namespaced(client, "kube-system");
        let map = json!({ "metadata": { "name": "coredns" },
            "data": { "Corefile": ".:53 {\n    kubernetes cluster.local {\n        endpoint a b\n    }\n}\n" } });
        maps.create(&PostParams::default(), &serde_json::from_value(map).unwrap())
            .await
            .unwrap();
    }

    /// A node goes with its pods, as when a machine is deleted.
    pub async fn remove_node(&self, name: &str) {
        let client = self.server.client_as("kubelet");
        let pods: Api<Pod> = Api::namespaced(client.clone(), "kube-system");
        for component in [
            "kube-apiserver",
            "kube-controller-manager",
            "kube-scheduler",
            "etcd",
        ] {
            let force = kube::api::DeleteParams::default().grace_period(0);
            pods.delete(&format!("{component}-{name}"), &force).await.unwrap();
        }
        let nodes: Api<Node> = Api::all(client);
        nodes
            .delete(name, &kube::api::DeleteParams::default())
            .await
            .unwrap();
    }

    /// An object of `kube-system` as JSON.
    pub async fn system<K>(&self, name: &str) -> Value
    where
        K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
            + DeserializeOwned
            + Serialize
            + Clone
            + std::fmt::Debug,
    {
        let api: Api<K> = Api::namespaced(self.server.client_as("test"), "kube-system");
        serde_json::to_value(api.get(name).await.unwrap()).unwrap()
    }

    /// A control plane node with its static pods and its etcd member.
    pub async fn add_node(&self, name: &str) {
        let client = self.server.client_as("kubelet");
        let node = json!({
            "metadata": { "name": name, "labels": { "node-role.kubernetes.io/control-plane": "" } },
            "spec": { "providerID": format!("inmemory:///{name}"),
                "taints": [{ "key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule" }] },
            "status": { "conditions": [{ "type": "Ready", "status": "True" }] },
        });
        let nodes: Api<Node> = Api::all(client.clone());
        let node: Node = serde_json::from_value(node).unwrap();
        nodes.create(&PostParams::default(), &node).await.unwrap();
        nodes
            .patch_status(
                name,
                &PatchParams::default(),
                &Patch::Merge(json!({ "status": node.status })),
            )
            .await
            .unwrap();
        let pods: Api<Pod> = Api::namespaced(client, "kube-system");
        for component in [
            "kube-apiserver",
            "kube-controller-manager",
            "kube-scheduler",
            "etcd",
        ] {
            let pod_name = format!("{component}-{name}");
            let pod = json!({
                "metadata": { "name": pod_name, "namespace": "kube-system",
                    "labels": { "component": component, "tier": "control-plane" } },
                "spec": { "nodeName": name, "containers": [{ "name": component, "image": "i" }] },
            });
            pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap())
                .await
                .unwrap();
            let status = json!({ "status": { "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }] } });
            pods.patch_status(&pod_name, &PatchParams::default(), &Patch::Merge(status))
                .await
                .unwrap();
        }
        let id = {
            let mut members = self.etcd.members.lock();
            let id = members.values().max().copied().unwrap_or(0) + 1;
            members.insert(name.to_owned(), id);
            id
        };
        let mut leader = self.etcd.leader.lock();
        if *leader == 0 {
            *leader = id;
        }
    }
}

pub async fn world(seed: u64) -> World {
    if std::env::var_os("LOG").is_some() {
        capi_runtime::cli::init_logs(4, false);
    }
    let storage = MemoryStorage::new();
    on(storage, seed, WorkloadCluster::new().await, true).await
}

/// A world on existing storage.
pub async fn on(storage: MemoryStorage, seed: u64, workload: Arc<WorkloadCluster>, define: bool) -> World {
    let requests = Arc::new(Requests::default());
    let server = Server::builder()
        .clock(clock())
        .randomness(Arc::new(SeededRandomness::new(seed)))
        .storage(storage)
        .audit(requests.clone())
        .build()
        .await
        .unwrap();
    let mut world = World {
        client: server.client_as("test"),
        server,
        requests,
        workload,
        manager: None,
        seed,
    };
    if define {
        static DEFINITIONS: std::sync::LazyLock<Vec<CustomResourceDefinition>> =
            std::sync::LazyLock::new(|| {
                capi_api::crd::crds()
                    .unwrap()
                    .into_iter()
                    .map(|c| c.definition)
                    .collect()
            });
        let needed = [
            "Cluster",
            "Machine",
            "MachineDeployment",
            "MachinePool",
            "KubeadmConfig",
            "KubeadmControlPlane",
        ];
        for definition in DEFINITIONS
            .iter()
            .filter(|found| needed.contains(&found.spec.names.kind.as_str()))
        {
            world.define(definition.clone()).await;
        }
        for kind in ["DevMachine", "DevMachineTemplate", "DevCluster"] {
            world.define(serde_json::from_value(foreign(kind)).unwrap()).await;
        }
    }
    world.start().await;
    world
}

fn foreign(kind: &str) -> Value {
    let plural = format!("{}s", kind.to_lowercase());
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("{plural}.infrastructure.cluster.x-k8s.io"),
            "labels": { "cluster.x-k8s.io/v1beta2": "v1beta2" } },
        "spec": {
            "group": "infrastructure.cluster.x-k8s.io", "scope": "Namespaced",
            "names": { "plural": plural, "kind": kind, "singular": kind.to_lowercase(), "listKind": format!("{kind}List") },
            "versions": [{ "name": "v1beta2", "served": true, "storage": true, "subresources": { "status": {} },
                "schema": { "openAPIV3Schema": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } } }],
        },
    })
}

impl World {
    pub async fn start(&mut self) {
        let mut manager = Manager::builder(self.server.client_as("manager"))
            .name("capi-kubeadm-control-plane-controller-manager")
            .clock(clock())
            .randomness(Arc::new(SeededRandomness::new(self.seed)))
            .keys(Arc::new(cluster_pki::PooledKeys::new()))
            .workload_connector(Arc::new(Reach(self.workload.clone())))
            .build()
            .unwrap();
        let settings = Settings {
            etcd_dialer: Arc::new(PortForwardPlain),
            ..Settings::default()
        };
        controlplane_kubeadm::register_with(&mut manager, settings);
        self.manager = Some(Running::start(manager).await);
    }

    /// Takes the owner off a Machine, as if its control plane had been deleted without it.
    pub async fn orphan(&self, machine: &str) {
        let api = self.api::<capi_api::core::v1beta2::Machine>();
        let patch = json!({ "metadata": { "ownerReferences": null } });
        api.patch(machine, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .unwrap();
    }

    pub async fn stop(&mut self) {
        if let Some(manager) = self.manager.take() {
            manager.stop().await;
        }
    }

    async fn define(&self, definition: CustomResourceDefinition) {
        let api: Api<CustomResourceDefinition> = Api::all(self.client.clone());
        api.create(&PostParams::default(), &definition).await.unwrap();
    }

    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), "default")
    }

    pub async fn create<K>(&self, object: Value) -> K
    where
        K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
            + DeserializeOwned
            + Serialize
            + Clone
            + std::fmt::Debug,
    {
        let object: K = serde_json::from_value(object).unwrap();
        self.api::<K>()
            .create(&PostParams::default(), &object)
            .await
            .unwrap()
    }

    pub fn foreign(&self, kind: &str) -> Api<DynamicObject> {
        let gvk = GroupVersionKind::gvk("infrastructure.cluster.x-k8s.io", "v1beta2", kind);
        let resource = ApiResource::from_gvk_with_plural(&gvk, &format!("{}s", kind.to_lowercase()));
        Api::namespaced_with(self.client.clone(), "default", &resource)
    }

    /// The whole of an object as JSON.
    pub async fn json<K>(&self, name: &str) -> Value
    where
        K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
            + DeserializeOwned
            + Serialize
            + Clone
            + std::fmt::Debug,
    {
        serde_json::to_value(self.api::<K>().get(name).await.unwrap()).unwrap()
    }

    pub async fn merge<K>(&self, name: &str, patch: Value)
    where
        K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
            + DeserializeOwned
            + Clone
            + std::fmt::Debug,
    {
        self.api::<K>()
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .unwrap();
    }

    pub async fn merge_status<K>(&self, name: &str, status: Value)
    where
        K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
            + DeserializeOwned
            + Clone
            + std::fmt::Debug,
    {
        let patch = Patch::Merge(json!({ "status": status }));
        self.api::<K>()
            .patch_status(name, &PatchParams::default(), &patch)
            .await
            .unwrap();
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
        eventually("the manager is ready", || std::future::ready(ready.is_ready())).await;
        Self { shutdown, task }
    }

    pub async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap().unwrap();
    }
}

/// Waits (simulated time) until a condition holds.
pub async fn eventually<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) {
    for _ in 0..6000 {
        if condition().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("not within two minutes: {what}");
}

/// Longer than statuses are held back.
pub async fn settle() {
    tokio::time::sleep(Duration::from_secs(7)).await;
}
