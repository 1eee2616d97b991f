//! The Node and the static pods of a simulated machine, as objects.

use std::collections::BTreeMap;

use capi_api::labels::NODE_ROLE_CONTROL_PLANE;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::guest::NodeRegistration;

/// What a machine reports of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeFacts<'a> {
    /// The Node's name.
    pub name: &'a str,
    /// `spec.providerID`.
    pub provider_id: &'a str,
    /// The kubelet's version, with the leading `v`.
    pub version: &'a str,
    /// Whether it belongs to the control plane.
    pub control_plane: bool,
}

/// The Node.
pub fn node(facts: &NodeFacts<'_>, registration: &NodeRegistration, now: Timestamp) -> Value {
    let mut labels: BTreeMap<String, String> = registration.labels.clone();
    labels.insert("kubernetes.io/hostname".to_owned(), facts.name.to_owned());
    labels.insert("kubernetes.io/os".to_owned(), "linux".to_owned());
    labels.insert("kubernetes.io/arch".to_owned(), "amd64".to_owned());
    let mut taints = registration.taints.clone().unwrap_or_default();
    if facts.control_plane {
        labels.insert(NODE_ROLE_CONTROL_PLANE.to_owned(), String::new());
        if registration.taints.is_none() {
            taints.push(json!({ "key": NODE_ROLE_CONTROL_PLANE, "effect": "NoSchedule" }));
        }
    }
    let time = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let condition = |type_: &str, status: &str, reason: &str| {
        json!({
            "type": type_, "status": status, "reason": reason, "message": "",
            "lastHeartbeatTime": time, "lastTransitionTime": time,
        })
    };
    let mut spec = json!({ "providerID": facts.provider_id });
    if !taints.is_empty() {
        spec["taints"] = Value::Array(taints);
    }
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": { "name": facts.name, "labels": labels },
        "spec": spec,
        "status": {
            "conditions": [
                condition("MemoryPressure", "False", "KubeletHasSufficientMemory"),
                condition("DiskPressure", "False", "KubeletHasNoDiskPressure"),
                condition("PIDPressure", "False", "KubeletHasSufficientPID"),
                condition("Ready", "True", "KubeletReady"),
            ],
            "nodeInfo": {
                "kubeletVersion": facts.version,
                "kubeProxyVersion": facts.version,
                "architecture": "amd64",
                "operatingSystem": "linux",
                "osImage": "Simulated",
                "kernelVersion": "simulated",
                "containerRuntimeVersion": "simulated://1",
                "machineID": "", "systemUUID": "", "bootID": "",
            },
        },
    })
}

/// The components that run as static pods.
pub const ETCD: &str = "etcd";
/// The API server.
pub const API_SERVER: &str = "kube-apiserver";
/// The scheduler.
pub const SCHEDULER: &str = "kube-scheduler";
/// The controller manager.
pub const CONTROLLER_MANAGER: &str = "kube-controller-manager";

/// The name of a component's pod on a node.
pub fn pod_name(component: &str, node: &str) -> String {
    format!("{component}-{node}")
}

/// The pod by which the kubelet shows a component that it runs from a file.
pub fn static_pod(
    component: &str,
    facts: &NodeFacts<'_>,
    annotations: &[(&str, String)],
    now: Timestamp,
) -> Value {
    let image = match component {
        ETCD => "registry.k8s.io/etcd:3.6.5-0".to_owned(),
        _ => format!("registry.k8s.io/{component}:{}", image_tag(facts.version)),
    };
    let time = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let condition = |type_: &str| json!({ "type": type_, "status": "True", "lastTransitionTime": time });
    let conditions = [
        "PodReadyToStartContainers",
        "Initialized",
        "Ready",
        "ContainersReady",
        "PodScheduled",
    ]
    .map(condition);
    // Drains leave pods alone that carry this annotation: deleting the object would not stop the component.
    let mut all = BTreeMap::from([("kubernetes.io/config.mirror", "simulated".to_owned())]);
    all.insert("kubernetes.io/config.source", "file".to_owned());
    all.extend(annotations.iter().cloned());
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": pod_name(component, facts.name),
            "namespace": "kube-system",
            "labels": { "component": component, "tier": "control-plane" },
            "annotations": all,
        },
        "spec": {
            "nodeName": facts.name,
            "hostNetwork": true,
            "priorityClassName": "system-node-critical",
            "containers": [{ "name": component, "image": image }],
        },
        "status": {
            "phase": "Running",
            "startTime": time,
            "conditions": conditions,
            "containerStatuses": [{
                "name": component, "image": image, "imageID": "", "ready": true, "started": true, "restartCount": 0,
                "state": { "running": { "startedAt": time } },
            }],
        },
    })
}

/// A Kubernetes version as image tags spell it.
pub fn image_tag(version: &str) -> String {
    version.replace('+', "_")
}
