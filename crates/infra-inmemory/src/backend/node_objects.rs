//! The Node, its Lease and the static pods of a simulated machine, as objects, in each state they can be in.

use std::collections::BTreeMap;

use capi_api::labels::NODE_ROLE_CONTROL_PLANE;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::{Value, json};

use super::{guest::NodeRegistration, images::Images};

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

/// How a Node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// All is well.
    Ready,
    /// The kubelet says that it is not ready.
    NotReady,
    /// The kubelet is gone; the node controller has noticed it.
    Unknown,
}

impl Health {
    fn ready_status(self) -> &'static str {
        match self {
            Self::Ready => "True",
            Self::NotReady => "False",
            Self::Unknown => "Unknown",
        }
    }

    /// What the node controller taints such a Node with.
    fn taint(self) -> Option<&'static str> {
        match self {
            Self::Ready => None,
            Self::NotReady => Some(NOT_READY_TAINT),
            Self::Unknown => Some(UNREACHABLE_TAINT),
        }
    }
}

const NOT_READY_TAINT: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE_TAINT: &str = "node.kubernetes.io/unreachable";

/// A time as objects show it.
fn time_text(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A time of a Lease.
fn micro_time_text(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
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
        labels.insert(
            "node.kubernetes.io/exclude-from-external-load-balancers".to_owned(),
            String::new(),
        );
        if registration.taints.is_none() {
            taints.push(json!({ "key": NODE_ROLE_CONTROL_PLANE, "effect": "NoSchedule" }));
        }
    }
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
            "conditions": node_conditions(None, Health::Ready, now),
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

/// A Node's conditions: the kubelet's own words while it speaks, the node controller's once it does not. There is no
/// heartbeat in between: a Node is written when something changes.
fn node_conditions(before: Option<&Node>, health: Health, now: Timestamp) -> Value {
    const PARTS: [(&str, &str); 3] = [
        ("MemoryPressure", "KubeletHasSufficientMemory"),
        ("DiskPressure", "KubeletHasNoDiskPressure"),
        ("PIDPressure", "KubeletHasSufficientPID"),
    ];
    let before = before
        .and_then(|node| node.status.as_ref()?.conditions.as_deref())
        .unwrap_or_default();
    let condition = |type_: &str, status: &str, reason: &str, message: &str| {
        let old = before.iter().find(|condition| condition.type_ == type_);
        let time = |time: Option<&k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>| {
            time.map_or_else(|| time_text(now), |time| time_text(time.0))
        };
        let heartbeat = match health {
            Health::Unknown => time(old.and_then(|old| old.last_heartbeat_time.as_ref())),
            _ => time_text(now),
        };
        let since = time(
            old.filter(|old| old.status == status)
                .and_then(|old| old.last_transition_time.as_ref()),
        );
        json!({
            "type": type_, "status": status, "reason": reason, "message": message,
            "lastHeartbeatTime": heartbeat, "lastTransitionTime": since,
        })
    };
    let unknown = |type_: &str| {
        condition(
            type_,
            "Unknown",
            "NodeStatusUnknown",
            "Kubelet stopped posting node status.",
        )
    };
    let mut all: Vec<Value> = PARTS
        .iter()
        .map(|(type_, reason)| match health {
            Health::Unknown => unknown(type_),
            _ => condition(type_, "False", reason, ""),
        })
        .collect();
    all.push(match health {
        Health::Ready => condition("Ready", "True", "KubeletReady", ""),
        Health::NotReady => condition(
            "Ready",
            "False",
            "KubeletNotReady",
            "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady \
             message:simulated network plugin is down",
        ),
        Health::Unknown => unknown("Ready"),
    });
    Value::Array(all)
}

/// What has to be written so that a Node shows `health`: its spec's taints and its status, each if it differs.
pub fn node_patches(node: &Node, health: Health, now: Timestamp) -> (Option<Value>, Option<Value>) {
    let conditions = node
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_deref());
    let ready = conditions
        .unwrap_or_default()
        .iter()
        .find(|condition| condition.type_ == "Ready");
    let status = (ready.map(|ready| ready.status.as_str()) != Some(health.ready_status()))
        .then(|| json!({ "status": { "conditions": node_conditions(Some(node), health, now) } }));

    let taints = node
        .spec
        .as_ref()
        .and_then(|spec| spec.taints.clone())
        .unwrap_or_default();
    let ours = |key: &str| key == NOT_READY_TAINT || key == UNREACHABLE_TAINT;
    let found: Vec<_> = taints.iter().filter(|taint| ours(&taint.key)).collect();
    let settled = match health.taint() {
        None => found.is_empty(),
        Some(key) => found.len() == 2 && found.iter().all(|taint| taint.key == key),
    };
    let spec = (!settled).then(|| {
        let mut kept: Vec<Value> = taints
            .iter()
            .filter(|taint| !ours(&taint.key))
            .filter_map(|taint| serde_json::to_value(taint).ok())
            .collect();
        kept.extend(health.taint().into_iter().flat_map(|key| {
            ["NoSchedule", "NoExecute"]
                .map(|effect| json!({ "key": key, "effect": effect, "timeAdded": time_text(now) }))
        }));
        json!({ "spec": { "taints": kept } })
    });
    (spec, status)
}

/// The Lease by which a kubelet shows that it lives. It is renewed when the kubelet comes back, not in between: nobody
/// but the simulated node controller would read it.
pub fn lease(node: &str, uid: &str, now: Timestamp) -> Value {
    json!({
        "metadata": { "name": node, "namespace": "kube-node-lease", "ownerReferences": [owner(node, uid, false)] },
        "spec": { "holderIdentity": node, "leaseDurationSeconds": 40, "renewTime": micro_time_text(now) },
    })
}

/// What renews a Lease.
pub fn lease_renewal(now: Timestamp) -> Value {
    json!({ "spec": { "renewTime": micro_time_text(now) } })
}

fn owner(node: &str, uid: &str, controller: bool) -> Value {
    let mut owner = json!({ "apiVersion": "v1", "kind": "Node", "name": node, "uid": uid });
    if controller {
        owner["controller"] = Value::Bool(true);
    }
    owner
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

/// How a static pod is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PodState {
    /// Its container runs.
    Running,
    /// Its container does not stay up.
    Crashing,
    /// Nothing is known of it but that its Node is unreachable.
    Unreachable,
}

impl PodState {
    /// Whether the pod is ready, and whether its container is.
    fn readiness(self) -> (bool, bool) {
        match self {
            Self::Running => (true, true),
            Self::Crashing => (false, false),
            // The node controller changes the pod's condition only.
            Self::Unreachable => (false, true),
        }
    }
}

/// The pod by which the kubelet shows a component that it runs from a file. It goes with its Node, whose uid is
/// `node_uid`.
pub fn static_pod(
    component: &str,
    facts: &NodeFacts<'_>,
    node_uid: &str,
    images: &Images,
    annotations: &[(&str, String)],
    now: Timestamp,
) -> Value {
    let image = images.of(component);
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
            "ownerReferences": [owner(facts.name, node_uid, true)],
        },
        "spec": {
            "nodeName": facts.name,
            "hostNetwork": true,
            "priorityClassName": "system-node-critical",
            "containers": [{ "name": component, "image": image }],
        },
        "status": pod_status(component, &image, PodState::Running, None, now),
    })
}

fn pod_status(component: &str, image: &str, state: PodState, before: Option<&Pod>, now: Timestamp) -> Value {
    let time = time_text(now);
    let (ready, container_ready) = state.readiness();
    let status = before.and_then(|pod| pod.status.as_ref());
    let known = status
        .and_then(|status| status.conditions.as_deref())
        .unwrap_or_default();
    let condition = |type_: &str| {
        let holds = match type_ {
            "Ready" => ready,
            "ContainersReady" => container_ready,
            _ => true,
        };
        let word = if holds { "True" } else { "False" };
        let since = known
            .iter()
            .find(|old| old.type_ == type_ && old.status == word)
            .and_then(|old| old.last_transition_time.as_ref());
        let mut condition = json!({
            "type": type_, "status": word,
            "lastTransitionTime": since.map_or_else(|| time.clone(), |since| time_text(since.0)),
        });
        if !holds && state == PodState::Crashing {
            condition["reason"] = "ContainersNotReady".into();
            condition["message"] = format!("containers with unready status: [{component}]").into();
        }
        condition
    };
    let conditions = [
        "PodReadyToStartContainers",
        "Initialized",
        "Ready",
        "ContainersReady",
        "PodScheduled",
    ]
    .map(condition);
    let container = match container_ready {
        true => json!({ "running": { "startedAt": time } }),
        false => json!({ "waiting": {
            "reason": "CrashLoopBackOff",
            "message": format!("back-off 5m0s restarting failed container={component}"),
        } }),
    };
    let started = status
        .and_then(|status| status.start_time.as_ref())
        .map_or_else(|| time.clone(), |started| time_text(started.0));
    json!({
        "phase": "Running",
        "startTime": started,
        "conditions": conditions,
        "containerStatuses": [{
            "name": component, "image": image, "imageID": "", "ready": container_ready, "started": container_ready,
            "restartCount": 0, "state": container,
        }],
    })
}

/// What has to be written so that a static pod shows `state`, if anything.
pub fn pod_patch(component: &str, pod: &Pod, state: PodState, now: Timestamp) -> Option<Value> {
    let status = pod.status.as_ref();
    let ready = status
        .and_then(|status| status.conditions.as_deref())
        .unwrap_or_default()
        .iter()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True");
    let container = status
        .and_then(|status| status.container_statuses.as_deref())
        .unwrap_or_default()
        .iter()
        .any(|container| container.ready);
    // Of a container that nobody can look at no more is known than before.
    if (ready, container) == state.readiness() || (state == PodState::Unreachable && !ready) {
        return None;
    }
    let image = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.containers.first()?.image.clone())
        .unwrap_or_default();
    let status = pod_status(component, &image, state, Some(pod), now);
    Some(json!({ "status": status }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_767_225_600 + seconds).unwrap()
    }

    fn facts() -> NodeFacts<'static> {
        NodeFacts {
            name: "n",
            provider_id: "in-memory://n",
            version: "v1.36.0",
            control_plane: true,
        }
    }

    fn patched<T: serde::Serialize + serde::de::DeserializeOwned>(object: &T, patch: &Value) -> T {
        let mut value = serde_json::to_value(object).unwrap();
        for (part, fields) in patch.as_object().unwrap() {
            for (field, new) in fields.as_object().unwrap() {
                value[part][field] = new.clone();
            }
        }
        serde_json::from_value(value).unwrap()
    }

    fn after(node: &Node, health: Health, now: Timestamp) -> Node {
        let (spec, status) = node_patches(node, health, now);
        let node = spec.map_or_else(|| node.clone(), |spec| patched(node, &spec));
        status.map_or_else(|| node.clone(), |status| patched(&node, &status))
    }

    fn conditions(node: &Node) -> Vec<String> {
        let conditions = node.status.as_ref().unwrap().conditions.as_ref().unwrap();
        let text = |c: &k8s_openapi::api::core::v1::NodeCondition| {
            format!(
                "{} {} {}",
                c.type_,
                c.status,
                c.reason.as_deref().unwrap_or_default()
            )
        };
        conditions.iter().map(text).collect()
    }

    fn taints(node: &Node) -> Vec<String> {
        let taints = node.spec.as_ref().unwrap().taints.clone().unwrap_or_default();
        taints
            .iter()
            .map(|taint| format!("{}:{}", taint.key, taint.effect))
            .collect()
    }

    #[test]
    fn a_node_whose_kubelet_is_gone_looks_as_the_node_controller_leaves_it() {
        let first: Node =
            serde_json::from_value(node(&facts(), &NodeRegistration::default(), at(0))).unwrap();
        let lost = after(&first, Health::Unknown, at(90));
        assert_eq!(
            conditions(&lost),
            [
                "MemoryPressure Unknown NodeStatusUnknown",
                "DiskPressure Unknown NodeStatusUnknown",
                "PIDPressure Unknown NodeStatusUnknown",
                "Ready Unknown NodeStatusUnknown",
            ]
        );
        let ready = &lost.status.as_ref().unwrap().conditions.as_ref().unwrap()[3];
        assert_eq!(
            ready.message.as_deref(),
            Some("Kubelet stopped posting node status.")
        );
        assert_eq!(
            ready.last_heartbeat_time.as_ref().unwrap().0,
            at(0),
            "the last one there was"
        );
        assert_eq!(ready.last_transition_time.as_ref().unwrap().0, at(90));
        assert_eq!(
            taints(&lost),
            [
                "node-role.kubernetes.io/control-plane:NoSchedule",
                "node.kubernetes.io/unreachable:NoSchedule",
                "node.kubernetes.io/unreachable:NoExecute",
            ]
        );
        assert_eq!(
            node_patches(&lost, Health::Unknown, at(95)),
            (None, None),
            "written once"
        );

        let back = after(&lost, Health::Ready, at(200));
        assert_eq!(conditions(&back)[3], "Ready True KubeletReady");
        assert_eq!(
            taints(&back),
            ["node-role.kubernetes.io/control-plane:NoSchedule"]
        );
        assert_eq!(node_patches(&back, Health::Ready, at(201)), (None, None));
    }

    #[test]
    fn a_node_that_is_not_ready_says_so_itself() {
        let first: Node =
            serde_json::from_value(node(&facts(), &NodeRegistration::default(), at(0))).unwrap();
        let sick = after(&first, Health::NotReady, at(9));
        assert_eq!(
            conditions(&sick)[0],
            "MemoryPressure False KubeletHasSufficientMemory"
        );
        assert_eq!(conditions(&sick)[3], "Ready False KubeletNotReady");
        assert_eq!(
            taints(&sick)[1..],
            [
                "node.kubernetes.io/not-ready:NoSchedule",
                "node.kubernetes.io/not-ready:NoExecute"
            ]
        );
    }

    #[test]
    fn a_static_pod_shows_what_is_known_of_its_container() {
        let images = Images::new(None, "v1.36.0");
        let pod = static_pod(API_SERVER, &facts(), "uid", &images, &[], at(0));
        let pod: Pod = serde_json::from_value(pod).unwrap();
        assert_eq!(pod.metadata.owner_references.as_ref().unwrap()[0].uid, "uid");
        assert_eq!(pod_patch(API_SERVER, &pod, PodState::Running, at(1)), None);
        let container =
            |pod: &Pod| pod.status.as_ref().unwrap().container_statuses.as_ref().unwrap()[0].clone();

        let crashing = patched(
            &pod,
            &pod_patch(API_SERVER, &pod, PodState::Crashing, at(1)).unwrap(),
        );
        let waiting = container(&crashing).state.unwrap().waiting.unwrap();
        assert_eq!(waiting.reason.as_deref(), Some("CrashLoopBackOff"));
        assert_eq!(pod_patch(API_SERVER, &crashing, PodState::Crashing, at(2)), None);
        assert_eq!(
            pod_patch(API_SERVER, &crashing, PodState::Unreachable, at(2)),
            None,
            "it was not ready before"
        );

        let lost = patched(
            &pod,
            &pod_patch(API_SERVER, &pod, PodState::Unreachable, at(3)).unwrap(),
        );
        assert!(container(&lost).ready, "only the pod's condition changes");
        assert_eq!(pod_patch(API_SERVER, &lost, PodState::Unreachable, at(4)), None);
        let back = patched(
            &lost,
            &pod_patch(API_SERVER, &lost, PodState::Running, at(5)).unwrap(),
        );
        assert_eq!(pod_patch(API_SERVER, &back, PodState::Running, at(6)), None);
    }
}
