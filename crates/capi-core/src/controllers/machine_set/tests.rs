//! Plans of MachineSets, rule by rule.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use capi_api::{
    annotations,
    conditions::get,
    core::v1beta2::{Cluster, Machine, MachineSet},
};
use jiff::Timestamp;
use kube::ResourceExt;
use serde_json::{Value, json};

use super::{
    Settings,
    creation::Clones,
    observe::{Pair, World},
    plan::{self, Action, Plan},
    synchronize::Apply,
};
use crate::foreign::{Foreign, testing::found};

fn plan(world: &World, now: Timestamp) -> Plan {
    plan::plan(world, &Settings::default(), now)
}

fn now() -> Timestamp {
    "2026-01-01T00:10:00Z".parse().unwrap()
}

fn set(replicas: i32, metadata: Value) -> MachineSet {
    let mut value = json!({
        "metadata": {"name": "ms", "namespace": "ns", "uid": "su", "finalizers": ["cluster.x-k8s.io/machineset"],
            "labels": {"cluster.x-k8s.io/deployment-name": "md"},
            "ownerReferences": [{"apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "MachineDeployment", "name": "md", "uid": "du", "controller": true}]},
        "spec": {"clusterName": "c", "replicas": replicas, "selector": {"matchLabels": {"x": "y"}},
            "template": {"metadata": {"labels": {"x": "y"}, "annotations": {"note": "1"}}, "spec": {"clusterName": "c", "version": "v1.35.0",
                "bootstrap": {"configRef": {"apiGroup": "b.example.com", "kind": "FooConfigTemplate", "name": "t"}},
                "infrastructureRef": {"apiGroup": "i.example.com", "kind": "FooMachineTemplate", "name": "t"}}}}});
    for (key, part) in metadata.as_object().unwrap() {
        value["metadata"][key] = part.clone();
    }
    let mut set: MachineSet = serde_json::from_value(value).unwrap();
    crate::webhooks::machine_set::default_in_place(&mut set);
    set
}

fn template(group: &str, kind: &str) -> Foreign {
    found(json!({"apiVersion": format!("{group}/v1"), "kind": kind,
        "metadata": {"name": "t", "namespace": "ns",
            "ownerReferences": [{"apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster", "name": "c", "uid": "cu"}]},
        "spec": {"template": {"spec": {"size": "small"}}}}))
}

fn clone(kind: &str, name: &str, template: &str) -> crate::foreign::Found {
    let object = found(json!({"apiVersion": "i.example.com/v1", "kind": kind,
        "metadata": {"name": name, "namespace": "ns", "annotations": {"cluster.x-k8s.io/cloned-from-name": template}}}));
    object.found().unwrap().clone()
}

fn machine(name: &str, owner: Option<&str>) -> Arc<Machine> {
    let owners: Vec<Value> = owner
        .map(|uid| json!({"apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "MachineSet", "name": "ms", "uid": uid, "controller": true}))
        .into_iter()
        .collect();
    Arc::new(
        serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": "ns", "ownerReferences": owners, "creationTimestamp": "2026-01-01T00:00:00Z",
                "annotations": {"note": "1"}, "labels": {"x": "y", "cluster.x-k8s.io/cluster-name": "c",
                    "cluster.x-k8s.io/set-name": "ms", "cluster.x-k8s.io/deployment-name": "md"}},
            "spec": {"clusterName": "c", "bootstrap": {}, "infrastructureRef": {"apiGroup": "g", "kind": "K", "name": name}}}))
        .unwrap(),
    )
}

fn world(set: MachineSet, machines: Vec<Arc<Machine>>) -> World {
    let cluster: Cluster = serde_json::from_value(
        json!({"metadata": {"name": "c", "namespace": "ns", "uid": "cu"}, "spec": {}}),
    )
    .unwrap();
    World {
        set: Arc::new(set),
        cluster: Arc::new(cluster),
        deployment: None,
        remediations_in_flight: 0,
        taken: machines.iter().map(|m| m.name_any()).collect::<BTreeSet<_>>(),
        machines,
        bootstrap_template: template("b.example.com", "FooConfigTemplate"),
        infrastructure_template: template("i.example.com", "FooMachineTemplate"),
        control_plane: Foreign::Unset,
        clones: BTreeMap::new(),
        orphans: Vec::new(),
        strays: Vec::new(),
        known: BTreeMap::new(),
        episode: String::new(),
    }
}

fn creations(plan: &Plan) -> Vec<(&Machine, &Clones)> {
    plan.steps
        .iter()
        .filter_map(|step| match &step.action {
            Action::Create(machine, clones) => Some((&**machine, clones)),
            _ => None,
        })
        .collect()
}

fn applies(plan: &Plan) -> Vec<&Apply> {
    plan.steps
        .iter()
        .filter_map(|step| match &step.action {
            Action::Apply(apply) => Some(&**apply),
            _ => None,
        })
        .collect()
}

#[test]
fn machines_are_created_with_their_clones_and_references() {
    let plan = plan(&world(set(2, json!({})), vec![]), now());
    let all = creations(&plan);
    assert_eq!(all.len(), 2);
    let (machine, clones) = all[0];
    let name = machine.name_any();
    assert_ne!(name, all[1].0.name_any());
    let (config, resource) = clones.bootstrap.as_ref().unwrap();
    assert_eq!(
        (
            config.name_any(),
            resource.kind.as_str(),
            resource.plural.as_str()
        ),
        (name.clone(), "FooConfig", "fooconfigs")
    );
    assert_eq!(config.labels()["cluster.x-k8s.io/set-name"], "ms");
    assert_eq!(
        machine.spec.bootstrap.config_ref.as_ref().unwrap().kind,
        "FooConfig"
    );
    assert_eq!(machine.spec.infrastructure_ref.name, name);
    assert_eq!(machine.labels()["cluster.x-k8s.io/deployment-name"], "md");
    assert_eq!(machine.annotations()["note"], "1");
    assert_eq!(machine.finalizers(), ["machine.cluster.x-k8s.io"]);
    assert_eq!(machine.owner_references()[0].controller, Some(true));
    assert_eq!(
        get(&plan.set, "ScalingUp").unwrap().message,
        "Scaling up from 0 to 2 replicas"
    );
}

#[test]
fn a_retry_plans_the_same_names() {
    let names = |world: &World| -> Vec<String> {
        creations(&plan(world, now()))
            .iter()
            .map(|(machine, _)| machine.name_any())
            .collect()
    };
    let mut world = world(set(3, json!({})), vec![]);
    let first = names(&world);
    // The first is there already.
    world.machines = vec![machine(&first[0], Some("su"))];
    world.taken = [first[0].clone()].into();
    assert_eq!(names(&world), first[1..]);
}

#[test]
fn an_interrupted_creation_is_completed_unless_the_host_was_there_once() {
    let mut half = (*machine("a", Some("su"))).clone();
    half.spec.bootstrap.config_ref = Some(
        serde_json::from_value(json!({"apiGroup": "b.example.com", "kind": "FooConfig", "name": "a"}))
            .unwrap(),
    );
    half.spec.infrastructure_ref =
        serde_json::from_value(json!({"apiGroup": "i.example.com", "kind": "FooMachine", "name": "a"}))
            .unwrap();
    let completed = |half: &Machine, pair: Pair| -> (bool, bool) {
        let mut world = world(set(1, json!({})), vec![Arc::new(half.clone())]);
        world.clones = [("a".to_owned(), pair)].into();
        let planned = plan(&world, now());
        let clones = planned.steps.iter().find_map(|s| match &s.action {
            Action::Complete(_, clones) => Some(clones),
            _ => None,
        });
        clones.map_or((false, false), |c| {
            (c.bootstrap.is_some(), c.infrastructure.is_some())
        })
    };
    let missing = || Pair {
        bootstrap: Foreign::Missing,
        infrastructure: Foreign::Missing,
    };
    assert_eq!(completed(&half, missing()), (true, true));
    let pair = Pair {
        bootstrap: Foreign::Found(clone("FooConfig", "a", "t")),
        ..missing()
    };
    assert_eq!(completed(&half, pair), (false, true));
    half.spec.bootstrap.data_secret_name = Some("s".into());
    assert_eq!(completed(&half, missing()), (false, true));
    half.spec.provider_id = Some("p".into());
    assert_eq!(
        completed(&half, missing()),
        (false, false),
        "its host may still run"
    );
    let mut foreign = (*machine("a", Some("su"))).clone();
    foreign.spec.infrastructure_ref.name = "brought-by-the-user".into();
    assert_eq!(completed(&foreign, missing()), (false, false));
}

#[test]
fn clones_that_never_got_their_machine_are_cleaned_up() {
    let mut world = world(set(0, json!({})), vec![]);
    world.orphans = vec![clone("FooConfig", "half", "t")];
    let cleaned = plan(&world, now());
    assert!(matches!(&cleaned.steps[..], [step] if matches!(&step.action, Action::DeleteOrphan(_))));
}

#[test]
fn preflight_checks_hold_creation_back_and_say_why() {
    let mut world = world(set(1, json!({})), vec![]);
    world.control_plane = found(
        json!({"apiVersion": "cp.example.com/v1", "kind": "FooControlPlane",
        "metadata": {"name": "cp", "namespace": "ns"}, "spec": {"version": "v1.35.0"}}),
    );
    let held = plan(&world, now());
    assert!(creations(&held).is_empty());
    assert_eq!(
        get(&held.set, "ScalingUp").unwrap().message,
        "Scaling up from 0 to 1 replicas is blocked because:\n* FooControlPlane ns/cp is provisioning (\"ControlPlaneIsStable\" preflight check failed)"
    );
    let old = capi_api::conditions::v1beta1::get(&held.set, "MachinesCreated").unwrap();
    assert_eq!(old.reason.as_deref(), Some("PreflightCheckFailed"));
    let settings = Settings {
        preflight_checks: BTreeSet::new(),
    };
    assert_eq!(creations(&plan::plan(&world, &settings, now())).len(), 1);
}

#[test]
fn machines_that_are_not_selected_any_more_are_let_go_and_go_with_their_set() {
    let mut world = world(set(0, json!({})), vec![]);
    world.strays = vec![machine("a", Some("su"))];
    let planned = plan(&world, now());
    let [step] = &planned.steps[..] else {
        panic!("{:?}", planned.steps)
    };
    let Action::Change(_, after) = &step.action else {
        panic!("{step:?}")
    };
    assert!(after.owner_references().is_empty());
    world.set = Arc::new(set(0, json!({"deletionTimestamp": "2026-01-01T00:09:00Z"})));
    let planned = plan(&world, now());
    assert!(matches!(&planned.steps[..], [step] if matches!(&step.action, Action::Delete(_))));
    assert!(!planned.finish);
}

#[test]
fn clones_follow_labels_too_and_what_their_template_adds_is_no_difference() {
    let labels = json!({"x": "y", "cluster.x-k8s.io/cluster-name": "c", "cluster.x-k8s.io/set-name": "ms",
        "cluster.x-k8s.io/deployment-name": "md"});
    let of = |labels: Value| {
        found(json!({"apiVersion": "i.example.com/v1", "kind": "FooMachine",
            "metadata": {"name": "a", "namespace": "ns", "uid": "cu", "labels": labels,
                "annotations": {"note": "1", "cluster.x-k8s.io/cloned-from-name": "t"}}}))
    };
    let mut world = world(set(1, json!({})), vec![machine("a", Some("su"))]);
    let mut applied = |labels: Value, template: Value| {
        world.infrastructure_template = found(
            json!({"apiVersion": "i.example.com/v1", "kind": "FooMachineTemplate", "metadata": {"name": "t", "namespace": "ns",
            "ownerReferences": [{"apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster", "name": "c", "uid": "cu"}]},
            "spec": {"template": {"metadata": {"labels": template}, "spec": {}}}}),
        );
        let pair = Pair {
            bootstrap: Foreign::Unset,
            infrastructure: of(labels),
        };
        world.clones = [("a".to_owned(), pair)].into();
        let planned = plan(&world, now());
        let all = applies(&planned);
        all.iter()
            .map(|a| (a.manager, a.intent["metadata"]["uid"].clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(applied(labels.clone(), json!({})), []);
    let mut more = labels.clone();
    more["disk"] = json!("fast");
    assert_eq!(applied(more.clone(), json!({"disk": "fast"})), []);
    let expected = [("capi-machineset-metadata", json!("cu"))];
    assert_eq!(applied(more, json!({})), expected, "perhaps it was dropped");
    let mut other = labels;
    other["x"] = json!("z");
    assert_eq!(applied(other, json!({})), expected);
}

#[test]
fn nothing_is_created_without_templates_or_where_it_is_forbidden() {
    let mut missing = world(set(1, json!({})), vec![]);
    missing.infrastructure_template = Foreign::Missing;
    let planned = plan(&missing, now());
    assert!(creations(&planned).is_empty());
    assert_eq!(
        get(&planned.set, "ScalingUp").unwrap().message,
        "Scaling up from 0 to 1 replicas is blocked because:\n* FooMachineTemplate does not exist"
    );
    let frozen = world(
        set(
            1,
            json!({"annotations": {annotations::DISABLE_MACHINE_CREATE: "true"}}),
        ),
        vec![],
    );
    assert!(creations(&plan(&frozen, now())).is_empty());
}

#[test]
fn machines_are_adopted_and_follow_the_template() {
    let planned = plan(&world(set(1, json!({})), vec![machine("a", None)]), now());
    let [step] = &planned.steps[..] else {
        panic!("{:?}", planned.steps)
    };
    let Action::Change(_, after) = &step.action else {
        panic!("{step:?}")
    };
    assert_eq!(after.owner_references()[0].uid, "su");
    assert_eq!(planned.events[0].reason, "SuccessfulAdopt");

    let mut changed = set(1, json!({}));
    changed.spec.template.spec.min_ready_seconds = Some(5);
    let planned = plan(&world(changed, vec![machine("a", Some("su"))]), now());
    let [step] = &planned.steps[..] else {
        panic!("{:?}", planned.steps)
    };
    let Action::Apply(apply) = &step.action else {
        panic!("{step:?}")
    };
    assert_eq!(apply.manager, "capi-machineset");
    assert_eq!(apply.intent["spec"]["minReadySeconds"], 5);
    // What an apply leaves out, it gives up.
    assert_eq!(apply.intent["spec"]["infrastructureRef"]["name"], "a");
    assert_eq!(apply.intent["metadata"]["ownerReferences"][0]["uid"], "su");
}

#[test]
fn too_many_machines_lead_to_deletions_of_which_running_ones_count() {
    let mut going = (*machine("a", Some("su"))).clone();
    going.metadata.deletion_timestamp = going.metadata.creation_timestamp.clone();
    let all = vec![
        Arc::new(going),
        machine("b", Some("su")),
        machine("c", Some("su")),
    ];
    let planned = plan(&world(set(1, json!({})), all), now());
    let deleted: Vec<String> = planned
        .steps
        .iter()
        .filter_map(|s| match &s.action {
            Action::Delete(machine) => Some(machine.name_any()),
            _ => None,
        })
        .collect();
    assert_eq!(deleted, ["b"]);
    assert!(
        get(&planned.set, "ScalingDown")
            .unwrap()
            .message
            .starts_with("Scaling down from 3 to 1 replicas")
    );
}

#[test]
fn a_deleted_set_takes_its_machines_with_it() {
    let gone = json!({"deletionTimestamp": "2026-01-01T00:09:00Z"});
    let planned = plan(
        &world(set(2, gone.clone()), vec![machine("a", Some("su"))]),
        now(),
    );
    assert!(matches!(&planned.steps[..], [step] if matches!(step.action, Action::Delete(_))));
    assert!(!planned.finish);
    assert_eq!(
        get(&planned.set, "Deleting").unwrap().message,
        "Deleting 1 Machine"
    );
    assert!(plan(&world(set(2, gone), vec![]), now()).finish);
}

#[test]
fn nothing_changes_when_nothing_changed() {
    let mut world = world(set(1, json!({})), vec![machine("a", Some("su"))]);
    let first = plan(&world, now()).set;
    world.set = Arc::new(first.clone());
    let later = plan(&world, "2026-01-01T01:00:00Z".parse().unwrap());
    assert_eq!(later.set, first);
    assert!(
        later.steps.is_empty() && later.events.is_empty(),
        "{:?}",
        later.steps
    );
}
