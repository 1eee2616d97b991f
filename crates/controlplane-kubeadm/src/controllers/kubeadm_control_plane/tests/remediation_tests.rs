use capi_api::{annotations, conditions::reasons};
use kube::ResourceExt;
use serde_json::json;

use super::{
    super::{
        machines::Role,
        plan::{Action, Plan, plan},
        remediation::{self, Outcome, Record},
        world::World,
    },
    *,
};

fn planned(world: &World) -> Plan {
    plan(world, &NothingInUse, now())
}

/// Changes a Machine.
fn change(world: &mut World, machine: usize, changes: Value) {
    let view = &mut world.machines[machine];
    let mut value = serde_json::to_value(&*view.machine).unwrap();
    merge(&mut value, changes);
    view.machine = Arc::new(serde_json::from_value(value).unwrap());
}

fn set(world: &mut World, machine: usize, conditions: Vec<Value>) {
    let view = &mut world.machines[machine];
    let mut value = serde_json::to_value(&*view.machine).unwrap();
    let all = value["status"]["conditions"].as_array_mut().unwrap();
    for condition in conditions {
        all.retain(|other| other["type"] != condition["type"]);
        all.push(condition);
    }
    view.machine = Arc::new(serde_json::from_value(value).unwrap());
}

/// What a MachineHealthCheck does to an unhealthy Machine.
fn mark(world: &mut World, machine: usize) {
    set(
        world,
        machine,
        vec![
            condition(
                "HealthCheckSucceeded",
                "False",
                "UnhealthyNode",
                "Condition Ready on Node is reporting status False",
            ),
            condition(
                "OwnerRemediated",
                "False",
                "WaitingForRemediation",
                "Waiting for remediation",
            ),
        ],
    );
}

/// The etcd member of a Machine is gone for good.
fn lose(world: &mut World, machine: usize) {
    let etcd = view(world).etcd.as_mut().unwrap();
    etcd.answers
        .insert(format!("n{machine}"), Err("connection refused".into()));
}

fn waits(world: &World) -> (&'static str, String) {
    match planned(world).remediation.unwrap().outcome {
        Outcome::Wait { reason, message, .. } => (reason, message),
        Outcome::Remediate(record) => panic!("{record:?}"),
    }
}

fn remediated(world: &World) -> Option<Record> {
    match planned(world).remediation?.outcome {
        Outcome::Remediate(record) => Some(record),
        Outcome::Wait { .. } => None,
    }
}

fn in_progress(machine: &str, at: &str) -> Value {
    json!({ "metadata": { "annotations": { annotations::REMEDIATION_IN_PROGRESS:
        Record { machine: machine.into(), timestamp: at.parse().unwrap(), retry_count: 0 }.text() } } })
}

#[test]
fn a_marked_machine_is_noted_and_deleted_after_its_leadership_is_handed_over() {
    let mut world = running(3, json!({}));
    mark(&mut world, 0);
    let record = Record {
        machine: "m0".into(),
        timestamp: now(),
        retry_count: 0,
    };
    assert_eq!(
        planned(&world).actions,
        [
            Action::ForwardLeadership {
                from: "m0".into(),
                to: vec!["m1".into(), "m2".into()],
                insist: true
            },
            Action::BeginRemediation(record.clone()),
            Action::DeleteMachine("m0".into()),
        ]
    );
    assert_eq!(
        record.text(),
        r#"{"machine":"m0","timestamp":"2026-11-20T12:00:00Z","retryCount":0}"#
    );
}

#[test]
fn a_member_that_is_gone_is_not_asked_to_hand_over() {
    let mut world = running(3, json!({}));
    mark(&mut world, 0);
    lose(&mut world, 0);
    let Action::ForwardLeadership { insist, .. } = &planned(&world).actions[0] else {
        panic!()
    };
    assert!(!insist);
}

#[test]
fn only_a_machine_that_both_conditions_speak_of_is_replaced() {
    let mut world = running(3, json!({}));
    set(
        &mut world,
        0,
        vec![condition("HealthCheckSucceeded", "False", "UnhealthyNode", "")],
    );
    assert_eq!(planned(&world).remediation, None);
    assert_eq!(planned(&world).actions, []);
}

#[test]
fn a_machine_stays_if_the_control_plane_could_not_do_without_it() {
    // machines, marked, lost, reason
    let cases: &[(usize, usize, &[usize], Option<&str>)] = &[
        (1, 0, &[], Some(reasons::CANNOT_BE_REMEDIATED)),
        (3, 0, &[0], None),
        (3, 0, &[0, 1], Some(reasons::CANNOT_BE_REMEDIATED)),
        (3, 0, &[1], Some(reasons::CANNOT_BE_REMEDIATED)),
        (5, 0, &[0, 1], None),
        (5, 0, &[1], None),
        (5, 0, &[0, 1, 2], Some(reasons::CANNOT_BE_REMEDIATED)),
    ];
    for (machines, marked, lost, expected) in cases {
        let mut world = running(*machines, json!({}));
        mark(&mut world, *marked);
        lost.iter().for_each(|lost| lose(&mut world, *lost));
        match expected {
            Some(reason) => assert_eq!(waits(&world).0, *reason, "{machines} {lost:?}"),
            None => assert!(remediated(&world).is_some(), "{machines} {lost:?}"),
        }
    }
}

#[test]
fn the_most_broken_machine_comes_first() {
    let mut world = running(5, json!({}));
    (1..5).for_each(|machine| mark(&mut world, machine));
    let first = |world: &World| planned(world).remediation.unwrap().machine;
    assert_eq!(first(&world), "m1", "the oldest, then by name");
    set(
        &mut world,
        2,
        vec![condition("SchedulerPodHealthy", "False", "Failed", "")],
    );
    assert_eq!(first(&world), "m2");
    lose(&mut world, 3);
    assert_eq!(
        first(&world),
        "m3",
        "a lost member is worse than a lost scheduler"
    );
    let machine = Arc::make_mut(&mut world.machines[4].machine);
    machine.status.as_mut().unwrap().node_ref = None;
    assert_eq!(first(&world), "m4", "without Node there is nothing at all");
    change(
        &mut world,
        1,
        json!({ "metadata": { "annotations": { annotations::REMEDIATE_MACHINE: "" } } }),
    );
    assert_eq!(first(&world), "m1", "but users know better");
}

#[test]
fn other_changes_come_to_an_end_first() {
    let mut world = running(3, json!({}));
    mark(&mut world, 0);
    let mut provisioning = world.clone();
    let machine = Arc::make_mut(&mut provisioning.machines[2].machine);
    machine.status.as_mut().unwrap().node_ref = None;
    assert_eq!(
        waits(&provisioning),
        (
            reasons::REMEDIATION_DEFERRED,
            "KubeadmControlPlane waiting for control plane Machine provisioning to complete before triggering remediation".into()
        )
    );
    let mut deleting = world.clone();
    change(
        &mut deleting,
        2,
        json!({ "metadata": { "deletionTimestamp": "2026-11-20T11:59:00Z", "finalizers": ["f"] } }),
    );
    assert_eq!(waits(&deleting).0, reasons::REMEDIATION_DEFERRED);
    let ahead = with_cluster(
        world,
        json!({ "spec": { "topology": { "classRef": { "name": "k" }, "version": "v1.36.0" } } }),
    );
    assert_eq!(waits(&ahead).0, reasons::REMEDIATION_DEFERRED);
}

#[test]
fn repetitions_follow_the_rules() {
    let previous = |minutes_ago: i64, retry_count: i32| Record {
        machine: "old".into(),
        timestamp: now() - SignedDuration::from_mins(minutes_ago),
        retry_count,
    };
    let failed = "KubeadmControlPlane can't remediate this machine because the operation already failed";
    // settings, previous, retry count or message
    let cases = [
        (json!({}), previous(5, 0), Ok(1)),
        (json!({}), previous(61, 7), Ok(0)),
        (json!({ "minHealthyPeriodSeconds": 60 }), previous(5, 7), Ok(0)),
        (json!({ "maxRetry": 3 }), previous(5, 2), Ok(3)),
        (
            json!({ "maxRetry": 3 }),
            previous(5, 3),
            Err(format!("{failed} 3 times (MaxRetry)")),
        ),
        (
            json!({ "maxRetry": 0 }),
            previous(5, 0),
            Err(format!("{failed} 0 times (MaxRetry)")),
        ),
        (
            json!({ "retryPeriodSeconds": 600 }),
            previous(5, 0),
            Err(format!("{failed} in the latest 10m0s (RetryPeriodSeconds)")),
        ),
        (json!({ "retryPeriodSeconds": 60 }), previous(5, 0), Ok(1)),
    ];
    for (settings, previous, expected) in cases {
        let mut world = running(3, json!({ "spec": { "remediation": settings } }));
        mark(&mut world, 1);
        let record = previous.text();
        change(
            &mut world,
            1,
            json!({ "metadata": { "annotations": { annotations::REMEDIATION_FOR: record } } }),
        );
        match expected {
            Ok(count) => assert_eq!(
                remediated(&world).unwrap().retry_count,
                count,
                "{settings} {record}"
            ),
            Err(message) => {
                assert_eq!(waits(&world).1, message, "{settings} {record}");
                assert!(planned(&world).look_again.is_some());
            }
        }
    }
}

#[test]
fn the_first_machine_may_be_replaced_before_there_is_anything_to_lose() {
    let mut world = with_secrets(world(json!({ "status": { "observedGeneration": 1 } })));
    let young = json!({ "status": { "conditions": [condition("Ready", "False", "NotReady", "")] } });
    world = with_machine(world, "m0", Role::Init, young);
    mark(&mut world, 0);
    let actions = planned(&world).actions;
    assert_eq!(actions.len(), 2, "{actions:?}");
    assert_eq!(actions[1], Action::DeleteMachine("m0".into()));
    world.machines.clear();
    world.control_plane = control_plane(in_progress("m0", "2026-11-20T12:00:00Z"));
    let actions = planned(&world).actions;
    assert!(
        matches!(
            actions.as_slice(),
            [
                Action::CreateMachine { role: Role::Init, .. },
                Action::EndRemediation
            ]
        ),
        "{actions:?}"
    );
}

#[test]
fn what_was_begun_before_a_crash_is_finished_with_what_was_noted() {
    let mut world = running(3, in_progress("m0", "2026-11-20T11:59:00Z"));
    mark(&mut world, 0);
    let plan = planned(&world);
    assert!(
        !plan
            .actions
            .iter()
            .any(|action| matches!(action, Action::BeginRemediation(_)))
    );
    assert!(plan.deletes("m0"), "{:?}", plan.actions);
}

#[test]
fn one_remediation_ends_before_the_next_begins() {
    let mut world = running(3, in_progress("gone", "2026-11-20T11:59:00Z"));
    mark(&mut world, 0);
    assert_eq!(
        waits(&world),
        (
            reasons::REMEDIATION_DEFERRED,
            "KubeadmControlPlane waiting for the replacement of Machine gone before triggering remediation"
                .into()
        )
    );
}

#[test]
fn a_note_that_is_over_is_taken_away() {
    // The successor was created before a crash.
    let world = running(3, in_progress("gone", "2026-11-20T10:00:00Z"));
    assert_eq!(planned(&world).actions, [Action::EndRemediation]);
    // In the same second, but it remembers what it replaces.
    let mut world = running(3, in_progress("gone", "2026-11-20T11:59:00Z"));
    assert_eq!(planned(&world).actions, []);
    let record = world.control_plane.annotations()[annotations::REMEDIATION_IN_PROGRESS].clone();
    change(
        &mut world,
        2,
        json!({ "metadata": { "annotations": { annotations::REMEDIATION_FOR: record } } }),
    );
    assert_eq!(planned(&world).actions, [Action::EndRemediation]);
    // The Machine got well before it was deleted.
    let world = running(3, in_progress("m1", "2026-11-20T11:59:00Z"));
    assert_eq!(planned(&world).actions, [Action::EndRemediation]);
    // Nobody can read it.
    let world = running(
        3,
        json!({ "metadata": { "annotations": { annotations::REMEDIATION_IN_PROGRESS: "{" } } }),
    );
    assert_eq!(planned(&world).actions, [Action::EndRemediation]);
}

#[test]
fn the_successor_may_join_although_another_machine_is_down() {
    // Four of five are left, one more is down: etcd would still have three of five.
    let mut world = running(4, in_progress("gone", "2026-11-20T11:59:00Z"));
    world.control_plane.spec.replicas = Some(5);
    lose(&mut world, 3);
    mark(&mut world, 3);
    let actions = planned(&world).actions;
    assert!(
        matches!(
            actions.as_slice(),
            [
                Action::CreateMachine { role: Role::Join, .. },
                Action::EndRemediation
            ]
        ),
        "{actions:?}"
    );
    // With two of three left and one of them down it would not.
    let mut world = running(2, in_progress("gone", "2026-11-20T11:59:00Z"));
    world.control_plane.spec.replicas = Some(3);
    lose(&mut world, 1);
    let plan = planned(&world);
    assert_eq!(plan.actions, []);
    assert_eq!(
        plan.blocked.unwrap().details,
        ["adding a new control plane Machine can lead to etcd quorum loss. Please check the etcd status"]
    );
    // And without a remediation every fault stops growth.
    let mut world = running(4, json!({ "spec": { "replicas": 5 } }));
    lose(&mut world, 3);
    assert_eq!(planned(&world).actions, []);
}

#[test]
fn the_last_remediation_is_the_one_in_progress_or_the_youngest_remembered() {
    let mut world = running(3, json!({}));
    assert_eq!(remediation::last(&world), None);
    for (machine, at) in [(0, "2026-11-20T09:00:00Z"), (1, "2026-11-20T10:00:00Z")] {
        let record = Record {
            machine: format!("old{machine}"),
            timestamp: at.parse().unwrap(),
            retry_count: 2,
        };
        change(
            &mut world,
            machine,
            json!({ "metadata": { "annotations": { annotations::REMEDIATION_FOR: record.text() } } }),
        );
    }
    assert_eq!(remediation::last(&world).unwrap().machine, "old1");
    world.control_plane = control_plane(in_progress("now", "2026-11-20T12:00:00Z"));
    assert_eq!(remediation::last(&world).unwrap().machine, "now");
}

#[test]
fn the_answer_stands_on_the_machine_in_both_forms() {
    use super::super::status::report;
    let said = |world: &World| {
        let plan = planned(world);
        let report = report(world, &plan, now(), SignedDuration::ZERO);
        let machine = report.machines.into_iter().next().unwrap();
        let value = serde_json::to_value(&machine).unwrap();
        let of = |conditions: &Value| {
            let all = conditions.as_array().cloned().unwrap_or_default();
            let found = all
                .iter()
                .find(|found| found["type"] == "OwnerRemediated")
                .cloned();
            found.map(|found| {
                (
                    found["reason"].as_str().unwrap().to_owned(),
                    found["message"].clone(),
                )
            })
        };
        (
            of(&value["status"]["conditions"]),
            of(&value["status"]["deprecated"]["v1beta1"]["conditions"]),
        )
    };
    let mut world = running(1, json!({}));
    mark(&mut world, 0);
    let message = json!("KubeadmControlPlane can't remediate if current replicas are less or equal to 1");
    assert_eq!(
        said(&world),
        (
            Some(("CannotBeRemediated".into(), message.clone())),
            Some(("WaitingForRemediation".into(), message))
        )
    );
    set(
        &mut world,
        0,
        vec![condition(
            "HealthCheckSucceeded",
            "True",
            "HealthCheckSucceeded",
            "",
        )],
    );
    assert_eq!(said(&world), (None, None), "it got well");

    let mut world = running(3, json!({}));
    mark(&mut world, 0);
    change(
        &mut world,
        0,
        json!({ "metadata": { "deletionTimestamp": "2026-11-20T11:59:00Z", "finalizers": ["f"] } }),
    );
    assert_eq!(
        said(&world).0,
        Some(("MachineDeleting".into(), json!("Machine is deleting")))
    );
}
