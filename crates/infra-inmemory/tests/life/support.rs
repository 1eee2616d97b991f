//! A management cluster with one Cluster in it, and a hand that plays the other providers.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use capi_api::core::v1beta2::{Cluster, Machine};
use capi_runtime::{Key, Manager};
use cluster_pki::{
    AdminKubeconfig, CertificateAuthority, CertificateInfo, KeyAlgorithm, Kubeconfig, PooledKeys, SharedKeys,
};
use embedded_apiserver::{Audit, AuditEvent, Server};
use infra_inmemory::{
    World,
    api::{DevCluster, DevMachine},
};
use k8s_openapi::{
    ByteString, api::core::v1::Secret,
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use seams::{SeededRandomness, SharedClock, SharedRandomness, SimulatedClock};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

pub const NAMESPACE: &str = "default";
pub const VERSION: &str = "v1.35.0";

/// Counts what managers write.
#[derive(Default)]
struct Writes(AtomicUsize);

impl Audit for Writes {
    fn observe(&self, event: &AuditEvent) {
        if event.is_write() && event.user_agent == "manager" {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

pub struct Bench {
    pub clock: SharedClock,
    pub randomness: SharedRandomness,
    pub keys: SharedKeys,
    pub world: World,
    pub client: Client,
    server: Server,
    writes: Arc<Writes>,
    manager: Option<(CancellationToken, tokio::task::JoinHandle<()>)>,
    authorities: BTreeMap<&'static str, CertificateAuthority>,
}

/// A world in this process, on a clock that follows paused time.
pub fn simulated_world() -> (World, SharedClock) {
    let clock: SharedClock = Arc::new(SimulatedClock::starting_at(
        "2031-01-01T00:00:00Z".parse().unwrap(),
    ));
    let world = World::simulated(
        clock.clone(),
        Arc::new(SeededRandomness::new(7)),
        Arc::new(PooledKeys::new()),
    );
    (world, clock)
}

impl Bench {
    pub async fn new(world: World, clock: SharedClock) -> Self {
        let keys: SharedKeys = Arc::new(PooledKeys::new());
        let writes = Arc::new(Writes::default());
        let server = Server::builder()
            .clock(clock.clone())
            .randomness(Arc::new(SeededRandomness::new(1)))
            .audit(writes.clone())
            .build()
            .await
            .unwrap();
        let client = server.client_as("test");
        let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
        let shipped = capi_api::crd::crds()
            .unwrap()
            .into_iter()
            .chain(infra_inmemory::crds().unwrap());
        for one in shipped {
            let kind = one.definition.spec.names.kind.as_str();
            if ["Cluster", "Machine", "DevCluster", "DevMachine"].contains(&kind) {
                definitions
                    .create(&PostParams::default(), &one.definition)
                    .await
                    .unwrap();
            }
        }
        let authority =
            || CertificateAuthority::for_cluster(&*keys, KeyAlgorithm::Rsa2048, clock.now(), 3650).unwrap();
        let authorities = BTreeMap::from([
            ("ca", authority()),
            ("etcd", authority()),
            ("stranger", authority()),
        ]);
        let mut bench = Self {
            randomness: Arc::new(SeededRandomness::new(2)),
            keys,
            world,
            client,
            server,
            writes,
            manager: None,
            authorities,
            clock,
        };
        bench.start();
        bench
    }

    /// Starts the controllers; `LOG=1` shows what they log.
    pub fn start(&mut self) {
        if std::env::var_os("LOG").is_some() {
            capi_runtime::cli::init_logs(4, false);
        }
        let mut builder = Manager::builder(self.server.client_as("manager"))
            .clock(self.clock.clone())
            .randomness(Arc::new(SeededRandomness::new(3)))
            .keys(self.keys.clone());
        if let Some(connector) = self.world.connector() {
            builder = builder.workload_connector(connector);
        }
        let mut manager = builder.build().unwrap();
        infra_inmemory::register(&mut manager, self.world.clone());
        let stop = CancellationToken::new();
        let task = tokio::spawn({
            let stop = stop.clone();
            async move { manager.run(stop).await.unwrap() }
        });
        self.manager = Some((stop, task));
    }

    /// Stops the controllers.
    pub async fn stop(&mut self) {
        if let Some((stop, task)) = self.manager.take() {
            stop.cancel();
            task.await.unwrap();
        }
    }

    pub fn writes(&self) -> usize {
        self.writes.0.load(Ordering::Relaxed)
    }

    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }

    pub async fn create<K>(&self, object: Value) -> K
    where
        K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + Serialize
            + DeserializeOwned
            + std::fmt::Debug,
    {
        let object: K = serde_json::from_value(object).unwrap();
        self.api::<K>()
            .create(&PostParams::default(), &object)
            .await
            .unwrap()
    }

    /// Waits until the object is as wanted, at most a simulated minute; `None` stands for its absence.
    pub async fn until<K>(&self, name: &str, wanted: impl Fn(Option<&K>) -> bool) -> Option<K>
    where
        K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + DeserializeOwned
            + std::fmt::Debug,
    {
        for _ in 0..1200 {
            let found = self.api::<K>().get_opt(name).await.unwrap();
            if wanted(found.as_ref()) {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!(
            "{name} did not become as wanted: {:#?}",
            self.api::<K>().get_opt(name).await
        );
    }

    pub async fn delete_and_wait<K>(&self, name: &str)
    where
        K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + DeserializeOwned
            + std::fmt::Debug,
    {
        self.api::<K>()
            .delete(name, &DeleteParams::default())
            .await
            .unwrap();
        self.until::<K>(name, |found| found.is_none()).await;
    }

    pub fn cluster(&self) -> Key {
        Key::new(NAMESPACE, "c1")
    }

    /// A Cluster with its DevCluster, provisioned.
    pub async fn make_cluster(&self) -> DevCluster {
        let cluster: Cluster = self
            .create(json!({
                "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster",
                "metadata": { "name": "c1" },
                "spec": { "infrastructureRef": { "apiGroup": "infrastructure.cluster.x-k8s.io", "kind": "DevCluster", "name": "c1" } },
            }))
            .await;
        self.create::<DevCluster>(json!({
            "apiVersion": "infrastructure.cluster.x-k8s.io/v1beta2", "kind": "DevCluster",
            "metadata": { "name": "c1", "ownerReferences": [owner(&cluster)], "labels": { "cluster.x-k8s.io/cluster-name": "c1" } },
            "spec": { "backend": { "inMemory": {} } },
        }))
        .await;
        let provisioned = |found: Option<&DevCluster>| {
            found.and_then(|d| d.status.as_ref()?.initialization.as_ref()?.provisioned) == Some(true)
        };
        let dev_cluster = self.until::<DevCluster>("c1", provisioned).await.unwrap();
        let status = json!({ "status": { "initialization": { "infrastructureProvisioned": true } } });
        self.api::<Cluster>()
            .patch_status("c1", &PatchParams::default(), &Patch::Merge(status))
            .await
            .unwrap();
        for (purpose, authority) in [("ca", "ca"), ("etcd", "etcd")] {
            let pair = self.authorities[authority].to_pem_pair();
            self.secret(
                &format!("c1-{purpose}"),
                &[("tls.crt", &pair.certificate), ("tls.key", &pair.key)],
            )
            .await;
        }
        dev_cluster
    }

    pub async fn secret(&self, name: &str, data: &[(&str, &str)]) {
        let data: BTreeMap<String, ByteString> = data
            .iter()
            .map(|(key, text)| ((*key).to_owned(), ByteString(text.as_bytes().to_vec())))
            .collect();
        self.create::<Secret>(json!({
            "metadata": { "name": name, "labels": { "cluster.x-k8s.io/cluster-name": "c1" } },
            "type": "cluster.x-k8s.io/secret", "data": data,
        }))
        .await;
    }

    /// A Machine with its DevMachine and bootstrap data; upstream's delays without jitter.
    pub async fn make_machine(&self, name: &str, control_plane: bool, data: &str) -> Machine {
        self.make_machine_with(name, control_plane, data, VERSION, json!({}))
            .await
    }

    /// The same with a version and with annotations on the DevMachine.
    pub async fn make_machine_with(
        &self,
        name: &str,
        control_plane: bool,
        data: &str,
        version: &str,
        annotations: Value,
    ) -> Machine {
        self.secret(
            &format!("{name}-data"),
            &[("value", data), ("format", "cloud-config")],
        )
        .await;
        let mut labels = json!({ "cluster.x-k8s.io/cluster-name": "c1" });
        if control_plane {
            labels["cluster.x-k8s.io/control-plane"] = json!("");
        }
        let machine: Machine = self
            .create(json!({
                "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Machine",
                "metadata": { "name": name, "labels": labels },
                "spec": {
                    "clusterName": "c1", "version": version,
                    "bootstrap": { "dataSecretName": format!("{name}-data") },
                    "infrastructureRef": { "apiGroup": "infrastructure.cluster.x-k8s.io", "kind": "DevMachine", "name": name },
                },
            }))
            .await;
        let delay = |text: &str| json!({ "provisioning": { "startupDuration": text } });
        self.create::<DevMachine>(json!({
            "apiVersion": "infrastructure.cluster.x-k8s.io/v1beta2", "kind": "DevMachine",
            "metadata": { "name": name, "labels": labels, "annotations": annotations, "ownerReferences": [owner(&machine)] },
            "spec": { "backend": { "inMemory": {
                "vm": delay("10s"), "node": delay("2s"), "apiServer": delay("2s"), "etcd": delay("2s"),
            } } },
        }))
        .await;
        machine
    }

    /// Bootstrap data as the bootstrap provider renders it, with this cluster's certificates.
    pub fn init_data(&self) -> String {
        self.with_authorities(include_str!("../../testdata/init.cloud-config"))
    }

    pub fn join_data(&self) -> String {
        self.with_authorities(include_str!("../../testdata/join-worker.cloud-config"))
    }

    pub fn join_control_plane_data(&self) -> String {
        self.with_authorities(include_str!("../../testdata/join-control-plane.cloud-config"))
    }

    /// Sets a switch (or another annotation), or takes it away.
    pub async fn annotate<K>(&self, name: &str, key: &str, value: Option<&str>)
    where
        K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + DeserializeOwned
            + std::fmt::Debug,
    {
        let patch = json!({ "metadata": { "annotations": { key: value } } });
        self.api::<K>()
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .unwrap();
    }

    fn with_authorities(&self, sample: &str) -> String {
        let endpoint = self.world.cluster(&self.cluster()).unwrap().endpoint.to_string();
        let hash = CertificateInfo::from_pem(self.authorities["ca"].certificate_pem())
            .unwrap()
            .public_key_hash;
        let mut text = sample
            .replace("127.0.0.1:20000", &endpoint)
            .replace(&format!("sha256:{}1", "0".repeat(63)), &hash);
        for (name, marker) in [("ca", "ca"), ("etcd", "etcd")] {
            let pair = self.authorities[name].to_pem_pair();
            for (what, pem) in [("certificate", pair.certificate), ("key", pair.key)] {
                let block: Vec<_> = pem
                    .trim_end()
                    .lines()
                    .map(|line| format!("      {line}"))
                    .collect();
                text = text.replace(
                    &format!("      {marker} {what}\n"),
                    &format!("{}\n", block.join("\n")),
                );
            }
        }
        text
    }

    /// The bootstrap token of the samples, in the workload cluster.
    pub async fn make_token(&self) {
        let secrets: Api<Secret> = Api::namespaced(
            self.world.server(&self.cluster()).unwrap().client(),
            "kube-system",
        );
        let expiration = (self.clock.now() + jiff::SignedDuration::from_mins(15)).to_string();
        let secret = json!({
            "metadata": { "name": "bootstrap-token-abcdef" }, "type": "bootstrap.kubernetes.io/token",
            "stringData": {
                "token-id": "abcdef", "token-secret": "0123456789abcdef", "expiration": expiration,
                "usage-bootstrap-authentication": "true", "usage-bootstrap-signing": "true",
            },
        });
        secrets
            .create(&PostParams::default(), &serde_json::from_value(secret).unwrap())
            .await
            .unwrap();
    }

    /// The administrator's kubeconfig; signed by a stranger's authority if `authority` says so.
    pub fn kubeconfig(&self, authority: &str) -> String {
        let endpoint = self.world.cluster(&self.cluster()).unwrap().endpoint;
        let server = Kubeconfig::server_url(&endpoint.host, endpoint.port);
        let request = AdminKubeconfig {
            cluster_name: "c1",
            server: &server,
            algorithm: KeyAlgorithm::EcdsaP256,
            now: self.clock.now(),
        };
        let issuer = &self.authorities[authority];
        let kubeconfig = Kubeconfig::admin(issuer, &request, &*self.keys, &*self.randomness).unwrap();
        // The server itself is trusted in any case: what is tested is whether it trusts the client.
        let view = self.world.cluster(&self.cluster()).unwrap();
        let trusted = view.client_authority.unwrap_or_default();
        Kubeconfig {
            certificate_authority: Some(trusted),
            ..kubeconfig
        }
        .to_yaml()
        .unwrap()
    }

    pub fn authority(&self, name: &str) -> &CertificateAuthority {
        &self.authorities[name]
    }
}

fn owner<K: Resource<DynamicType = ()>>(object: &K) -> Value {
    json!({
        "apiVersion": K::api_version(&()), "kind": K::kind(&()), "name": object.name_any(),
        "uid": object.meta().uid, "controller": true,
    })
}

/// Whether a condition of the object has this status; also its message.
pub fn condition(object: Option<&DevMachine>, type_: &str) -> Option<(String, String, String)> {
    let conditions = &object?.status.as_ref()?.conditions;
    let found = conditions.iter().find(|condition| condition.type_ == type_)?;
    Some((found.status.clone(), found.reason.clone(), found.message.clone()))
}

pub fn is_ready(object: Option<&DevMachine>) -> bool {
    condition(object, "Ready").is_some_and(|(status, ..)| status == "True")
}
