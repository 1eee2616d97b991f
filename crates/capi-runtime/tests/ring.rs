//! Replicas that share the work: who does what when they come, go and lose the network.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "all of this is test code: a failure is a panic"
)]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use capi_runtime::{Controller, Manager, Membership, Next};
use k8s_openapi::api::{coordination::v1::Lease, core::v1::ConfigMap};
use kube::{Api, Client, ResourceExt, api::ListParams, client::Body};
use parking_lot::Mutex;
use support::*;
use tokio::time::sleep;

/// Who works on what, now and ever.
#[derive(Default)]
struct Log {
    working: BTreeMap<String, String>,
    owners: BTreeMap<String, String>,
    done: u32,
    clashes: Vec<String>,
}

/// A replica that works on each ConfigMap again and again.
fn replica(world: &World, name: &str, client: Client, log: &Arc<Mutex<Log>>) -> Manager {
    let membership = Membership {
        manager: "test-manager".into(),
        namespace: "default".into(),
        pod: Some(name.into()),
        ip: None,
    };
    let mut manager = world.builder_for(client).replicas(membership).build().unwrap();
    let (name, log) = (name.to_owned(), log.clone());
    let (reconciler, _) = Probe::new(move |_, key| {
        let (name, log) = (name.clone(), log.clone());
        Box::pin(async move {
            {
                let mut log = log.lock();
                if let Some(other) = log.working.insert(key.name.clone(), name.clone()) {
                    log.clashes.push(format!("{}: {other} and {name}", key.name));
                }
                log.owners.insert(key.name.clone(), name.clone());
                log.done += 1;
            }
            sleep(Duration::from_millis(30)).await;
            log.lock().working.remove(&key.name);
            Ok(Next::After(Duration::from_millis(20)))
        })
    });
    manager.register(Controller::<ConfigMap>::new("test", reconciler));
    manager
}

/// Which replicas worked in the next seconds, and on how many objects in all.
async fn workers(log: &Mutex<Log>) -> (BTreeSet<String>, usize) {
    log.lock().owners.clear();
    sleep(Duration::from_secs(2)).await;
    let owners = log.lock().owners.clone();
    (owners.values().cloned().collect(), owners.len())
}

async fn leases(world: &World) -> Vec<String> {
    let api: Api<Lease> = Api::namespaced(world.client.clone(), "default");
    let leases = api.list(&ListParams::default()).await.unwrap();
    leases.items.iter().map(|lease| lease.name_any()).collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn replicas_share_the_work_without_a_gap_and_never_work_on_the_same() {
    let world = world().await;
    for number in 0..20 {
        world.create::<ConfigMap>(config_map(&format!("c{number}"))).await;
    }
    let log = Arc::new(Mutex::new(Log::default()));
    let client = || world.server.client_as("manager");
    let a = Running::start(replica(&world, "a", client(), &log)).await;
    assert_eq!(workers(&log).await, (set(&["a"]), 20));
    // Two come at once.
    let b = Running::start(replica(&world, "b", client(), &log)).await;
    let c = Running::start(replica(&world, "c", client(), &log)).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(workers(&log).await, (set(&["a", "b", "c"]), 20));
    // One goes, as in a rolling restart.
    a.stop().await;
    assert_eq!(workers(&log).await, (set(&["b", "c"]), 20));
    b.stop().await;
    assert_eq!(leases(&world).await, ["ring-c"]);
    assert_eq!(workers(&log).await, (set(&["c"]), 20));
    c.stop().await;
    assert_eq!(leases(&world).await, Vec::<String>::new());
    assert_eq!(log.lock().clashes, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_replica_without_network_stops_before_the_others_take_over_and_comes_back() {
    let world = world().await;
    for number in 0..20 {
        world.create::<ConfigMap>(config_map(&format!("c{number}"))).await;
    }
    let log = Arc::new(Mutex::new(Log::default()));
    let cut = Arc::new(AtomicBool::new(false));
    let (through, cut_off) = (world.server.client_as("manager"), cut.clone());
    let cuttable = tower::service_fn(move |request: http::Request<Body>| {
        let (client, cut) = (through.clone(), cut_off.clone());
        async move {
            match cut.load(Ordering::Relaxed) {
                true => Err(tower::BoxError::from("no route to host")),
                false => client.send(request).await.map_err(tower::BoxError::from),
            }
        }
    });
    let a = Running::start(replica(&world, "a", world.server.client_as("manager"), &log)).await;
    let b = Running::start(replica(&world, "b", Client::new(cuttable, "default"), &log)).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(workers(&log).await, (set(&["a", "b"]), 20));
    cut.store(true, Ordering::Relaxed);
    sleep(Duration::from_secs(30)).await;
    assert_eq!(workers(&log).await, (set(&["a"]), 20));
    cut.store(false, Ordering::Relaxed);
    sleep(Duration::from_secs(20)).await;
    assert_eq!(workers(&log).await, (set(&["a", "b"]), 20));
    assert_eq!(log.lock().clashes, Vec::<String>::new());
    a.stop().await;
    b.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_process_started_again_in_its_pod_replaces_its_predecessor_at_once() {
    let world = world().await;
    world.create::<ConfigMap>(config_map("c")).await;
    let log = Arc::new(Mutex::new(Log::default()));
    let client = || world.server.client_as("manager");
    // A Lease that a killed process of the same pod left, with a view as of a working member.
    let lease = serde_json::json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {
            "name": "ring-a", "namespace": "default",
            "labels": {"runtime.capi-rs.io/ring": "test-manager"},
            "annotations": {"runtime.capi-rs.io/ring-view": "a_killed"},
        },
        "spec": {"holderIdentity": "a_killed"},
    });
    world.create::<Lease>(lease).await;
    let a = Running::start(replica(&world, "a", client(), &log)).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(workers(&log).await, (set(&["a"]), 1));
    a.stop().await;
}
