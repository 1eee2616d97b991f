//! What is invalid today may have been stored long ago, by a release with fewer rules: it must not be in anybody's way.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "all of this is test code: a failure is a panic"
)]

use std::fmt::Write as _;

use e2e::{
    scenario,
    simulation::{Simulation, Start, passes},
};
use kube::{ResourceExt as _, api::PostParams};
use serde_json::{Value, json};

/// An object that no rule of today admits, and a change of it that has nothing to do with what is wrong.
struct Old {
    kind: &'static str,
    spec: Value,
    /// What the refusal names.
    wrong: &'static str,
    change: Value,
}

/// A cluster that does not exist: the controllers have nothing to do here.
const CLUSTER: &str = "gone";

fn reference(group: &str, kind: &str) -> Value {
    json!({"apiGroup": format!("{group}.cluster.x-k8s.io"), "kind": kind, "name": "none"})
}

fn machine(version: &str) -> Value {
    json!({
        "clusterName": CLUSTER, "version": version,
        "bootstrap": {"dataSecretName": "none"},
        "infrastructureRef": reference("infrastructure", "DevMachine"),
    })
}

/// A set of machines whose selector selects other labels than its machines have.
fn set(version: &str) -> Value {
    json!({
        "clusterName": CLUSTER, "replicas": 0,
        "selector": {"matchLabels": {"a": "selected"}},
        "template": {"metadata": {"labels": {"a": "another"}}, "spec": machine(version)},
    })
}

fn twice() -> Value {
    json!({"files": [{"path": "/a", "content": "x"}, {"path": "/a", "content": "y"}]})
}

fn old_objects() -> Vec<Old> {
    let old = |kind, spec, wrong, change| Old {
        kind,
        spec,
        wrong,
        change,
    };
    vec![
        old(
            "Cluster",
            json!({"clusterNetwork": {"pods": {"cidrBlocks": ["nonsense"]}},
                "infrastructureRef": reference("infrastructure", "DevCluster")}),
            "spec.clusterNetwork.pods.cidrBlocks",
            json!({"clusterNetwork": {"serviceDomain": "other.local"}}),
        ),
        old(
            "KubeadmControlPlane",
            json!({"replicas": 2, "version": "v1.35", "kubeadmConfigSpec": twice(), "machineTemplate": {"spec": {
                "infrastructureRef": reference("infrastructure", "DevMachineTemplate")}}}),
            "spec.replicas",
            json!({"kubeadmConfigSpec": {"verbosity": 3}}),
        ),
        old(
            "KubeadmControlPlaneTemplate",
            json!({"template": {"spec": {"kubeadmConfigSpec": twice()}}}),
            "spec.template.spec.kubeadmConfigSpec.files[1].path",
            Value::Null,
        ),
        old(
            "MachineDeployment",
            set("v1.35.0"),
            "spec.template.metadata.labels",
            json!({"paused": true}),
        ),
        old(
            "MachineSet",
            set("latest"),
            "spec.template.metadata.labels",
            json!({"template": {"spec": {"minReadySeconds": 5}}}),
        ),
        old(
            "Machine",
            machine("latest"),
            "spec.version",
            json!({"minReadySeconds": 5}),
        ),
        old(
            "MachineHealthCheck",
            json!({"clusterName": CLUSTER, "selector": {"matchLabels": {"a": "b"}},
                "checks": {"nodeStartupTimeoutSeconds": 5}}),
            "spec.checks.nodeStartupTimeoutSeconds",
            json!({"selector": {"matchLabels": {"c": "d"}}}),
        ),
        old(
            "ClusterResourceSet",
            json!({"clusterSelector": {}, "resources": [{"kind": "ConfigMap", "name": "a"}]}),
            "spec.clusterSelector",
            json!({"resources": [{"kind": "ConfigMap", "name": "b"}]}),
        ),
        old(
            "KubeadmConfig",
            twice(),
            "spec.files[1].path",
            json!({"verbosity": 3}),
        ),
        old(
            "KubeadmConfigTemplate",
            json!({"template": {"spec": twice()}}),
            "spec.template.spec.files[1].path",
            json!({"template": {"spec": {"verbosity": 3}}}),
        ),
    ]
}

fn manifest() -> String {
    let mut text = String::new();
    for old in old_objects() {
        let group = match old.kind {
            "KubeadmConfig" | "KubeadmConfigTemplate" => "bootstrap.",
            kind if kind.starts_with("Kubeadm") => "controlplane.",
            "ClusterResourceSet" => "addons.",
            _ => "",
        };
        let object = json!({"apiVersion": format!("{group}cluster.x-k8s.io/v1beta2"), "kind": old.kind,
            "metadata": {"name": "old"}, "spec": old.spec});
        writeln!(text, "---\n{object}").unwrap();
    }
    text
}

/// Whether it would be refused today, and yet nobody is in the way of who changes or deletes it.
async fn lives_on(simulation: &Simulation, old: &Old) -> Result<(), String> {
    let kind = old.kind;
    let api = scenario::dynamic(simulation, kind);
    let stored = api.get("old").await.map_err(|e| format!("{kind}: {e}"))?;
    let mut copy = stored.clone();
    copy.metadata = kube::api::ObjectMeta {
        name: Some("new".to_owned()),
        namespace: stored.namespace(),
        ..Default::default()
    };
    match api.create(&PostParams::default(), &copy).await {
        Ok(_) => return Err(format!("{kind}: is valid today: {}", old.spec)),
        Err(error) if error.to_string().contains(old.wrong) => {}
        Err(error) => {
            return Err(format!(
                "{kind}: is refused for something else than {}: {error}",
                old.wrong
            ));
        }
    }
    scenario::annotate(simulation, kind, "old", "example.com/note", Some("x")).await?;
    if !old.change.is_null() {
        scenario::patch(simulation, kind, "old", json!({"spec": old.change})).await?;
    }
    scenario::delete_one(simulation, kind, "old").await?;
    simulation
        .until(&format!("{kind} is deleted"), scenario::LIMIT, |inventory| {
            !inventory.of_kind(kind).any(|object| object.name() == "old")
        })
        .await
        .map(drop)
}

#[test]
fn what_was_stored_long_ago_can_still_be_changed_elsewhere_and_deleted() {
    let start = Start {
        seed: 50,
        stored: Some(manifest()),
        ..Start::default()
    };
    passes(start, |simulation| async move {
        let mut problems = Vec::new();
        for old in old_objects() {
            problems.extend(lives_on(&simulation, &old).await.err());
        }
        match problems.is_empty() {
            true => Ok(()),
            false => Err(problems.join("\n")),
        }
    });
}
