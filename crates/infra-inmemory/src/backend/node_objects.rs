//! The Node of a simulated machine and its Lease, as objects, in each state they can be in.

use std::collections::BTreeMap;

use capi_api::labels::NODE_ROLE_CONTROL_PLANE;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
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
pub(super) fn time_text(time: Timestamp) -> String {
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

/// A reference from something that goes with a Node.
pub(super) fn owner(node: &str, uid: &str, controller: bool) -> Value {
    let mut owner = json!({ "apiVersion": "v1", "kind": "Node", "name": node, "uid": uid });
    if controller {
        owner["controller"] = Value::Bool(true);
    }
    owner
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
}
