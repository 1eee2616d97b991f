//! What follows from the verdicts.

use super::*;

#[test]
fn an_unhealthy_machine_is_marked_and_its_owner_asked_once() {
    let world = world(check(json!({})), vec![sick("a"), well("b")]);
    let first = plan(&world, at(NOW));
    let machines = marked(&first);
    let (a, b) = (machines[0], machines[1]);
    let said = |machine: &Machine, type_: &str| {
        let c = get(machine, type_)?;
        Some((c.status.clone(), c.reason.clone()))
    };
    let expect = |status: &str, reason: &str| Some((status.to_owned(), reason.to_owned()));
    assert_eq!(said(a, "HealthCheckSucceeded"), expect("False", "UnhealthyNode"));
    assert_eq!(
        said(a, "OwnerRemediated"),
        expect("False", "WaitingForRemediation")
    );
    assert_eq!(
        said(b, "HealthCheckSucceeded"),
        expect("True", "HealthCheckSucceeded")
    );
    assert_eq!(said(b, "OwnerRemediated"), None);
    let old = v1beta1::get(a, "HealthCheckSucceeded").unwrap();
    assert_eq!(
        (old.reason.as_deref(), old.message.as_deref()),
        (
            Some("UnhealthyNode"),
            Some("Condition Ready on Node is reporting status False for more than 5m0s")
        )
    );
    let status = first.check.status.clone().unwrap();
    assert_eq!(
        (
            status.expected_machines,
            status.current_healthy,
            status.remediations_allowed,
            status.observed_generation
        ),
        (Some(2), Some(1), Some(1), Some(3))
    );
    assert_eq!(status.targets, ["a", "b"]);
    assert_eq!(get(&first.check, "RemediationAllowed").unwrap().status, "True");
    assert_eq!(first.check.labels()["cluster.x-k8s.io/cluster-name"], "c");
    assert_eq!(first.check.owner_references()[0].uid, "cu");

    // The owner has begun; the verdict stays the same.
    let mut begun = a.clone();
    capi_api::conditions::set(
        &mut begun,
        capi_api::conditions::Draft::is_false("OwnerRemediated", "MachineDeleting", "Machine is deleting"),
        at(NOW),
    );
    let again = World {
        check: Arc::new(first.check.clone()),
        targets: vec![
            target(Arc::new(begun), node("False", "2026-01-01T00:01:00Z")),
            target(Arc::new(b.clone()), ready()),
        ],
        ..world.clone()
    };
    let second = plan(&again, at("2026-01-01T00:11:00Z"));
    assert!(second.steps.is_empty(), "{:?}", second.steps);
    assert_eq!(second.check, first.check);
}

#[test]
fn too_many_unhealthy_machines_stop_remediation_but_are_named() {
    let limited = |limit: Value| check(json!({"spec": {"remediation": {"triggerIf": limit}}}));
    let world = |check| world(check, vec![sick("a"), sick("b"), well("c"), well("d")]);
    let plan_of = |limit| plan(&world(limited(limit)), at(NOW));
    for limit in [
        json!({"unhealthyLessThanOrEqualTo": 1}),
        json!({"unhealthyLessThanOrEqualTo": "49%"}),
        json!({"unhealthyInRange": "[3-4]"}),
        json!({"unhealthyInRange": "[0-1]", "unhealthyLessThanOrEqualTo": "100%"}),
    ] {
        let plan = plan_of(limit.clone());
        let condition = get(&plan.check, "RemediationAllowed").unwrap();
        assert_eq!(
            (condition.status.as_str(), condition.reason.as_str()),
            ("False", "TooManyUnhealthy"),
            "{limit}"
        );
        assert_eq!(plan.check.status.clone().unwrap().remediations_allowed, Some(0));
        assert_eq!(plan.events[0].reason, "RemediationRestricted");
        for machine in marked(&plan) {
            assert!(get(machine, "HealthCheckSucceeded").is_some());
            assert!(get(machine, "OwnerRemediated").is_none(), "{limit}");
        }
        assert_eq!(marked(&plan).len(), 4);
    }
    let plan = plan_of(json!({"unhealthyLessThanOrEqualTo": 1}));
    assert_eq!(
        get(&plan.check, "RemediationAllowed").unwrap().message,
        "Remediation is not allowed, the number of not started or unhealthy machines exceeds maxUnhealthy \
         (total: 4, unhealthy: 2, maxUnhealthy: 1)"
    );
    let plan = plan_of(json!({"unhealthyInRange": "[1-2]"}));
    assert_eq!(get(&plan.check, "RemediationAllowed").unwrap().status, "True");
}

#[test]
fn the_next_look_is_at_the_earliest_timeout() {
    let mut targets = vec![well("a")];
    targets.push(target(
        machine("b", json!({})),
        node("False", "2026-01-01T00:08:00Z"),
    ));
    targets.push(target(
        machine("c", json!({})),
        node("Unknown", "2026-01-01T00:06:00Z"),
    ));
    let plan = plan(&world(check(json!({})), targets), at(NOW));
    assert_eq!(plan.next, Next::After(std::time::Duration::from_secs(60)));
    assert_eq!(plan.machine_events.len(), 2);
    assert_eq!(plan.check.status.unwrap().current_healthy, Some(1));
}

#[test]
fn without_a_connection_nothing_is_judged() {
    let mut world = world(check(json!({})), vec![sick("a")]);
    world.connection = Connection::Down("no route".into());
    let plan = plan(&world, at(NOW));
    assert!(plan.steps.is_empty());
    let condition = get(&plan.check, "RemediationAllowed").unwrap();
    assert_eq!(
        (
            condition.status.as_str(),
            condition.reason.as_str(),
            condition.message.as_str()
        ),
        ("Unknown", "ConnectionDown", "no route")
    );
    assert_eq!(plan.next, Next::Done);
}

fn external_check() -> MachineHealthCheck {
    check(json!({"spec": {"remediation": {"templateRef":
        {"apiVersion": "remediation.example.com/v1", "kind": "FakeRemediationTemplate", "name": "t"}}}}))
}

#[test]
fn somebody_outside_is_asked_through_a_request_of_the_machines_name() {
    let mut world = world(external_check(), vec![sick("a")]);
    let missing = plan(&world, at(NOW));
    let condition = get(marked(&missing)[0], "ExternallyRemediated").unwrap();
    assert_eq!(
        (condition.reason.as_str(), condition.message.as_str()),
        (
            "RemediationTemplateNotFound",
            "Error retrieving remediation template FakeRemediationTemplate ns/t"
        )
    );
    let old = v1beta1::get(&missing.check, "ExternalRemediationTemplateAvailable").unwrap();
    assert_eq!(old.reason.as_deref(), Some("ExternalRemediationTemplateNotFound"));

    world.template = found(
        json!({"apiVersion": "remediation.example.com/v1", "kind": "FakeRemediationTemplate",
        "metadata": {"name": "t", "namespace": "ns"}, "spec": {"template": {"spec": {"how": "reboot"}}}}),
    );
    let asked = plan(&world, at(NOW));
    let [mark, request] = &asked.steps[..] else {
        panic!("{:?}", asked.steps)
    };
    let Action::Mark(_, after, Some(_)) = &mark.action else {
        panic!("{mark:?}")
    };
    let condition = get(&**after, "ExternallyRemediated").unwrap();
    assert_eq!(
        (condition.status.as_str(), condition.reason.as_str()),
        ("False", "WaitingForRemediation")
    );
    assert!(get(&**after, "OwnerRemediated").is_none());
    let Action::Request(request) = &request.action else {
        panic!("{request:?}")
    };
    assert_eq!(request.object.name_any(), "a");
    assert_eq!(request.object.data["spec"]["how"], "reboot");
    assert_eq!(request.object.owner_references()[0].uid, "a-uid");
    assert_eq!(request.resource.plural, "fakeremediations");

    // Once there is a request nothing is left to do while the Machine is unhealthy.
    let made = found(
        json!({"apiVersion": "remediation.example.com/v1", "kind": "FakeRemediation",
        "metadata": {"name": "a", "namespace": "ns"}}),
    );
    let made = made.found().unwrap().clone();
    world.targets = vec![Target {
        machine: Arc::new((**after).clone()),
        request: Some(made.clone()),
        ..sick("a")
    }];
    assert!(plan(&world, at(NOW)).steps.is_empty());
    // A healthy one is taken back.
    world.targets[0].node = ready();
    let healed = plan(&world, at(NOW));
    assert!(matches!(&healed.steps[0].action, Action::Withdraw(found) if found.object.name_any() == "a"));
    assert_eq!(
        get(marked(&healed)[0], "HealthCheckSucceeded").unwrap().status,
        "True"
    );
}
