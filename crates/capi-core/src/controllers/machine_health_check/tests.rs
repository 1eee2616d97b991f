//! Plans of MachineHealthChecks, rule by rule.

use std::sync::Arc;

use capi_api::{
    annotations,
    conditions::{get, v1beta1},
    core::v1beta2::{Cluster, Machine, MachineHealthCheck},
};
use capi_runtime::Next;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;
use serde_json::{Value, json};

use super::{
    health::{Verdict, go_duration, judge},
    observe::{Connection, NodeView, Target, World, is_target},
    plan::{Action, Plan, plan},
    short_circuit::{self, Allowance, Counts, range, scaled_down},
};
use crate::foreign::{Foreign, testing::found};

/// Ten minutes after the start of everything.
const NOW: &str = "2026-01-01T00:10:00Z";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn condition(type_: &str, status: &str, since: &str) -> Value {
    json!({"type": type_, "status": status, "reason": "R", "message": "", "lastTransitionTime": since})
}

fn cluster(initialized: Option<&str>) -> Cluster {
    let mut conditions = vec![condition("InfrastructureReady", "True", "2026-01-01T00:00:30Z")];
    conditions.extend(initialized.map(|since| condition("ControlPlaneInitialized", "True", since)));
    serde_json::from_value(
        json!({"metadata": {"name": "c", "namespace": "ns", "uid": "cu"}, "spec": {},
        "status": {"conditions": conditions}}),
    )
    .unwrap()
}

fn machine(name: &str, change: Value) -> Arc<Machine> {
    let mut value = json!({
        "metadata": {"name": name, "namespace": "ns", "uid": format!("{name}-uid"), "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {"cluster.x-k8s.io/cluster-name": "c", "role": "worker"}},
        "spec": {"clusterName": "c", "bootstrap": {}, "infrastructureRef": {"apiGroup": "g", "kind": "K", "name": name}},
        "status": {"conditions": []}});
    json_patch(&mut value, &change);
    Arc::new(serde_json::from_value(value).unwrap())
}

fn json_patch(to: &mut Value, from: &Value) {
    match (to, from) {
        (Value::Object(to), Value::Object(from)) => {
            for (key, value) in from {
                json_patch(to.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (to, from) => *to = from.clone(),
    }
}

fn check(change: Value) -> MachineHealthCheck {
    let mut value = json!({
        "metadata": {"name": "mhc", "namespace": "ns", "generation": 3},
        "spec": {"clusterName": "c", "selector": {"matchLabels": {"role": "worker"}},
            "checks": {"unhealthyNodeConditions": [{"type": "Ready", "status": "False", "timeoutSeconds": 300},
                {"type": "Ready", "status": "Unknown", "timeoutSeconds": 300}]}}});
    json_patch(&mut value, &change);
    serde_json::from_value(value).unwrap()
}

/// A Node whose `Ready` is like this since then.
fn node(status: &str, since: &str) -> NodeView {
    let node = json!({"metadata": {"name": "n"}, "status": {"conditions":
        [{"type": "Ready", "status": status, "lastTransitionTime": since}]}});
    NodeView::Found(Arc::new(serde_json::from_value(node).unwrap()))
}

fn ready() -> NodeView {
    node("True", "2026-01-01T00:01:00Z")
}

fn target(machine: Arc<Machine>, node: NodeView) -> Target {
    Target {
        machine,
        node,
        request: None,
    }
}

fn world(check: MachineHealthCheck, targets: Vec<Target>) -> World {
    World {
        check: Arc::new(check),
        cluster: Arc::new(cluster(Some("2026-01-01T00:01:00Z"))),
        connection: Connection::Up,
        targets,
        template: Foreign::Unset,
    }
}

fn verdict(check: MachineHealthCheck, machine: Arc<Machine>, node: NodeView) -> Verdict {
    let world = world(check, vec![target(machine, node)]);
    judge(&world, &world.targets[0], at(NOW))
}

/// The Machines as the plan leaves them.
fn marked(plan: &Plan) -> Vec<&Machine> {
    let of = |action| match action {
        Action::Mark(_, after, _) => Some(&**after),
        _ => None,
    };
    plan.steps.iter().filter_map(|s| of(&s.action)).collect()
}

#[test]
fn machines_are_judged_in_order_of_the_checks() {
    let plain = || machine("m", json!({}));
    let with_conditions = |list: Value| machine("m", json!({"status": {"conditions": list}}));
    let machine_check = || {
        check(json!({"spec": {"checks": {"unhealthyMachineConditions":
        [{"type": "EtcdMemberHealthy", "status": "False", "timeoutSeconds": 60}]}}}))
    };
    let etcd = |since: &str| with_conditions(json!([condition("EtcdMemberHealthy", "False", since)]));
    let named = machine(
        "m",
        json!({"metadata": {"annotations": {annotations::REMEDIATE_MACHINE: ""}}}),
    );
    let deleting = machine("m", json!({"metadata": {"deletionTimestamp": NOW}}));
    let gone = || NodeView::Gone("n".into());
    let cases = [
        ("ready", check(json!({})), plain(), ready(), "healthy"),
        ("deleting", check(json!({})), deleting.clone(), ready(), "untold"),
        ("its own deletion", check(json!({})), deleting, gone(), "untold"),
        (
            "named by annotation",
            check(json!({})),
            named,
            ready(),
            "HasRemediateAnnotation: Health check failed: marked for remediation via cluster.x-k8s.io/remediate-machine annotation",
        ),
        (
            "not ready too long",
            check(json!({})),
            plain(),
            node("False", "2026-01-01T00:05:00Z"),
            "UnhealthyNode: Health check failed: Condition Ready on Node is reporting status False for more than 5m0s",
        ),
        (
            "not ready, one second left",
            check(json!({})),
            plain(),
            node("Unknown", "2026-01-01T00:05:01Z"),
            "until 2026-01-01T00:10:01Z",
        ),
        (
            "node gone",
            check(json!({})),
            plain(),
            gone(),
            "NodeDeleted: Health check failed: Node n has been deleted",
        ),
        (
            "machine condition too long",
            machine_check(),
            etcd("2026-01-01T00:09:00Z"),
            ready(),
            "UnhealthyMachine: Health check failed: Condition EtcdMemberHealthy on Machine is reporting status False for more than 1m0s",
        ),
        (
            "machine condition not yet",
            machine_check(),
            etcd("2026-01-01T00:09:30Z"),
            ready(),
            "until 2026-01-01T00:10:30Z",
        ),
        (
            "machine and node at once",
            machine_check(),
            etcd("2026-01-01T00:09:00Z"),
            node("False", "2026-01-01T00:01:00Z"),
            "UnhealthyMachine: Health check failed: Condition Ready on Node is reporting status False for more than 5m0s; \
             Condition EtcdMemberHealthy on Machine is reporting status False for more than 1m0s",
        ),
        (
            "machine condition without a node",
            machine_check(),
            etcd("2026-01-01T00:09:00Z"),
            NodeView::Unset,
            "UnhealthyMachine: Health check failed: Condition EtcdMemberHealthy on Machine is reporting status False for more than 1m0s",
        ),
        (
            "machine condition and a deleted node",
            machine_check(),
            etcd("2026-01-01T00:09:00Z"),
            gone(),
            "UnhealthyMachine: Health check failed: Node n has been deleted; \
             Condition EtcdMemberHealthy on Machine is reporting status False for more than 1m0s",
        ),
    ];
    for (what, check, machine, node, expected) in cases {
        let text = match verdict(check, machine, node) {
            Verdict::Healthy => "healthy".to_owned(),
            Verdict::Untold => "untold".to_owned(),
            Verdict::Suspicious(at) => format!("until {at}"),
            Verdict::Unhealthy(illness) => format!("{}: {}", illness.reason, illness.message),
        };
        assert_eq!(text, expected, "{what}");
    }
}

#[test]
fn the_startup_timeout_runs_from_the_last_of_what_a_machine_waits_for() {
    let of = |seconds: i32, machine_ready: Option<&str>, initialized: Option<&str>, control_plane: bool| {
        let mut labels = json!({});
        if control_plane {
            labels = json!({"cluster.x-k8s.io/control-plane": ""});
        }
        let conditions: Vec<Value> = machine_ready
            .map(|since| condition("InfrastructureReady", "True", since))
            .into_iter()
            .collect();
        let machine = machine(
            "m",
            json!({"metadata": {"labels": labels}, "status": {"conditions": conditions}}),
        );
        let check = check(json!({"spec": {"checks": {"nodeStartupTimeoutSeconds": seconds}}}));
        let mut world = world(check, vec![target(machine, NodeView::Unset)]);
        world.cluster = Arc::new(cluster(initialized));
        match judge(&world, &world.targets[0], at(NOW)) {
            Verdict::Unhealthy(illness) => illness.message,
            Verdict::Suspicious(at) => at.to_string(),
            other => format!("{other:?}"),
        }
    };
    let failed = "Health check failed: Node failed to report startup in 9m0s";
    assert_eq!(of(540, None, Some("2026-01-01T00:01:00Z"), false), failed);
    assert_eq!(
        of(541, None, Some("2026-01-01T00:01:00Z"), false),
        "2026-01-01T00:10:01Z"
    );
    assert_eq!(
        of(
            540,
            Some("2026-01-01T00:02:00Z"),
            Some("2026-01-01T00:01:00Z"),
            false
        ),
        "2026-01-01T00:11:00Z"
    );
    assert_eq!(of(0, None, Some("2026-01-01T00:01:00Z"), false), "Untold");
    // Before the control plane is up, only its own Machines are judged.
    assert_eq!(of(60, None, None, false), "Untold");
    assert_eq!(
        of(60, None, None, true),
        "Health check failed: Node failed to report startup in 1m0s"
    );
}

#[test]
fn paused_and_excluded_machines_do_not_count() {
    let check = check(json!({}));
    let cases = [
        (json!({}), true),
        (json!({"metadata": {"labels": {"role": "other"}}}), false),
        (json!({"spec": {"clusterName": "d"}}), false),
        (
            json!({"metadata": {"annotations": {annotations::PAUSED: ""}}}),
            false,
        ),
        (
            json!({"metadata": {"annotations": {annotations::SKIP_REMEDIATION: ""}}}),
            false,
        ),
    ];
    for (change, expected) in cases {
        assert_eq!(
            is_target(&check, &machine("m", change.clone())),
            expected,
            "{change}"
        );
    }
}

fn sick(name: &str) -> Target {
    target(machine(name, json!({})), node("False", "2026-01-01T00:01:00Z"))
}

fn well(name: &str) -> Target {
    target(machine(name, json!({})), ready())
}

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

#[test]
fn limits_hold_for_all_counts_and_never_grow_with_trouble() {
    let limit =
        |value: IntOrString| serde_json::from_value(json!({"unhealthyLessThanOrEqualTo": value})).unwrap();
    for expected in 0..=20 {
        for healthy in 0..=expected {
            for unhealthy in 0..=expected - healthy {
                let counts = Counts {
                    expected,
                    healthy,
                    unhealthy,
                };
                let bad = expected - healthy;
                assert!(
                    matches!(short_circuit::judge(None, counts), Allowance::Allowed(more) if more == healthy),
                    "without a limit everything is allowed"
                );
                for most in 0..=21 {
                    let number = short_circuit::judge(Some(&limit(IntOrString::Int(most))), counts);
                    assert_eq!(
                        matches!(number, Allowance::Allowed(more) if more == most - bad && more >= 0),
                        bad <= most
                    );
                    let percent = IntOrString::String(format!("{}%", most * 5));
                    let allowed = short_circuit::judge(Some(&limit(percent)), counts);
                    assert_eq!(
                        matches!(allowed, Allowance::Allowed(_)),
                        bad * 100 <= most * 5 * expected || bad == 0
                    );
                    let text = format!("[{}-{most}]", most / 2);
                    let ranged = serde_json::from_value(json!({"unhealthyInRange": text})).unwrap();
                    let ranged = short_circuit::judge(Some(&ranged), counts);
                    assert_eq!(
                        matches!(ranged, Allowance::Allowed(_)),
                        (most / 2..=most).contains(&bad)
                    );
                }
            }
        }
    }
}

#[test]
fn limits_are_read_as_upstream_reads_them() {
    for (text, expected) in [
        ("[1-3]", Some((1, 3))),
        ("[0-0]", Some((0, 0))),
        ("[3-1]", None),
        ("1-3", None),
        ("[a-3]", None),
    ] {
        assert_eq!(range(text), expected, "{text}");
    }
    for (value, total, expected) in [
        (IntOrString::Int(3), 10, Some(3)),
        (IntOrString::String("33%".into()), 10, Some(3)),
        (IntOrString::String("100%".into()), 7, Some(7)),
        (IntOrString::String("3".into()), 10, None),
        (IntOrString::String("x%".into()), 10, None),
    ] {
        assert_eq!(scaled_down(&value, total), expected, "{value:?}");
    }
    for (seconds, text) in [(0, "0s"), (30, "30s"), (300, "5m0s"), (3661, "1h1m1s")] {
        assert_eq!(go_duration(seconds), text);
    }
}
