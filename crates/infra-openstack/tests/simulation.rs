//! The whole provider on the embedded API server and the in-process OpenStack, in simulated time.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests fail like tests"
)]

use std::{sync::Arc, time::Duration};

use capi_runtime::Manager;
use embedded_apiserver::{MemoryStorage, Server};
use infra_openstack::{
    cloud::Tools,
    fake::{self, FakeCloud, FaultAction, FaultRule},
};
use jiff::Timestamp;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams},
};
use seams::{SeededRandomness, SharedClock, SharedRandomness, SimulatedClock};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

struct System {
    client: Client,
    cloud: FakeCloud,
    server: Server,
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

impl System {
    async fn start() -> Self {
        let clock: SharedClock = Arc::new(SimulatedClock::starting_at(
            "2026-11-20T12:00:00Z".parse::<Timestamp>().unwrap(),
        ));
        let randomness: SharedRandomness = Arc::new(SeededRandomness::new(7));
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
        let cloud = FakeCloud::new(clock.clone());
        let mut manager = Manager::builder(server.client_as("capo"))
            .name("capo")
            .clock(clock.clone())
            .randomness(randomness.clone())
            .build()
            .unwrap();
        infra_openstack::register_with(
            &mut manager,
            Tools::new(Arc::new(cloud.clone()), clock, randomness),
        );
        tokio::spawn(manager.run(CancellationToken::new()));
        let system = Self {
            client,
            cloud,
            server,
        };
        system
            .create(
                "Secret",
                "cloud",
                json!({ "stringData": { "clouds.yaml": fake::CLOUDS_YAML } }),
            )
            .await;
        system
    }

    async fn create(&self, kind: &str, name: &str, rest: Value) -> DynamicObject {
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

    async fn get(&self, kind: &str, name: &str) -> Option<Value> {
        let found = api(&self.client, kind).get_opt(name).await.unwrap()?;
        Some(serde_json::to_value(found).unwrap())
    }

    async fn until(&self, what: &str, kind: &str, name: &str, reached: impl Fn(Option<&Value>) -> bool) {
        for _ in 0..3000 {
            if reached(self.get(kind, name).await.as_ref()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        panic!("{what}: {:#?}", self.get(kind, name).await);
    }

    async fn cluster(&self) {
        let cluster = self
            .create(
                "Cluster",
                "c",
                json!({ "spec": { "infrastructureRef": {
                "apiGroup": "infrastructure.cluster.x-k8s.io", "kind": "OpenStackCluster", "name": "c" } } }),
            )
            .await;
        self.create("OpenStackCluster", "c", json!({
            "metadata": { "ownerReferences": Self::owner("Cluster", &cluster), "labels": { "cluster.x-k8s.io/cluster-name": "c" } },
            "spec": { "identityRef": { "name": "cloud", "cloudName": "fake" }, "managedSubnets": [{ "cidr": "10.6.0.0/24" }],
                "managedSecurityGroups": {}, "apiServer": { "managedLoadBalancer": {} } } }))
            .await;
    }

    async fn machine(&self, name: &str, control_plane: bool) {
        self.machine_with(name, control_plane, json!({})).await;
    }

    async fn machine_with(&self, name: &str, control_plane: bool, more: Value) {
        let mut spec = json!({ "flavor": { "filter": { "name": "m1.large" } }, "image": { "filter": { "name": "ubuntu" } } });
        for (key, value) in more.as_object().unwrap() {
            spec[key] = value.clone();
        }
        let mut labels = json!({ "cluster.x-k8s.io/cluster-name": "c" });
        if control_plane {
            labels["cluster.x-k8s.io/control-plane"] = "".into();
        }
        self.create(
            "Secret",
            &format!("{name}-data"),
            json!({ "stringData": { "value": "#cloud-config" } }),
        )
        .await;
        let machine = self
            .create("Machine", name, json!({ "metadata": { "labels": labels }, "spec": { "clusterName": "c",
                "failureDomain": "az2", "bootstrap": { "dataSecretName": format!("{name}-data") },
                "infrastructureRef": { "apiGroup": "infrastructure.cluster.x-k8s.io", "kind": "OpenStackMachine", "name": name } } }))
            .await;
        self.create(
            "OpenStackMachine",
            name,
            json!({
            "metadata": { "ownerReferences": Self::owner("Machine", &machine), "labels": labels },
            "spec": spec }),
        )
        .await;
    }

    async fn delete(&self, kind: &str, name: &str) {
        api(&self.client, kind)
            .delete(name, &Default::default())
            .await
            .unwrap();
    }
}

fn is_true(object: Option<&Value>, type_: &str) -> bool {
    let conditions = object.and_then(|object| object["status"]["conditions"].as_array());
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition["type"] == type_ && condition["status"] == "True")
}

#[tokio::test(start_paused = true)]
async fn a_cluster_with_machines_comes_up_and_leaves_nothing() {
    let system = System::start().await;
    let before = system.cloud.inventory();
    system.cluster().await;
    system.machine("cp", true).await;
    system.machine("md", false).await;
    system
        .until("the cluster is ready", "OpenStackCluster", "c", |object| {
            is_true(object, "Ready")
        })
        .await;
    system
        .until(
            "the control plane is reachable",
            "OpenStackMachine",
            "cp",
            |object| is_true(object, "APIServerIngressReady"),
        )
        .await;
    system
        .until("the worker is ready", "OpenStackMachine", "md", |object| {
            is_true(object, "Ready")
        })
        .await;

    let machine = system.get("OpenStackMachine", "cp").await.unwrap();
    let server = system
        .cloud
        .resources("servers")
        .into_iter()
        .find(|server| server["name"] == "cp")
        .unwrap();
    assert_eq!(
        machine["spec"]["providerID"],
        format!("openstack:///{}", server["id"].as_str().unwrap())
    );
    assert_eq!(machine["status"]["initialization"]["provisioned"], true);
    assert_eq!(server["request"]["availability_zone"], "az2");
    let address = &machine["status"]["addresses"][0]["address"];
    assert_eq!(system.cloud.resources("members")[0]["address"], *address);
    assert_eq!(
        system.cloud.names("members"),
        ["k8s-clusterapi-cluster-default-c-kubeapi-6443-cp"]
    );

    // At rest nothing is written anywhere, and only the list of servers is asked for.
    tokio::time::sleep(Duration::from_secs(60)).await;
    let revision = system.server.revision();
    system.cloud.clear_log();
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!(system.server.revision(), revision, "nothing is written");
    let log = system.cloud.log();
    assert!(
        log.iter().all(|logged| logged.path.contains("/servers/detail")),
        "{log:#?}"
    );
    assert!(log.len() <= 12, "{} requests in 5 minutes", log.len());

    system.cloud.lose_server("md");
    system
        .until("the loss is noticed", "OpenStackMachine", "md", |object| {
            let text = object.map(Value::to_string).unwrap_or_default();
            text.contains("InstanceDeleted")
        })
        .await;

    for kind in ["OpenStackMachine", "Machine"] {
        for name in ["cp", "md"] {
            if system.get(kind, name).await.is_some() {
                system.delete(kind, name).await;
            }
            if kind == "OpenStackMachine" {
                system
                    .until("the machine is gone", kind, name, |object| object.is_none())
                    .await;
            }
        }
    }
    system.delete("OpenStackCluster", "c").await;
    system
        .until("the cluster is gone", "OpenStackCluster", "c", |object| {
            object.is_none()
        })
        .await;
    assert_eq!(system.cloud.inventory(), before);
}

#[tokio::test(start_paused = true)]
async fn wrong_credentials_are_said_and_forgiven_when_the_secret_is_corrected() {
    let system = System::start().await;
    system.cloud.set_password("new");
    system.cluster().await;
    system
        .until("the failure is said", "OpenStackCluster", "c", |object| {
            object
                .map(Value::to_string)
                .unwrap_or_default()
                .contains("The request you have made requires authentication")
        })
        .await;
    let corrected = fake::CLOUDS_YAML.replace("password: secret", "password: new");
    let patch = json!({ "stringData": { "clouds.yaml": corrected } });
    api(&system.client, "Secret")
        .patch("cloud", &PatchParams::default(), &Patch::Merge(&patch))
        .await
        .unwrap();
    system
        .until("the cluster is ready", "OpenStackCluster", "c", |object| {
            is_true(object, "Ready")
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_away_for_a_while_only_costs_time() {
    let system = System::start().await;
    system
        .cloud
        .disturb(FaultRule::new("*", "/network/", FaultAction::NoConnection));
    system.cluster().await;
    system
        .until("the failure is said", "OpenStackCluster", "c", |object| {
            object
                .map(Value::to_string)
                .unwrap_or_default()
                .contains("connection refused")
        })
        .await;
    system.cloud.calm();
    system
        .until("the cluster is ready", "OpenStackCluster", "c", |object| {
            is_true(object, "Ready")
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_bastion_comes_and_goes() {
    let system = System::start().await;
    let before = system.cloud.inventory();
    system.cluster().await;
    system
        .until("the cluster is ready", "OpenStackCluster", "c", |object| {
            is_true(object, "Ready")
        })
        .await;
    let without = system.cloud.inventory();
    let set = async |bastion: Value| {
        let patch = json!({ "spec": { "bastion": bastion } });
        api(&system.client, "OpenStackCluster")
            .patch("c", &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .unwrap();
    };
    let spec =
        json!({ "flavor": { "filter": { "name": "m1.tiny" } }, "image": { "filter": { "name": "ubuntu" } } });
    set(json!({ "enabled": true, "spec": spec })).await;
    let reached = |object: Option<&Value>| {
        object.is_some_and(|object| object["status"]["bastion"]["floatingIP"].is_string())
    };
    system
        .until("the bastion is reachable", "OpenStackCluster", "c", reached)
        .await;
    let bastion = system.get("OpenStackCluster", "c").await.unwrap()["status"]["bastion"].clone();
    assert_eq!(bastion["name"], "c-bastion");
    let floating = system.cloud.resources("floatingips");
    assert!(
        floating
            .iter()
            .any(|ip| ip["floating_ip_address"] == bastion["floatingIP"] && ip["port_id"].is_string())
    );
    assert_eq!(system.cloud.names("security-groups").len(), 4);

    set(json!({ "enabled": false })).await;
    system
        .until("its server is gone", "OpenStackServer", "c-bastion", |object| {
            object.is_none()
        })
        .await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(system.cloud.inventory(), without);
    assert_eq!(
        system.get("OpenStackCluster", "c").await.unwrap()["status"]["bastion"],
        Value::Null
    );

    set(json!({ "enabled": true })).await;
    system
        .until("the bastion is reachable", "OpenStackCluster", "c", reached)
        .await;
    system.delete("OpenStackCluster", "c").await;
    system
        .until("the cluster is gone", "OpenStackCluster", "c", |object| {
            object.is_none()
        })
        .await;
    assert_eq!(system.cloud.inventory(), before);
}

#[tokio::test(start_paused = true)]
async fn a_pool_gives_floating_ips_and_takes_them_back() {
    let system = System::start().await;
    let before = system.cloud.inventory();
    system.cluster().await;
    let pool = json!({ "spec": { "identityRef": { "name": "cloud", "cloudName": "fake" }, "reclaimPolicy": "Delete", "maxIPs": 1 } });
    system.create("OpenStackFloatingIPPool", "p", pool).await;
    let spec = json!({ "floatingIPPoolRef": {
        "apiGroup": "infrastructure.cluster.x-k8s.io", "kind": "OpenStackFloatingIPPool", "name": "p" } });
    // Made, but the answer is lost: it is found again by its description.
    system.cloud.disturb(
        FaultRule::new("POST", "floatingips", FaultAction::LoseAnswer)
            .skip(1)
            .times(1),
    );
    for name in ["a", "b"] {
        system.machine_with(name, false, spec.clone()).await;
        let ready = |object: Option<&Value>| is_true(object, "Ready");
        system
            .until("the machine is ready", "OpenStackMachine", name, ready)
            .await;
    }
    let external = |object: Option<&Value>| {
        object
            .map(Value::to_string)
            .unwrap_or_default()
            .contains("ExternalIP")
    };
    system
        .until("the first has an address", "OpenStackMachine", "a", external)
        .await;
    let full = |object: Option<&Value>| {
        object
            .map(Value::to_string)
            .unwrap_or_default()
            .contains("MaxIPsReached")
    };
    system
        .until("the second waits", "OpenStackFloatingIPPool", "p", full)
        .await;
    assert_eq!(
        system.cloud.resources("floatingips").len(),
        2,
        "one for the API server, one for the pool"
    );

    for name in ["a", "b"] {
        system.delete("OpenStackMachine", name).await;
        system
            .until("the machine is gone", "OpenStackMachine", name, |object| {
                object.is_none()
            })
            .await;
        system.delete("Machine", name).await;
    }
    system.delete("OpenStackFloatingIPPool", "p").await;
    system
        .until("the pool is gone", "OpenStackFloatingIPPool", "p", |object| {
            object.is_none()
        })
        .await;
    system.delete("OpenStackCluster", "c").await;
    system
        .until("the cluster is gone", "OpenStackCluster", "c", |object| {
            object.is_none()
        })
        .await;
    assert_eq!(system.cloud.inventory(), before);
}
