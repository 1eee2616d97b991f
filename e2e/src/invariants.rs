//! What must hold after every scenario.

use std::{collections::BTreeSet, time::Duration};

use capictl::inventory::{Inventory, Object};

use crate::{
    scenario,
    simulation::{NAMESPACE, Simulation},
};

/// Checks all of them.
pub async fn check(simulation: &Simulation) -> Result<(), String> {
    at_rest(simulation, Duration::from_secs(120)).await?;
    let inventory = simulation.inventory().await;
    every_object_has_its_owner(&inventory)?;
    nodes_match_machines(simulation, &inventory).await
}

/// How long the last status writes of a change may take: what counts Machines is written at most once a second.
const SETTLE: Duration = Duration::from_secs(10);

/// Once settled, no controller attempts a write for so long, not even one that fails.
pub async fn at_rest(simulation: &Simulation, duration: Duration) -> Result<(), String> {
    tokio::time::sleep(SETTLE).await;
    let start = simulation.journal.lines().len();
    tokio::time::sleep(duration).await;
    let attempts = simulation.journal.write_attempts_since(start);
    if attempts.is_empty() {
        return Ok(());
    }
    Err(format!(
        "{} write attempts in {duration:?} at rest:\n{}",
        attempts.len(),
        attempts.join("\n")
    ))
}

/// The owner references form the tree that garbage collection, `clusterctl move` and `describe` rely on.
pub fn every_object_has_its_owner(inventory: &Inventory) -> Result<(), String> {
    let owner_of = |object: &Object| match object.kind.as_str() {
        "KubeadmControlPlane" | "MachineDeployment" | "DevCluster" => Some("Cluster"),
        "MachineSet" => Some("MachineDeployment"),
        "Machine" if object.label("cluster.x-k8s.io/control-plane").is_some() => Some("KubeadmControlPlane"),
        "Machine" => Some("MachineSet"),
        "KubeadmConfig" | "DevMachine" => Some("Machine"),
        _ => None,
    };
    let kinds = [
        "KubeadmControlPlane",
        "MachineDeployment",
        "DevCluster",
        "MachineSet",
        "Machine",
        "KubeadmConfig",
        "DevMachine",
    ];
    for object in kinds.iter().flat_map(|kind| inventory.of_kind(kind)) {
        let expected = owner_of(object).unwrap_or_default();
        let owners: Vec<_> = inventory
            .of_kind(expected)
            .filter(|owner| object.is_owned_by(owner))
            .collect();
        if owners.is_empty() {
            return Err(format!("{} has no {expected} as its owner", object.described()));
        }
    }
    Ok(())
}

/// Every Machine has its Node and every Node its Machine.
async fn nodes_match_machines(simulation: &Simulation, inventory: &Inventory) -> Result<(), String> {
    let machines: BTreeSet<String> = inventory
        .of_kind("Machine")
        .filter_map(|m| m.text("/status/nodeRef/name").map(str::to_owned))
        .collect();
    let nodes: BTreeSet<String> = scenario::nodes(simulation).await.into_iter().collect();
    if machines == nodes && machines.len() == inventory.of_kind("Machine").count() {
        return Ok(());
    }
    Err(format!(
        "in namespace {NAMESPACE} the Machines name the Nodes {machines:?}, but the Nodes are {nodes:?}"
    ))
}
