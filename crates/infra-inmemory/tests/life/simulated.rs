//! The life of machines and clusters in simulated time.

use std::{sync::Arc, time::Duration};

use capi_api::core::v1beta2::Machine;
use capi_runtime::{WorkloadConnection, WorkloadConnector, workload::ConnectError};
use cluster_pki::{Kubeconfig, PooledKeys};
use infra_inmemory::{
    World,
    api::{BOOTSTRAPPED_ANNOTATION, DevCluster, DevMachine},
    backend::{Registry, RegistryConnector, WorldSettings},
};
use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod, Secret};
use kube::{Api, ResourceExt, api::ListParams};
use seams::SeededRandomness;

use super::support::{Bench, condition, is_ready, simulated_world};

pub async fn connect(bench: &Bench, authority: &str) -> Result<WorkloadConnection, ConnectError> {
    let connector = bench.world.connector().unwrap();
    connector
        .connect(&bench.cluster(), &bench.kubeconfig(authority))
        .await
}

pub async fn node_names(connection: &WorkloadConnection) -> Vec<String> {
    let nodes = Api::<Node>::all(connection.client.clone())
        .list(&ListParams::default())
        .await
        .unwrap();
    nodes.iter().map(ResourceExt::name_any).collect()
}

pub async fn bench_with_control_plane() -> Bench {
    let (world, clock) = simulated_world();
    let bench = Bench::new(world, clock).await;
    bench.make_cluster().await;
    bench.make_machine("cp-1", true, &bench.init_data()).await;
    bench.until::<DevMachine>("cp-1", is_ready).await;
    bench
}

#[tokio::test(start_paused = true)]
async fn a_cluster_gets_an_endpoint_that_opens_with_the_first_control_plane_machine() {
    let (world, clock) = simulated_world();
    let bench = Bench::new(world, clock).await;
    let dev_cluster = bench.make_cluster().await;
    let endpoint = dev_cluster.spec.control_plane_endpoint.clone().unwrap();
    assert_eq!(
        (endpoint.host.as_deref(), endpoint.port),
        (Some("127.0.0.1"), Some(20_000))
    );
    assert_eq!(
        dev_cluster.annotations()["inmemorycluster.infrastructure.cluster.x-k8s.io/listener"],
        "default/c1"
    );
    assert_eq!(
        dev_cluster.finalizers(),
        ["dockercluster.infrastructure.cluster.x-k8s.io"]
    );
    let refused = connect(&bench, "ca").await.err().unwrap().to_string();
    assert!(refused.contains("connection refused"), "{refused}");

    let start = tokio::time::Instant::now();
    bench.make_machine("cp-1", true, &bench.init_data()).await;
    let machine = bench.until::<DevMachine>("cp-1", is_ready).await.unwrap();
    let took = start.elapsed().as_secs_f64();
    assert!(
        (14.0..14.5).contains(&took),
        "10 s + 2 s + 2 s, but took {took} s"
    );
    assert_eq!(machine.spec.provider_id.as_deref(), Some("in-memory://cp-1"));
    let owner = bench.api::<Machine>().get("cp-1").await.unwrap();
    assert!(
        !owner.annotations().contains_key(BOOTSTRAPPED_ANNOTATION),
        "needed only when the conditions forget it"
    );

    let connection = connect(&bench, "ca").await.unwrap();
    let node = Api::<Node>::all(connection.client.clone())
        .get("cp-1")
        .await
        .unwrap();
    assert!(
        node.labels()
            .contains_key("node-role.kubernetes.io/control-plane")
    );
    assert_eq!(
        node.spec.unwrap().provider_id.as_deref(),
        Some("in-memory://cp-1")
    );
    let pods = Api::<Pod>::namespaced(connection.client.clone(), "kube-system");
    let pods: Vec<_> = pods
        .list(&ListParams::default())
        .await
        .unwrap()
        .iter()
        .map(ResourceExt::name_any)
        .collect();
    assert_eq!(
        pods,
        [
            "etcd-cp-1",
            "kube-apiserver-cp-1",
            "kube-controller-manager-cp-1",
            "kube-scheduler-cp-1"
        ]
    );
    let maps = Api::<ConfigMap>::namespaced(connection.client.clone(), "kube-system");
    let configuration =
        maps.get("kubeadm-config").await.unwrap().data.unwrap()["ClusterConfiguration"].clone();
    assert!(
        configuration.contains("kubernetesVersion: v1.35.0"),
        "{configuration}"
    );

    let stranger = connect(&bench, "stranger").await.err().unwrap().to_string();
    assert!(
        stranger.contains("does not accept the client certificate"),
        "{stranger}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_worker_joins_only_with_a_token_that_the_cluster_knows() {
    let bench = bench_with_control_plane().await;
    bench.make_machine("w-1", false, &bench.join_data()).await;
    let failed = |found: Option<&DevMachine>| {
        condition(found, "NodeProvisioned").is_some_and(|(_, reason, _)| reason == "BootstrapFailed")
    };
    let machine = bench.until::<DevMachine>("w-1", failed).await;
    let (_, _, message) = condition(machine.as_ref(), "NodeProvisioned").unwrap();
    assert!(
        message.contains("Secret kube-system/bootstrap-token-abcdef is missing"),
        "{message}"
    );
    assert_eq!(condition(machine.as_ref(), "VMProvisioned").unwrap().0, "True");

    bench.make_token().await;
    bench.until::<DevMachine>("w-1", is_ready).await;
    let connection = connect(&bench, "ca").await.unwrap();
    assert_eq!(node_names(&connection).await, ["cp-1", "w-1"]);
    let node = Api::<Node>::all(connection.client.clone())
        .get("w-1")
        .await
        .unwrap();
    assert_eq!(node.labels()["pool"], "a");
    let taints = node.spec.unwrap().taints.unwrap();
    assert_eq!(taints[0].key, "node.cluster.x-k8s.io/uninitialized");
}

#[tokio::test(start_paused = true)]
async fn a_machine_with_foreign_certificates_never_starts_a_cluster() {
    let (world, clock) = simulated_world();
    let bench = Bench::new(world, clock).await;
    bench.make_cluster().await;
    let foreign = bench
        .init_data()
        .replacen("BEGIN CERTIFICATE", "BEGIN OTHER CERTIFICATE", 1);
    bench.make_machine("cp-1", true, &foreign).await;
    let failed = |found: Option<&DevMachine>| {
        condition(found, "NodeProvisioned").is_some_and(|(_, reason, _)| reason == "BootstrapFailed")
    };
    let machine = bench.until::<DevMachine>("cp-1", failed).await;
    let (_, _, message) = condition(machine.as_ref(), "Ready").unwrap();
    assert!(
        message.contains("NodeProvisioned: /etc/kubernetes/pki/ca.crt in write_files is not the one of the cluster's Secret"),
        "{message}"
    );
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_at_rest() {
    let bench = bench_with_control_plane().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = bench.writes();
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(bench.writes(), before);
}

#[tokio::test(start_paused = true)]
async fn deletion_leaves_nothing() {
    let bench = bench_with_control_plane().await;
    bench.make_token().await;
    bench.make_machine("w-1", false, &bench.join_data()).await;
    bench.until::<DevMachine>("w-1", is_ready).await;
    let connection = connect(&bench, "ca").await.unwrap();

    bench.delete_and_wait::<DevMachine>("w-1").await;
    assert_eq!(
        node_names(&connection).await,
        ["cp-1", "w-1"],
        "the Node is for its Machine's controller to delete"
    );
    bench.delete_and_wait::<DevMachine>("cp-1").await;
    let refused = Api::<Node>::all(connection.client.clone())
        .list(&ListParams::default())
        .await
        .unwrap_err();
    assert!(
        capi_runtime::describe(&refused).contains("connection refused"),
        "{refused}"
    );
    assert_eq!(bench.world.machines(), []);
    bench.delete_and_wait::<DevCluster>("c1").await;
    assert_eq!(bench.world.clusters(), []);
}

#[tokio::test(start_paused = true)]
async fn a_paused_machine_is_left_alone() {
    let (world, clock) = simulated_world();
    let bench = Bench::new(world, clock).await;
    bench.make_cluster().await;
    bench.make_machine("cp-1", true, &bench.init_data()).await;
    let pause = |value: serde_json::Value| {
        let api = bench.api::<DevMachine>();
        let patch =
            serde_json::json!({ "metadata": { "annotations": { "cluster.x-k8s.io/paused": value } } });
        async move {
            api.patch("cp-1", &Default::default(), &kube::api::Patch::Merge(patch))
                .await
                .unwrap()
        }
    };
    pause("".into()).await;
    bench
        .until::<DevMachine>("cp-1", |found| {
            condition(found, "Paused").is_some_and(|(status, ..)| status == "True")
        })
        .await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(!is_ready(
        bench.api::<DevMachine>().get_opt("cp-1").await.unwrap().as_ref()
    ));
    pause(serde_json::Value::Null).await;
    bench.until::<DevMachine>("cp-1", is_ready).await;
}

#[tokio::test(start_paused = true)]
async fn watches_end_when_the_last_api_server_stops_and_connections_come_back_with_it() {
    use futures::StreamExt;
    let bench = bench_with_control_plane().await;
    let connection = connect(&bench, "ca").await.unwrap();
    let nodes = Api::<Node>::all(connection.client.clone());
    let mut watch = Box::pin(nodes.watch(&Default::default(), "0").await.unwrap());
    assert!(watch.next().await.unwrap().is_ok(), "the Node is told first");
    let machine = bench.cluster().sibling("cp-1");
    bench.world.stop_api_server(&machine).await.unwrap();
    while let Some(event) = watch.next().await {
        if event.is_err() {
            break;
        }
    }
    assert!(nodes.list(&ListParams::default()).await.is_err());
    bench.world.resume_api_server(&machine).await.unwrap();
    assert_eq!(node_names(&connection).await, ["cp-1"]);
}

#[tokio::test(start_paused = true)]
async fn a_copy_of_the_world_goes_on_where_the_original_was() {
    let mut bench = bench_with_control_plane().await;
    bench.stop().await;
    let snapshot = bench.world.snapshot();
    let copy = World::simulated(
        bench.clock.clone(),
        Arc::new(SeededRandomness::new(9)),
        Arc::new(PooledKeys::new()),
    );
    copy.restore(snapshot).await.unwrap();
    bench.world.delete_cluster(&bench.cluster()).await;
    assert_eq!(bench.world.clusters(), [], "the original is gone");

    let etcd = copy.etcd(&bench.cluster()).unwrap();
    assert_eq!(etcd.lock().leader(), Some("cp-1"));
    bench.world = copy;
    bench.start();
    assert_eq!(node_names(&connect(&bench, "ca").await.unwrap()).await, ["cp-1"]);
    let before = bench.writes();
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(bench.writes(), before, "nothing is left to do");
}

#[tokio::test(start_paused = true)]
async fn a_lost_world_is_rebuilt_at_once() {
    let mut bench = bench_with_control_plane().await;
    bench.make_token().await;
    bench.make_machine("w-1", false, &bench.join_data()).await;
    bench.until::<DevMachine>("w-1", is_ready).await;
    bench.stop().await;
    bench.world = World::simulated(
        bench.clock.clone(),
        Arc::new(SeededRandomness::new(9)),
        Arc::new(PooledKeys::new()),
    );
    let before = bench.writes();
    bench.start();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(
        node_names(&connect(&bench, "ca").await.unwrap()).await,
        ["cp-1", "w-1"]
    );
    assert_eq!(
        bench.writes(),
        before,
        "the objects say already what is true again"
    );
    assert_eq!(bench.world.machines().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_docker_backend_is_answered_with_a_clear_condition() {
    let (world, clock) = simulated_world();
    let bench = Bench::new(world, clock).await;
    bench.make_cluster().await;
    bench.make_machine("cp-1", true, &bench.init_data()).await;
    let docker = serde_json::json!({ "spec": { "backend": { "inMemory": null, "docker": {} } } });
    let api = bench.api::<DevMachine>();
    api.patch("cp-1", &Default::default(), &kube::api::Patch::Merge(docker))
        .await
        .unwrap();
    let refused = |found: Option<&DevMachine>| {
        condition(found, "Ready").is_some_and(|(_, reason, _)| reason == "BackendNotSupported")
    };
    let machine = bench.until::<DevMachine>("cp-1", refused).await;
    assert!(
        condition(machine.as_ref(), "Ready")
            .unwrap()
            .2
            .contains("use spec.backend.inMemory")
    );
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_comes_back_at_another_address_takes_its_clusters_along() {
    let mut bench = bench_with_control_plane().await;
    bench
        .secret("c1-kubeconfig", &[("value", &bench.kubeconfig("ca"))])
        .await;
    bench.stop().await;
    let registry = Registry::new(bench.clock.clone());
    bench.world = World::new(WorldSettings {
        clock: bench.clock.clone(),
        randomness: Arc::new(SeededRandomness::new(9)),
        keys: Arc::new(PooledKeys::new()),
        endpoints: Arc::new(registry.clone()),
        host: "10.9.8.7".to_owned(),
    });
    bench.start();
    let moved = |found: Option<&DevCluster>| {
        found.and_then(|d| d.spec.control_plane_endpoint.as_ref()?.host.as_deref()) == Some("10.9.8.7")
    };
    bench.until::<DevCluster>("c1", moved).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let secret = bench.api::<Secret>().get("c1-kubeconfig").await.unwrap();
    let kubeconfig = String::from_utf8(secret.data.unwrap()["value"].0.clone()).unwrap();
    assert_eq!(
        Kubeconfig::parse(&kubeconfig).unwrap().server,
        "https://10.9.8.7:20000"
    );
    let connector = RegistryConnector(registry);
    let connection = connector.connect(&bench.cluster(), &kubeconfig).await.unwrap();
    assert_eq!(node_names(&connection).await, ["cp-1"]);
}
