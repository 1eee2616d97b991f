use serde_json::json;

use super::{
    super::{
        machines::Role,
        plan::{Action, Plan, plan},
        world::{Template, World},
    },
    *,
};

fn planned(world: &World) -> Plan {
    plan(world, &NothingInUse, now())
}

fn deleted(machine: usize, mut world: World, reason: &str) -> World {
    let view = &mut world.machines[machine];
    let mut value = serde_json::to_value(&*view.machine).unwrap();
    merge(
        &mut value,
        json!({ "metadata": { "deletionTimestamp": "2026-11-20T11:59:00Z", "finalizers": ["f"] },
            "status": { "conditions": [condition("Deleting", "True", reason, "")] } }),
    );
    view.machine = Arc::new(serde_json::from_value(value).unwrap());
    world
}

#[test]
fn nothing_happens_before_the_infrastructure_is_provisioned() {
    let world = with_cluster(world(json!({})), json!({ "status": { "initialization": null } }));
    let plan = planned(&world);
    assert_eq!(plan.actions, []);
    assert_eq!(
        plan.waits,
        ["Cluster status.initialization.infrastructureProvisioned to be true"]
    );
}

#[test]
fn certificates_do_not_wait_for_the_endpoint_but_everything_else_does() {
    let world = with_cluster(
        world(json!({})),
        json!({ "spec": { "controlPlaneEndpoint": null } }),
    );
    let plan = planned(&world);
    let purposes = [
        Purpose::ClusterCa,
        Purpose::EtcdCa,
        Purpose::FrontProxyCa,
        Purpose::ServiceAccount,
    ];
    assert_eq!(plan.actions, purposes.map(Action::CreateCertificate));
    assert_eq!(plan.waits, ["Cluster spec.controlPlaneEndpoint to be set"]);
}

#[test]
fn the_first_machine_starts_the_control_plane() {
    let plan = planned(&world(json!({})));
    assert_eq!(plan.actions.len(), 6);
    assert_eq!(plan.actions[4], Action::CreateKubeconfig);
    let Action::CreateMachine {
        name,
        role: Role::Init,
        failure_domain: None,
    } = &plan.actions[5]
    else {
        panic!("{:?}", plan.actions)
    };
    assert!(name.starts_with("cp-") && name.len() == 8, "{name}");
    assert_eq!(
        planned(&world(json!({}))),
        plan,
        "the same world gives the same plan"
    );
}

#[test]
fn a_machine_that_was_begun_is_finished_under_its_name() {
    let mut world = with_secrets(world(json!({})));
    let config = machines::new_machine(&world, "cp-begun", Role::Init, None)
        .unwrap()
        .config;
    world.unfinished = vec![Arc::new(config)];
    let expected = Action::CreateMachine {
        name: "cp-begun".into(),
        role: Role::Init,
        failure_domain: None,
    };
    assert_eq!(planned(&world).actions, [expected]);
}

#[test]
fn names_that_are_in_use_are_passed_over() {
    struct FirstTwo(std::cell::Cell<u32>);
    impl NamesInUse for FirstTwo {
        fn in_use(&self, _: &str) -> bool {
            self.0.set(self.0.get() + 1);
            self.0.get() <= 2
        }
    }
    let world = with_secrets(world(json!({})));
    let free = planned(&world).actions;
    let passed = plan(&world, &FirstTwo(std::cell::Cell::new(0)), now()).actions;
    assert_ne!(free, passed);
}

#[test]
fn the_second_machine_waits_for_the_first() {
    let world = with_machine(
        with_secrets(world(
            json!({ "spec": { "replicas": 3 }, "status": { "observedGeneration": 1 } }),
        )),
        "m0",
        Role::Init,
        json!({}),
    );
    let plan = planned(&world);
    assert_eq!(plan.actions, []);
    assert_eq!(plan.waits, ["the first control plane Machine to be initialized"]);
}

#[test]
fn a_healthy_control_plane_at_rest_plans_nothing() {
    for machines in [1, 3] {
        let plan = planned(&running(machines, json!({})));
        assert_eq!((plan.actions, plan.waits), (vec![], vec![]), "{machines}");
        assert!(plan.look_again.is_some(), "the kubeconfig expires some day");
    }
}

#[test]
fn scaling_up_adds_one_machine_in_the_emptiest_failure_domain() {
    let mut world = running(1, json!({ "spec": { "replicas": 3 } }));
    world = with_cluster(
        world,
        json!({ "status": { "failureDomains": [
            { "name": "a", "controlPlane": true }, { "name": "b", "controlPlane": true },
            { "name": "c", "controlPlane": false } ] } }),
    );
    let mut machine = world.machines[0].machine.as_ref().clone();
    machine.spec.failure_domain = Some("a".into());
    world.machines[0].machine = Arc::new(machine);
    let plan = planned(&world);
    let [
        Action::CreateMachine {
            role: Role::Join,
            failure_domain,
            ..
        },
    ] = plan.actions.as_slice()
    else {
        panic!("{:?}", plan.actions)
    };
    assert_eq!(failure_domain.as_deref(), Some("b"));
}

#[test]
fn scaling_up_is_blocked_by_an_unhealthy_machine() {
    let mut world = running(1, json!({ "spec": { "replicas": 3 } }));
    let mut value = serde_json::to_value(&*world.machines[0].machine).unwrap();
    value["status"]["conditions"] = json!([condition("APIServerPodHealthy", "False", "Failed", "crashed")]);
    world.machines[0].machine = Arc::new(serde_json::from_value(value).unwrap());
    let plan = planned(&world);
    assert_eq!(plan.actions, []);
    let findings = plan.blocked.unwrap();
    assert_eq!(
        findings.lines,
        [
            "waiting for control plane components to become healthy",
            "waiting for etcd cluster to become healthy"
        ]
    );
    assert!(findings.alarming);
    assert!(findings.details[0].contains("m0 reports APIServerPodHealthy condition is false (crashed)"));
}

#[test]
fn scaling_down_moves_the_leadership_and_deletes_the_oldest() {
    let mut world = running(3, json!({ "spec": { "replicas": 1 } }));
    let mut value = serde_json::to_value(&*world.machines[1].machine).unwrap();
    value["metadata"]["creationTimestamp"] = json!("2026-11-20T10:00:00Z");
    world.machines[1].machine = Arc::new(serde_json::from_value(value).unwrap());
    let plan = planned(&world);
    let [
        Action::ForwardLeadership {
            from,
            to,
            insist: true,
        },
        Action::DeleteMachine(name),
    ] = plan.actions.as_slice()
    else {
        panic!("{:?}", plan.actions)
    };
    assert_eq!((from.as_str(), name.as_str()), ("m1", "m1"));
    assert_eq!(to, &["m0", "m2"]);
}

#[test]
fn a_marked_machine_goes_first() {
    let mut world = running(3, json!({ "spec": { "replicas": 1 } }));
    let mut machine = world.machines[2].machine.as_ref().clone();
    machine
        .metadata
        .annotations
        .get_or_insert_default()
        .insert("cluster.x-k8s.io/delete-machine".into(), "".into());
    world.machines[2].machine = Arc::new(machine);
    assert!(
        planned(&world)
            .actions
            .contains(&Action::DeleteMachine("m2".into()))
    );
}

#[test]
fn only_one_machine_is_deleted_at_a_time() {
    let world = deleted(
        0,
        running(3, json!({ "spec": { "replicas": 1 } })),
        "DrainingNode",
    );
    let plan = planned(&world);
    assert_eq!(plan.actions, []);
    assert_eq!(plan.waits, ["Machine m0 to be drained"]);
    assert_eq!(
        plan.blocked.unwrap().lines,
        ["waiting for a control plane Machine to complete deletion"]
    );
}

#[test]
fn the_member_of_a_deleted_machine_leaves_before_its_hook_goes() {
    let world = deleted(
        0,
        running(3, json!({ "spec": { "replicas": 1 } })),
        "WaitingForPreTerminateHook",
    );
    assert_eq!(
        planned(&world).actions,
        [
            Action::ForwardLeadership {
                from: "m0".into(),
                to: vec!["m1".into(), "m2".into()],
                insist: true,
            },
            Action::RemoveEtcdMember("m0".into()),
            Action::RemoveHook("m0".into()),
        ]
    );
}

#[test]
fn the_hook_of_the_last_machine_goes_without_touching_etcd() {
    let world = deleted(0, running(1, json!({})), "WaitingForPreTerminateHook");
    assert_eq!(planned(&world).actions, [Action::RemoveHook("m0".into())]);
}

#[test]
fn other_hooks_come_first() {
    let mut world = deleted(0, running(3, json!({})), "WaitingForPreTerminateHook");
    let mut machine = world.machines[0].machine.as_ref().clone();
    let hook = "pre-terminate.delete.hook.machine.cluster.x-k8s.io/backup";
    machine
        .metadata
        .annotations
        .get_or_insert_default()
        .insert(hook.into(), String::new());
    world.machines[0].machine = Arc::new(machine);
    assert_eq!(planned(&world).waits, ["other pre-terminate hooks of Machine m0"]);
}

#[test]
fn metadata_follows_without_a_rollout() {
    let world = running(
        1,
        json!({ "spec": { "machineTemplate": { "metadata": { "labels": { "team": "a" } } } } }),
    );
    assert_eq!(planned(&world).actions, [Action::SyncMachine("m0".into())]);
}

#[test]
fn machines_without_controller_are_adopted_if_their_version_is_close() {
    let mut world = with_secrets(world(json!({})));
    let machine = |name: &str, version: &str| {
        let mut machine = machines::new_machine(&world, name, Role::Init, None)
            .unwrap()
            .machine;
        machine.metadata.owner_references = None;
        machine.spec.version = Some(version.into());
        Arc::new(machine)
    };
    let orphans = vec![machine("near", "v1.34.2"), machine("far", "v1.30.0")];
    world.orphans = orphans;
    assert_eq!(
        planned(&world).actions,
        [Action::RefuseAdoption("far".into())],
        "all or none, and no Machine is created beside them"
    );
    world.orphans.pop();
    assert_eq!(planned(&world).actions, [Action::Adopt("near".into())]);
}

#[test]
fn machines_of_another_controller_stop_everything() {
    let mut world = running(1, json!({ "spec": { "replicas": 3 } }));
    world.foreign = vec!["theirs".into()];
    let plan = planned(&world);
    assert_eq!(plan.actions, []);
    assert!(plan.waits[0].ends_with("refusing to operate in mixed management mode: theirs"));
}

#[test]
fn a_member_stays_while_its_leaving_would_cost_the_quorum() {
    let mut world = deleted(0, running(3, json!({})), "WaitingForPreTerminateHook");
    let etcd = view(&mut world).etcd.as_mut().unwrap();
    etcd.answers.insert("n1".into(), Err("connection refused".into()));
    let plan = planned(&world);
    assert_eq!(plan.actions, []);
    assert_eq!(
        plan.etcd_notes,
        [
            "Machine m0 cannot leave the etcd cluster: etcd member n0 cannot be removed now: \
          1 of 2 remaining members would be healthy, 2 are needed"
        ]
    );
    // Of the two the one that is down may go.
    let mut world = deleted(1, running(3, json!({})), "WaitingForPreTerminateHook");
    let etcd = view(&mut world).etcd.as_mut().unwrap();
    etcd.answers.insert("n1".into(), Err("connection refused".into()));
    let Action::ForwardLeadership { insist: false, .. } = planned(&world).actions[0].clone() else {
        panic!("{:?}", planned(&world).actions)
    };
}

#[test]
fn a_machine_that_never_had_a_member_just_goes() {
    let mut world = deleted(2, running(3, json!({})), "WaitingForPreTerminateHook");
    let machine = Arc::make_mut(&mut world.machines[2].machine);
    machine.status.as_mut().unwrap().node_ref = None;
    machine.spec.provider_id = None;
    assert_eq!(planned(&world).actions, [Action::RemoveHook("m2".into())]);
}

#[test]
fn nothing_changes_while_a_topology_has_another_version_in_mind() {
    let world = with_cluster(
        running(1, json!({ "spec": { "replicas": 3 } })),
        json!({ "spec": { "topology": { "classRef": { "name": "k" }, "version": "v1.36.0" } } }),
    );
    let plan = planned(&world);
    assert_eq!(plan.actions, []);
    assert_eq!(
        plan.blocked.unwrap().lines,
        ["waiting for a version upgrade to v1.36.0 to be propagated from Cluster.spec.topology"]
    );
}

#[test]
fn deletion_waits_for_workers_then_lets_all_machines_go_at_once() {
    let deleting = json!({ "metadata": { "deletionTimestamp": "2026-11-20T11:59:00Z" } });
    let mut world = running(3, deleting);
    world.workers = vec![("worker Machines", vec!["w0".into()])];
    let plan = planned(&world);
    assert_eq!(
        (plan.actions, plan.waits),
        (vec![], vec!["worker Machines w0 to be deleted".to_owned()])
    );
    world.workers.clear();
    let names = ["m0", "m1", "m2"];
    let expected: Vec<Action> = names
        .iter()
        .flat_map(|name| {
            [
                Action::RemoveHook((*name).into()),
                Action::DeleteMachine((*name).into()),
            ]
        })
        .collect();
    assert_eq!(planned(&world).actions, expected);
    world.machines.clear();
    assert_eq!(planned(&world).actions, [Action::RemoveFinalizer]);
}

#[test]
fn the_template_gets_the_cluster_as_owner() {
    let mut world = running(1, json!({}));
    if let Template::Found { object, .. } = &mut world.template {
        Arc::make_mut(object).metadata.owner_references = None;
    }
    assert_eq!(planned(&world).actions, [Action::OwnTemplate]);
}

#[test]
fn the_expiry_of_certificates_is_noted_once_the_api_server_runs() {
    let mut world = running(1, json!({}));
    Arc::make_mut(world.machines[0].config.as_mut().unwrap())
        .metadata
        .annotations = None;
    assert_eq!(
        planned(&world).actions,
        [Action::NoteCertificateExpiry("m0".into())]
    );
    let mut machine = world.machines[0].machine.as_ref().clone();
    machine
        .status
        .as_mut()
        .unwrap()
        .conditions
        .retain(|condition| condition.type_ != "APIServerPodHealthy");
    world.machines[0].machine = Arc::new(machine);
    assert_eq!(planned(&world).actions, []);
}

#[test]
fn a_machine_that_is_being_provisioned_blocks_without_alarm() {
    let mut world = running(2, json!({ "spec": { "replicas": 3 } }));
    let mut machine = world.machines[1].machine.as_ref().clone();
    machine.status.as_mut().unwrap().node_ref = None;
    world.machines[1].machine = Arc::new(machine);
    let findings = planned(&world).blocked.unwrap();
    assert_eq!(
        findings.lines,
        ["waiting for control plane components to become healthy"]
    );
    assert!(!findings.alarming, "{findings:?}");
}

/// A control plane that rests is looked at less closely, so nothing but a time may be left over.
#[test]
fn only_a_plan_without_anything_left_is_content() {
    let mut plan = Plan::default();
    assert!(plan.is_content());
    plan.look_again = Some(now());
    assert!(plan.is_content(), "a time alone");
    for left in [
        Plan {
            actions: vec![Action::RemoveFinalizer],
            ..plan.clone()
        },
        Plan {
            waits: vec!["for something".to_owned()],
            ..plan.clone()
        },
        Plan {
            etcd_notes: vec!["no quorum".to_owned()],
            ..plan.clone()
        },
        Plan {
            warnings: vec![("Reason", "message".to_owned())],
            ..plan.clone()
        },
    ] {
        assert!(!left.is_content(), "{left:?}");
    }
}
