//! What a Node takes over from its Machine: labels, annotations and taints. Pure.
//!
//! The Node remembers in annotations which keys came from the Machine, so that they go when the Machine drops them.

use std::collections::{BTreeMap, BTreeSet};

use capi_api::{
    annotations,
    core::v1beta2::{Machine, MachineDeployment, MachineSet, MachineTaintPropagation},
    labels,
};
use capi_runtime::meta;
use k8s_openapi::api::core::v1::{Node, Taint};
use kube::ResourceExt;
use serde_json::{Value, json};

use super::observe::Settings;

/// What the Node should follow.
pub struct Wanted<'a> {
    /// The Machine.
    pub machine: &'a Machine,
    /// Its MachineSet.
    pub set: Option<&'a MachineSet>,
    /// Its MachineDeployment.
    pub deployment: Option<&'a MachineDeployment>,
    /// Whether the host can be taken away at short notice.
    pub interruptible: bool,
    /// What else to copy.
    pub settings: &'a Settings,
}

/// Annotations every Node of a Machine has.
const COMMON: [&str; 5] = [
    annotations::CLUSTER_NAME,
    annotations::CLUSTER_NAMESPACE,
    annotations::MACHINE,
    annotations::OWNER_KIND,
    annotations::OWNER_NAME,
];

/// The merge patch that brings a Node up to date; nothing if it is. It holds only on top of the Node that was seen.
pub fn patch(node: &Node, wanted: &Wanted<'_>) -> Option<Value> {
    let labels = wanted_labels(wanted);
    let own_annotations = wanted_annotations(wanted);

    let before = node.annotations();
    let mut label_changes = changes(
        node.labels(),
        &labels,
        &listed(before.get(annotations::LABELS_FROM_MACHINE)),
    );
    let mut previous = listed(before.get(annotations::ANNOTATIONS_FROM_MACHINE));
    previous.extend(COMMON);
    previous.remove(annotations::ANNOTATIONS_FROM_MACHINE);
    let mut annotation_changes = changes(before, &own_annotations, &previous);

    let from_machine: Vec<&str> = own_annotations
        .keys()
        .map(String::as_str)
        .filter(|k| !COMMON.contains(k))
        .collect();
    let mut bookkeeping = vec![
        (
            annotations::LABELS_FROM_MACHINE,
            labels.keys().map(String::as_str).collect::<Vec<_>>().join(","),
        ),
        (annotations::ANNOTATIONS_FROM_MACHINE, from_machine.join(",")),
    ];
    let mut taints = node
        .spec
        .as_ref()
        .and_then(|s| s.taints.clone())
        .unwrap_or_default();
    let taints_before = taints.clone();
    remove_taint(&mut taints, annotations::UNINITIALIZED_TAINT, "NoSchedule");
    if wanted.settings.propagate_taints {
        let owned = propagate_taints(
            &mut taints,
            wanted.machine,
            before.get(annotations::TAINTS_FROM_MACHINE),
        );
        bookkeeping.push((annotations::TAINTS_FROM_MACHINE, owned));
    }
    let outdated = annotations::OUTDATED_REVISION_TAINT;
    match is_outdated(wanted.machine, wanted.set, wanted.deployment) {
        Some(true) => ensure_taint(&mut taints, taint(outdated, None, "PreferNoSchedule")),
        Some(false) => remove_taint(&mut taints, outdated, "PreferNoSchedule"),
        None => {}
    }
    for (key, value) in bookkeeping {
        if before.get(key) != Some(&value) {
            annotation_changes.insert(key.to_owned(), Value::from(value));
        }
    }
    if label_changes.is_empty() && annotation_changes.is_empty() && taints == taints_before {
        return None;
    }
    let mut metadata = json!({ "resourceVersion": node.resource_version() });
    if !label_changes.is_empty() {
        metadata["labels"] = std::mem::take(&mut label_changes).into_iter().collect();
    }
    if !annotation_changes.is_empty() {
        metadata["annotations"] = annotation_changes.into_iter().collect();
    }
    let mut patch = json!({ "metadata": metadata });
    if taints != taints_before {
        patch["spec"] = json!({ "taints": taints });
    }
    Some(patch)
}

/// The comma-separated keys of an annotation.
fn listed(annotation: Option<&String>) -> BTreeSet<&str> {
    annotation
        .map(|keys| keys.split(',').filter(|k| !k.is_empty()).collect())
        .unwrap_or_default()
}

/// Values to set, and null for keys of `previous` that are no longer wanted.
fn changes(
    now: &BTreeMap<String, String>,
    wanted: &BTreeMap<String, String>,
    previous: &BTreeSet<&str>,
) -> BTreeMap<String, Value> {
    let mut all: BTreeMap<String, Value> = wanted
        .iter()
        .filter(|(key, value)| now.get(*key) != Some(value))
        .map(|(key, value)| (key.clone(), Value::from(value.as_str())))
        .collect();
    for key in previous
        .iter()
        .filter(|k| !wanted.contains_key(**k) && now.contains_key(**k))
    {
        all.insert((*key).to_owned(), Value::Null);
    }
    all
}

/// The Machine's labels of the domains that are made for Nodes, and those the operator names.
fn wanted_labels(wanted: &Wanted<'_>) -> BTreeMap<String, String> {
    let is_managed = |key: &str| {
        let domain = key.split('/').next().unwrap_or_default();
        let within = |parent: &str| domain == parent || domain.ends_with(&format!(".{parent}"));
        domain == "node-role.kubernetes.io"
            || within("node-restriction.kubernetes.io")
            || within("node.cluster.x-k8s.io")
            || wanted.settings.sync_labels.matches(key)
    };
    let mut all: BTreeMap<String, String> = wanted
        .machine
        .labels()
        .iter()
        .filter(|(key, _)| is_managed(key))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    if wanted.interruptible {
        all.insert(labels::INTERRUPTIBLE.to_owned(), String::new());
    }
    all
}

fn wanted_annotations(wanted: &Wanted<'_>) -> BTreeMap<String, String> {
    let machine = wanted.machine;
    let mut all: BTreeMap<String, String> = machine
        .annotations()
        .iter()
        .filter(|(key, _)| wanted.settings.sync_annotations.matches(key))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    all.insert(
        annotations::CLUSTER_NAME.to_owned(),
        machine.spec.cluster_name.clone(),
    );
    all.insert(
        annotations::CLUSTER_NAMESPACE.to_owned(),
        machine.namespace().unwrap_or_default(),
    );
    all.insert(annotations::MACHINE.to_owned(), machine.name_any());
    if let Some(owner) = meta::controller_of(&machine.metadata) {
        all.insert(annotations::OWNER_KIND.to_owned(), owner.kind.clone());
        all.insert(annotations::OWNER_NAME.to_owned(), owner.name.clone());
    }
    all
}

/// Whether the Machine's MachineSet is not the current one of its MachineDeployment; nothing if that cannot be told, since
/// one of them is gone.
pub fn is_outdated(
    machine: &Machine,
    set: Option<&MachineSet>,
    deployment: Option<&MachineDeployment>,
) -> Option<bool> {
    if !machine.labels().contains_key(labels::DEPLOYMENT_NAME) {
        return Some(false);
    }
    let revision = |all: &BTreeMap<String, String>| {
        all.get(annotations::REVISION)
            .and_then(|r| r.parse::<i64>().ok())
            .unwrap_or(0)
    };
    let (set, deployment) = (set?, deployment?);
    Some(revision(set.annotations()) < revision(deployment.annotations()))
}

fn taint(key: &str, value: Option<String>, effect: &str) -> Taint {
    Taint {
        key: key.to_owned(),
        value,
        effect: effect.to_owned(),
        time_added: None,
    }
}

fn remove_taint(taints: &mut Vec<Taint>, key: &str, effect: &str) {
    taints.retain(|t| !(t.key == key && t.effect == effect));
}

fn ensure_taint(taints: &mut Vec<Taint>, wanted: Taint) {
    match taints
        .iter_mut()
        .find(|t| t.key == wanted.key && t.effect == wanted.effect)
    {
        Some(existing) if existing.value == wanted.value => {}
        Some(existing) => *existing = wanted,
        None => taints.push(wanted),
    }
}

/// Carries the Machine's taints to the Node; returns which of them are enforced from now on.
fn propagate_taints(taints: &mut Vec<Taint>, machine: &Machine, before: Option<&String>) -> String {
    let mut owned = BTreeSet::new();
    let mut once = BTreeSet::new();
    for wanted in &machine.spec.taints {
        let name = format!("{}:{}", wanted.key, wanted.effect);
        let always = wanted.propagation == MachineTaintPropagation::Always;
        if always {
            owned.insert(name)
        } else {
            once.insert(name)
        };
        if always || before.is_none() {
            ensure_taint(
                taints,
                taint(&wanted.key, wanted.value.clone(), wanted.effect.as_str()),
            );
        }
    }
    for gone in listed(before)
        .into_iter()
        .filter(|t| !owned.contains(*t) && !once.contains(*t))
    {
        if let Some((key, effect)) = gone.split_once(':') {
            remove_taint(taints, key, effect);
        }
    }
    owned.into_iter().collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(value: Value) -> Machine {
        let mut all = json!({"apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Machine",
            "metadata": {"name": "m", "namespace": "ns"},
            "spec": {"clusterName": "c", "bootstrap": {}, "infrastructureRef": {"apiGroup": "g", "kind": "K", "name": "n"}}});
        for (key, part) in value.as_object().unwrap() {
            for (field, value) in part.as_object().unwrap() {
                all[key][field] = value.clone();
            }
        }
        serde_json::from_value(all).unwrap()
    }

    fn node(value: Value) -> Node {
        serde_json::from_value(value).unwrap()
    }

    fn patched(node: &Node, machine: &Machine, settings: &Settings) -> Option<Value> {
        patch(
            node,
            &Wanted {
                machine,
                set: None,
                deployment: None,
                interruptible: false,
                settings,
            },
        )
    }

    #[test]
    fn a_fresh_node_is_labelled_annotated_and_untainted() {
        let machine = machine(json!({"metadata": {
            "labels": {"node-role.kubernetes.io/worker": "", "a.node-restriction.kubernetes.io/x": "1", "other": "x"},
            "ownerReferences": [{"apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "MachineSet", "name": "ms", "uid": "u", "controller": true}]}}));
        let node = node(json!({"metadata": {"name": "n", "resourceVersion": "7"},
            "spec": {"taints": [{"key": "node.cluster.x-k8s.io/uninitialized", "effect": "NoSchedule"}, {"key": "t", "effect": "NoExecute"}]}}));
        assert_eq!(
            patched(&node, &machine, &Settings::default()).unwrap(),
            json!({"metadata": {"resourceVersion": "7",
                "labels": {"node-role.kubernetes.io/worker": "", "a.node-restriction.kubernetes.io/x": "1"},
                "annotations": {"cluster.x-k8s.io/cluster-name": "c", "cluster.x-k8s.io/cluster-namespace": "ns",
                    "cluster.x-k8s.io/machine": "m", "cluster.x-k8s.io/owner-kind": "MachineSet",
                    "cluster.x-k8s.io/owner-name": "ms",
                    "cluster.x-k8s.io/labels-from-machine": "a.node-restriction.kubernetes.io/x,node-role.kubernetes.io/worker",
                    "cluster.x-k8s.io/annotations-from-machine": ""}},
                "spec": {"taints": [{"key": "t", "effect": "NoExecute"}]}})
        );
    }

    #[test]
    fn a_node_that_follows_already_needs_no_patch_and_dropped_labels_go() {
        let common = json!({"cluster.x-k8s.io/cluster-name": "c", "cluster.x-k8s.io/cluster-namespace": "ns",
            "cluster.x-k8s.io/machine": "m", "cluster.x-k8s.io/labels-from-machine": "node-role.kubernetes.io/worker",
            "cluster.x-k8s.io/annotations-from-machine": ""});
        let node = node(
            json!({"metadata": {"name": "n", "labels": {"node-role.kubernetes.io/worker": "", "own": "1"},
            "annotations": common}}),
        );
        let labelled = machine(json!({"metadata": {"labels": {"node-role.kubernetes.io/worker": ""}}}));
        assert_eq!(patched(&node, &labelled, &Settings::default()), None);
        let patch = patched(&node, &machine(json!({})), &Settings::default()).unwrap();
        assert_eq!(
            patch["metadata"]["labels"],
            json!({"node-role.kubernetes.io/worker": null})
        );
        assert_eq!(
            patch["metadata"]["annotations"],
            json!({"cluster.x-k8s.io/labels-from-machine": ""})
        );
    }

    #[test]
    fn taints_are_enforced_always_or_set_once() {
        let settings = Settings {
            propagate_taints: true,
            ..Settings::default()
        };
        let machine = machine(json!({"spec": {"taints": [
            {"key": "a", "effect": "NoSchedule", "propagation": "Always"},
            {"key": "o", "effect": "NoSchedule", "propagation": "OnInitialization"}]}}));
        let fresh = node(json!({"metadata": {"name": "n"}}));
        let patch = patched(&fresh, &machine, &settings).unwrap();
        assert_eq!(patch["spec"]["taints"].as_array().unwrap().len(), 2);
        assert_eq!(
            patch["metadata"]["annotations"]["cluster.x-k8s.io/taints-from-machine"],
            "a:NoSchedule"
        );
        let later = node(
            json!({"metadata": {"name": "n", "annotations": {"cluster.x-k8s.io/taints-from-machine": "gone:NoExecute"}},
            "spec": {"taints": [{"key": "gone", "effect": "NoExecute"}]}}),
        );
        let patch = patched(&later, &machine, &settings).unwrap();
        assert_eq!(
            patch["spec"]["taints"],
            json!([{"key": "a", "effect": "NoSchedule"}])
        );
    }

    #[test]
    fn nodes_of_older_revisions_are_marked() {
        let with = |revision: &str| json!({"cluster.x-k8s.io/x": "", annotations::REVISION: revision});
        let set: MachineSet = serde_json::from_value(json!({"metadata": {"name": "s", "annotations": with("1")},
            "spec": {"clusterName": "c", "selector": {}, "template": {"spec": {"clusterName": "c", "bootstrap": {},
                "infrastructureRef": {"apiGroup": "g", "kind": "K", "name": "n"}}}}})).unwrap();
        let deployment: MachineDeployment = serde_json::from_value(json!({"metadata": {"name": "d", "annotations": with("2")},
            "spec": {"clusterName": "c", "selector": {}, "template": {"spec": {"clusterName": "c", "bootstrap": {},
                "infrastructureRef": {"apiGroup": "g", "kind": "K", "name": "n"}}}}})).unwrap();
        let labelled = machine(json!({"metadata": {"labels": {"cluster.x-k8s.io/deployment-name": "d"}}}));
        assert_eq!(is_outdated(&labelled, Some(&set), Some(&deployment)), Some(true));
        assert_eq!(is_outdated(&labelled, Some(&set), None), None);
        assert_eq!(is_outdated(&machine(json!({})), None, None), Some(false));
    }
}
