//! Changes of a healthy cluster: scale, upgrade, roll, pause.

use std::time::Duration;

use capictl::inventory::Object;
use kube::{
    ResourceExt as _,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;

use super::{
    CLUSTER, CONTROL_PLANE, LIMIT, LONG, WORKERS, dynamic, is, is_available, is_control_plane, patch,
};
use crate::simulation::Simulation;

/// The version that upgrades go to.
pub const NEW_VERSION: &str = "v1.36.0";

async fn scale(simulation: &Simulation, kind: &str, name: &str, replicas: i32) -> Result<(), String> {
    let merge = Patch::Merge(json!({"spec": {"replicas": replicas}}));
    let api = dynamic(simulation, kind);
    let result = api.patch_scale(name, &PatchParams::default(), &merge).await;
    result
        .map(drop)
        .map_err(|e| format!("scale {kind} to {replicas}: {e}"))
}

/// Sets the replicas of the MachineDeployment through its scale subresource.
pub async fn scale_workers(simulation: &Simulation, replicas: i32) -> Result<(), String> {
    scale(simulation, "MachineDeployment", WORKERS, replicas).await
}

/// Sets the replicas of the control plane through its scale subresource.
pub async fn scale_control_plane(simulation: &Simulation, replicas: i32) -> Result<(), String> {
    scale(simulation, "KubeadmControlPlane", CONTROL_PLANE, replicas).await
}

/// Asks for another version of the control plane.
pub async fn upgrade_control_plane(simulation: &Simulation, version: &str) -> Result<(), String> {
    let change = json!({"spec": {"version": version}});
    patch(simulation, "KubeadmControlPlane", CONTROL_PLANE, change).await
}

/// Asks for another version of the workers.
pub async fn upgrade_workers(simulation: &Simulation, version: &str) -> Result<(), String> {
    let change = json!({"spec": {"template": {"spec": {"version": version}}}});
    patch(simulation, "MachineDeployment", WORKERS, change).await
}

/// Waits until every machine of one sort runs a version, and the cluster is Available with so many machines in all.
pub async fn upgraded(
    simulation: &Simulation,
    control_plane: bool,
    version: &str,
    machines: usize,
) -> Result<Duration, String> {
    let what = format!("Available with {machines} machines, upgraded to {version}");
    simulation
        .until(&what, LONG, |inventory| {
            let mut sort = inventory
                .of_kind("Machine")
                .filter(|m| is_control_plane(m) == control_plane);
            sort.all(|m| m.text("/spec/version") == Some(version)) && is_available(inventory, machines)
        })
        .await
}

/// Upgrades a cluster of so many machines: its control plane first, then its workers.
pub async fn upgrade(simulation: &Simulation, machines: usize) -> Result<(), String> {
    upgrade_control_plane(simulation, NEW_VERSION).await?;
    upgraded(simulation, true, NEW_VERSION, machines).await?;
    upgrade_workers(simulation, NEW_VERSION).await?;
    upgraded(simulation, false, NEW_VERSION, machines).await?;
    Ok(())
}

/// Points the workers, or the control plane, to a copy of their infrastructure template under another name.
pub async fn change_template(simulation: &Simulation, control_plane: bool, name: &str) -> Result<(), String> {
    let (kind, owner) = match control_plane {
        true => ("KubeadmControlPlane", CONTROL_PLANE),
        false => ("MachineDeployment", WORKERS),
    };
    let api = dynamic(simulation, "DevMachineTemplate");
    let template = api.get(owner).await.map_err(|e| e.to_string())?;
    let mut copy = template.clone();
    copy.metadata = kube::api::ObjectMeta {
        name: Some(name.to_owned()),
        namespace: template.namespace(),
        ..Default::default()
    };
    match api.create(&PostParams::default(), &copy).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.code == 409 => {}
        Err(error) => return Err(format!("create DevMachineTemplate {name}: {error}")),
    }
    let reference = json!({"spec": {"infrastructureRef": {"name": name}}});
    let change = match control_plane {
        true => json!({"spec": {"machineTemplate": reference}}),
        false => json!({"spec": {"template": reference}}),
    };
    patch(simulation, kind, owner, change).await
}

/// Waits until every machine of one sort was cloned from a template, and the cluster is Available with so many machines.
pub async fn rolled(
    simulation: &Simulation,
    control_plane: bool,
    template: &str,
    machines: usize,
) -> Result<Duration, String> {
    let what = format!("Available with {machines} machines, rolled to {template}");
    let from = "cluster.x-k8s.io/cloned-from-name";
    simulation
        .until(&what, LONG, |inventory| {
            let mut sort = inventory
                .of_kind("DevMachine")
                .filter(|m| is_control_plane(m) == control_plane);
            let cloned = |m: &Object| {
                m.object
                    .annotations()
                    .get(from)
                    .is_some_and(|name| name == template)
            };
            sort.all(cloned) && is_available(inventory, machines)
        })
        .await
}

/// Pauses or resumes the Cluster, and waits until every object says that it is (not) paused.
pub async fn pause(simulation: &Simulation, paused: bool) -> Result<(), String> {
    patch(
        simulation,
        "Cluster",
        CLUSTER,
        json!({"spec": {"paused": paused}}),
    )
    .await?;
    let what = if paused { "paused" } else { "resumed" };
    simulation
        .until(what, LIMIT, |inventory| {
            let says = |kind: &&str| {
                inventory
                    .of_kind(kind)
                    .all(|o| o.condition("Paused").is_some() && is(o, "Paused") == paused)
            };
            let kinds = [
                "Cluster",
                "KubeadmControlPlane",
                "MachineDeployment",
                "MachineSet",
                "Machine",
                "MachineHealthCheck",
                "KubeadmConfig",
                "DevCluster",
                "DevMachine",
            ];
            kinds.iter().all(says)
        })
        .await
        .map(drop)
}
