//! Servers on the in-process OpenStack, in simulated time.

use std::{sync::Arc, time::Duration};

use capi_api::conditions;
use capi_runtime::Next;
use jiff::Timestamp;
use seams::{SeededRandomness, SimulatedClock};
use serde_json::{Value, json};

use super::{Progress, converge, remove, resolve::resolve, status};
use crate::{
    api::OpenStackServer,
    cloud::{Session, Tools, clouds_yaml},
    fake::{self, FakeCloud},
};

pub(super) struct Bench {
    pub(super) cloud: FakeCloud,
    pub(super) session: Session,
    pub(super) object: OpenStackServer,
}

fn object(name: &str, more: Value) -> OpenStackServer {
    let mut spec = json!({ "identityRef": { "name": "s", "cloudName": "fake" }, "flavor": "m1.large", "sshKeyName": "",
        "image": { "filter": { "name": "ubuntu" } }, "ports": [{ "network": { "filter": { "name": "net" } } }], "tags": ["t"] });
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    serde_json::from_value(json!({ "apiVersion": "infrastructure.cluster.x-k8s.io/v1alpha1", "kind": "OpenStackServer",
        "metadata": { "name": name, "namespace": "ns", "labels": { "cluster.x-k8s.io/cluster-name": "c" } }, "spec": spec }))
    .unwrap()
}

impl Bench {
    pub(super) fn new(more: Value) -> Self {
        let clock = Arc::new(SimulatedClock::starting_at(
            "2026-11-20T12:00:00Z".parse::<Timestamp>().unwrap(),
        ));
        let cloud = FakeCloud::new(clock.clone());
        let network = cloud.put("networks", json!({ "name": "net", "tags": [], "subnets": [] }));
        let subnet = cloud.put(
            "subnets",
            json!({ "name": "sub", "network_id": network, "cidr": "10.6.0.0/24", "tags": [] }),
        );
        cloud.put(
            "networks",
            json!({ "id": network, "name": "net", "tags": [], "subnets": [subnet] }),
        );
        let tools = Tools::new(Arc::new(cloud.clone()), clock, Arc::new(SeededRandomness::new(1)));
        let identity = clouds_yaml::parse(fake::CLOUDS_YAML.as_bytes(), "fake", None, None).unwrap();
        Self {
            cloud,
            session: Session::new(identity, tools).unwrap(),
            object: object("m", more),
        }
    }

    pub(super) async fn once(&mut self) -> Progress {
        if self
            .object
            .status
            .as_ref()
            .and_then(|status| status.resolved.as_ref())
            .is_none()
        {
            match resolve(&self.session, &self.object, None).await {
                Ok(resolved) => self.object.status.get_or_insert_default().resolved = Some(resolved),
                Err(error) => {
                    return Progress {
                        after: self.object.clone(),
                        next: Next::Done,
                        result: Err(error),
                        interests: Vec::new(),
                    };
                }
            }
        }
        let progress = converge(
            &self.session,
            self.object.clone(),
            Some(b"data".to_vec()),
            self.cloud.now(),
        )
        .await;
        self.object = progress.after.clone();
        progress
    }

    pub(super) async fn settle(&mut self) {
        for _ in 0..100 {
            let progress = self.once().await;
            if self.object.status.as_ref().is_some_and(|status| status.ready) {
                return;
            }
            match (progress.result, progress.next) {
                (Ok(()), Next::After(wait)) => tokio::time::sleep(wait).await,
                (Ok(()), Next::Done) => panic!("it gave up: {:#?}", self.object.status),
                (Err(_), _) => tokio::time::sleep(Duration::from_secs(1)).await,
            }
        }
        panic!("it never settles: {:#?}", self.object.status);
    }

    pub(super) async fn take_away(&self) {
        for _ in 0..100 {
            match remove(&self.session, &self.object).await {
                Ok(None) => return,
                Ok(Some(remains)) => tokio::time::sleep(remains.wait).await,
                Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
            }
        }
        panic!("it never goes");
    }

    fn message(&self) -> (String, String) {
        let condition = conditions::get(&self.object, status::INSTANCE_READY).unwrap();
        (condition.reason.clone(), condition.message.clone())
    }
}

pub(super) fn rich() -> Value {
    json!({
        "rootVolume": { "sizeGiB": 20 },
        "additionalBlockDevices": [{ "name": "etcd", "sizeGiB": 5, "storage": { "type": "Volume" } }],
        "ports": [{ "network": { "filter": { "name": "net" } }, "trunk": true },
                  { "fixedIPs": [{ "subnet": { "filter": { "name": "sub" } }, "ipAddress": "10.6.0.77" }], "nameSuffix": "data" }],
    })
}

#[tokio::test(start_paused = true)]
async fn a_server_comes_up_and_leaves_nothing() {
    let mut bench = Bench::new(rich());
    let before = bench.cloud.inventory();
    bench.settle().await;
    assert_eq!(bench.cloud.names("ports"), ["m-0", "m-data"]);
    assert_eq!(bench.cloud.names("volumes"), ["m-etcd", "m-root"]);
    assert_eq!(bench.cloud.names("trunks"), ["m-0"]);
    let port = &bench.cloud.resources("ports")[0];
    assert_eq!(
        (&port["tags"], &port["description"]),
        (
            &json!(["t"]),
            &json!("Created by cluster-api-provider-openstack cluster c")
        )
    );
    let server = &bench.cloud.resources("servers")[0];
    assert_eq!(server["request"]["user_data"], "ZGF0YQ==");
    assert_eq!(server["request"]["imageRef"], "");
    let status = bench.object.status.clone().unwrap();
    assert_eq!(status.instance_state.as_deref(), Some("ACTIVE"));
    assert_eq!(status.resources.unwrap().ports.len(), 2);
    bench.take_away().await;
    assert_eq!(bench.cloud.inventory(), before);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_deleted_half_way_leaves_nothing_even_without_status() {
    for rounds in 0..8 {
        for forget in [false, true] {
            let mut bench = Bench::new(rich());
            let before = bench.cloud.inventory();
            for _ in 0..rounds {
                if let Next::After(wait) = bench.once().await.next {
                    tokio::time::sleep(wait).await;
                }
            }
            if forget {
                bench.object.status = None;
            }
            bench.take_away().await;
            assert_eq!(bench.cloud.inventory(), before, "after {rounds} rounds");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_of_that_name_is_adopted() {
    let mut bench = Bench::new(json!({}));
    bench.settle().await;
    let id = bench.object.status.take().unwrap().instance_id;
    bench.cloud.clear_log();
    bench.settle().await;
    assert_eq!(bench.object.status.as_ref().unwrap().instance_id, id);
    assert!(
        bench.cloud.log().iter().all(|logged| logged.method == "GET"),
        "{:#?}",
        bench.cloud.log()
    );
}

#[tokio::test(start_paused = true)]
async fn novas_own_words_are_in_the_condition() {
    let mut bench = Bench::new(json!({}));
    bench.cloud.fail_servers(
        "m",
        "No valid host was found. There are not enough hosts available.",
    );
    bench.once().await;
    assert_eq!(bench.message().0, "InstanceNotReady");
    tokio::time::sleep(Duration::from_secs(21)).await;
    bench.once().await;
    let (reason, message) = bench.message();
    assert_eq!(reason, "InstanceStateError");
    assert_eq!(
        message,
        "server is in ERROR: No valid host was found. There are not enough hosts available."
    );

    let mut bench = Bench::new(json!({}));
    bench.cloud.set_quota("servers", 0);
    assert!(bench.once().await.result.is_err());
    let (reason, message) = bench.message();
    assert_eq!(reason, "InstanceCreateFailed");
    assert!(
        message.contains("Quota exceeded for instances: Requested 1"),
        "{message}"
    );
    bench.cloud.set_quota("servers", 1);
    bench.settle().await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_vanished_is_reported_within_a_minute_and_never_made_again() {
    let mut bench = Bench::new(json!({}));
    bench.settle().await;
    bench.cloud.lose_server("m");
    let start = tokio::time::Instant::now();
    for _ in 0..5 {
        let progress = bench.once().await;
        if bench.message().0 == "InstanceNotFound" {
            break;
        }
        let Next::After(wait) = progress.next else { break };
        tokio::time::sleep(wait).await;
    }
    assert_eq!(bench.message().0, "InstanceNotFound");
    assert!(start.elapsed() <= Duration::from_secs(60));
    bench.once().await;
    assert_eq!(bench.cloud.names("servers"), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn requests_at_steady_state_do_not_depend_on_the_number_of_servers() {
    let mut requests = Vec::new();
    for count in [1, 40] {
        let bench = Bench::new(json!({}));
        let mut all: Vec<Bench> = Vec::new();
        let session = Arc::new(bench.session);
        for index in 0..count {
            let mut object = object(&format!("m-{index}"), json!({}));
            object.status.get_or_insert_default().resolved =
                Some(resolve(&session, &object, None).await.unwrap());
            let progress = converge(&session, object, None, bench.cloud.now()).await;
            all.push(Bench {
                cloud: bench.cloud.clone(),
                session: crate_session(&bench.cloud),
                object: progress.after,
            });
        }
        tokio::time::sleep(Duration::from_secs(25)).await;
        for one in &mut all {
            one.object = converge(&session, one.object.clone(), None, bench.cloud.now())
                .await
                .after;
            assert!(one.object.status.as_ref().unwrap().ready);
        }
        bench.cloud.clear_log();
        // Ten minutes in steps of 30 s, all servers in each.
        for _ in 0..20 {
            tokio::time::sleep(Duration::from_secs(30)).await;
            for one in &mut all {
                let progress = converge(&session, one.object.clone(), None, bench.cloud.now()).await;
                assert_eq!(progress.after, one.object, "nothing changes");
            }
        }
        requests.push(bench.cloud.log().len());
    }
    assert_eq!(requests, [20, 20]);
}

pub(super) fn crate_session(cloud: &FakeCloud) -> Session {
    let clock = Arc::new(SimulatedClock::starting_at(cloud.now()));
    let tools = Tools::new(Arc::new(cloud.clone()), clock, Arc::new(SeededRandomness::new(2)));
    Session::new(
        clouds_yaml::parse(fake::CLOUDS_YAML.as_bytes(), "fake", None, None).unwrap(),
        tools,
    )
    .unwrap()
}
