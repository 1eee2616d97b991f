//! The older conditions, `status.deprecated.v1beta1.conditions`: with a severity, and without a reason where they are
//! true. They are written for as long as upstream writes them, and steer nothing.

use std::cmp::Ordering;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::core::DynamicObject;
use serde::Deserialize;
use serde_json::Value;

use super::whole_seconds;
pub use crate::core::v1beta2::V1Beta1Condition;

/// The type that sums up the others.
pub const READY: &str = "Ready";

/// How bad it is when a condition is false.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Somebody has to act.
    Error,
    /// Something is off, and may heal.
    Warning,
    /// It takes time, as expected.
    Info,
}

impl Severity {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "Error",
            Self::Warning => "Warning",
            Self::Info => "Info",
        }
    }
}

/// An object with such conditions. Implement it with
/// [`v1beta1_conditions_access!`](crate::v1beta1_conditions_access).
pub trait V1Beta1ConditionsAccess {
    /// The conditions, none if there is no status yet.
    fn v1beta1_conditions(&self) -> &[V1Beta1Condition];
    /// The conditions to write to; creates what surrounds them.
    fn v1beta1_conditions_mut(&mut self) -> &mut Vec<V1Beta1Condition>;
}

/// Implements [`V1Beta1ConditionsAccess`](crate::conditions::v1beta1::V1Beta1ConditionsAccess) for kinds with
/// `status.deprecated.v1beta1.conditions`, all levels optional.
#[macro_export]
macro_rules! v1beta1_conditions_access {
    ($($kind:ty),+ $(,)?) => {$(
        impl $crate::conditions::v1beta1::V1Beta1ConditionsAccess for $kind {
            fn v1beta1_conditions(&self) -> &[$crate::conditions::v1beta1::V1Beta1Condition] {
                let deprecated = self.status.as_ref().and_then(|status| status.deprecated.as_ref());
                deprecated.and_then(|deprecated| deprecated.v1beta1.as_ref()).map_or(&[], |old| &old.conditions)
            }
            fn v1beta1_conditions_mut(&mut self) -> &mut Vec<$crate::conditions::v1beta1::V1Beta1Condition> {
                let deprecated = self.status.get_or_insert_default().deprecated.get_or_insert_default();
                &mut deprecated.v1beta1.get_or_insert_default().conditions
            }
        }
    )+};
}

/// A true condition, without a time.
pub fn is_true(type_: &str) -> V1Beta1Condition {
    V1Beta1Condition {
        type_: type_.to_owned(),
        status: "True".to_owned(),
        severity: None,
        last_transition_time: Time(Timestamp::UNIX_EPOCH),
        reason: None,
        message: None,
    }
}

/// A false condition, without a time.
pub fn is_false(
    type_: &str,
    reason: &str,
    severity: Severity,
    message: impl Into<String>,
) -> V1Beta1Condition {
    let message = message.into();
    V1Beta1Condition {
        status: "False".to_owned(),
        severity: Some(severity.as_str().to_owned()),
        reason: Some(reason.to_owned()).filter(|r| !r.is_empty()),
        message: Some(message).filter(|m| !m.is_empty()),
        ..is_true(type_)
    }
}

/// A condition nobody can tell, without a time.
pub fn is_unknown(type_: &str, reason: &str, message: impl Into<String>) -> V1Beta1Condition {
    V1Beta1Condition {
        status: "Unknown".to_owned(),
        severity: None,
        ..is_false(type_, reason, Severity::Info, message)
    }
}

/// The object's condition of a type.
pub fn get<'a>(object: &'a impl V1Beta1ConditionsAccess, type_: &str) -> Option<&'a V1Beta1Condition> {
    object.v1beta1_conditions().iter().find(|c| c.type_ == type_)
}

/// Writes a condition and keeps them sorted, `Ready` first. Unlike with today's conditions the time changes with anything
/// that changes. Returns whether something changed.
pub fn set(object: &mut impl V1Beta1ConditionsAccess, condition: V1Beta1Condition, now: Timestamp) -> bool {
    set_in(object.v1beta1_conditions_mut(), condition, now)
}

/// [`set`] on a list.
pub fn set_in(
    conditions: &mut Vec<V1Beta1Condition>,
    mut condition: V1Beta1Condition,
    now: Timestamp,
) -> bool {
    let existing = conditions.iter_mut().find(|c| c.type_ == condition.type_);
    match existing {
        Some(existing) if same_state(existing, &condition) => return false,
        Some(existing) => {
            condition.last_transition_time = Time(whole_seconds(now));
            *existing = condition;
        }
        None => {
            if condition.last_transition_time.0 == Timestamp::UNIX_EPOCH {
                condition.last_transition_time = Time(whole_seconds(now));
            }
            conditions.push(condition);
        }
    }
    conditions.sort_by(|a, b| order(&a.type_, &b.type_));
    true
}

/// Takes a condition away. Returns whether it was there.
pub fn remove(object: &mut impl V1Beta1ConditionsAccess, type_: &str) -> bool {
    if get(object, type_).is_none() {
        return false;
    }
    object.v1beta1_conditions_mut().retain(|c| c.type_ != type_);
    true
}

fn order(a: &str, b: &str) -> Ordering {
    (a != READY).cmp(&(b != READY)).then_with(|| a.cmp(b))
}

fn same_state(a: &V1Beta1Condition, b: &V1Beta1Condition) -> bool {
    let text = |t: &Option<String>| t.clone().unwrap_or_default();
    a.status == b.status
        && text(&a.severity) == text(&b.severity)
        && text(&a.reason) == text(&b.reason)
        && text(&a.message) == text(&b.message)
}

/// The summary `Ready` of the conditions named by `types`, their order giving precedence among equals; nothing while none
/// of them exists. With `steps`, a summary that is not true says "x of `steps` completed" instead of a message.
pub fn summary(
    conditions: &[V1Beta1Condition],
    types: &[&str],
    steps: Option<usize>,
) -> Option<V1Beta1Condition> {
    let parts: Vec<(&V1Beta1Condition, Option<&str>)> = conditions
        .iter()
        .filter(|c| types.contains(&c.type_.as_str()))
        .map(|c| (c, None))
        .collect();
    merged(&parts, READY, types, steps)
}

/// The aggregate of the `Ready` conditions of `children`, each with the name of its object as `Kind/name`; children
/// without one are left out. Its reason names the object it comes from.
pub fn aggregate(children: &[(&str, Option<&V1Beta1Condition>)], target: &str) -> Option<V1Beta1Condition> {
    let parts: Vec<_> = children
        .iter()
        .filter_map(|(from, c)| c.map(|c| (c, Some(*from))))
        .collect();
    merged(&parts, target, &[], Some(children.len()))
}

fn weight(condition: &V1Beta1Condition) -> u8 {
    match (condition.status.as_str(), condition.severity.as_deref()) {
        ("False", Some("Error")) => 0,
        ("False", Some("Warning")) => 1,
        ("False", _) => 2,
        ("True", _) => 3,
        _ => 4,
    }
}

fn merged(
    parts: &[(&V1Beta1Condition, Option<&str>)],
    target: &str,
    types: &[&str],
    steps: Option<usize>,
) -> Option<V1Beta1Condition> {
    let place = |c: &V1Beta1Condition| types.iter().position(|t| *t == c.type_).unwrap_or(types.len());
    let (worst, from) = parts.iter().min_by(|(a, a_from), (b, b_from)| {
        weight(a)
            .cmp(&weight(b))
            .then_with(|| place(a).cmp(&place(b)))
            .then_with(|| order(&a.type_, &b.type_))
            .then_with(|| a_from.cmp(b_from))
    })?;
    if worst.status == "True" {
        return Some(is_true(target));
    }
    let reason = worst.reason.as_deref().map(|reason| match from {
        Some(from) if !reason.contains('@') => format!("{reason} @ {from}"),
        _ => reason.to_owned(),
    });
    let message = match steps {
        Some(steps) => Some(format!(
            "{} of {steps} completed",
            parts.iter().filter(|(c, _)| c.status == "True").count()
        )),
        None => worst.message.clone(),
    };
    Some(V1Beta1Condition {
        status: worst.status.clone(),
        severity: worst.severity.clone(),
        reason,
        message,
        ..is_true(target)
    })
}

/// `Ready` of another object as `target`; where it does not exist, true or the fallback.
pub fn mirror(
    source: Option<&V1Beta1Condition>,
    target: &str,
    done: bool,
    fallback: impl FnOnce() -> V1Beta1Condition,
) -> V1Beta1Condition {
    match source {
        Some(source) => V1Beta1Condition {
            type_: target.to_owned(),
            ..source.clone()
        },
        None if done => is_true(target),
        None => fallback(),
    }
}

/// The older `Ready` of a foreign object: in `status.deprecated.v1beta1.conditions`, or in `status.conditions` of objects
/// that still have the older type there.
pub fn ready_of_foreign(object: &DynamicObject) -> Option<V1Beta1Condition> {
    let status = &object.data["status"];
    let old = &status["deprecated"]["v1beta1"]["conditions"];
    let list = if old.is_array() {
        old
    } else if status["v1beta2"].is_object()
        || status["conditions"]
            .as_array()
            .is_some_and(|l| l.iter().all(is_of_old_type))
    {
        &status["conditions"]
    } else {
        return None;
    };
    let ready = list.as_array()?.iter().find(|c| c["type"] == READY)?;
    V1Beta1Condition::deserialize(ready).ok()
}

/// Today's conditions always have a reason and never a severity.
fn is_of_old_type(condition: &Value) -> bool {
    condition["severity"].is_string() || condition["reason"].as_str().is_none_or(str::is_empty)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_worst_condition_becomes_ready() {
        use Severity::{Error, Info, Warning};
        let types = ["InfrastructureReady", "BootstrapReady"];
        let summed = |list: Vec<V1Beta1Condition>| {
            summary(&list, &types, None).map(|c| (c.status, c.severity, c.reason))
        };
        let expect = |status: &str, severity: Option<&str>, reason: Option<&str>| {
            Some((
                status.to_owned(),
                severity.map(str::to_owned),
                reason.map(str::to_owned),
            ))
        };
        assert_eq!(summed(vec![]), None);
        assert_eq!(
            summed(vec![is_true("BootstrapReady"), is_false("Other", "X", Error, "")]),
            expect("True", None, None)
        );
        assert_eq!(
            summed(vec![
                is_false("BootstrapReady", "B", Info, ""),
                is_false("InfrastructureReady", "I", Info, "")
            ]),
            expect("False", Some("Info"), Some("I"))
        );
        assert_eq!(
            summed(vec![
                is_false("BootstrapReady", "B", Warning, ""),
                is_false("InfrastructureReady", "I", Info, "")
            ]),
            expect("False", Some("Warning"), Some("B"))
        );
        assert_eq!(
            summed(vec![
                is_true("BootstrapReady"),
                is_unknown("InfrastructureReady", "I", "")
            ]),
            expect("True", None, None)
        );
    }

    #[test]
    fn steps_are_counted() {
        let list = [
            is_true("BootstrapReady"),
            is_false("InfrastructureReady", "I", Severity::Info, "waits"),
        ];
        let ready = summary(&list, &["InfrastructureReady", "BootstrapReady"], Some(2)).unwrap();
        assert_eq!(ready.message.as_deref(), Some("1 of 2 completed"));
    }

    #[test]
    fn an_aggregate_says_where_its_reason_comes_from() {
        let (good, bad) = (is_true("Ready"), is_false("Ready", "Broken", Severity::Error, ""));
        let children = [
            ("Machine/a", Some(&good)),
            ("Machine/b", Some(&bad)),
            ("Machine/c", None),
        ];
        let aggregate = aggregate(&children, "MachinesReady").unwrap();
        assert_eq!(aggregate.reason.as_deref(), Some("Broken @ Machine/b"));
        assert_eq!(aggregate.message.as_deref(), Some("1 of 3 completed"));
    }

    #[test]
    fn the_time_changes_with_anything_and_ready_stands_first() {
        let (t0, t1) = (
            "2026-01-01T00:00:00Z".parse().unwrap(),
            "2026-01-01T00:00:05Z".parse().unwrap(),
        );
        let mut list = Vec::new();
        assert!(set_in(&mut list, is_false("A", "R", Severity::Info, "x"), t0));
        assert!(set_in(&mut list, is_true("Ready"), t0));
        assert!(!set_in(&mut list, is_false("A", "R", Severity::Info, "x"), t1));
        assert!(set_in(&mut list, is_false("A", "R", Severity::Info, "y"), t1));
        assert_eq!(
            list.iter()
                .map(|c| (c.type_.as_str(), c.last_transition_time.0))
                .collect::<Vec<_>>(),
            [("Ready", t0), ("A", t1)]
        );
    }

    #[test]
    fn the_older_ready_of_foreign_objects_is_found_where_each_generation_keeps_it() {
        let read =
            |status| ready_of_foreign(&crate::contract::testing::object("M", json!({"status": status})));
        let time = "2026-01-01T00:00:00Z";
        let old = json!([{"type": "Ready", "status": "False", "severity": "Info", "reason": "R", "lastTransitionTime": time}]);
        let new = json!([{"type": "Ready", "status": "True", "reason": "Ready", "lastTransitionTime": time}]);
        assert!(
            read(json!({"deprecated": {"v1beta1": {"conditions": old}}, "conditions": new}))
                .is_some_and(|c| c.status == "False")
        );
        assert!(read(json!({"conditions": old})).is_some());
        assert!(read(json!({"conditions": new})).is_none());
    }
}
