//! Clusters on the in-process OpenStack, in simulated time: brought up, left alone, disturbed, taken away.

use std::{sync::Arc, time::Duration};

use capi_api::conditions;
use capi_runtime::Next;
use jiff::Timestamp;
use seams::{SeededRandomness, SimulatedClock};
use serde_json::{Value, json};

use super::{Progress, converge, remove};
use crate::{
    api::OpenStackCluster,
    cloud::{Session, Tools, clouds_yaml},
    fake::{self, FakeCloud, FaultAction, FaultRule},
    rules::names::ClusterNames,
};

pub(super) struct Bench {
    pub(super) cloud: FakeCloud,
    pub(super) session: Session,
    pub(super) object: OpenStackCluster,
}

pub(super) fn names() -> ClusterNames {
    ClusterNames::new("ns", "c")
}

fn session(cloud: &FakeCloud) -> Session {
    let clock = Arc::new(SimulatedClock::starting_at(cloud.now()));
    let tools = Tools::new(Arc::new(cloud.clone()), clock, Arc::new(SeededRandomness::new(1)));
    let identity = clouds_yaml::parse(fake::CLOUDS_YAML.as_bytes(), "fake", None, None).unwrap();
    Session::new(identity, tools).unwrap()
}

impl Bench {
    pub(super) fn new(spec: Value) -> Self {
        let clock = Arc::new(SimulatedClock::starting_at(
            "2026-11-20T12:00:00Z".parse::<Timestamp>().unwrap(),
        ));
        let cloud = FakeCloud::new(clock.clone());
        let mut object: OpenStackCluster = serde_json::from_value(json!({
            "apiVersion": "infrastructure.cluster.x-k8s.io/v1beta2", "kind": "OpenStackCluster",
            "metadata": { "name": "c", "namespace": "ns" }, "spec": { "identityRef": { "name": "s", "cloudName": "fake" } } }))
        .unwrap();
        let mut whole = serde_json::to_value(&object.spec).unwrap();
        for (key, value) in spec.as_object().unwrap() {
            whole[key] = value.clone();
        }
        object.spec = serde_json::from_value(whole).unwrap();
        Self {
            session: session(&cloud),
            cloud,
            object,
        }
    }

    pub(super) fn usual() -> Self {
        Self::new(json!({
            "managedSubnets": [{ "cidr": "10.6.0.0/24", "dnsNameservers": ["9.9.9.9"] }],
            "managedSecurityGroups": {},
            "apiServer": { "managedLoadBalancer": { "enabled": true } },
            "tags": ["t"],
        }))
    }

    pub(super) async fn once(&mut self) -> Progress {
        let progress = converge(&self.session, self.object.clone(), names(), self.cloud.now()).await;
        self.object = progress.after.clone();
        progress
    }

    /// Reconciles until nothing is left to do; failures come back after a while, as in the queue.
    pub(super) async fn settle(&mut self) {
        for _ in 0..200 {
            let progress = self.once().await;
            match (progress.result, progress.next) {
                (Ok(()), Next::Done) => return,
                (Ok(()), Next::After(wait)) => tokio::time::sleep(wait).await,
                (Err(_), _) => tokio::time::sleep(Duration::from_secs(1)).await,
            }
        }
        panic!("it never settles: {:#?}", self.object.status);
    }

    pub(super) async fn take_away(&mut self) {
        self.object.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(
            self.cloud.now(),
        ));
        for _ in 0..200 {
            match remove(&self.session, &self.object, &names()).await {
                Ok(None) => return,
                Ok(Some(remains)) => tokio::time::sleep(remains.wait).await,
                Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
            }
        }
        panic!("it never goes");
    }

    /// Reconciles until a request gets no answer: there the process dies.
    pub(super) async fn settle_until_killed(&mut self) {
        let alive = async {
            loop {
                let before = self.object.clone();
                let progress = tokio::time::timeout(Duration::from_secs(30), self.once()).await;
                let Ok(progress) = progress else {
                    self.object = before;
                    return;
                };
                match (progress.result, progress.next) {
                    (Ok(()), Next::Done) => return,
                    (Ok(()), Next::After(wait)) => tokio::time::sleep(wait).await,
                    (Err(_), _) => tokio::time::sleep(Duration::from_secs(1)).await,
                }
            }
        };
        alive.await;
    }

    /// As [`Self::settle_until_killed`], while the cluster is deleted.
    pub(super) async fn take_away_until_killed(&mut self) {
        let limit = Duration::from_secs(30);
        self.object.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(
            self.cloud.now(),
        ));
        while let Ok(remains) =
            tokio::time::timeout(limit, remove(&self.session, &self.object, &names())).await
        {
            match remains {
                Ok(None) => return,
                Ok(Some(remains)) => tokio::time::sleep(remains.wait).await,
                Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
            }
        }
    }

    /// Another process takes over.
    pub(super) fn restart(&mut self) {
        self.session = session(&self.cloud);
    }

    pub(super) fn writes(&self) -> Vec<String> {
        let log = self.cloud.log();
        let writes = log
            .iter()
            .filter(|logged| logged.method != "GET" && !logged.path.contains("/auth/"));
        writes
            .map(|logged| format!("{} {}", logged.method, logged.path))
            .collect()
    }

    pub(super) fn message(&self, type_: &str) -> (String, String, String) {
        let condition =
            conditions::get(&self.object, type_).unwrap_or_else(|| panic!("no condition {type_}"));
        (
            condition.status.clone(),
            condition.reason.clone(),
            condition.message.clone(),
        )
    }
}

#[tokio::test(start_paused = true)]
async fn a_cluster_comes_up_is_left_alone_and_leaves_nothing() {
    let mut bench = Bench::usual();
    let before = bench.cloud.inventory();
    bench.settle().await;

    let status = bench.object.status.clone().unwrap();
    let name = "k8s-clusterapi-cluster-ns-c";
    assert_eq!(status.network.as_ref().unwrap().name, name);
    assert_eq!(status.network.as_ref().unwrap().tags, ["t"]);
    assert_eq!(status.router.as_ref().unwrap().name, name);
    assert_eq!(status.initialization.unwrap().provisioned, Some(true));
    assert_eq!(
        status
            .failure_domains
            .iter()
            .map(|domain| domain.name.as_str())
            .collect::<Vec<_>>(),
        ["az1", "az2"]
    );
    let balancer = status.api_server_managed_load_balancer.unwrap();
    let endpoint = bench.object.spec.control_plane_endpoint.clone().unwrap();
    assert_eq!(
        (endpoint.host.as_deref(), endpoint.port),
        (Some(balancer.ip.as_str()), Some(6443))
    );
    assert!(balancer.ip.starts_with("203.0.113."), "{}", balancer.ip);
    for condition in [
        "Ready",
        "NetworkReady",
        "RouterReady",
        "SecurityGroupsReady",
        "APIEndpointReady",
    ] {
        assert_eq!(bench.message(condition).0, "True", "{condition}");
    }
    assert_eq!(bench.cloud.names("listeners"), [format!("{name}-kubeapi-6443")]);
    assert_eq!(bench.cloud.resources("healthmonitors")[0]["max_retries_down"], 3);

    bench.cloud.clear_log();
    let steady = bench.object.clone();
    bench.settle().await;
    assert_eq!(bench.object, steady, "nothing changes");
    assert_eq!(bench.writes(), Vec::<String>::new());
    assert!(
        bench.cloud.log().len() <= 13,
        "{} requests",
        bench.cloud.log().len()
    );

    bench.take_away().await;
    assert_eq!(bench.cloud.inventory(), before);
}

#[tokio::test(start_paused = true)]
async fn what_upstream_made_is_adopted() {
    let mut bench = Bench::usual();
    bench.settle().await;
    bench.cloud.clear_log();
    // Only the spec survives a move; the endpoint is part of it.
    bench.object.status = None;
    bench.settle().await;
    assert_eq!(bench.writes(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_is_deleted_half_way_leaves_nothing() {
    for rounds in 0..12 {
        let mut bench = Bench::usual();
        let before = bench.cloud.inventory();
        for _ in 0..rounds {
            if let Next::After(wait) = bench.once().await.next {
                tokio::time::sleep(wait).await;
            }
        }
        bench.take_away().await;
        assert_eq!(bench.cloud.inventory(), before, "after {rounds} rounds");
    }
}

#[tokio::test(start_paused = true)]
async fn quotas_are_said_in_openstacks_words_and_forgotten_when_they_are_raised() {
    let mut bench = Bench::usual();
    bench.cloud.set_quota("routers", 0);
    assert!(bench.once().await.result.is_err());
    let (status, reason, message) = bench.message("RouterReady");
    assert_eq!(
        (status.as_str(), reason.as_str()),
        ("False", "RouterCreateFailed")
    );
    assert!(
        message.contains("Quota exceeded for resources: ['router']."),
        "{message}"
    );
    assert_eq!(bench.message("NetworkReady").0, "True");
    bench.cloud.set_quota("routers", 5);
    bench.settle().await;
    assert_eq!(bench.message("Ready").0, "True");
}

#[tokio::test(start_paused = true)]
async fn rules_follow_the_spec_and_strangers_are_removed() {
    let mut bench = Bench::usual();
    bench.settle().await;
    let rules = |bench: &Bench| {
        let groups = bench.cloud.resources("security-groups");
        groups
            .iter()
            .map(|group| group["security_group_rules"].as_array().unwrap().len())
            .sum::<usize>()
    };
    let usual = rules(&bench);
    bench.object.spec.managed_security_groups = Some(
        serde_json::from_value(json!({ "clusterNodesSecurityGroupRules": [
            { "name": "bgp", "direction": "ingress", "etherType": "IPv4", "protocol": "tcp", "portRangeMin": 179,
              "portRangeMax": 179, "remoteManagedGroups": ["controlplane", "worker"] }] }))
        .unwrap(),
    );
    bench.settle().await;
    assert_eq!(rules(&bench), usual + 4);
    bench.object.spec.managed_security_groups = Some(Default::default());
    bench.settle().await;
    assert_eq!(rules(&bench), usual);
}

#[tokio::test(start_paused = true)]
async fn allowed_cidrs_include_what_the_cluster_needs_itself() {
    let mut bench = Bench::usual();
    bench.settle().await;
    let api = bench.object.spec.api_server.as_mut().unwrap();
    api.managed_load_balancer.as_mut().unwrap().allowed_cidrs = vec!["198.51.100.7".into()];
    bench.settle().await;
    let listener = bench.cloud.resources("listeners").remove(0);
    let router = bench.object.status.clone().unwrap().router.unwrap().ips.remove(0);
    assert_eq!(
        listener["allowed_cidrs"],
        json!(["10.6.0.0/24", "198.51.100.7/32", format!("{router}/32")])
    );
}

#[tokio::test(start_paused = true)]
async fn an_existing_network_is_used_and_not_touched() {
    let mut bench = Bench::new(json!({
        "network": { "filter": { "name": "corp" } },
        "enableExternalNetwork": false,
        "apiServer": { "enableFloatingIP": false, "fixedIP": "10.9.0.5" },
    }));
    assert!(bench.once().await.result.is_err());
    assert!(
        bench
            .message("NetworkReady")
            .2
            .contains("nothing in OpenStack matches")
    );
    let network = bench
        .cloud
        .put("networks", json!({ "name": "corp", "tags": [], "subnets": [] }));
    bench.cloud.put(
        "subnets",
        json!({ "name": "corp-a", "network_id": network, "cidr": "10.9.0.0/24", "tags": [] }),
    );
    let before = bench.cloud.inventory();
    bench.settle().await;
    assert_eq!(
        bench
            .object
            .spec
            .control_plane_endpoint
            .clone()
            .unwrap()
            .host
            .as_deref(),
        Some("10.9.0.5")
    );
    assert_eq!(
        bench
            .object
            .status
            .clone()
            .unwrap()
            .network
            .unwrap()
            .subnets
            .len(),
        1
    );
    bench.take_away().await;
    assert_eq!(bench.cloud.inventory(), before);
}

#[tokio::test(start_paused = true)]
async fn without_load_balancer_the_endpoint_is_a_floating_ip_that_is_made_once() {
    let mut bench = Bench::new(json!({ "managedSubnets": [{ "cidr": "10.6.0.0/24" }] }));
    let before = bench.cloud.inventory();
    bench
        .cloud
        .disturb(FaultRule::new("POST", "floatingips", FaultAction::LoseAnswer).times(1));
    bench.settle().await;
    let made = bench.cloud.resources("floatingips");
    assert_eq!(made.len(), 1, "the one whose answer was lost is adopted");
    let host = bench
        .object
        .spec
        .control_plane_endpoint
        .clone()
        .unwrap()
        .host
        .unwrap();
    assert_eq!(made[0]["floating_ip_address"], host.as_str());
    bench.take_away().await;
    assert_eq!(bench.cloud.inventory(), before);
}

#[tokio::test(start_paused = true)]
async fn zones_that_come_later_are_failure_domains_too() {
    let mut bench = Bench::usual();
    bench.settle().await;
    bench.cloud.put("zones", json!({ "name": "az3" }));
    bench.settle().await;
    let domains = bench.object.status.clone().unwrap().failure_domains;
    let names: Vec<&str> = domains.iter().map(|domain| domain.name.as_str()).collect();
    assert_eq!(names, ["az1", "az2", "az3"]);
}

#[tokio::test(start_paused = true)]
async fn addresses_of_the_router_are_set_once() {
    let mut bench = Bench::new(json!({
        "managedSubnets": [{ "cidr": "10.6.0.0/24" }],
        "managedRouter": { "externalIPs": [{ "fixedIP": "203.0.113.77", "subnet": { "filter": { "name": "public-subnet" } } }] },
    }));
    bench.settle().await;
    assert_eq!(
        bench.object.status.clone().unwrap().router.unwrap().ips,
        ["203.0.113.77"]
    );
    bench.cloud.clear_log();
    bench.settle().await;
    assert_eq!(bench.writes(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_group_of_the_bastion_that_is_still_in_use_keeps_no_other_group_waiting() {
    let mut bench = Bench::usual();
    bench.settle().await;
    let group =
        json!({ "name": "k8s-cluster-ns-c-secgroup-bastion", "tags": [], "security_group_rules": [] });
    let group = bench.cloud.put("security-groups", group);
    bench.cloud.put(
        "ports",
        json!({ "name": "b", "network_id": "x", "security_groups": [group], "fixed_ips": [] }),
    );
    let spec = json!({ "workerNodesSecurityGroupRules": [{ "name": "x", "direction": "ingress", "etherType": "IPv4",
        "protocol": "tcp", "portRangeMin": 80, "portRangeMax": 80, "remoteIPPrefix": "0.0.0.0/0" }] });
    bench.object.spec.managed_security_groups = Some(serde_json::from_value(spec).unwrap());
    bench.settle().await;
    let groups = bench.cloud.resources("security-groups");
    let worker = groups
        .iter()
        .find(|group| group["name"] == "k8s-cluster-ns-c-secgroup-worker")
        .unwrap();
    let rules = worker["security_group_rules"].as_array().unwrap();
    assert!(
        rules.iter().any(|rule| rule["port_range_min"] == 80),
        "{rules:#?}"
    );
}

#[tokio::test(start_paused = true)]
async fn the_load_balancer_may_be_on_a_subnet_that_a_filter_finds() {
    let mut bench = Bench::new(json!({
        "managedSubnets": [{ "cidr": "10.6.0.0/24" }],
        "apiServer": { "enableFloatingIP": false, "managedLoadBalancer": { "network": { "filter": { "name": "lb-net" } },
            "subnets": [{ "filter": { "name": "lb-b" } }] } },
    }));
    let network = bench
        .cloud
        .put("networks", json!({ "name": "lb-net", "tags": [], "subnets": [] }));
    for (name, cidr) in [("lb-a", "10.8.0.0/24"), ("lb-b", "10.8.1.0/24")] {
        bench.cloud.put(
            "subnets",
            json!({ "name": name, "network_id": network, "cidr": cidr, "tags": [] }),
        );
    }
    bench.settle().await;
    let host = bench
        .object
        .spec
        .control_plane_endpoint
        .clone()
        .unwrap()
        .host
        .unwrap();
    assert!(host.starts_with("10.8.1."), "{host}");
}
