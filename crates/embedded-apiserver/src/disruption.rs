//! The disruption controller: computes the status of PodDisruptionBudgets from pods and the scale of their owners.
//!
//! It acts on changes of pods, budgets and whatever can be scaled, and writes only what changed. The one timer forgets
//! evictions that were approved and never happened.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use http::Method;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use crate::http::handle::internal;
use crate::selector::LabelSelector;
use crate::server::Inner;
use crate::storage::{Change, GroupResource, object_key};

const AGENT: &str = "disruption-controller";
/// How long an approved eviction counts though the pod is still there.
const PATIENCE: SignedDuration = SignedDuration::from_mins(2);

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

/// A number, or the part of a whole, rounded up.
fn scaled(value: &Value, whole: i64) -> Result<i64, String> {
    if let Some(number) = value.as_i64() {
        return Ok(number);
    }
    let text = value.as_str().unwrap_or_default();
    let percent = text.strip_suffix('%').and_then(|p| p.parse::<i64>().ok());
    let percent = percent.ok_or("invalid value for IntOrString: invalid type: string is not a percentage")?;
    Ok((percent * whole + 99).div_euclid(100))
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

/// What a budget's status is to say.
#[derive(Debug, PartialEq)]
struct Plan {
    expected: i64,
    healthy: i64,
    desired: i64,
    disrupted: BTreeMap<String, Value>,
    again: Option<Timestamp>,
}

impl Plan {
    fn status(&self, budget: &Value) -> Value {
        let spare = self.healthy - self.desired;
        let allowed = if self.expected <= 0 { 0 } else { spare.max(0) };
        let mut status = json!({
            "currentHealthy": self.healthy, "desiredHealthy": self.desired, "expectedPods": self.expected,
            "disruptionsAllowed": allowed, "observedGeneration": budget["metadata"]["generation"],
        });
        if !self.disrupted.is_empty() {
            status["disruptedPods"] = json!(self.disrupted);
        }
        if let Some(conditions) = budget["status"].get("conditions") {
            status["conditions"] = conditions.clone();
        }
        status
    }
}

type Scale<'a> = &'a dyn Fn(&Map<String, Value>) -> Result<Option<(String, i64)>, String>;

fn plan(budget: &Value, pods: &[Value], now: Timestamp, scale: Scale<'_>) -> Result<Plan, String> {
    let spec = &budget["spec"];
    let (expected, desired) = match (spec.get("maxUnavailable"), spec.get("minAvailable")) {
        (Some(most), _) => {
            let expected = expected(pods, scale)?;
            (expected, (expected - scaled(most, expected)?).max(0))
        }
        (None, Some(least)) if least.is_i64() => (pods.len() as i64, least.as_i64().unwrap_or(0)),
        (None, Some(least)) => {
            let expected = expected(pods, scale)?;
            (expected, scaled(least, expected)?)
        }
        (None, None) => (0, 0),
    };
    let mut plan = Plan {
        expected,
        desired,
        healthy: 0,
        disrupted: BTreeMap::new(),
        again: None,
    };
    for pod in pods
        .iter()
        .filter(|pod| !pod["metadata"]["deletionTimestamp"].is_string())
    {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        let approved = &budget["status"]["disruptedPods"][name];
        let due = approved
            .as_str()
            .and_then(|time| time.parse::<Timestamp>().ok())
            .map(|time| time + PATIENCE);
        if let Some(due) = due.filter(|due| *due > now) {
            plan.disrupted.insert(name.to_owned(), approved.clone());
            plan.again = Some(plan.again.map_or(due, |other| other.min(due)));
            continue;
        }
        plan.healthy += i64::from(is_ready(pod));
    }
    Ok(plan)
}

/// How many pods the owners of these pods want.
fn expected(pods: &[Value], scale: Scale<'_>) -> Result<i64, String> {
    let mut owners: BTreeMap<String, i64> = BTreeMap::new();
    for pod in pods {
        let references = pod["metadata"]["ownerReferences"].as_array();
        let owner = references
            .into_iter()
            .flatten()
            .filter_map(Value::as_object)
            .find(|owner| owner.get("controller") == Some(&Value::Bool(true)));
        // Pods that nobody controls are not counted.
        let Some(owner) = owner else { continue };
        let (uid, replicas) = scale(owner)?.ok_or_else(|| {
            format!(
                "found no controllers for pod {:?}",
                pod["metadata"]["name"].as_str().unwrap_or_default()
            )
        })?;
        owners.insert(uid, replicas);
    }
    Ok(owners.values().sum())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, ready: bool, owner: Option<&str>) -> Value {
        let mut pod = json!({
            "metadata": {"name": name},
            "status": {"conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]},
        });
        if let Some(uid) = owner {
            pod["metadata"]["ownerReferences"] =
                json!([{"kind": "ReplicaSet", "uid": uid, "controller": true}]);
        }
        pod
    }

    fn allowed(spec: Value, pods: &[Value], disrupted: Value) -> Result<Value, String> {
        let budget =
            json!({"metadata": {"generation": 2}, "spec": spec, "status": {"disruptedPods": disrupted}});
        let scale = |owner: &Map<String, Value>| {
            let uid = owner["uid"].as_str().unwrap_or_default();
            Ok(uid
                .strip_prefix("of")
                .and_then(|n| n.parse().ok())
                .map(|n| (uid.to_owned(), n)))
        };
        let now: Timestamp = "2026-01-01T00:01:00Z".parse().unwrap();
        plan(&budget, pods, now, &scale).map(|plan| {
            let status = plan.status(&budget);
            json!([
                status["expectedPods"],
                status["currentHealthy"],
                status["desiredHealthy"],
                status["disruptionsAllowed"]
            ])
        })
    }

    #[test]
    fn budgets_count_pods_or_the_scale_of_their_owners() {
        let pods = [
            pod("a", true, Some("of4")),
            pod("b", true, Some("of4")),
            pod("c", false, None),
        ];
        let cases = [
            (json!({"minAvailable": 1}), json!([3, 2, 1, 1])),
            (json!({"minAvailable": "50%"}), json!([4, 2, 2, 0])),
            (json!({"minAvailable": "30%"}), json!([4, 2, 2, 0])),
            (json!({"maxUnavailable": 3}), json!([4, 2, 1, 1])),
            (json!({"maxUnavailable": "100%"}), json!([4, 2, 0, 2])),
            (json!({"maxUnavailable": 9}), json!([4, 2, 0, 2])),
        ];
        for (spec, expected) in cases {
            assert_eq!(allowed(spec.clone(), &pods, json!({})), Ok(expected), "{spec}");
        }
        let strange = [pod("a", true, Some("unknown"))];
        assert_eq!(
            allowed(json!({"maxUnavailable": 1}), &strange, json!({})),
            Err("found no controllers for pod \"a\"".to_owned())
        );
        assert_eq!(
            allowed(json!({"minAvailable": 0}), &[], json!({})),
            Ok(json!([0, 0, 0, 0]))
        );
    }

    #[test]
    fn approved_evictions_count_until_patience_ends() {
        let pods = [pod("a", true, None), pod("b", true, None)];
        let recent = json!({"a": "2026-01-01T00:00:30Z"});
        assert_eq!(
            allowed(json!({"minAvailable": 1}), &pods, recent),
            Ok(json!([2, 1, 1, 0]))
        );
        let old = json!({"a": "2025-12-31T23:58:30Z"});
        assert_eq!(
            allowed(json!({"minAvailable": 1}), &pods, old),
            Ok(json!([2, 2, 1, 1]))
        );
    }
}
