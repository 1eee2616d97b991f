//! What the status of a disruption budget is to say: pure counting of pods.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use super::is_ready;

/// How long an approved eviction counts though the pod is still there.
const PATIENCE: SignedDuration = SignedDuration::from_mins(2);

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

/// What a budget's status is to say.
#[derive(Debug, PartialEq)]
pub(super) struct Plan {
    expected: i64,
    healthy: i64,
    desired: i64,
    disrupted: BTreeMap<String, Value>,
    pub(super) again: Option<Timestamp>,
}

impl Plan {
    pub(super) fn status(&self, budget: &Value) -> Value {
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

pub(super) type Scale<'a> = &'a dyn Fn(&Map<String, Value>) -> Result<Option<(String, i64)>, String>;

/// Counts the pods of a budget.
pub(super) fn plan(budget: &Value, pods: &[Value], now: Timestamp, scale: Scale<'_>) -> Result<Plan, String> {
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
