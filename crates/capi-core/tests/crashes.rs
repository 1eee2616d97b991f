//! Crashes after writes, and the same seed twice.
#![allow(clippy::unwrap_used, reason = "a failure here fails the test")]

mod support;

use std::time::Duration;

use capi_api::core::v1beta2::{Machine, MachineDeployment, MachineSet};
use k8s_openapi::api::core::v1::Node;
use kube::{Api, ResourceExt, api::ListParams};
use serde_json::json;
use support::{World, gate::Gate};

/// Plays create, scale up and scale down; a manager that is cut off is replaced by a fresh one. Returns how many writes
/// there were.
async fn play(seed: u64, crash_at: Option<usize>) -> usize {
    let mut world = World::without_manager(seed).await;
    let gate = crash_at.map_or_else(Gate::default, Gate::closing_at);
    world.run_manager(&gate);
    world.apply_manifest(2).await;
    for replicas in [2, 3, 1] {
        world
            .patch::<MachineDeployment>("md", json!({"spec": {"replicas": replicas}}))
            .await;
        let mut replaced = false;
        let mut tries = 0;
        while !world.has_machines(replicas).await {
            if gate.is_closed() && !std::mem::replace(&mut replaced, true) {
                world.remove_manager().await;
                world.run_manager(&Gate::default());
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
            tries += 1;
            assert!(
                tries < 900,
                "crash at {crash_at:?}: no {replicas} Machines after three minutes: {}",
                left(&world).await
            );
        }
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    if gate.is_closed() {
        world.remove_manager().await;
        world.run_manager(&Gate::default());
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
    assert_eq!(
        left(&world).await,
        "1 Machine, 1 MachineSet, 1 FakeMachine, 1 FakeConfig, 1 Node",
        "crash at {crash_at:?}"
    );
    gate.writes()
}

async fn left(world: &World) -> String {
    let foreign = async |kind| {
        world
            .foreign(kind)
            .list(&ListParams::default())
            .await
            .unwrap()
            .items
            .len()
    };
    let nodes: Api<Node> = Api::all(world.workload.client_as("test"));
    format!(
        "{} Machine, {} MachineSet, {} FakeMachine, {} FakeConfig, {} Node",
        world.list::<Machine>().await.len(),
        world.list::<MachineSet>().await.len(),
        foreign("FakeMachine").await,
        foreign("FakeConfig").await,
        nodes.list(&ListParams::default()).await.unwrap().items.len()
    )
}

/// Every sixteenth write is the last of a manager once; with `SIM_CRASH=all` (`make sim`) every single one.
#[tokio::test(start_paused = true)]
async fn a_crash_after_any_write_leads_to_the_same_end() {
    let writes = play(1, None).await;
    assert!(writes > 30, "{writes}");
    for at in support::crash_points(writes, 16) {
        play(1, Some(at)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn one_seed_gives_one_request_log() {
    async fn log(seed: u64) -> Vec<String> {
        let world = World::start(seed).await;
        world.apply_manifest(2).await;
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert!(world.has_machines(2).await);
        world.requests.all()
    }
    for seed in 1..=3 {
        let (first, second) = (log(seed).await, log(seed).await);
        let differs = first.iter().zip(&second).position(|(a, b)| a != b);
        assert_eq!(differs.map(|i| (&first[i], &second[i])), None, "seed {seed}");
        assert_eq!(first.len(), second.len());
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_costs_few_writes() {
    let world = World::start(9).await;
    world.apply_manifest(1).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    world.requests.take_writes();
    world
        .patch::<MachineDeployment>("md", json!({"spec": {"replicas": 2}}))
        .await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    let writes = world.requests.take_writes();
    let name = world
        .list::<Machine>()
        .await
        .iter()
        .map(|m| m.name_any())
        .max_by_key(|n| writes.iter().filter(|w| w.contains(n.as_str())).count())
        .unwrap();
    let own: Vec<&String> = writes
        .iter()
        .filter(|w| w.contains(&name) && !w.contains("events/"))
        .collect();
    println!("{writes:#?}");
    assert!(own.len() <= 10, "{} writes: {own:#?}", own.len());
}
