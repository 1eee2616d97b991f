//! The disruption controller: computes the status of PodDisruptionBudgets from pods and the scale of their owners.
//!
//! It acts on changes of pods, budgets and whatever can be scaled, and writes only what changed. The one timer forgets
//! evictions that were approved and never happened.

mod plan;

use std::collections::BTreeSet;
use std::sync::Arc;

use http::Method;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::http::handle::internal;
use crate::selector::LabelSelector;
use crate::server::Inner;
use crate::storage::{Change, GroupResource, object_key};
use plan::plan;

const AGENT: &str = "disruption-controller";
/// The resource of budgets.
pub(crate) fn resource() -> GroupResource {
    GroupResource::new("policy", "poddisruptionbudgets")
}

fn pods() -> GroupResource {
    GroupResource::new("", "pods")
}

/// Namespaces whose budgets are to be looked at.
#[derive(Default)]
pub(crate) struct Disruption {
    dirty: BTreeSet<Box<str>>,
    /// Whether there ever was a budget: most servers have none, and nothing to do.
    any: bool,
    /// When to look again without a change.
    pub again: Option<(Timestamp, Box<str>)>,
}

impl Disruption {
    /// All namespaces with budgets.
    pub fn load(inner: &Inner) -> Self {
        let budgets = inner.store.list(&resource(), "").0;
        Self {
            any: !budgets.is_empty(),
            dirty: budgets.iter().map(|b| b.namespace.clone()).collect(),
            again: None,
        }
    }

    /// Takes a change in; tells whether there may be work now.
    pub fn note(&mut self, inner: &Inner, change: &Change) -> bool {
        let gr = &change.resource;
        let namespace = &change.object.namespace;
        let own = (&*gr.group, &*gr.resource) == ("policy", "poddisruptionbudgets");
        self.any |= own;
        if !self.any {
            return false;
        }
        let concerns = own
            || (*gr == pods() || scales(inner, gr)) && !inner.store.list(&resource(), namespace).0.is_empty();
        if concerns {
            self.dirty.insert(namespace.clone());
        }
        concerns
    }

    /// What is due by the clock becomes work.
    pub fn wake(&mut self, inner: &Inner) {
        if let Some((_, namespace)) = self.again.take_if(|(due, _)| *due <= inner.now()) {
            self.dirty.insert(namespace);
        }
    }

    pub async fn work(&mut self, inner: &Arc<Inner>) {
        for namespace in std::mem::take(&mut self.dirty) {
            for budget in inner.store.list(&resource(), &namespace).0 {
                if let Some(due) = sync(inner, &budget.value()).await {
                    let sooner = self.again.as_ref().is_none_or(|(other, _)| due < *other);
                    if sooner {
                        self.again = Some((due, namespace.clone()));
                    }
                }
            }
        }
    }
}

fn scales(inner: &Inner, gr: &GroupResource) -> bool {
    let resource = inner.registry.load().by_name(gr);
    resource.is_some_and(|r| r.versions.iter().any(|v| v.scale.is_some()))
}

/// The budgets that select a pod.
pub(crate) fn budgets(inner: &Inner, namespace: &str, pod: &Value) -> Vec<Value> {
    let listed = inner.store.list(&resource(), namespace).0;
    let all = listed.iter().map(|budget| budget.value());
    all.filter(|budget| {
        LabelSelector::from_object(&budget["spec"]["selector"])
            .is_ok_and(|selector| selector.matches_object(pod))
    })
    .collect()
}

/// Whether the pod's Ready condition is true.
pub(crate) fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    conditions
        .into_iter()
        .flatten()
        .any(|c| c["type"] == "Ready" && c["status"] == "True")
}

fn set_condition(budget: &mut Value, status: &str, reason: &str, message: &str, now: &str) {
    let observed = budget["status"]["observedGeneration"].clone();
    let mut conditions = budget["status"]["conditions"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let position = conditions.iter().position(|c| c["type"] == "DisruptionAllowed");
    let since = position
        .map(|i| &conditions[i])
        .filter(|c| c["status"] == status)
        .map_or_else(|| now.into(), |c| c["lastTransitionTime"].clone());
    let mut condition = json!({
        "type": "DisruptionAllowed", "status": status, "reason": reason, "message": message, "lastTransitionTime": since,
    });
    if observed.is_i64() {
        condition["observedGeneration"] = observed;
    }
    match position {
        Some(i) => conditions[i] = condition,
        None => conditions.push(condition),
    }
    budget["status"]["conditions"] = conditions.into();
}

/// Lets the condition of a budget say whether disruptions are allowed.
pub(crate) fn allow(budget: &mut Value, now: &str) {
    let allowed = budget["status"]["disruptionsAllowed"].as_i64().unwrap_or(0) > 0;
    match allowed {
        true => set_condition(budget, "True", "SufficientPods", "", now),
        false => set_condition(budget, "False", "InsufficientPods", "", now),
    }
}

/// Brings a budget's status up to date; tells when to look again.
async fn sync(inner: &Arc<Inner>, budget: &Value) -> Option<Timestamp> {
    let text = |field: &str| budget["metadata"][field].as_str().unwrap_or_default();
    let (namespace, name) = (text("namespace"), text("name"));
    let selector = LabelSelector::from_object(&budget["spec"]["selector"]);
    let listed = inner.store.list(&pods(), namespace).0;
    let pods: Vec<Value> = match &selector {
        Ok(selector) => listed
            .iter()
            .map(|pod| pod.value())
            .filter(|pod| selector.matches_object(pod))
            .collect(),
        Err(_) => Vec::new(),
    };
    let now = inner.now();
    let mut new = budget.clone();
    let mut again = None;
    let outcome = selector
        .map_err(|e| e.to_owned())
        .and_then(|_| plan(budget, &pods, now, &|owner| scale(inner, namespace, owner)));
    match outcome {
        Ok(plan) => {
            again = plan.again;
            new["status"] = plan.status(budget);
            allow(&mut new, &inner.now_text());
        }
        Err(why) => {
            new["status"]["disruptionsAllowed"] = 0.into();
            set_condition(&mut new, "False", "SyncFailed", &why, &inner.now_text());
        }
    }
    if new["status"] != budget["status"] {
        let path = format!("/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets/{name}/status");
        // A conflict means that the budget changed, which brings us back.
        let _ = internal(inner, AGENT, Method::PUT, &path, Some(new)).await;
    }
    again
}

/// The uid and the wanted replicas of a pod's controller, or of the deployment above it.
fn scale(
    inner: &Inner,
    namespace: &str,
    owner: &Map<String, Value>,
) -> Result<Option<(String, i64)>, String> {
    let text = |field: &str| owner.get(field).and_then(Value::as_str).unwrap_or_default();
    let (group, version) = text("apiVersion")
        .split_once('/')
        .unwrap_or(("", text("apiVersion")));
    let kind = text("kind");
    let registry = inner.registry.load();
    let Some(resource) = registry.by_kind(group, version, kind) else {
        return Ok(None);
    };
    let found = inner.read(&resource.store, &object_key(namespace, text("name")));
    let Some(object) = found.filter(|o| o["metadata"]["uid"] == text("uid")) else {
        return Ok(None);
    };
    if (group, kind) == ("apps", "ReplicaSet") {
        let above = object["metadata"]["ownerReferences"].as_array();
        let deployment = above
            .into_iter()
            .flatten()
            .filter_map(Value::as_object)
            .find(|o| {
                o.get("controller") == Some(&Value::Bool(true)) && o.get("kind") == Some(&"Deployment".into())
            });
        if let Some(deployment) = deployment
            && let Some(found) = scale(inner, namespace, deployment)?
        {
            return Ok(Some(found));
        }
    }
    let paths = resource
        .versions
        .iter()
        .find(|v| v.name == version)
        .and_then(|v| v.scale.as_ref());
    let Some(paths) = paths else {
        return Err(format!(
            "{} does not implement the scale subresource",
            resource.gr
        ));
    };
    let replicas = object
        .pointer(&paths.spec.replace('.', "/"))
        .and_then(Value::as_i64)
        .unwrap_or(0);
    Ok(Some((text("uid").to_owned(), replicas)))
}
