//! What a user does with a cluster.
//!
//! Each function makes one change, or waits for what must come of it. `change` has what changes a healthy cluster,
//! `heal` what breaks one, `state` how two ends are compared.

mod change;
mod heal;
mod state;

use std::{collections::BTreeSet, time::Duration};

pub use change::*;
pub use heal::*;
pub use state::*;

use capictl::{
    inventory::{Inventory, Object},
    quickstart::manifest,
};
use k8s_openapi::api::core::v1::Node;
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams},
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::{Value, json};

use crate::simulation::{NAMESPACE, Simulation};

/// One control-plane machine, two workers.
pub const SMALL: &str = include_str!("../../manifests/small.yaml");

/// Three control-plane machines, three workers.
pub const LARGE: &str = include_str!("../../manifests/large.yaml");

/// The name of the Cluster in both.
pub const CLUSTER: &str = "quickstart";

/// The name of its control plane.
pub const CONTROL_PLANE: &str = "quickstart-control-plane";

/// The name of its MachineDeployment.
pub const WORKERS: &str = "quickstart-md-0";

/// Longer than any phase of a scenario takes, in simulated time.
pub const LIMIT: Duration = Duration::from_secs(300);

/// Longer than replacing every machine of a cluster takes, one after the other, in simulated time.
pub const LONG: Duration = Duration::from_secs(1800);

/// The kinds of Cluster API that a scenario may leave behind.
pub const KINDS: &[&str] = &[
    "Cluster",
    "KubeadmControlPlane",
    "MachineDeployment",
    "MachineSet",
    "Machine",
    "MachineHealthCheck",
    "ClusterResourceSet",
    "ClusterResourceSetBinding",
    "KubeadmConfig",
    "KubeadmConfigTemplate",
    "DevCluster",
    "DevMachine",
    "DevMachineTemplate",
];

/// Applies a manifest.
pub async fn apply(simulation: &Simulation, text: &str) -> Result<(), String> {
    apply_with(&simulation.client(), text).await
}

/// Applies a manifest as a client.
pub async fn apply_with(client: &Client, text: &str) -> Result<(), String> {
    let objects = manifest::parse(text, "manifest").map_err(|e| format!("{e:#}"))?;
    for object in objects {
        let types = object.types.clone().unwrap_or_default();
        let gvk = GroupVersionKind::try_from(&types).map_err(|e| e.to_string())?;
        let resource = ApiResource::from_gvk(&gvk);
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), NAMESPACE, &resource);
        let params = PatchParams::apply("user").force();
        api.patch(&object.name_any(), &params, &Patch::Apply(&object))
            .await
            .map_err(|e| format!("apply {} {}: {e}", gvk.kind, object.name_any()))?;
    }
    Ok(())
}

/// Whether a condition of an object is True.
pub fn is(object: &Object, type_: &str) -> bool {
    object.condition(type_).is_some_and(|c| c.status == "True")
}

/// Whether a Machine belongs to a control plane.
pub fn is_control_plane(machine: &Object) -> bool {
    machine.label("cluster.x-k8s.io/control-plane").is_some()
}

/// Waits until the cluster is Available with so many Running machines, and no more.
pub async fn available(simulation: &Simulation, machines: usize) -> Result<Duration, String> {
    available_within(simulation, machines, LIMIT).await
}

/// The same, with another limit.
pub async fn available_within(
    simulation: &Simulation,
    machines: usize,
    limit: Duration,
) -> Result<Duration, String> {
    let what = format!("Available with {machines} machines");
    simulation
        .until(&what, limit, |inventory| is_available(inventory, machines))
        .await
}

/// Whether the cluster is Available with so many Running machines, and no more.
pub fn is_available(inventory: &Inventory, machines: usize) -> bool {
    let settled = inventory
        .of_kind("Machine")
        .filter(|m| m.text("/status/phase") == Some("Running") && is(m, "Available"));
    let known = |kind| {
        inventory.of_kind(kind).all(|o: &Object| {
            o.number("/spec/replicas") == o.number("/status/availableReplicas")
                && o.number("/spec/replicas") == o.number("/status/upToDateReplicas")
                && o.object.metadata.generation == o.number("/status/observedGeneration")
        })
    };
    inventory.cluster(CLUSTER).is_some_and(|c| is(c, "Available"))
        && settled.count() == machines
        && inventory.of_kind("Machine").count() == machines
        && known("MachineDeployment")
        && known("KubeadmControlPlane")
}

/// Brings a manifest up to so many machines.
pub async fn create(simulation: &Simulation, manifest: &str, machines: usize) -> Result<Duration, String> {
    apply(simulation, manifest).await?;
    available(simulation, machines).await
}

/// Deletes the Cluster, unless that was done before, and waits until nothing of it is left.
pub async fn delete(simulation: &Simulation) -> Result<Duration, String> {
    let api = dynamic(simulation, "Cluster");
    match api.delete(CLUSTER, &DeleteParams::default()).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.code == 404 => {}
        Err(error) => return Err(format!("delete the Cluster: {error}")),
    }
    let gone = simulation
        .until("deleted", LIMIT, |i| i.of_kind("Cluster").next().is_none())
        .await?;
    // The garbage collector comes after.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let mut left = final_state(simulation);
    left.extend(simulation.world.machines().iter().map(|m| format!("machine {m}")));
    left.extend(
        simulation
            .world
            .clusters()
            .iter()
            .map(|c| format!("workload cluster {c}")),
    );
    if left.is_empty() {
        Ok(gone)
    } else {
        Err(format!("left behind:\n{}", left.join("\n")))
    }
}

/// An API of one of the kinds of the scenarios.
pub fn dynamic(simulation: &Simulation, kind: &str) -> Api<DynamicObject> {
    let group = match kind {
        "KubeadmControlPlane" | "KubeadmControlPlaneTemplate" => "controlplane.cluster.x-k8s.io",
        "KubeadmConfig" | "KubeadmConfigTemplate" => "bootstrap.cluster.x-k8s.io",
        "ClusterResourceSet" | "ClusterResourceSetBinding" => "addons.cluster.x-k8s.io",
        kind if kind.starts_with("Dev") => "infrastructure.cluster.x-k8s.io",
        "Secret" | "ConfigMap" => "",
        _ => "cluster.x-k8s.io",
    };
    let version = if group.is_empty() { "v1" } else { "v1beta2" };
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    Api::namespaced_with(simulation.client(), NAMESPACE, &resource)
}

/// Changes an object by a JSON merge patch.
pub async fn patch(simulation: &Simulation, kind: &str, name: &str, patch: Value) -> Result<(), String> {
    let api = dynamic(simulation, kind);
    api.patch(name, &PatchParams::default(), &Patch::Merge(&patch))
        .await
        .map(drop)
        .map_err(|e| format!("patch {kind} {name} with {patch}: {e}"))
}

/// Sets or removes an annotation.
pub async fn annotate(
    simulation: &Simulation,
    kind: &str,
    name: &str,
    key: &str,
    value: Option<&str>,
) -> Result<(), String> {
    patch(
        simulation,
        kind,
        name,
        json!({"metadata": {"annotations": {key: value}}}),
    )
    .await
}

/// Deletes one object, as `kubectl delete` does without waiting.
pub async fn delete_one(simulation: &Simulation, kind: &str, name: &str) -> Result<(), String> {
    let api = dynamic(simulation, kind);
    api.delete(name, &DeleteParams::default())
        .await
        .map(drop)
        .map_err(|e| format!("delete {kind} {name}: {e}"))
}

/// A client of the workload cluster's API.
pub fn workload(simulation: &Simulation) -> Option<Client> {
    let cluster = capi_runtime::Key::new(NAMESPACE, CLUSTER);
    Some(simulation.world.server(&cluster)?.client())
}

/// The names of the Nodes in the workload cluster.
pub async fn nodes(simulation: &Simulation) -> Vec<String> {
    let Some(client) = workload(simulation) else {
        return Vec::new();
    };
    let api: Api<Node> = Api::all(client);
    let nodes = api
        .list(&ListParams::default())
        .await
        .expect("Nodes can be listed");
    nodes.iter().map(|n| n.name_any()).collect()
}

/// The names of the etcd members of the workload cluster, as its leader knows them.
pub fn etcd_members(simulation: &Simulation) -> BTreeSet<String> {
    let cluster = capi_runtime::Key::new(NAMESPACE, CLUSTER);
    let Some(etcd) = simulation.world.etcd(&cluster) else {
        return BTreeSet::new();
    };
    let etcd = etcd.lock();
    let members = etcd.leader().and_then(|leader| etcd.list(leader, false).ok());
    let members = members.map(|(_, members)| members).unwrap_or_default();
    members.into_iter().map(|member| member.name).collect()
}

/// The names of the Machines, by name.
pub fn machines(inventory: &Inventory, control_plane: bool) -> Vec<String> {
    let machines = inventory
        .of_kind("Machine")
        .filter(|m| is_control_plane(m) == control_plane);
    machines.map(Object::name).collect()
}
