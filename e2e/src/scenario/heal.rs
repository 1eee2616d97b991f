//! What breaks a cluster, and what must come of it.

use std::{collections::BTreeMap, time::Duration};

use capictl::inventory::Inventory;
use k8s_openapi::api::core::v1::Node;
use kube::{Api, ResourceExt as _, api::DeleteParams};
use serde_json::json;

use super::{KINDS, LONG, annotate, apply, is_available, machines, patch, workload};
use crate::simulation::Simulation;

/// Health checks for the workers and the control plane.
pub const HEALTH_CHECKS: &str = include_str!("../../manifests/health-checks.yaml");

/// The annotations of DevMachines by which their faults are switched.
pub const FAULTS: &str = "simulation.capi-rs.io/";

/// Applies the health checks and waits until they have looked.
pub async fn check_health(simulation: &Simulation) -> Result<(), String> {
    apply(simulation, HEALTH_CHECKS).await?;
    let looked = |inventory: &Inventory| {
        inventory
            .of_kind("MachineHealthCheck")
            .all(|check| check.number("/status/expectedMachines").is_some_and(|n| n > 0))
    };
    simulation
        .until("the health checks have looked", LONG, looked)
        .await
        .map(drop)
}

/// The first machine of one sort, by name.
pub fn first(simulation: &Simulation, control_plane: bool) -> Result<String, String> {
    let names = machines(&simulation.inventory(), control_plane);
    names
        .into_iter()
        .next()
        .ok_or_else(|| "there is no machine".to_owned())
}

/// The DevMachine of a Machine.
pub fn dev_machine(simulation: &Simulation, machine: &str) -> Result<String, String> {
    let inventory = simulation.inventory();
    let machine = inventory.of_kind("Machine").find(|m| m.name() == machine);
    let name = machine.and_then(|m| m.text("/spec/infrastructureRef/name").map(str::to_owned));
    name.ok_or_else(|| "the Machine has no infrastructure".to_owned())
}

/// Switches a fault of a machine, for example `node` to `not-ready`.
pub async fn break_machine(
    simulation: &Simulation,
    machine: &str,
    part: &str,
    fault: &str,
) -> Result<(), String> {
    let name = dev_machine(simulation, machine)?;
    annotate(
        simulation,
        "DevMachine",
        &name,
        &format!("{FAULTS}{part}"),
        Some(fault),
    )
    .await
}

/// Waits until no machine is broken any more and the cluster is Available with so many.
pub async fn healed(simulation: &Simulation, machines: usize) -> Result<Duration, String> {
    let what = format!("healed, Available with {machines} machines");
    simulation
        .until(&what, LONG, |inventory| {
            let mut annotations = inventory
                .of_kind("DevMachine")
                .flat_map(|m| m.object.annotations().keys());
            !annotations.any(|key| key.starts_with(FAULTS)) && is_available(inventory, machines)
        })
        .await
}

/// Waits until a Machine is gone and the cluster is Available with so many.
pub async fn replaced(simulation: &Simulation, machine: &str, machines: usize) -> Result<Duration, String> {
    let what = format!("{machine} replaced, Available with {machines} machines");
    simulation
        .until(&what, LONG, |inventory| {
            !inventory.of_kind("Machine").any(|m| m.name() == machine) && is_available(inventory, machines)
        })
        .await
}

/// Deletes the Node of a Machine, as `kubectl delete node` does.
pub async fn delete_node(simulation: &Simulation, machine: &str) -> Result<(), String> {
    let inventory = simulation.inventory();
    let machine = inventory.of_kind("Machine").find(|m| m.name() == machine);
    let node = machine
        .and_then(|m| m.text("/status/nodeRef/name").map(str::to_owned))
        .ok_or("the Machine has no Node")?;
    let api: Api<Node> = Api::all(workload(simulation).ok_or("there is no workload cluster")?);
    api.delete(&node, &DeleteParams::default())
        .await
        .map(drop)
        .map_err(|e| format!("delete Node {node}: {e}"))
}

/// The owners and finalizers of an object.
type Ties = (Vec<String>, Vec<String>);

/// The owners and finalizers of every object, Secrets included, by kind and name.
pub fn ties(inventory: &Inventory) -> BTreeMap<String, Ties> {
    let kinds = KINDS.iter().chain(&["Secret", "ConfigMap"]);
    let objects = kinds.flat_map(|kind| inventory.of_kind(kind));
    let ties = objects.map(|object| {
        let owners = object.object.owner_references().iter();
        let mut owners: Vec<_> = owners
            .map(|o| {
                format!(
                    "{} {} {:?} {:?}",
                    o.kind, o.name, o.controller, o.block_owner_deletion
                )
            })
            .collect();
        owners.sort();
        (object.described(), (owners, object.object.finalizers().to_vec()))
    });
    ties.collect()
}

/// Takes the owner references and the finalizers away from every object, as a restored backup may.
pub async fn wipe(simulation: &Simulation) -> Result<(), String> {
    let inventory = simulation.inventory();
    for object in KINDS
        .iter()
        .chain(&["Secret", "ConfigMap"])
        .flat_map(|kind| inventory.of_kind(kind))
    {
        let change = json!({"metadata": {"ownerReferences": null, "finalizers": null}});
        patch(simulation, &object.kind, &object.name(), change).await?;
    }
    Ok(())
}

/// Waits until owners and finalizers are as they were.
pub async fn tied(simulation: &Simulation, before: &BTreeMap<String, Ties>) -> Result<Duration, String> {
    let reached = simulation
        .until("owners and finalizers are back", LONG, |inventory| {
            ties(inventory) == *before
        })
        .await;
    reached.map_err(|error| {
        let now = ties(&simulation.inventory());
        let differing = before.iter().filter(|(name, ties)| now.get(*name) != Some(ties));
        let lines: Vec<_> = differing
            .map(|(name, ties)| format!("{name}: {:?} instead of {ties:?}", now.get(name)))
            .collect();
        let new = now.keys().filter(|name| !before.contains_key(*name));
        let new: Vec<_> = new.map(|name| format!("{name} is new")).collect();
        format!("{error}\n{}\n{}", lines.join("\n"), new.join("\n"))
    })
}
