//! Plans of MachineDeployments, rule by rule.

use std::sync::Arc;

use capi_api::{
    annotations,
    conditions::get,
    core::v1beta2::{Cluster, MachineDeployment, MachineDeploymentPhase, MachineSet},
};
use jiff::Timestamp;
use kube::ResourceExt;
use serde_json::{Value, json};

use super::{
    observe::World,
    plan::{Action, Plan, plan},
};
use crate::foreign::{Foreign, testing::found};

fn now() -> Timestamp {
    "2026-01-01T00:10:00Z".parse().unwrap()
}

fn deployment(replicas: i32, version: &str, more: Value) -> MachineDeployment {
    let mut value = json!({
        "metadata": {"name": "md", "namespace": "ns", "uid": "du", "finalizers": ["cluster.x-k8s.io/machinedeployment"],
            "annotations": {"mine": "1", "kubectl.kubernetes.io/last-applied-configuration": "{}"}},
        "spec": {"clusterName": "c", "replicas": replicas, "selector": {},
            "template": {"metadata": {"labels": {"x": "y"}}, "spec": {"clusterName": "c", "version": version, "bootstrap": {"dataSecretName": "s"},
                "infrastructureRef": {"apiGroup": "i.example.com", "kind": "FooMachineTemplate", "name": "t"}}}}});
    for (key, part) in more.as_object().unwrap() {
        for (field, value_) in part.as_object().unwrap() {
            value[key][field] = value_.clone();
        }
    }
    serde_json::from_value(value).unwrap()
}

fn world(deployment: MachineDeployment, sets: Vec<MachineSet>) -> World {
    let cluster: Cluster = serde_json::from_value(
        json!({"metadata": {"name": "c", "namespace": "ns", "uid": "cu"}, "spec": {}}),
    )
    .unwrap();
    World {
        deployment: Arc::new(deployment),
        cluster: Arc::new(cluster),
        sets: sets.into_iter().map(Arc::new).collect(),
        machines: Vec::new(),
        bootstrap_template: Foreign::Unset,
        infrastructure_template: found(
            json!({"apiVersion": "i.example.com/v1", "kind": "FooMachineTemplate",
            "metadata": {"name": "t", "namespace": "ns",
                "ownerReferences": [{"apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster", "name": "c", "uid": "cu"}]}}),
        ),
        known: Default::default(),
    }
}

/// The MachineSet that the plan creates, as if it had been created and had these counters.
fn created(plan: &Plan, counters: Option<i32>) -> MachineSet {
    let set = plan.steps.iter().find_map(|step| match &step.action {
        Action::Create(set) => Some((**set).clone()),
        _ => None,
    });
    let mut set = set.unwrap();
    set.metadata.creation_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now()));
    if let Some(n) = counters {
        set.status = Some(
            serde_json::from_value(
                json!({"replicas": n, "readyReplicas": n, "availableReplicas": n, "upToDateReplicas": n}),
            )
            .unwrap(),
        );
    }
    set
}

fn changes(plan: &Plan) -> Vec<(String, i32)> {
    plan.steps
        .iter()
        .filter_map(|step| match &step.action {
            Action::Change(after, _) => Some((after.name_any(), after.spec.replicas.unwrap())),
            _ => None,
        })
        .collect()
}

#[test]
fn the_first_machine_set_is_created_at_full_size() {
    let plan = plan(&world(deployment(3, "v1.35.0", json!({})), vec![]), now());
    let set = created(&plan, None);
    assert_eq!(set.spec.replicas, Some(3));
    assert!(set.name_any().starts_with("md-") && set.name_any().len() == 8);
    let identity = &set.labels()["machine-template-hash"];
    assert!(identity.ends_with(&set.name_any()[3..]), "{identity}");
    assert_eq!(
        set.spec.selector.match_labels.as_ref().unwrap()["machine-template-hash"],
        *identity
    );
    assert_eq!(
        set.spec.template.metadata.as_ref().unwrap().labels["machine-template-hash"],
        *identity
    );
    assert_eq!(set.annotations()[annotations::REVISION], "1");
    assert_eq!(set.annotations()[annotations::DESIRED_REPLICAS], "3");
    assert_eq!(set.annotations()[annotations::MAX_REPLICAS], "4");
    assert_eq!(set.annotations()["mine"], "1");
    assert!(
        !set.annotations()
            .contains_key("kubectl.kubernetes.io/last-applied-configuration")
    );
    assert_eq!(plan.deployment.annotations()[annotations::REVISION], "1");
    assert_eq!(
        plan.deployment.status.unwrap().phase,
        Some(MachineDeploymentPhase::ScalingUp)
    );
}

#[test]
fn a_missing_template_blocks_and_is_named() {
    let mut world = world(deployment(1, "v1.35.0", json!({})), vec![]);
    world.infrastructure_template = Foreign::Missing;
    let plan = plan(&world, now());
    assert!(plan.steps.is_empty());
    assert_eq!(
        get(&plan.deployment, "ScalingUp").unwrap().message,
        "Scaling up from 0 to 1 replicas is blocked because FooMachineTemplate does not exist"
    );
}

#[test]
fn scaling_changes_the_current_set() {
    let set = created(
        &plan(&world(deployment(3, "v1.35.0", json!({})), vec![]), now()),
        Some(3),
    );
    let plan = plan(
        &world(deployment(5, "v1.35.0", json!({})), vec![set.clone()]),
        now(),
    );
    assert_eq!(changes(&plan), [(set.name_any(), 5)]);
    assert_eq!(
        plan.events[0].message,
        format!("Scaled up MachineSet {}: 3 -> 5", set.name_any())
    );
}

#[test]
fn a_new_template_gets_a_new_set_with_the_next_revision() {
    let old = created(
        &plan(&world(deployment(3, "v1.35.0", json!({})), vec![]), now()),
        Some(3),
    );
    let rolling = plan(
        &world(deployment(3, "v1.36.0", json!({})), vec![old.clone()]),
        now(),
    );
    let new = created(&rolling, Some(1));
    assert_eq!(
        (
            new.spec.replicas,
            new.annotations()[annotations::REVISION].as_str()
        ),
        (Some(1), "2")
    );
    assert_ne!(new.name_any(), old.name_any());
    let next = plan(
        &world(deployment(3, "v1.36.0", json!({})), vec![old.clone(), new]),
        now(),
    );
    assert_eq!(changes(&next), [(old.name_any(), 2)]);
    // Changes that need no new Machines go to the sets that are there.
    let gates = json!({"spec": {"deletion": {"order": "Oldest"}}});
    let in_place = plan(&world(deployment(3, "v1.35.0", gates), vec![old.clone()]), now());
    assert_eq!(changes(&in_place), [(old.name_any(), 3)]);
}

#[test]
fn an_empty_old_set_goes_when_the_rollout_is_complete() {
    let mut old = created(
        &plan(&world(deployment(2, "v1.35.0", json!({})), vec![]), now()),
        Some(0),
    );
    old.spec.replicas = Some(0);
    let new = created(
        &plan(&world(deployment(2, "v1.36.0", json!({})), vec![]), now()),
        Some(2),
    );
    let done = plan(
        &world(deployment(2, "v1.36.0", json!({})), vec![old.clone(), new]),
        now(),
    );
    let deleted: Vec<_> = done
        .steps
        .iter()
        .filter(|s| matches!(&s.action, Action::Delete(s) if s.name_any() == old.name_any()))
        .collect();
    assert_eq!(deleted.len(), 1, "{:?}", done.steps);
}

#[test]
fn a_rollout_by_time_replaces_what_is_older() {
    let set = created(
        &plan(&world(deployment(1, "v1.35.0", json!({})), vec![]), now()),
        Some(1),
    );
    let after = |time: &str| json!({"spec": {"rollout": {"after": time}}});
    let later = plan(
        &world(
            deployment(1, "v1.35.0", after("2026-01-01T00:20:00Z")),
            vec![set.clone()],
        ),
        now(),
    );
    assert!(!later.steps.iter().any(|s| matches!(s.action, Action::Create(_))));
    assert!(matches!(later.next, capi_runtime::Next::After(wait) if wait.as_secs() == 600));
    let world = world(
        deployment(1, "v1.35.0", after("2026-01-01T00:20:00Z")),
        vec![set.clone()],
    );
    let due = plan(&world, "2026-01-01T00:20:00Z".parse().unwrap());
    assert_ne!(created(&due, None).name_any(), set.name_any());
}

#[test]
fn a_deleted_deployment_takes_its_sets_with_it() {
    let set = created(
        &plan(&world(deployment(1, "v1.35.0", json!({})), vec![]), now()),
        Some(1),
    );
    let gone = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:09:00Z"}});
    let going = plan(&world(deployment(1, "v1.35.0", gone.clone()), vec![set]), now());
    assert!(
        matches!(&going.steps[..], [step] if matches!(step.action, Action::Delete(_))),
        "{:?}",
        going.steps
    );
    assert!(!going.finish);
    assert!(plan(&world(deployment(1, "v1.35.0", gone), vec![]), now()).finish);
}

#[test]
fn nothing_changes_when_nothing_changed() {
    let set = created(
        &plan(&world(deployment(3, "v1.35.0", json!({})), vec![]), now()),
        Some(3),
    );
    let mut world = world(deployment(3, "v1.35.0", json!({})), vec![set]);
    let first = plan(&world, now()).deployment;
    world.deployment = Arc::new(first.clone());
    let later = plan(&world, "2026-01-01T01:00:00Z".parse().unwrap());
    assert_eq!(later.deployment, first);
    assert!(
        later.steps.is_empty() && later.events.is_empty(),
        "{:?}",
        later.steps
    );
}
