//! What the fault switches do, and control planes of several machines.

use std::time::Duration;

use infra_inmemory::{
    World,
    api::{DevCluster, DevMachine},
    faults,
};
use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Patch},
};
use seams::SeededRandomness;
use serde_json::json;

use super::{
    simulated::{bench_with_control_plane, connect, node_names},
    support::{Bench, VERSION, condition, is_ready},
};

/// Three control-plane machines.
async fn three() -> Bench {
    let bench = bench_with_control_plane().await;
    bench.make_token().await;
    for name in ["cp-2", "cp-3"] {
        bench
            .make_machine(name, true, &bench.join_control_plane_data())
            .await;
        bench.until::<DevMachine>(name, is_ready).await;
    }
    bench
}

/// The workload cluster as it is, whether its endpoint is open or not.
fn inside(bench: &Bench) -> Client {
    bench.world.server(&bench.cluster()).unwrap().client()
}

async fn pod_is_ready(bench: &Bench, name: &str) -> Option<bool> {
    let pods = Api::<Pod>::namespaced(inside(bench), "kube-system");
    let conditions = pods.get_opt(name).await.unwrap()?.status?.conditions?;
    Some(
        conditions
            .iter()
            .any(|c| c.type_ == "Ready" && c.status == "True"),
    )
}

async fn node_ready(bench: &Bench, name: &str) -> (String, String) {
    let node = Api::<Node>::all(inside(bench)).get(name).await.unwrap();
    let conditions = node.status.unwrap().conditions.unwrap();
    let ready = conditions.into_iter().find(|c| c.type_ == "Ready").unwrap();
    (ready.status, ready.reason.unwrap())
}

fn told(text: &'static str) -> impl Fn(Option<&DevMachine>) -> bool {
    move |found| {
        condition(found, faults::CONDITION)
            .is_some_and(|(status, _, message)| status == "True" && message.contains(text))
    }
}

fn not_told(found: Option<&DevMachine>) -> bool {
    condition(found, faults::CONDITION).is_none()
}

async fn switch(bench: &Bench, machine: &str, key: &str, value: &'static str) {
    bench.annotate::<DevMachine>(machine, key, Some(value)).await;
    bench.until::<DevMachine>(machine, told(value)).await;
}

async fn repair(bench: &Bench, machine: &str, key: &str) {
    bench.annotate::<DevMachine>(machine, key, None).await;
    bench.until::<DevMachine>(machine, not_told).await;
}

fn members(bench: &Bench) -> Vec<(String, bool)> {
    let etcd = bench.world.etcd(&bench.cluster()).unwrap();
    let etcd = etcd.lock();
    let leader = etcd.leader().map(str::to_owned);
    let asked = leader.as_deref().unwrap_or("cp-1");
    let mut members: Vec<_> = etcd
        .list(asked, false)
        .unwrap()
        .1
        .into_iter()
        .map(|m| (m.name, m.is_learner))
        .collect();
    members.sort();
    members
}

#[tokio::test(start_paused = true)]
async fn control_plane_machines_join_as_learners_and_vote_when_their_etcd_runs() {
    let bench = bench_with_control_plane().await;
    bench.make_token().await;
    bench
        .make_machine("cp-2", true, &bench.join_control_plane_data())
        .await;
    while members(&bench).len() < 2 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(
        members(&bench),
        [("cp-1".to_owned(), false), ("cp-2".to_owned(), true)]
    );
    bench.until::<DevMachine>("cp-2", is_ready).await;
    assert_eq!(
        members(&bench),
        [("cp-1".to_owned(), false), ("cp-2".to_owned(), false)]
    );
    assert_eq!(pod_is_ready(&bench, "etcd-cp-2").await, Some(true));
}

#[tokio::test(start_paused = true)]
async fn a_machine_of_the_next_version_joins_a_control_plane_that_was_told_of_it() {
    let bench = bench_with_control_plane().await;
    bench.make_token().await;
    let maps = Api::<ConfigMap>::namespaced(inside(&bench), "kube-system");
    let mut map = maps.get("kubeadm-config").await.unwrap();
    let data = map.data.as_mut().unwrap();
    let changed = data["ClusterConfiguration"].replace("v1.35.0", "v1.36.0");
    data.insert("ClusterConfiguration".to_owned(), changed);
    maps.replace("kubeadm-config", &Default::default(), &map)
        .await
        .unwrap();
    bench
        .make_machine_with(
            "cp-2",
            true,
            &bench.join_control_plane_data(),
            "v1.36.0",
            json!({}),
        )
        .await;
    bench.until::<DevMachine>("cp-2", is_ready).await;
    let image = |pod: Pod| pod.spec.unwrap().containers[0].image.clone().unwrap();
    let pods = Api::<Pod>::namespaced(inside(&bench), "kube-system");
    for (name, want) in [
        ("kube-apiserver-cp-1", "registry.k8s.io/kube-apiserver:v1.35.0"),
        ("kube-apiserver-cp-2", "registry.k8s.io/kube-apiserver:v1.36.0"),
        ("etcd-cp-2", "registry.k8s.io/etcd:3.6.8-0"),
    ] {
        assert_eq!(image(pods.get(name).await.unwrap()), want);
    }
    let node = Api::<Node>::all(inside(&bench)).get("cp-2").await.unwrap();
    assert_eq!(node.status.unwrap().node_info.unwrap().kubelet_version, "v1.36.0");

    bench
        .make_machine_with("cp-3", true, &bench.join_control_plane_data(), VERSION, json!({}))
        .await;
    let refused = |found: Option<&DevMachine>| {
        condition(found, "NodeProvisioned")
            .is_some_and(|(_, _, message)| message.contains("kubeadm v1.35.0 cannot join"))
    };
    bench.until::<DevMachine>("cp-3", refused).await;
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_never_boots_or_joins_says_so_and_goes_on_when_repaired() {
    let bench = bench_with_control_plane().await;
    bench.make_token().await;
    let switches = json!({ faults::VM: faults::NEVER_BOOTS, faults::NODE: faults::NEVER_JOINS });
    bench
        .make_machine_with("w-1", false, &bench.join_data(), VERSION, switches)
        .await;
    tokio::time::sleep(Duration::from_secs(120)).await;
    let found = bench.api::<DevMachine>().get_opt("w-1").await.unwrap();
    let (status, reason, message) = condition(found.as_ref(), "VMProvisioned").unwrap();
    assert_eq!(
        (status.as_str(), reason.as_str()),
        ("False", "WaitingForStartupTimeout")
    );
    assert!(
        message.contains("simulation.capi-rs.io/vm: never-boots is set"),
        "{message}"
    );
    let initialization = found.unwrap().status.unwrap().initialization;
    assert_eq!(initialization.and_then(|i| i.provisioned), None);

    bench.annotate::<DevMachine>("w-1", faults::VM, None).await;
    bench.until::<DevMachine>("w-1", told("no Node appears")).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(node_names(&connect(&bench, "ca").await.unwrap()).await, ["cp-1"]);
    repair(&bench, "w-1", faults::NODE).await;
    bench.until::<DevMachine>("w-1", is_ready).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_not_well_looks_like_one_and_recovers() {
    let bench = bench_with_control_plane().await;
    switch(&bench, "cp-1", faults::NODE, faults::NOT_READY).await;
    assert_eq!(
        node_ready(&bench, "cp-1").await,
        ("False".into(), "KubeletNotReady".into())
    );
    assert_eq!(
        pod_is_ready(&bench, "etcd-cp-1").await,
        Some(true),
        "static pods need no network plugin"
    );
    switch(&bench, "cp-1", faults::NODE, faults::UNKNOWN).await;
    assert_eq!(
        node_ready(&bench, "cp-1").await,
        ("Unknown".into(), "NodeStatusUnknown".into())
    );
    for pod in [
        "etcd",
        "kube-apiserver",
        "kube-scheduler",
        "kube-controller-manager",
    ] {
        assert_eq!(
            pod_is_ready(&bench, &format!("{pod}-cp-1")).await,
            Some(false),
            "{pod}"
        );
    }
    assert!(connect(&bench, "ca").await.is_ok(), "its processes run on");
    assert!(
        is_ready(bench.api::<DevMachine>().get_opt("cp-1").await.unwrap().as_ref()),
        "the machine itself is fine"
    );
    repair(&bench, "cp-1", faults::NODE).await;
    assert_eq!(
        node_ready(&bench, "cp-1").await,
        ("True".into(), "KubeletReady".into())
    );
    assert_eq!(pod_is_ready(&bench, "kube-apiserver-cp-1").await, Some(true));
    let before = bench.writes();
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(bench.writes(), before);
}

#[tokio::test(start_paused = true)]
async fn the_endpoint_serves_while_one_api_server_with_etcd_beside_it_is_left() {
    let bench = three().await;
    switch(&bench, "cp-1", faults::API_SERVER, faults::DOWN).await;
    switch(&bench, "cp-2", faults::API_SERVER, faults::DOWN).await;
    assert_eq!(pod_is_ready(&bench, "kube-apiserver-cp-1").await, Some(false));
    assert_eq!(pod_is_ready(&bench, "etcd-cp-1").await, Some(true));
    let connection = connect(&bench, "ca").await.unwrap();
    assert_eq!(node_names(&connection).await.len(), 3);
    switch(&bench, "cp-3", faults::ETCD, faults::DOWN).await;
    assert_eq!(pod_is_ready(&bench, "etcd-cp-3").await, Some(false));
    assert_eq!(pod_is_ready(&bench, "kube-apiserver-cp-3").await, Some(false));
    assert!(
        Api::<Node>::all(connection.client.clone())
            .list(&ListParams::default())
            .await
            .is_err()
    );
    repair(&bench, "cp-1", faults::API_SERVER).await;
    assert_eq!(
        node_names(&connection).await.len(),
        3,
        "two of three etcd members are a quorum"
    );
    repair(&bench, "cp-3", faults::ETCD).await;
    assert_eq!(pod_is_ready(&bench, "kube-apiserver-cp-3").await, Some(true));
}

#[tokio::test(start_paused = true)]
async fn without_a_quorum_nothing_serves_and_with_a_member_down_nobody_joins() {
    let bench = three().await;
    switch(&bench, "cp-3", faults::ETCD, faults::DOWN).await;
    bench
        .make_machine("cp-4", true, &bench.join_control_plane_data())
        .await;
    let waits = |found: Option<&DevMachine>| {
        condition(found, "NodeProvisioned")
            .is_some_and(|(_, _, message)| message.contains("etcdserver: unhealthy cluster"))
    };
    bench.until::<DevMachine>("cp-4", waits).await;
    assert_eq!(members(&bench).len(), 3, "the stopped one stays in the list");
    switch(&bench, "cp-2", faults::ETCD, faults::DOWN).await;
    assert!(connect(&bench, "ca").await.is_err(), "one of three is no quorum");
    repair(&bench, "cp-2", faults::ETCD).await;
    repair(&bench, "cp-3", faults::ETCD).await;
    assert!(connect(&bench, "ca").await.is_ok());
    bench.until::<DevMachine>("cp-4", is_ready).await;
    assert_eq!(members(&bench).len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_member_that_lost_its_data_never_comes_back() {
    let mut bench = three().await;
    switch(&bench, "cp-2", faults::ETCD, faults::LOST).await;
    bench.annotate::<DevMachine>("cp-2", faults::ETCD, None).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    let etcd = |bench: &Bench| bench.world.etcd(&bench.cluster()).unwrap();
    assert!(!etcd(&bench).lock().is_running("cp-2"));
    let found = bench.api::<DevMachine>().get_opt("cp-2").await.unwrap();
    let (_, reason, message) = condition(found.as_ref(), faults::CONDITION).unwrap();
    assert_eq!(reason, faults::ETCD_DATA_LOST);
    assert!(message.contains("replace the Machine"), "{message}");

    bench.stop().await;
    bench.world = World::simulated(
        bench.clock.clone(),
        std::sync::Arc::new(SeededRandomness::new(9)),
        std::sync::Arc::new(cluster_pki::PooledKeys::new()),
    );
    let before = bench.writes();
    bench.start();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(
        !etcd(&bench).lock().is_running("cp-2"),
        "a new process knows it too"
    );
    assert_eq!(members(&bench).len(), 3);
    assert_eq!(pod_is_ready(&bench, "etcd-cp-2").await, Some(false));
    assert_eq!(
        bench.writes(),
        before,
        "the objects say already what is true again"
    );
}

#[tokio::test(start_paused = true)]
async fn an_unreachable_endpoint_refuses_connections_until_it_is_repaired() {
    let mut bench = bench_with_control_plane().await;
    let connection = connect(&bench, "ca").await.unwrap();
    bench
        .annotate::<DevCluster>("c1", faults::ENDPOINT, Some(faults::UNREACHABLE))
        .await;
    let told = |found: Option<&DevCluster>| {
        let conditions = found
            .and_then(|d| d.status.as_ref())
            .map(|s| &s.conditions[..])
            .unwrap_or_default();
        conditions
            .iter()
            .any(|c| c.type_ == faults::CONDITION && c.message.contains("refuses connections"))
    };
    bench.until::<DevCluster>("c1", told).await;
    let refused = Api::<Node>::all(connection.client.clone())
        .list(&ListParams::default())
        .await
        .unwrap_err();
    assert!(
        capi_runtime::describe(&refused).contains("connection refused"),
        "{refused}"
    );

    bench.stop().await;
    bench.world = World::simulated(
        bench.clock.clone(),
        std::sync::Arc::new(SeededRandomness::new(9)),
        std::sync::Arc::new(cluster_pki::PooledKeys::new()),
    );
    bench.start();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(
        connect(&bench, "ca").await.is_err(),
        "a new process finds the switch"
    );
    bench.annotate::<DevCluster>("c1", faults::ENDPOINT, None).await;
    bench.until::<DevCluster>("c1", |found| !told(found)).await;
    assert!(connect(&bench, "ca").await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_value_that_is_not_known_is_answered_and_does_nothing() {
    let bench = bench_with_control_plane().await;
    bench
        .annotate::<DevMachine>("cp-1", faults::ETCD, Some("sick"))
        .await;
    let answered = |found: Option<&DevMachine>| {
        condition(found, faults::CONDITION).is_some_and(|(status, reason, message)| {
            status == "False"
                && reason == faults::NOT_UNDERSTOOD
                && message.ends_with("etcd: sick is ignored: the value must be one of down, lost")
        })
    };
    bench.until::<DevMachine>("cp-1", answered).await;
    assert!(connect(&bench, "ca").await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_slow_machine_comes_up_later() {
    let bench = bench_with_control_plane().await;
    bench.make_token().await;
    let start = tokio::time::Instant::now();
    bench
        .make_machine_with(
            "w-1",
            false,
            &bench.join_data(),
            VERSION,
            json!({ faults::SLOW: "20s" }),
        )
        .await;
    bench.until::<DevMachine>("w-1", is_ready).await;
    let took = start.elapsed().as_secs_f64();
    assert!(
        (52.0..52.5).contains(&took),
        "10 s + 20 s + 2 s + 20 s, but took {took} s"
    );
}

#[tokio::test(start_paused = true)]
async fn a_deleted_machine_leaves_to_others_what_a_vanished_one_leaves() {
    let bench = three().await;
    bench.delete_and_wait::<DevMachine>("cp-3").await;
    assert_eq!(
        members(&bench).len(),
        3,
        "its etcd member is for the control plane to remove"
    );
    assert!(
        !bench
            .world
            .etcd(&bench.cluster())
            .unwrap()
            .lock()
            .is_running("cp-3")
    );
    assert_eq!(
        node_ready(&bench, "cp-3").await.0,
        "True",
        "nobody has noticed yet"
    );
    tokio::time::sleep(Duration::from_secs(51)).await;
    assert_eq!(
        node_ready(&bench, "cp-3").await,
        ("Unknown".into(), "NodeStatusUnknown".into())
    );
    assert_eq!(pod_is_ready(&bench, "kube-apiserver-cp-3").await, Some(false));
    let nodes = Api::<Node>::all(inside(&bench));
    nodes.delete("cp-3", &DeleteParams::default()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(
        pod_is_ready(&bench, "kube-apiserver-cp-3").await,
        None,
        "its pods go with the Node"
    );
    assert_eq!(pod_is_ready(&bench, "kube-apiserver-cp-2").await, Some(true));
}

#[tokio::test(start_paused = true)]
async fn a_deleted_node_does_not_come_back_by_itself() {
    let bench = bench_with_control_plane().await;
    bench.make_token().await;
    bench.make_machine("w-1", false, &bench.join_data()).await;
    bench.until::<DevMachine>("w-1", is_ready).await;
    Api::<Node>::all(inside(&bench))
        .delete("w-1", &DeleteParams::default())
        .await
        .unwrap();
    let touch = json!({ "metadata": { "labels": { "touched": "yes" } } });
    bench
        .api::<DevMachine>()
        .patch("w-1", &Default::default(), &Patch::Merge(touch))
        .await
        .unwrap();
    switch(&bench, "w-1", faults::NODE, faults::UNKNOWN).await;
    assert_eq!(node_names(&connect(&bench, "ca").await.unwrap()).await, ["cp-1"]);
}
