//! Workload clusters: connecting, losing, reconnecting, and what that wakes. Each workload cluster is an API server in
//! this process.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::type_complexity
)]

mod support;

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use capi_api::core::v1beta2::{Cluster, Machine};
use capi_runtime::{
    Controller, Key, Next, WorkloadConnection, WorkloadConnector,
    workload::{ConnectError, Probe as ProbeResult},
};
use embedded_apiserver::{ByteStream, PortForward, Server};
use k8s_openapi::api::core::v1::{Node, Pod, Secret};
use kube::{
    Api, Client,
    api::{DeleteParams, PostParams},
    client::Body,
};
use parking_lot::Mutex;
use serde_json::json;
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower::ServiceExt;

/// Leads to servers by the text of the kubeconfig; a server can be switched off.
#[derive(Default)]
struct InProcess {
    servers: Mutex<BTreeMap<String, (Server, Arc<AtomicBool>)>>,
    tries: AtomicUsize,
}

#[async_trait]
impl WorkloadConnector for InProcess {
    async fn connect(&self, _: &Key, kubeconfig: &str) -> Result<WorkloadConnection, ConnectError> {
        self.tries.fetch_add(1, Ordering::Relaxed);
        let (server, up) = self
            .servers
            .lock()
            .get(kubeconfig)
            .cloned()
            .ok_or("connection refused")?;
        let service = tower::service_fn(move |request: http::Request<Body>| {
            let (server, up) = (server.clone(), up.clone());
            async move {
                if !up.load(Ordering::Relaxed) {
                    return Err::<_, tower::BoxError>("connection reset".into());
                }
                Ok(server.service().oneshot(request).await?)
            }
        });
        let upgrades = self.servers.lock()[kubeconfig].0.client();
        Ok(WorkloadConnection {
            client: Client::new(service, "default"),
            upgrades,
        })
    }
}

impl InProcess {
    async fn add(&self, name: &str) -> (Server, Arc<AtomicBool>) {
        let server = Server::builder()
            .clock(clock())
            .port_forward(Arc::new(Echo))
            .build()
            .await
            .unwrap();
        let up = Arc::new(AtomicBool::new(true));
        self.servers
            .lock()
            .insert(name.to_owned(), (server.clone(), up.clone()));
        (server, up)
    }
}

struct Echo;

#[async_trait]
impl PortForward for Echo {
    async fn connect(&self, _: &str, _: &str, _: u16) -> io::Result<Box<dyn ByteStream>> {
        let (near, mut far) = tokio::io::duplex(64);
        tokio::spawn(async move {
            let mut bytes = [0; 4];
            far.read_exact(&mut bytes).await.unwrap();
            far.write_all(&bytes).await.unwrap();
        });
        Ok(Box::new(near))
    }
}

async fn kubeconfig(world: &World, cluster: &str) {
    world
        .create::<Secret>(json!({
            "metadata": {
                "namespace": "default", "name": format!("{cluster}-kubeconfig"),
                "labels": {"cluster.x-k8s.io/cluster-name": cluster},
            },
            "type": "cluster.x-k8s.io/secret", "stringData": {"value": cluster},
        }))
        .await;
}

async fn node(server: &Server, name: &str) {
    let api: Api<Node> = Api::all(server.client());
    let node = json!({"metadata": {"name": name}, "spec": {"providerID": format!("x:///{name}")}});
    api.create(&PostParams::default(), &serde_json::from_value(node).unwrap())
        .await
        .unwrap();
}

struct Setup {
    world: World,
    connector: Arc<InProcess>,
    running: Running,
    calls: Arc<Mutex<Vec<String>>>,
    log: Arc<Mutex<BTreeMap<String, String>>>,
    probes: Arc<Mutex<Option<ProbeResult>>>,
}

/// A Machine controller that records the nodes it sees, or why it sees none.
async fn setup() -> Setup {
    let world = world().await;
    for name in ["a", "b"] {
        world.create::<Cluster>(cluster(name)).await;
        world.create::<Machine>(machine(&format!("m-{name}"), name)).await;
    }
    let connector = Arc::new(InProcess::default());
    let mut manager = world
        .builder()
        .workload_connector(connector.clone())
        .build()
        .unwrap();
    let (log, probes) = (Arc::new(Mutex::new(BTreeMap::new())), Arc::new(Mutex::new(None)));
    let (seen, last) = (log.clone(), probes.clone());
    let (probe, calls) = Probe::new(move |ctx, key| {
        let (seen, last) = (seen.clone(), last.clone());
        Box::pin(async move {
            let Some(machine) = ctx.get::<Machine>(key) else {
                return Ok(Next::Done);
            };
            let cluster = key.sibling(&machine.spec.cluster_name);
            if cluster.name == "a" {
                *last.lock() = ctx.workload_probe(&cluster);
            }
            let text = match ctx.workload(&cluster) {
                Ok(workload) => {
                    let nodes = workload.store::<Node>();
                    let first = nodes.by_index("provider-id", "x:///n1");
                    assert_eq!(first.len(), nodes.get(&Key::new("", "n1")).iter().len());
                    format!("{} nodes", nodes.len())
                }
                Err(disconnected) => disconnected.reason,
            };
            seen.lock().insert(key.name.clone(), text);
            Ok(Next::Done)
        })
    });
    manager.register(
        Controller::<Machine>::new("machine", probe).watches_workload::<Node>(|cluster, _, stores| {
            stores
                .get::<Machine>()
                .by_cluster(cluster)
                .iter()
                .map(|machine| Key::of(&**machine))
                .collect()
        }),
    );
    manager.index_workload::<Node>("provider-id", |node| {
        node.spec
            .iter()
            .filter_map(|spec| spec.provider_id.clone())
            .collect()
    });
    let running = Running::start(manager).await;
    settle().await;
    Setup {
        world,
        connector,
        running,
        calls,
        log,
        probes,
    }
}

impl Setup {
    fn sees(&self, machine: &str) -> String {
        self.log.lock().get(machine).cloned().unwrap_or_default()
    }

    async fn expect(&self, machine: &str, text: &str) {
        eventually(
            &format!("{machine} sees {text}, not {}", self.sees(machine)),
            || self.sees(machine) == text,
        )
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_cluster_connects_when_its_kubeconfig_comes_and_others_are_not_concerned() {
    let setup = setup().await;
    setup.expect("m-a", "there is no Secret a-kubeconfig yet").await;
    let (server, _) = setup.connector.add("a").await;
    kubeconfig(&setup.world, "b").await; // leads nowhere
    kubeconfig(&setup.world, "a").await;
    setup.expect("m-a", "0 nodes").await;
    node(&server, "n1").await;
    setup.expect("m-a", "1 nodes").await;
    let calls = setup.calls.lock().len();
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(
        setup.calls.lock().len(),
        calls,
        "nobody is woken while nothing changes"
    );
    let tries = setup.connector.tries.load(Ordering::Relaxed);
    assert!(
        tries < 45,
        "a dead address is tried now and then: {tries} in ten minutes"
    );
    setup.running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn asking_for_a_disconnected_cluster_brings_the_next_try_forward() {
    let setup = setup().await;
    kubeconfig(&setup.world, "a").await;
    tokio::time::sleep(Duration::from_secs(300)).await;
    setup.connector.add("a").await;
    // Any event of the machine will do.
    setup
        .world
        .merge(
            "cluster.x-k8s.io/v1beta2",
            "Machine",
            "m-a",
            json!({"metadata": {"labels": {"x": "y"}}}),
        )
        .await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(setup.sees("m-a"), "0 nodes");
    setup.running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_cluster_is_noticed_and_found_again() {
    let setup = setup().await;
    let (server, up) = setup.connector.add("a").await;
    node(&server, "n1").await;
    kubeconfig(&setup.world, "a").await;
    setup.expect("m-a", "1 nodes").await;
    up.store(false, Ordering::Relaxed);
    setup.expect("m-a", "connection reset").await;
    let probe = setup.probes.lock().clone().unwrap();
    assert!(
        !probe.connected && probe.consecutive_failures >= 5 && probe.last_success.is_some(),
        "{probe:?}"
    );
    node(&server, "n2").await;
    up.store(true, Ordering::Relaxed);
    setup.expect("m-a", "2 nodes").await;
    assert_eq!(setup.probes.lock().as_ref().unwrap().consecutive_failures, 0);
    setup.running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_changed_kubeconfig_leads_elsewhere_and_a_deleted_cluster_nowhere() {
    let setup = setup().await;
    setup.connector.add("a").await;
    let (other, _) = setup.connector.add("other").await;
    node(&other, "n1").await;
    kubeconfig(&setup.world, "a").await;
    setup.expect("m-a", "0 nodes").await;
    setup
        .world
        .merge(
            "v1",
            "Secret",
            "a-kubeconfig",
            json!({"stringData": {"value": "other"}}),
        )
        .await;
    setup.expect("m-a", "1 nodes").await;
    let clusters = Api::<Cluster>::namespaced(setup.world.client.clone(), "default");
    clusters.delete("a", &DeleteParams::default()).await.unwrap();
    setup.expect("m-a", "there is no Cluster of this name").await;
    setup.running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn ports_of_pods_are_reached() {
    let world = world().await;
    world.create::<Cluster>(cluster("a")).await;
    world.create::<Machine>(machine("m-a", "a")).await;
    let connector = Arc::new(InProcess::default());
    let (server, _) = connector.add("a").await;
    let pods: Api<Pod> = Api::namespaced(server.client(), "default");
    let pod = json!({"metadata": {"name": "etcd"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap())
        .await
        .unwrap();
    let mut manager = world.builder().workload_connector(connector).build().unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let flag = done.clone();
    let (probe, _) = Probe::new(move |ctx, key| {
        let done = flag.clone();
        Box::pin(async move {
            let workload = ctx.workload(&key.sibling("a"))?;
            let mut stream = workload.port_forward("default", "etcd", 2379).await?;
            stream.write_all(b"ping").await.unwrap();
            let mut answer = [0; 4];
            stream.read_exact(&mut answer).await.unwrap();
            assert_eq!(&answer, b"ping");
            let error = workload
                .port_forward("default", "none", 2379)
                .await
                .err()
                .unwrap();
            assert!(
                error
                    .to_string()
                    .contains("port 2379 of pod default/none in default/a"),
                "{error}"
            );
            done.store(true, Ordering::Relaxed);
            Ok(Next::Done)
        })
    });
    manager.register(Controller::<Machine>::new("machine", probe).connects_workloads());
    let running = Running::start(manager).await;
    kubeconfig(&world, "a").await;
    eventually("bytes came back", || done.load(Ordering::Relaxed)).await;
    running.stop().await;
}
