//! What must hold after every scenario.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use capictl::inventory::{Inventory, Object};
use kube::ResourceExt as _;

use crate::{
    scenario,
    simulation::{NAMESPACE, Simulation},
};

/// Checks all of them.
pub async fn check(simulation: &Simulation) -> Result<(), String> {
    at_rest(simulation, Duration::from_secs(120)).await?;
    let inventory = simulation.inventory();
    every_object_has_its_owner(&inventory)?;
    secrets_and_config_maps_have_their_owners(&inventory)?;
    nodes_match_machines(simulation, &inventory).await?;
    infrastructure_matches_machines(simulation, &inventory)?;
    every_object_says_why(simulation, &inventory);
    nothing_was_observed(simulation)
}

/// How long the last status writes of a change may take: what counts Machines is written at most once a second.
const SETTLE: Duration = Duration::from_secs(10);

/// Once settled, no controller attempts a write for so long, not even one that fails.
pub async fn at_rest(simulation: &Simulation, duration: Duration) -> Result<(), String> {
    tokio::time::sleep(SETTLE).await;
    let start = simulation.journal.len();
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

/// Nothing was wrong after any write so far, nor whenever somebody looked.
pub fn nothing_was_observed(simulation: &Simulation) -> Result<(), String> {
    let violations = simulation.journal.observer.violations();
    match violations.is_empty() {
        true => Ok(()),
        false => Err(format!("on the way here:\n{}", violations.join("\n"))),
    }
}

/// The kinds of the owners that an object must have; upstream's tests know the same table.
fn owners_of(object: &Object) -> &'static [&'static str] {
    match object.kind.as_str() {
        "KubeadmControlPlane" | "MachineDeployment" | "DevCluster" | "MachineHealthCheck" => &["Cluster"],
        "DevMachineTemplate" | "KubeadmConfigTemplate" => &["Cluster"],
        "MachineSet" => &["MachineDeployment"],
        "Machine" if object.label("cluster.x-k8s.io/control-plane").is_some() => &["KubeadmControlPlane"],
        "Machine" => &["MachineSet"],
        "KubeadmConfig" | "DevMachine" => &["Machine"],
        "ClusterResourceSetBinding" => &["ClusterResourceSet"],
        _ => &[],
    }
}

/// The owner references form the tree that garbage collection, `clusterctl move` and `describe` rely on.
pub fn every_object_has_its_owner(inventory: &Inventory) -> Result<(), String> {
    for object in scenario::KINDS.iter().flat_map(|kind| inventory.of_kind(kind)) {
        for expected in owners_of(object) {
            if !inventory.of_kind(expected).any(|owner| object.is_owned_by(owner)) {
                return Err(format!("{} has no {expected} as its owner", object.described()));
            }
        }
        let dangling = object.object.owner_references().iter().find(|owner| {
            let uid = Some(owner.uid.as_str());
            scenario::KINDS.contains(&owner.kind.as_str())
                && !inventory
                    .of_kind(&owner.kind)
                    .any(|o| o.object.metadata.uid.as_deref() == uid)
        });
        if let Some(owner) = dangling {
            return Err(format!(
                "{} is owned by {} {}, which does not exist",
                object.described(),
                owner.kind,
                owner.name
            ));
        }
    }
    Ok(())
}

/// Every Secret and ConfigMap of a cluster is owned by whoever made or applies it.
pub fn secrets_and_config_maps_have_their_owners(inventory: &Inventory) -> Result<(), String> {
    let of_cluster = |o: &&Object| o.label("cluster.x-k8s.io/cluster-name") == Some(scenario::CLUSTER);
    for secret in inventory.of_kind("Secret").filter(of_cluster) {
        let name = secret.name();
        let purpose = name.strip_prefix(scenario::CLUSTER).unwrap_or_default();
        let expected = match purpose {
            "-ca" | "-etcd" | "-proxy" | "-sa" | "-kubeconfig" => "KubeadmControlPlane",
            _ => "KubeadmConfig",
        };
        let owners = secret.object.owner_references();
        if !owners
            .iter()
            .any(|o| o.kind == expected && o.controller == Some(true))
        {
            return Err(format!("Secret {name} is not controlled by a {expected}"));
        }
    }
    let mut maps = inventory.of_kind("ConfigMap").filter(of_cluster);
    match maps.find(|map| map.object.owner_references().is_empty()) {
        Some(map) => Err(format!("{} has no owner", map.described())),
        None => Ok(()),
    }
}

/// Every Machine has its Node and every Node its Machine; every control-plane machine has its etcd member.
async fn nodes_match_machines(simulation: &Simulation, inventory: &Inventory) -> Result<(), String> {
    let names = |control_plane: bool| -> BTreeSet<String> {
        let machines = inventory
            .of_kind("Machine")
            .filter(|m| !control_plane || m.label("cluster.x-k8s.io/control-plane").is_some());
        machines
            .filter_map(|m| m.text("/status/nodeRef/name").map(str::to_owned))
            .collect()
    };
    let machines = names(false);
    let nodes: BTreeSet<String> = scenario::nodes(simulation).await.into_iter().collect();
    if machines != nodes || machines.len() != inventory.of_kind("Machine").count() {
        return Err(format!(
            "in namespace {NAMESPACE} the Machines name the Nodes {machines:?}, but the Nodes are {nodes:?}"
        ));
    }
    let members = scenario::etcd_members(simulation);
    if names(true) != members {
        return Err(format!(
            "the control-plane Nodes are {:?}, but the etcd members are {members:?}",
            names(true)
        ));
    }
    Ok(())
}

/// The cloud holds one machine for each DevMachine, and one cluster for each DevCluster; nothing runs unknown.
pub fn infrastructure_matches_machines(simulation: &Simulation, inventory: &Inventory) -> Result<(), String> {
    let known = |kind: &str| -> BTreeSet<String> {
        inventory
            .of_kind(kind)
            .map(|o| format!("{}/{}", o.namespace(), o.name()))
            .collect()
    };
    let cloud = |keys: Vec<capi_runtime::Key>| keys.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
    for (what, known, real) in [
        (
            "machines",
            known("DevMachine"),
            cloud(simulation.world.machines()),
        ),
        ("clusters", known("Cluster"), cloud(simulation.world.clusters())),
    ] {
        if known != real {
            return Err(format!(
                "the objects name the {what} {known:?}, but in the cloud are {real:?}"
            ));
        }
    }
    Ok(())
}

/// An object that says it is not well says why: its summary has a message, and the one that is at fault too.
/// What is found goes to the observer.
pub fn every_object_says_why(simulation: &Simulation, inventory: &Inventory) {
    let mut silent = BTreeMap::new();
    for object in scenario::KINDS.iter().flat_map(|kind| inventory.of_kind(kind)) {
        let unwell = object
            .headline()
            .filter(|c| c.status != "True" && c.message.is_empty());
        if let Some(condition) = unwell {
            silent
                .entry((
                    object.kind.clone(),
                    condition.type_,
                    condition.status,
                    condition.reason,
                ))
                .or_insert_with(|| object.name());
        }
    }
    for ((kind, type_, status, reason), name) in silent {
        simulation.journal.observer.complain(format!(
            "{kind} {name}: {type_} is {status} ({reason}) without a message"
        ));
    }
}
