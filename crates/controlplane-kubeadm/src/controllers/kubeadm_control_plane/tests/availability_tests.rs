use capi_api::conditions::{ConditionsAccess, Draft, Status};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde_json::json;

use super::{
    super::availability::{MachineConditions, available, components, etcd_cluster},
    *,
};

fn conditions(world: &World) -> MachineConditions {
    world
        .machines
        .iter()
        .map(|view| (view.name(), view.machine.conditions().to_vec()))
        .collect()
}

fn break_condition(all: &mut MachineConditions, machine: &str, type_: &str, status: &str, message: &str) {
    let broken: Condition = serde_json::from_value(condition(type_, status, "R", message)).unwrap();
    let list = all.get_mut(machine).unwrap();
    list.retain(|condition| condition.type_ != type_);
    list.push(broken);
}

fn judged(world: &World, all: &MachineConditions) -> (Status, String) {
    let draft = available(
        world,
        all,
        true,
        Some(now() - jiff::SignedDuration::from_hours(1)),
        now(),
    );
    (draft.status, draft.message)
}

#[test]
fn availability_follows_etcd_and_components() {
    let world = running(3, json!({}));
    let good = conditions(&world);
    assert_eq!(judged(&world, &good), (Status::True, String::new()));

    let mut one_down = good.clone();
    break_condition(&mut one_down, "m0", "EtcdMemberHealthy", "False", "x");
    assert_eq!(
        judged(&world, &one_down),
        (
            Status::True,
            "* 2 of 3 etcd members are healthy, at least 2 healthy member required for etcd quorum\n\
             * 2 of 3 Machines have healthy control plane components, at least 1 required"
                .into()
        )
    );

    let mut two_down = one_down.clone();
    break_condition(&mut two_down, "m1", "EtcdMemberHealthy", "False", "x");
    assert_eq!(
        judged(&world, &two_down),
        (
            Status::False,
            "* 1 of 3 etcd members is healthy, at least 2 healthy member required for etcd quorum".into()
        )
    );

    let mut no_components = good;
    for name in ["m0", "m1", "m2"] {
        break_condition(&mut no_components, name, "APIServerPodHealthy", "Unknown", "x");
    }
    assert_eq!(
        judged(&world, &no_components),
        (
            Status::False,
            "* There are no Machines with healthy control plane components, at least 1 required".into()
        )
    );
}

#[test]
fn a_fault_of_seconds_is_not_worth_a_word() {
    let world = running(3, json!({}));
    let mut all = conditions(&world);
    break_condition(&mut all, "m0", "SchedulerPodHealthy", "False", "x");
    all.get_mut("m0")
        .unwrap()
        .last_mut()
        .unwrap()
        .last_transition_time = serde_json::from_value(json!("2026-11-20T11:59:55Z")).unwrap();
    assert_eq!(judged(&world, &all), (Status::True, String::new()));
    assert_eq!(
        super::super::availability::settles_at(&world, &all, now()),
        Some("2026-11-20T12:00:05Z".parse().unwrap())
    );
}

#[test]
fn strangers_among_the_members_are_noticed() {
    let mut world = running(1, json!({}));
    let all = conditions(&world);
    let stranger = EtcdMember {
        id: 99,
        name: "gone".into(),
        learner: false,
    };
    view(&mut world)
        .etcd
        .as_mut()
        .unwrap()
        .members
        .as_mut()
        .unwrap()
        .push(stranger);
    assert_eq!(
        judged(&world, &all),
        (
            Status::False,
            "The list of etcd members does not match the list of Machines and Nodes".into()
        )
    );
    let draft = etcd_cluster(&world, &all, &[]).unwrap();
    assert_eq!(
        draft.message,
        "* Etcd member gone does not have a corresponding Machine"
    );
}

#[test]
fn etcd_may_be_silent_for_two_minutes_after_initialisation() {
    let mut world = running(1, json!({}));
    let all = conditions(&world);
    view(&mut world).etcd = None;
    for (minutes, status, message) in [
        (1, Status::False, "Waiting for etcd to report the list of members"),
        (3, Status::Unknown, "Failed to get etcd members"),
    ] {
        let draft = available(
            &world,
            &all,
            true,
            Some(now() - jiff::SignedDuration::from_mins(minutes)),
            now(),
        );
        assert_eq!((draft.status, draft.message.as_str()), (status, message));
    }
}

#[test]
fn machines_with_the_same_trouble_share_a_block() {
    let world = running(3, json!({}));
    let mut all = conditions(&world);
    for name in ["m0", "m2"] {
        for type_ in [
            "APIServerPodHealthy",
            "ControllerManagerPodHealthy",
            "SchedulerPodHealthy",
            "EtcdPodHealthy",
        ] {
            break_condition(&mut all, name, type_, "Unknown", "Node n is unreachable");
        }
    }
    break_condition(&mut all, "m1", "SchedulerPodHealthy", "False", "");
    let Draft {
        status,
        reason,
        message,
        ..
    } = components(&world, &all);
    assert_eq!((status, reason.as_str()), (Status::False, "NotHealthy"));
    assert_eq!(
        message,
        "* Machines m0, m2:\n  * Control plane components: Node n is unreachable\n\
         * Machine m1:\n  * SchedulerPodHealthy: condition is False"
    );
}

#[test]
fn before_there_is_anything_to_judge_the_conditions_say_why() {
    let early = with_cluster(world(json!({})), json!({ "status": { "initialization": null } }));
    assert_eq!(
        components(&early, &MachineConditions::new()).message,
        "Waiting for Cluster status.infrastructureReady to be true"
    );
    let later = world(json!({}));
    assert_eq!(
        etcd_cluster(&later, &MachineConditions::new(), &[])
            .unwrap()
            .message,
        "Waiting for Cluster control plane to be initialized"
    );
    assert_eq!(
        judged(&later, &MachineConditions::new()).1,
        "Control plane not yet initialized"
    );
}
