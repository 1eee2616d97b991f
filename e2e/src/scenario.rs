//! What a user does with a cluster, and how its end state is compared.

use std::time::Duration;

use capictl::{
    inventory::{Inventory, Object},
    quickstart::manifest,
};
use k8s_openapi::api::core::v1::{ConfigMap, Node, Secret};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams},
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::json;

use crate::simulation::{NAMESPACE, Simulation};

/// A small cluster.
pub const QUICKSTART: &str = include_str!("../manifests/small.yaml");

/// The name of its Cluster.
pub const CLUSTER: &str = "quickstart";

/// Longer than any phase of a scenario takes, in simulated time.
pub const LIMIT: Duration = Duration::from_secs(300);

/// Applies the quickstart manifest.
pub async fn apply(simulation: &Simulation) -> Result<(), String> {
    let objects = manifest::parse(QUICKSTART, "e2e/manifests/small.yaml").map_err(|e| format!("{e:#}"))?;
    manifest::apply(&simulation.client(), objects)
        .await
        .map(drop)
        .map_err(|e| format!("{e:#}"))
}

/// Waits until the cluster is Available with so many Running machines, and no more.
pub async fn available(simulation: &Simulation, machines: usize) -> Result<Duration, String> {
    let what = format!("Available with {machines} machines");
    simulation
        .until(&what, LIMIT, |inventory| is_available(inventory, machines))
        .await
}

fn is_available(inventory: &Inventory, machines: usize) -> bool {
    let is = |o: &Object, type_| o.condition(type_).is_some_and(|c| c.status == "True");
    let settled = inventory
        .of_kind("Machine")
        .filter(|m| m.text("/status/phase") == Some("Running") && is(m, "Available"));
    let known = |kind| {
        inventory
            .of_kind(kind)
            .all(|o| o.number("/spec/replicas") == o.number("/status/availableReplicas"))
    };
    inventory.cluster(CLUSTER).is_some_and(|c| is(c, "Available"))
        && settled.count() == machines
        && inventory.of_kind("Machine").count() == machines
        && known("MachineDeployment")
        && known("KubeadmControlPlane")
}

/// Sets the replicas of the MachineDeployment through its scale subresource.
pub async fn scale_workers(simulation: &Simulation, replicas: i32) -> Result<(), String> {
    let api = dynamic(simulation, "cluster.x-k8s.io", "MachineDeployment");
    let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
    let result = api
        .patch_scale("quickstart-md-0", &PatchParams::default(), &patch)
        .await;
    result.map(drop).map_err(|e| format!("scale to {replicas}: {e}"))
}

/// Deletes the Cluster and waits until nothing of it is left.
pub async fn delete(simulation: &Simulation) -> Result<Duration, String> {
    let api = dynamic(simulation, "cluster.x-k8s.io", "Cluster");
    api.delete(CLUSTER, &DeleteParams::default())
        .await
        .map_err(|e| format!("delete the Cluster: {e}"))?;
    let gone = simulation
        .until("deleted", LIMIT, |i| i.of_kind("Cluster").next().is_none())
        .await?;
    // The garbage collector comes after.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let left = final_state(simulation).await;
    if left.is_empty() {
        Ok(gone)
    } else {
        Err(format!("left behind:\n{}", left.join("\n")))
    }
}

/// Reads an API of a kind in version v1beta2.
pub fn dynamic(simulation: &Simulation, group: &str, kind: &str) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, "v1beta2", kind));
    Api::namespaced_with(simulation.client(), NAMESPACE, &resource)
}

/// Every object of the scenario as a line that does not depend on names, uids or times: what two runs must agree on.
pub async fn final_state(simulation: &Simulation) -> Vec<String> {
    let inventory = simulation.inventory().await;
    let kinds = [
        "Cluster",
        "KubeadmControlPlane",
        "MachineDeployment",
        "MachineSet",
        "Machine",
        "KubeadmConfig",
        "DevCluster",
        "DevMachine",
    ];
    let mut lines: Vec<String> = kinds
        .iter()
        .flat_map(|kind| inventory.of_kind(kind))
        .map(line)
        .collect();
    let labelled = ListParams::default().labels(&format!("cluster.x-k8s.io/cluster-name={CLUSTER}"));
    let secrets: Api<Secret> = Api::namespaced(simulation.client(), NAMESPACE);
    for secret in secrets.list(&labelled).await.expect("Secrets can be listed") {
        let keys: Vec<_> = secret
            .data
            .iter()
            .flatten()
            .map(|(key, _)| key.as_str())
            .collect();
        lines.push(format!(
            "Secret owners={:?} keys={keys:?}",
            owner_kinds(&secret.metadata)
        ));
    }
    let maps: Api<ConfigMap> = Api::namespaced(simulation.client(), NAMESPACE);
    for map in maps.list(&labelled).await.expect("ConfigMaps can be listed") {
        lines.push(format!("ConfigMap owners={:?}", owner_kinds(&map.metadata)));
    }
    lines.sort();
    lines
}

fn owner_kinds(metadata: &kube::api::ObjectMeta) -> Vec<String> {
    let mut kinds: Vec<_> = metadata
        .owner_references
        .iter()
        .flatten()
        .map(|o| o.kind.clone())
        .collect();
    kinds.sort();
    kinds
}

fn line(object: &Object) -> String {
    let conditions: Vec<_> = object
        .conditions()
        .into_iter()
        .map(|c| format!("{}={}/{}", c.type_, c.status, c.reason))
        .collect();
    let labels: Vec<_> = object.object.labels().keys().cloned().collect();
    let annotations: Vec<_> = object.object.annotations().keys().cloned().collect();
    format!(
        "{} owners={:?} finalizers={:?} labels={labels:?} annotations={annotations:?} replicas={:?} phase={:?} {}",
        object.kind,
        owner_kinds(&object.object.metadata),
        object.object.finalizers(),
        object.number("/status/replicas"),
        object.text("/status/phase"),
        conditions.join(" "),
    )
}

/// The names of the Nodes in the workload cluster.
pub async fn nodes(simulation: &Simulation) -> Vec<String> {
    let cluster = capi_runtime::Key::new(NAMESPACE, CLUSTER);
    let Some(server) = simulation.world.server(&cluster) else {
        return Vec::new();
    };
    let api: Api<Node> = Api::all(server.client());
    let nodes = api
        .list(&ListParams::default())
        .await
        .expect("Nodes can be listed");
    nodes.iter().map(|n| n.name_any()).collect()
}
