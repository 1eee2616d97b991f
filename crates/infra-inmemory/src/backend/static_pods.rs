//! The static pods of a control-plane machine, as the kubelet shows them in each state they can be in.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::{
    images::Images,
    node_objects::{NodeFacts, owner, time_text},
};

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

    fn patched(pod: &Pod, patch: &Value) -> Pod {
        let mut value = serde_json::to_value(pod).unwrap();
        for (field, new) in patch["status"].as_object().unwrap() {
            value["status"][field] = new.clone();
        }
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_static_pod_shows_what_is_known_of_its_container() {
        let facts = NodeFacts {
            name: "n",
            provider_id: "in-memory://n",
            version: "v1.36.0",
            control_plane: true,
        };
        let images = Images::new(None, "v1.36.0");
        let pod = static_pod(API_SERVER, &facts, "uid", &images, &[], at(0));
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
