//! Whether a Machine is healthy, and whether it is asked at all.

use super::*;

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
