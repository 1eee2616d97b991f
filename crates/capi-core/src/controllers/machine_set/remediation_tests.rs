//! Remediation of a MachineSet's Machines, rule by rule.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use capi_api::{
    annotations,
    conditions::{get, v1beta1},
    core::v1beta2::{Cluster, Machine, MachineDeployment, MachineSet},
};
use jiff::Timestamp;
use kube::ResourceExt;
use serde_json::{Value, json};

use super::{
    super::{observe::World, plan::Action},
    Remediation, in_flight, plan,
};
use crate::foreign::Foreign;

fn now() -> Timestamp {
    "2026-01-01T00:10:00Z".parse().unwrap()
}

fn condition(type_: &str, status: &str, reason: &str) -> Value {
    json!({"type": type_, "status": status, "reason": reason, "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"})
}

/// A Machine of minute `created` with these conditions.
fn machine(name: &str, created: u8, conditions: &[Value]) -> Arc<Machine> {
    machine_with(name, created, conditions, json!({}))
}

fn machine_with(name: &str, created: u8, conditions: &[Value], metadata: Value) -> Arc<Machine> {
    let mut value = json!({
        "metadata": {"name": name, "namespace": "ns", "creationTimestamp": format!("2026-01-01T00:{created:02}:00Z"),
            "labels": {"x": "y", "cluster.x-k8s.io/deployment-name": "md"}},
        "spec": {"clusterName": "c", "bootstrap": {}, "infrastructureRef": {"apiGroup": "g", "kind": "K", "name": name}},
        "status": {"conditions": conditions}});
    for (key, part) in metadata.as_object().unwrap() {
        value["metadata"][key] = part.clone();
    }
    Arc::new(serde_json::from_value(value).unwrap())
}

fn sick(name: &str, created: u8) -> Arc<Machine> {
    machine(
        name,
        created,
        &[
            condition("HealthCheckSucceeded", "False", "UnhealthyNode"),
            condition("OwnerRemediated", "False", "WaitingForRemediation"),
        ],
    )
}

fn world(machines: Vec<Arc<Machine>>, limit: Value, revisions: (&str, &str)) -> World {
    let set: MachineSet = serde_json::from_value(json!({
        "metadata": {"name": "ms", "namespace": "ns", "uid": "su", "labels": {"cluster.x-k8s.io/deployment-name": "md"},
            "annotations": {annotations::REVISION: revisions.0}},
        "spec": {"clusterName": "c", "replicas": 4, "selector": {"matchLabels": {"x": "y"}},
            "template": {"spec": {"clusterName": "c", "bootstrap": {}, "infrastructureRef": {"apiGroup": "g", "kind": "K", "name": "n"}}}}}))
    .unwrap();
    let mut deployment = json!({
        "metadata": {"name": "md", "namespace": "ns", "annotations": {annotations::REVISION: revisions.1}},
        "spec": {"clusterName": "c", "replicas": 4, "selector": {},
            "template": {"spec": {"clusterName": "c", "bootstrap": {}, "infrastructureRef": {"apiGroup": "g", "kind": "K", "name": "n"}}}}});
    if !limit.is_null() {
        deployment["spec"]["remediation"] = json!({"maxInFlight": limit});
    }
    let deployment: MachineDeployment = serde_json::from_value(deployment).unwrap();
    let cluster: Cluster =
        serde_json::from_value(json!({"metadata": {"name": "c", "namespace": "ns"}, "spec": {}})).unwrap();
    World {
        remediations_in_flight: in_flight(&set, &machines, &machines),
        set: Arc::new(set),
        cluster: Arc::new(cluster),
        deployment: Some(Arc::new(deployment)),
        taken: BTreeSet::new(),
        machines,
        bootstrap_template: Foreign::Unset,
        infrastructure_template: Foreign::Unset,
        control_plane: Foreign::Unset,
        clones: BTreeMap::new(),
        orphans: Vec::new(),
        strays: Vec::new(),
        known: BTreeMap::new(),
        episode: String::new(),
    }
}

fn deleted(remediation: &Remediation) -> Vec<String> {
    let of = |action: &Action| match action {
        Action::Delete(machine) => Some(machine.name_any()),
        _ => None,
    };
    remediation.steps.iter().filter_map(|s| of(&s.action)).collect()
}

/// What is said of each Machine that changes: reason and message of today's condition.
fn said(remediation: &Remediation) -> BTreeMap<String, (String, String)> {
    let of = |action: &Action| match action {
        Action::Change(_, after) => {
            let condition = get(&**after, "OwnerRemediated");
            let said = condition.map_or_else(Default::default, |c| (c.reason.clone(), c.message.clone()));
            Some((after.name_any(), said))
        }
        _ => None,
    };
    remediation.steps.iter().filter_map(|s| of(&s.action)).collect()
}

#[test]
fn without_a_limit_all_unhealthy_machines_go_after_they_were_marked() {
    let healthy = machine(
        "h",
        1,
        &[condition("HealthCheckSucceeded", "True", "HealthCheckSucceeded")],
    );
    let not_asked = machine(
        "n",
        1,
        &[condition("HealthCheckSucceeded", "False", "UnhealthyNode")],
    );
    let world = world(
        vec![sick("a", 1), sick("b", 2), healthy, not_asked],
        Value::Null,
        ("1", "1"),
    );
    let remediation = plan(&world, &[], now());
    assert_eq!(deleted(&remediation), ["b", "a"]);
    let kinds: Vec<&str> = remediation
        .steps
        .iter()
        .map(|s| match s.action {
            Action::Change(..) => "mark",
            Action::Delete(_) => "delete",
            _ => "other",
        })
        .collect();
    assert_eq!(kinds, ["mark", "delete", "mark", "delete"]);
    assert_eq!(said(&remediation)["a"].0, "MachineDeleting");
    let Action::Change(_, after) = &remediation.steps[0].action else {
        unreachable!()
    };
    assert_eq!(v1beta1::get(&**after, "OwnerRemediated").unwrap().status, "True");
}

#[test]
fn named_machines_go_first_then_the_newest() {
    let named = machine_with(
        "z",
        1,
        &[
            condition("HealthCheckSucceeded", "False", "HasRemediateAnnotation"),
            condition("OwnerRemediated", "False", "WaitingForRemediation"),
        ],
        json!({"annotations": {annotations::REMEDIATE_MACHINE: ""}}),
    );
    let world = world(
        vec![sick("a", 3), sick("b", 5), sick("c", 5), named],
        Value::Null,
        ("1", "1"),
    );
    assert_eq!(deleted(&plan(&world, &[], now())), ["z", "b", "c", "a"]);
}

#[test]
fn the_limit_counts_what_is_under_way() {
    let going = machine_with(
        "g",
        1,
        &[condition("OwnerRemediated", "False", "MachineDeleting")],
        json!({"deletionTimestamp": "2026-01-01T00:05:00Z"}),
    );
    // Deleted by somebody else: that is no remediation.
    let other = machine_with("o", 1, &[], json!({"deletionTimestamp": "2026-01-01T00:05:00Z"}));
    let cases: [(Value, bool, &[&str]); 6] = [
        (json!(1), false, &["c"]),
        (json!(1), true, &[]),
        (json!(2), true, &["c"]),
        (json!("50%"), false, &["c", "b"]),
        (json!("10%"), false, &["c"]),
        (json!(0), false, &[]),
    ];
    for (limit, with_going, expected) in cases {
        let mut machines = vec![sick("a", 1), sick("b", 2), sick("c", 3), other.clone()];
        machines.extend(with_going.then(|| going.clone()));
        let remediation = plan(&world(machines, limit.clone(), ("1", "1")), &[], now());
        assert_eq!(deleted(&remediation), expected, "{limit}");
        let said = said(&remediation);
        let text = limit.as_str().map_or_else(|| limit.to_string(), str::to_owned);
        assert_eq!(
            said["a"],
            (
                "RemediationDeferred".to_owned(),
                format!(
                    "Waiting because there are already too many remediations in progress (spec.strategy.remediation.maxInFlight is {text})"
                )
            )
        );
    }
}

#[test]
fn only_the_current_machine_set_remediates() {
    let remediation = plan(&world(vec![sick("a", 1)], Value::Null, ("1", "2")), &[], now());
    assert_eq!(deleted(&remediation), [""; 0]);
    assert_eq!(
        said(&remediation)["a"],
        (
            "CannotBeRemediated".to_owned(),
            "Machine won't be remediated because it is pending removal due to rollout".to_owned()
        )
    );
}

#[test]
fn failing_preflight_checks_hold_remediation_and_are_named() {
    let held = ["first".to_owned(), "second".to_owned()];
    let world = world(vec![sick("a", 1), sick("b", 2)], json!(1), ("1", "1"));
    let remediation = plan(&world, &held, now());
    assert_eq!(deleted(&remediation), [""; 0]);
    assert_eq!(
        said(&remediation)["b"],
        ("RemediationDeferred".to_owned(), "* first\n* second".to_owned())
    );
    assert!(said(&remediation)["a"].1.starts_with("Waiting because"));
}

#[test]
fn a_machine_that_healed_by_itself_stays() {
    let healed = machine(
        "a",
        1,
        &[
            condition("HealthCheckSucceeded", "True", "HealthCheckSucceeded"),
            condition("OwnerRemediated", "False", "RemediationDeferred"),
        ],
    );
    let remediation = plan(&world(vec![healed], Value::Null, ("1", "1")), &[], now());
    assert_eq!(deleted(&remediation), [""; 0]);
    assert_eq!(said(&remediation)["a"], Default::default());
}

#[test]
fn what_is_said_already_is_not_written_again() {
    let first = plan(&world(vec![sick("a", 1)], json!(0), ("1", "1")), &[], now());
    let Action::Change(_, after) = &first.steps[0].action else {
        unreachable!()
    };
    let second = plan(
        &world(vec![Arc::new((**after).clone())], json!(0), ("1", "1")),
        &[],
        now(),
    );
    assert!(second.steps.is_empty());
}
