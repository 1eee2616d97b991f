//! The end of a scenario in a form that two runs can be compared by.

use capictl::inventory::Object;
use kube::ResourceExt as _;

use super::{CLUSTER, KINDS};
use crate::simulation::Simulation;

/// Every object of the scenario as a line that does not depend on names, uids or times: what two runs must agree on.
pub fn final_state(simulation: &Simulation) -> Vec<String> {
    let inventory = simulation.inventory();
    let mut lines: Vec<String> = KINDS
        .iter()
        .flat_map(|kind| inventory.of_kind(kind))
        .filter(|object| !object.kind.ends_with("Template") || !object.object.owner_references().is_empty())
        .map(line)
        .collect();
    let of_cluster = |o: &&Object| o.label("cluster.x-k8s.io/cluster-name") == Some(CLUSTER);
    for secret in inventory.of_kind("Secret").filter(of_cluster) {
        let data = secret.at("/data").and_then(serde_json::Value::as_object);
        let keys: Vec<_> = data.into_iter().flatten().map(|(key, _)| key.as_str()).collect();
        lines.push(format!("Secret owners={:?} keys={keys:?}", owner_kinds(secret)));
    }
    for map in inventory.of_kind("ConfigMap").filter(of_cluster) {
        lines.push(format!("ConfigMap owners={:?}", owner_kinds(map)));
    }
    lines.sort();
    lines
}

/// What one end has and the other has not.
pub fn difference(expected: &[String], end: &[String]) -> String {
    let missing = expected
        .iter()
        .filter(|line| !end.contains(line))
        .map(|line| format!("- {line}"));
    let extra = end
        .iter()
        .filter(|line| !expected.contains(line))
        .map(|line| format!("+ {line}"));
    let lines: Vec<_> = missing.chain(extra).collect();
    match lines.is_empty() {
        true => format!("{} objects instead of {}", end.len(), expected.len()),
        false => format!("another end:\n{}", lines.join("\n")),
    }
}

fn owner_kinds(object: &Object) -> Vec<String> {
    let owners = object.object.owner_references().iter();
    let mut kinds: Vec<_> = owners.map(|o| o.kind.clone()).collect();
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
        "{} owners={:?} finalizers={:?} labels={labels:?} annotations={annotations:?} version={:?} replicas={:?} phase={:?} {}",
        object.kind,
        owner_kinds(object),
        object.object.finalizers(),
        object.text("/spec/version"),
        object.number("/status/replicas"),
        object.text("/status/phase"),
        conditions.join(" "),
    )
}
