//! What no plan may ever do, over worlds in every state of disorder.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::json;

use super::{
    super::{
        machines::Role,
        plan::{Action, plan},
        world::World,
    },
    *,
};
use crate::workload::quorum;

/// The state of one Machine.
#[derive(Clone, Copy, Debug)]
struct State {
    has_node: bool,
    member: Membership,
    /// Its conditions say that all is well, whatever is seen.
    believed: bool,
    pods: bool,
    marked: bool,
    deleting: Option<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Membership {
    Well,
    Down,
    Learner,
    None,
}

fn state() -> impl Strategy<Value = State> {
    let member = prop_oneof![
        6 => Just(Membership::Well),
        2 => Just(Membership::Down),
        1 => Just(Membership::Learner),
        1 => Just(Membership::None),
    ];
    let deleting = prop_oneof![6 => Just(None), 1 => Just(Some(false)), 1 => Just(Some(true))];
    (
        prop::bool::weighted(0.9),
        member,
        prop::bool::weighted(0.8),
        prop::bool::weighted(0.9),
        prop::bool::weighted(0.3),
        deleting,
    )
        .prop_map(|(has_node, member, believed, pods, marked, deleting)| State {
            has_node,
            member,
            believed,
            pods,
            marked,
            deleting,
        })
}

prop_compose! {
    fn worlds()(
        states in prop::collection::vec(state(), 1..6),
        replicas in prop::sample::select(vec![1, 3, 5]),
        upgrade in prop::bool::weighted(0.3),
        surge in 0..2,
        replacing in prop::bool::weighted(0.3),
        strays in prop::collection::vec(any::<bool>(), 0..3),
    ) -> World {
        let mut changes = json!({ "spec": {
            "replicas": replicas,
            "rollout": { "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": surge } } },
        } });
        if upgrade {
            changes["spec"]["version"] = json!("v1.36.0");
        }
        if replacing {
            let record = r#"{"machine":"gone","timestamp":"2026-11-20T11:59:00Z","retryCount":0}"#;
            changes["metadata"] =
                json!({ "annotations": { "controlplane.cluster.x-k8s.io/remediation-in-progress": record } });
        }
        world_of(&states, changes, &strays)
    }
}

fn world_of(states: &[State], changes: Value, strays: &[bool]) -> World {
    // Certificates are the same in all worlds and dear to make.
    static READY: std::sync::LazyLock<World> = std::sync::LazyLock::new(|| running(1, json!({})));
    let mut world = READY.clone();
    world.machines.clear();
    let names: Vec<String> = (0..states.len()).map(|i| format!("n{i}")).collect();
    world.workload = workload(&names.iter().map(String::as_str).collect::<Vec<_>>());
    for (i, state) in states.iter().enumerate() {
        world = with_state(world, i, state);
    }
    for (i, named) in strays.iter().enumerate() {
        let members = view(&mut world).etcd.as_mut().unwrap().members.as_mut().unwrap();
        members.push(EtcdMember {
            id: 50 + i as u64,
            name: if *named {
                format!("stray{i}")
            } else {
                String::new()
            },
            learner: !named,
        });
    }
    let spec = world.control_plane.clone();
    let mut value = serde_json::to_value(&spec).unwrap();
    merge(&mut value, changes);
    world.control_plane = serde_json::from_value(value).unwrap();
    world
}

fn with_state(world: World, i: usize, state: &State) -> World {
    let node = format!("n{i}");
    let mut machine = healthy(&node);
    if !state.has_node {
        machine["status"]["nodeRef"] = Value::Null;
    }
    if !state.believed {
        for found in machine["status"]["conditions"].as_array_mut().unwrap() {
            found["status"] = json!("Unknown");
        }
    }
    if state.marked {
        let conditions = machine["status"]["conditions"].as_array_mut().unwrap();
        for type_ in ["HealthCheckSucceeded", "OwnerRemediated"] {
            conditions.push(condition(type_, "False", "R", ""));
        }
    }
    if let Some(drained) = state.deleting {
        let reason = if drained {
            "WaitingForPreTerminateHook"
        } else {
            "DrainingNode"
        };
        machine["metadata"] = json!({ "deletionTimestamp": "2026-11-20T11:59:00Z", "finalizers": ["f"] });
        let conditions = machine["status"]["conditions"].as_array_mut().unwrap();
        conditions.push(condition("Deleting", "True", reason, ""));
    }
    let role = if i == 0 { Role::Init } else { Role::Join };
    let mut world = with_machine(world, &format!("m{i}"), role, machine);
    let workload = view(&mut world);
    if !state.pods {
        workload.pods.remove(&format!("kube-apiserver-{node}"));
    }
    let etcd = workload.etcd.as_mut().unwrap();
    let members = etcd.members.as_mut().unwrap();
    match state.member {
        Membership::Well => {}
        Membership::Down => drop(etcd.answers.insert(node, Err("connection refused".into()))),
        Membership::Learner => {
            let member = members.iter_mut().find(|member| member.name == node);
            member.unwrap().learner = true;
        }
        Membership::None => {
            members.retain(|member| member.name != node);
            etcd.answers.remove(&node);
        }
    }
    world
}

/// How many voters there would be without a member, and how many of them are really well.
fn left(world: &World, gone: impl Fn(&EtcdMember) -> bool) -> (usize, usize) {
    let etcd = world.etcd().unwrap();
    let voters: Vec<&EtcdMember> = etcd
        .members
        .as_ref()
        .unwrap()
        .iter()
        .filter(|member| !member.learner && !gone(member))
        .collect();
    let well = etcd.healthy();
    let healthy = voters.iter().filter(|member| well.contains(&member.name)).count();
    (voters.len(), healthy)
}

fn voters_now(world: &World) -> BTreeSet<String> {
    let members = world.etcd().unwrap().members.as_ref().unwrap().iter();
    members
        .filter(|member| !member.learner)
        .map(|member| member.name.clone())
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_plan_touches_the_quorum_twice_or_breaks_it(world in worlds()) {
        let actions = plan(&world, &NothingInUse, now()).actions;
        let touches = |action: &&Action| {
            matches!(
                action,
                Action::RemoveEtcdMember(_)
                    | Action::RemoveStrayMember { .. }
                    | Action::CreateMachine { .. }
                    | Action::DeleteMachine(_)
            )
        };
        prop_assert!(actions.iter().filter(touches).count() <= 1, "{actions:?}");
        for action in &actions {
            let (voters, healthy) = match action {
                Action::RemoveStrayMember { id, .. } => left(&world, |member| member.id == *id),
                Action::RemoveEtcdMember(name) | Action::DeleteMachine(name) => {
                    let node = world.member_name(world.machine(name).unwrap());
                    if !node.as_ref().is_some_and(|node| voters_now(&world).contains(node)) {
                        continue;
                    }
                    left(&world, |member| Some(&member.name) == node.as_ref())
                }
                // Whatever becomes of the new member, the others can do without it.
                Action::CreateMachine { .. } => {
                    let (voters, healthy) = left(&world, |_| false);
                    if voters <= 1 {
                        continue;
                    }
                    (voters + 1, healthy)
                }
                _ => continue,
            };
            prop_assert!(
                healthy >= quorum::needed(voters),
                "{action:?} leaves {healthy} of {voters} healthy"
            );
        }
    }

    #[test]
    fn a_control_plane_is_never_deleted_to_the_last_working_machine(world in worlds()) {
        let actions = plan(&world, &NothingInUse, now()).actions;
        for action in &actions {
            let Action::DeleteMachine(name) = action else { continue };
            let others = world.living().filter(|view| view.name() != *name).count();
            prop_assert!(others > 0, "{actions:?}");
        }
    }
}
