//! The provider on the embedded API server, and an OpenStack: the one in this process, or a real one.
//!
//! Both are looked at through their APIs only, so that one scenario judges both.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use capi_runtime::Manager;
use embedded_apiserver::{MemoryStorage, Server};
use infra_openstack::{
    cloud::{
        Call, CloudError, Fault, HttpRequest, HttpResponse, Identity, ReqwestTransports, Service, Session,
        Sessions, Tls, Tools, Transport, Transports,
    },
    fake::{self, FakeCloud},
};
use jiff::Timestamp;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams},
};
use parking_lot::Mutex;
use seams::{SeededRandomness, SharedClock, SharedRandomness, SimulatedClock, SystemClock, SystemRandomness};
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::place::Place;

/// Requests that the provider made: method, path with query, status (0 if there was no answer).
pub type Log = Arc<Mutex<Vec<(String, String, u16)>>>;

/// Writes down what the provider asks for.
struct Recorder {
    inner: Arc<dyn Transports>,
    log: Log,
}

struct Recording {
    inner: Arc<dyn Transport>,
    log: Log,
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Recorder")
    }
}

impl fmt::Debug for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Recording")
    }
}

impl Transports for Recorder {
    fn transport(&self, tls: &Tls) -> Result<Arc<dyn Transport>, CloudError> {
        let inner = self.inner.transport(tls)?;
        let log = self.log.clone();
        Ok(Arc::new(Recording { inner, log }))
    }
}

#[async_trait]
impl Transport for Recording {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, Fault> {
        let (method, url) = (request.method.to_string(), request.url.clone());
        let answer = self.inner.send(request).await;
        let status = answer.as_ref().map_or(0, |answer| answer.status.as_u16());
        if std::env::var_os("SHOW_REQUESTS").is_some() {
            let refusal = answer.as_ref().ok().filter(|_| status >= 400);
            let words = refusal.map(|answer| String::from_utf8_lossy(&answer.body).into_owned());
            eprintln!("{status} {method} {url} {}", words.unwrap_or_default());
        }
        let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
        self.log
            .lock()
            .push((method, format!("{}{query}", url.path()), status));
        answer
    }
}

/// Everything that runs.
pub struct System {
    /// The management API.
    pub client: Client,
    /// Its server.
    pub server: Server,
    /// The name of the cluster; its own for each run.
    pub name: String,
    /// What the OpenStack has.
    pub place: Place,
    /// What the provider asked of it.
    pub log: Log,
    /// A user of the project, to look at what there is.
    pub observer: Arc<Session>,
    administrator: Option<Arc<Session>>,
    fake: Option<FakeCloud>,
}

fn api(client: &Client, kind: &str) -> Api<DynamicObject> {
    let (group, version) = match kind {
        "Secret" => ("", "v1"),
        "Cluster" | "Machine" => ("cluster.x-k8s.io", "v1beta2"),
        "OpenStackServer" | "OpenStackFloatingIPPool" => ("infrastructure.cluster.x-k8s.io", "v1alpha1"),
        "IPAddress" | "IPAddressClaim" => ("ipam.cluster.x-k8s.io", "v1beta2"),
        _ => ("infrastructure.cluster.x-k8s.io", "v1beta2"),
    };
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    Api::namespaced_with(client.clone(), "default", &resource)
}

/// Collections of which nothing may be left: service, path, and what the list is called.
const COLLECTIONS: &[(Service, &str, &str)] = &[
    (Service::Network, "/networks", "networks"),
    (Service::Network, "/subnets", "subnets"),
    (Service::Network, "/routers", "routers"),
    (Service::Network, "/ports", "ports"),
    (Service::Network, "/trunks", "trunks"),
    (Service::Network, "/floatingips", "floatingips"),
    (Service::Network, "/security-groups", "security_groups"),
    (Service::LoadBalancer, "/lbaas/loadbalancers", "loadbalancers"),
    (Service::LoadBalancer, "/lbaas/listeners", "listeners"),
    (Service::LoadBalancer, "/lbaas/pools", "pools"),
    (Service::LoadBalancer, "/lbaas/healthmonitors", "healthmonitors"),
    (Service::Compute, "/servers/detail", "servers"),
    (Service::Compute, "/os-server-groups", "server_groups"),
    (Service::Volume, "/volumes/detail", "volumes"),
];

fn session(place: &Place, tools: Tools, cloud_name: &str) -> Arc<Session> {
    let identity = Identity {
        clouds_yaml: place.clouds_yaml.as_bytes(),
        cloud_name,
        region: None,
        cacert: None,
    };
    Sessions::new(tools).get(identity).unwrap()
}

impl System {
    /// On the OpenStack in this process, in simulated time.
    pub async fn start() -> Self {
        let clock: SharedClock = Arc::new(SimulatedClock::starting_at(
            "2026-11-20T12:00:00Z".parse::<Timestamp>().unwrap(),
        ));
        let cloud = FakeCloud::new(clock.clone());
        let randomness: SharedRandomness = Arc::new(SeededRandomness::new(7));
        let transports = Arc::new(cloud.clone());
        Self::start_on(Place::fake(), clock, randomness, transports, Some(cloud)).await
    }

    /// On a real OpenStack, in real time.
    pub async fn start_there(place: Place) -> Self {
        let randomness: SharedRandomness = Arc::new(SystemRandomness);
        let transports = Arc::new(ReqwestTransports::new("infra-openstack-tests"));
        Self::start_on(place, Arc::new(SystemClock), randomness, transports, None).await
    }

    async fn start_on(
        place: Place,
        clock: SharedClock,
        randomness: SharedRandomness,
        transports: Arc<dyn Transports>,
        fake: Option<FakeCloud>,
    ) -> Self {
        let server = Server::builder()
            .clock(clock.clone())
            .randomness(randomness.clone())
            .storage(MemoryStorage::new())
            .build()
            .await
            .unwrap();
        let client = server.client();
        let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
        for shipped in capi_api::crd::crds()
            .unwrap()
            .into_iter()
            .chain(infra_openstack::crds().unwrap())
        {
            definitions
                .create(&PostParams::default(), &shipped.definition)
                .await
                .unwrap();
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
        let mut manager = Manager::builder(server.client_as("capo"))
            .name("capo")
            .clock(clock.clone())
            .randomness(randomness.clone())
            .build()
            .unwrap();
        let log = Log::default();
        let recorder = Recorder {
            inner: transports.clone(),
            log: log.clone(),
        };
        infra_openstack::register_with(
            &mut manager,
            Tools::new(Arc::new(recorder), clock.clone(), randomness.clone()),
        );
        tokio::spawn(manager.run(CancellationToken::new()));
        let name = match &fake {
            Some(_) => "c".to_owned(),
            None => format!("c{:x}", clock.now().as_second()),
        };
        let own = Tools::new(transports, clock, randomness);
        let administrator = place.administrator.clone();
        let system = Self {
            client,
            server,
            name,
            log,
            observer: session(&place, own.clone(), &place.cloud_name),
            administrator: administrator.map(|cloud| session(&place, own, &cloud)),
            place,
            fake,
        };
        let secret = json!({ "stringData": { "clouds.yaml": system.place.clouds_yaml } });
        system.create("Secret", "cloud", secret).await;
        system
    }

    /// The OpenStack in this process.
    pub fn cloud(&self) -> &FakeCloud {
        self.fake.as_ref().unwrap()
    }

    /// True if time is real.
    pub fn is_real(&self) -> bool {
        self.fake.is_none()
    }

    /// Everything the project has, by name and id: what must be the same before and after.
    pub async fn inventory(&self) -> BTreeMap<&'static str, Vec<String>> {
        let mut all = BTreeMap::new();
        for (_, path, collection) in COLLECTIONS {
            let found = self.resources(path).await;
            let named = found
                .iter()
                .map(|found| format!("{} {}", found["name"], found["id"]));
            let mut named: Vec<String> = named.collect();
            named.sort();
            all.insert(*collection, named);
        }
        all
    }

    /// All resources of a collection, by its path.
    pub async fn resources(&self, path: &str) -> Vec<Value> {
        let (service, path, collection) = COLLECTIONS.iter().find(|known| known.1 == path).unwrap();
        let call = Call::get(*service, *path, "test");
        self.observer.list(call, collection).await.unwrap()
    }

    /// The only resource of a name.
    pub async fn resource(&self, path: &str, name: &str) -> Value {
        let mut found = self.resources(path).await;
        found.retain(|found| found["name"] == name);
        assert_eq!(found.len(), 1, "{path} {name}: {found:#?}");
        found.remove(0)
    }

    /// The project again has what it had; late deletions have a moment.
    pub async fn until_inventory_is(&self, before: &BTreeMap<&'static str, Vec<String>>) {
        let until = Instant::now() + Duration::from_secs(60);
        while Instant::now() < until && self.inventory().await != *before {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(self.inventory().await, *before);
    }

    /// Deletes a server behind the provider's back.
    pub async fn lose_server(&self, name: &str) {
        let server = self.resource("/servers/detail", name).await;
        let path = format!("/servers/{}", server["id"].as_str().unwrap());
        let call = Call::delete(Service::Compute, path, "test");
        assert!(self.observer.gone(call).await.unwrap());
    }

    /// True if quotas can be set.
    pub fn sets_quotas(&self) -> bool {
        self.fake.is_some() || self.administrator.is_some()
    }

    /// How many resources of a collection the project may have: `ports` or `servers`.
    pub async fn set_quota(&self, collection: &str, limit: i64) {
        if let Some(fake) = &self.fake {
            return fake.set_quota(collection, usize::try_from(limit).unwrap_or(usize::MAX));
        }
        let project = self.observer.project_id().await.unwrap().unwrap();
        let administrator = self.administrator.as_ref().unwrap();
        let call = match collection {
            "servers" => {
                let body = json!({ "quota_set": { "instances": limit, "force": true } });
                Call::put(
                    Service::Compute,
                    format!("/os-quota-sets/{project}"),
                    "test",
                    body,
                )
            }
            _ => {
                let one = collection.trim_end_matches('s');
                let body = json!({ "quota": { one: limit, "force": true } });
                Call::put(Service::Network, format!("/quotas/{project}"), "test", body)
            }
        };
        administrator.send(call).await.unwrap();
    }

    pub async fn create(&self, kind: &str, name: &str, rest: Value) -> DynamicObject {
        let mut object = rest;
        let version = match kind {
            "Secret" => "v1",
            "Cluster" | "Machine" => "cluster.x-k8s.io/v1beta2",
            "OpenStackFloatingIPPool" => "infrastructure.cluster.x-k8s.io/v1alpha1",
            _ => "infrastructure.cluster.x-k8s.io/v1beta2",
        };
        object["apiVersion"] = version.into();
        object["kind"] = kind.into();
        object["metadata"]["name"] = name.into();
        object["metadata"]["namespace"] = "default".into();
        let object: DynamicObject = serde_json::from_value(object).unwrap();
        api(&self.client, kind)
            .create(&PostParams::default(), &object)
            .await
            .unwrap_or_else(|error| panic!("{kind}: {error}"))
    }

    fn owner(kind: &str, owner: &DynamicObject) -> Value {
        json!([{ "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": kind, "name": owner.metadata.name, "uid": owner.metadata.uid }])
    }

    pub async fn get(&self, kind: &str, name: &str) -> Option<Value> {
        let found = api(&self.client, kind).get_opt(name).await.unwrap()?;
        Some(serde_json::to_value(found).unwrap())
    }

    pub async fn patch(&self, kind: &str, name: &str, patch: Value) {
        api(&self.client, kind)
            .patch(name, &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .unwrap();
    }

    /// Looks until it is so; ten minutes at most.
    pub async fn until(&self, what: &str, kind: &str, name: &str, reached: impl Fn(Option<&Value>) -> bool) {
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(600) {
            if reached(self.get(kind, name).await.as_ref()) {
                if self.is_real() {
                    eprintln!("{:6.1} s  {what}", started.elapsed().as_secs_f32());
                }
                return;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        panic!("{what}: {:#?}", self.get(kind, name).await);
    }

    pub async fn until_true(&self, kind: &str, name: &str, condition: &str) {
        let what = format!("{kind} {name} is {condition}");
        self.until(&what, kind, name, |object| is_true(object, condition))
            .await;
    }

    pub async fn until_said(&self, kind: &str, name: &str, words: &str) {
        let what = format!("{kind} {name} says {words:?}");
        let said = |object: Option<&Value>| object.is_some_and(|object| object.to_string().contains(words));
        self.until(&what, kind, name, said).await;
    }

    pub async fn until_gone(&self, kind: &str, name: &str) {
        let what = format!("{kind} {name} is gone");
        self.until(&what, kind, name, |object| object.is_none()).await;
    }

    /// A cluster with everything managed.
    pub async fn cluster(&self) {
        self.cluster_with(json!({})).await;
    }

    pub async fn cluster_with(&self, more: Value) {
        let cluster = self
            .create(
                "Cluster",
                &self.name,
                json!({ "spec": { "infrastructureRef": {
                "apiGroup": "infrastructure.cluster.x-k8s.io", "kind": "OpenStackCluster", "name": self.name } } }),
            )
            .await;
        let mut spec = json!({ "identityRef": { "name": "cloud", "cloudName": self.place.cloud_name },
            "managedSubnets": [{ "cidr": "10.6.0.0/24" }],
            "managedSecurityGroups": {}, "apiServer": { "managedLoadBalancer": {} } });
        for (key, value) in more.as_object().unwrap() {
            spec[key] = value.clone();
        }
        let labels = json!({ "cluster.x-k8s.io/cluster-name": self.name });
        let object = json!({ "metadata": { "ownerReferences": Self::owner("Cluster", &cluster), "labels": labels }, "spec": spec });
        self.create("OpenStackCluster", &self.name, object).await;
    }

    pub async fn machine(&self, name: &str, control_plane: bool) {
        self.machine_with(name, control_plane, "az2", json!({})).await;
    }

    pub async fn machine_with(&self, name: &str, control_plane: bool, zone: &str, more: Value) {
        let mut spec = json!({ "flavor": { "filter": { "name": self.place.flavor } },
            "image": { "filter": { "name": self.place.image } } });
        for (key, value) in more.as_object().unwrap() {
            spec[key] = value.clone();
        }
        let mut labels = json!({ "cluster.x-k8s.io/cluster-name": self.name });
        if control_plane {
            labels["cluster.x-k8s.io/control-plane"] = "".into();
        }
        let data = json!({ "stringData": { "value": "#cloud-config" } });
        self.create("Secret", &format!("{name}-data"), data).await;
        let machine = self
            .create("Machine", name, json!({ "metadata": { "labels": labels }, "spec": { "clusterName": self.name,
                "failureDomain": zone, "bootstrap": { "dataSecretName": format!("{name}-data") },
                "infrastructureRef": { "apiGroup": "infrastructure.cluster.x-k8s.io", "kind": "OpenStackMachine", "name": name } } }))
            .await;
        let metadata = json!({ "ownerReferences": Self::owner("Machine", &machine), "labels": labels });
        self.create(
            "OpenStackMachine",
            name,
            json!({ "metadata": metadata, "spec": spec }),
        )
        .await;
    }

    pub async fn delete(&self, kind: &str, name: &str) {
        api(&self.client, kind)
            .delete(name, &Default::default())
            .await
            .unwrap();
    }

    /// Deletes a machine with its infrastructure.
    pub async fn delete_machine(&self, name: &str) {
        if self.get("OpenStackMachine", name).await.is_some() {
            self.delete("OpenStackMachine", name).await;
        }
        self.until_gone("OpenStackMachine", name).await;
        self.delete("Machine", name).await;
    }

    /// Deletes the infrastructure of the cluster.
    pub async fn delete_cluster(&self) {
        self.delete("OpenStackCluster", &self.name).await;
        self.until_gone("OpenStackCluster", &self.name).await;
    }
}

pub fn is_true(object: Option<&Value>, type_: &str) -> bool {
    let conditions = object.and_then(|object| object["status"]["conditions"].as_array());
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition["type"] == type_ && condition["status"] == "True")
}

/// The clouds.yaml of the OpenStack in this process.
pub const FAKE_CLOUDS: &str = fake::CLOUDS_YAML;
