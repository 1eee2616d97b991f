use serde_json::json;

use super::{
    super::{
        machines::Role,
        plan::{Action, Plan, plan},
        world::World,
    },
    *,
};

fn planned(world: &World) -> Plan {
    plan(world, &NothingInUse, now())
}

#[test]
fn a_new_version_is_rolled_out_with_a_surge_and_the_old_machine_goes_afterwards() {
    let mut world = running(1, json!({ "spec": { "version": "v1.36.0" } }));
    let plan = planned(&world);
    assert_eq!(
        plan.actions[..2],
        [Action::GrantKubeadmPermissions, Action::UpdateKubeadmConfig]
    );
    let Action::CreateMachine { role: Role::Join, .. } = &plan.actions[2] else {
        panic!("{:?}", plan.actions)
    };
    assert_eq!(plan.actions.len(), 3);
    world = with_machine(world, "m9", Role::Join, healthy("n9"));
    world.workload = workload(&["n0", "n9"]);
    let plan = planned(&world);
    assert_eq!(
        plan.actions,
        [
            Action::GrantKubeadmPermissions,
            Action::UpdateKubeadmConfig,
            Action::ForwardLeadership {
                from: "m0".into(),
                to: vec!["m9".into()],
                insist: true,
            },
            Action::DeleteMachine("m0".into())
        ]
    );
}

#[test]
fn without_surge_the_old_machine_goes_first() {
    let rollout = json!({ "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 0 } } });
    let world = running(3, json!({ "spec": { "version": "v1.36.0", "rollout": rollout } }));
    assert!(
        planned(&world)
            .actions
            .contains(&Action::DeleteMachine("m0".into()))
    );
}

#[test]
fn without_surge_a_small_control_plane_grows_all_the_same() {
    let rollout = json!({ "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 0 } } });
    let world = running(1, json!({ "spec": { "version": "v1.36.0", "rollout": rollout } }));
    let plan = planned(&world);
    assert!(
        matches!(plan.actions.last(), Some(Action::CreateMachine { .. })),
        "{:?}",
        plan.actions
    );
}

/// Three old Machines and `m9`, the first of the new version; `unavailable` have a Node, and components that are well.
fn rolling(unavailable: &[&str], surge: i32) -> World {
    let rollout = json!({ "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": surge } } });
    let changes = json!({ "spec": { "version": "v1.36.0", "rollout": rollout } });
    let mut world = with_machine(running(3, changes), "m9", Role::Join, healthy("n9"));
    world.workload = workload(&["n0", "n1", "n2", "n9"]);
    for view in &mut world.machines {
        if !unavailable.contains(&view.name().as_str()) {
            continue;
        }
        let status = Arc::make_mut(&mut view.machine).status.as_mut().unwrap();
        let available = status
            .conditions
            .iter_mut()
            .find(|found| found.type_ == "Available");
        available.unwrap().status = "False".to_owned();
    }
    world
}

fn deleted_by(plan: &Plan) -> Option<&str> {
    plan.actions.iter().find_map(|action| match action {
        Action::DeleteMachine(name) => Some(name.as_str()),
        _ => None,
    })
}

#[test]
fn a_rollout_takes_no_available_machine_away_before_another_stands_in_for_it() {
    let plan = planned(&rolling(&["m9"], 1));
    assert_eq!(plan.actions, []);
    let blocked = plan.blocked.unwrap();
    assert_eq!(
        (blocked.lines, blocked.details, blocked.alarming),
        (
            vec!["waiting for control plane Machines to become Available".to_owned()],
            vec!["Machine m9 is not Available yet".to_owned()],
            false
        )
    );
    assert_eq!(deleted_by(&planned(&rolling(&[], 1))), Some("m0"));
    // The one that the strategy spares may be missing.
    assert_eq!(deleted_by(&planned(&rolling(&["m9"], 0))), Some("m0"));
    assert_eq!(deleted_by(&planned(&rolling(&["m1", "m9"], 0))), Some("m1"));
}

#[test]
fn old_machines_that_nobody_can_use_do_not_keep_a_rollout_waiting() {
    assert_eq!(deleted_by(&planned(&rolling(&["m1", "m9"], 1))), Some("m1"));
    assert_eq!(deleted_by(&planned(&rolling(&["m2"], 1))), Some("m2"));
    // Without a network no Node is ever ready, and the new version may be what brings one.
    let all = ["m0", "m1", "m2", "m9"];
    assert_eq!(deleted_by(&planned(&rolling(&all, 1))), Some("m0"));
    // A user who asks for fewer gets fewer.
    let mut fewer = rolling(&["m1", "m2"], 1);
    fewer.control_plane.spec.version = "v1.35.0".to_owned();
    fewer.machines.retain(|view| view.name() != "m9");
    fewer.workload = workload(&["n0", "n1", "n2"]);
    fewer.control_plane.spec.replicas = Some(1);
    assert_eq!(deleted_by(&planned(&fewer)), Some("m0"));
}
