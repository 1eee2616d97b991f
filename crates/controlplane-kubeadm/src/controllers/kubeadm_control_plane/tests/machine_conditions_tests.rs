use capi_api::conditions::{Draft, Status};
use jiff::SignedDuration;
use serde_json::json;

use super::{super::machine_conditions::of_machine, *};

const GRACE: SignedDuration = SignedDuration::from_mins(5);

fn drafts(world: &World) -> BTreeMap<String, Draft> {
    of_machine(world, &world.machines[0], now(), GRACE)
        .into_iter()
        .map(|draft| (draft.type_.clone(), draft))
        .collect()
}

fn says(world: &World, type_: &str) -> (Status, String, String) {
    let draft = drafts(world)[type_].clone();
    (draft.status, draft.reason, draft.message)
}

#[test]
fn a_running_control_plane_is_healthy() {
    let drafts = drafts(&running(1, json!({})));
    assert_eq!(drafts.len(), 7);
    assert!(
        drafts.values().all(|draft| draft.status == Status::True),
        "{drafts:?}"
    );
    assert_eq!(drafts["APIServerPodHealthy"].reason, "Running");
    assert_eq!(drafts["EtcdMemberHealthy"].reason, "Healthy");
    assert_eq!(drafts["NodeKubeadmLabelsAndTaintsSet"].reason, "Set");
}

#[test]
fn before_initialisation_everything_waits_for_it() {
    let world = with_machine(with_secrets(world(json!({}))), "m0", Role::Init, json!({}));
    let (status, reason, message) = says(&world, "EtcdPodHealthy");
    assert_eq!(
        (status, reason.as_str(), message.as_str()),
        (
            Status::Unknown,
            "InspectionFailed",
            "Waiting for Cluster control plane to be initialized"
        )
    );
}

#[test]
fn a_machine_without_node_says_what_it_waits_for() {
    let mut world = running(1, json!({}));
    let mut machine = world.machines[0].machine.as_ref().clone();
    machine.status.as_mut().unwrap().node_ref = None;
    world.machines[0].machine = Arc::new(machine.clone());
    assert_eq!(
        says(&world, "SchedulerPodHealthy").2,
        "Waiting for a Node with spec.providerID inmemory:///n0 to exist"
    );
    machine.spec.provider_id = None;
    world.machines[0].machine = Arc::new(machine);
    assert_eq!(
        says(&world, "SchedulerPodHealthy").2,
        "Waiting for DevMachine to report spec.providerID"
    );
}

#[test]
fn pods_are_judged_by_phase_and_containers() {
    let container = |state: Value, last: Value| {
        json!({ "phase": "Running", "containerStatuses": [
        { "name": "x", "image": "i", "imageID": "i", "ready": false, "restartCount": 1, "state": state, "lastState": last }] })
    };
    let waiting = json!({ "waiting": { "reason": "CrashLoopBackOff" } });
    let crashed = json!({ "terminated": { "exitCode": 1, "reason": "Error" } });
    let cases = [
        (ready_pod(), Status::True, "Running", ""),
        (json!({ "phase": "Pending" }), Status::False, "Provisioning", ""),
        (
            json!({ "phase": "Pending", "conditions": [{ "type": "PodScheduled", "status": "False" }] }),
            Status::False,
            "Provisioning",
            "Waiting to be scheduled",
        ),
        (
            json!({ "phase": "Pending", "conditions": [{ "type": "Initialized", "status": "False" }] }),
            Status::False,
            "Provisioning",
            "Running init containers",
        ),
        (
            json!({ "phase": "Running" }),
            Status::False,
            "Provisioning",
            "Waiting for startup or readiness probes",
        ),
        (
            container(waiting.clone(), json!({})),
            Status::False,
            "Provisioning",
            "CrashLoopBackOff",
        ),
        (
            container(waiting, crashed.clone()),
            Status::False,
            "Failed",
            "CrashLoopBackOff",
        ),
        (container(crashed, json!({})), Status::False, "Failed", "Error"),
        (
            json!({ "phase": "Failed" }),
            Status::False,
            "Failed",
            "All the containers have been terminated",
        ),
        (
            json!({ "phase": "Unknown" }),
            Status::Unknown,
            "InspectionFailed",
            "Pod is reporting Unknown status",
        ),
    ];
    for (status, expected, reason, message) in cases {
        let mut world = running(1, json!({}));
        view(&mut world).pods.insert(
            "kube-apiserver-n0".into(),
            Ok(pod("kube-apiserver-n0", status.clone())),
        );
        let said = says(&world, "APIServerPodHealthy");
        assert_eq!(
            (said.0, said.1.as_str(), said.2.as_str()),
            (expected, reason, message),
            "{status}"
        );
    }
}

#[test]
fn nodes_and_pods_that_are_missing_or_lost_are_told_apart() {
    let mut world = running(1, json!({}));
    view(&mut world).pods.remove("kube-scheduler-n0");
    assert_eq!(says(&world, "SchedulerPodHealthy").2, "Pod does not exist");

    let mut changed = node("n0").as_ref().clone();
    changed.status =
        serde_json::from_value(json!({ "conditions": [{ "type": "Ready", "status": "Unknown" }] })).unwrap();
    view(&mut world).nodes.insert("n0".into(), Arc::new(changed));
    assert_eq!(
        says(&world, "SchedulerPodHealthy").2,
        "Node Ready condition is Unknown, Pod data might be stale"
    );

    let mut changed = node("n0").as_ref().clone();
    changed.spec = serde_json::from_value(
        json!({ "taints": [{ "key": "node.kubernetes.io/unreachable", "effect": "NoExecute" }] }),
    )
    .unwrap();
    view(&mut world).nodes.insert("n0".into(), Arc::new(changed));
    assert_eq!(says(&world, "SchedulerPodHealthy").2, "Node n0 is unreachable");
    assert_eq!(
        says(&world, "NodeKubeadmLabelsAndTaintsSet").2,
        "Node n0 is unreachable"
    );

    view(&mut world).nodes.clear();
    assert_eq!(
        says(&world, "NodeKubeadmLabelsAndTaintsSet").2,
        "Node n0 does not exist"
    );
}

#[test]
fn a_node_without_label_and_taint_is_named() {
    let mut world = running(1, json!({}));
    let mut bare = node("n0").as_ref().clone();
    bare.metadata.labels = None;
    bare.spec = None;
    view(&mut world).nodes.insert("n0".into(), Arc::new(bare));
    assert_eq!(
        says(&world, "NodeKubeadmLabelsAndTaintsSet").2,
        "Node n0 does not have the node-role.kubernetes.io/control-plane label and the node-role.kubernetes.io/control-plane:NoSchedule taint"
    );
}

#[test]
fn etcd_members_are_judged() {
    type Change = fn(&mut EtcdView);
    let cases: [(Change, Status, &str); 5] = [
        (
            |etcd| etcd.members = Err("Failed to connect to etcd: x".into()),
            Status::Unknown,
            "Failed to connect to etcd: x",
        ),
        (
            |etcd| etcd.members = Ok(vec![]),
            Status::False,
            "Etcd doesn't have an etcd member for Node n0",
        ),
        (
            |etcd| etcd.members.as_mut().unwrap()[0].learner = true,
            Status::False,
            "Waiting for learner etcd member to be promoted",
        ),
        (
            |etcd| etcd.alarms = Ok([(1, vec!["NOSPACE".to_owned(), "CORRUPT".to_owned()])].into()),
            Status::False,
            "Etcd reports alarms: NOSPACE, CORRUPT",
        ),
        (
            |etcd| etcd.alarms = Err("Failed to get etcd alarms: y".into()),
            Status::Unknown,
            "Failed to get etcd alarms: y",
        ),
    ];
    for (change, status, message) in cases {
        let mut world = running(1, json!({}));
        change(view(&mut world).etcd.as_mut().unwrap());
        let said = says(&world, "EtcdMemberHealthy");
        assert_eq!((said.0, said.2.as_str()), (status, message));
    }
}

#[test]
fn a_lost_connection_keeps_what_is_known_until_the_grace_period_ends() {
    let mut world = running(1, json!({}));
    let disconnected = |ago: SignedDuration| Workload::Disconnected {
        since: now() - ago,
        last_success: Some(now() - ago),
        reason: "x".into(),
    };
    world.workload = disconnected(SignedDuration::from_mins(4));
    assert_eq!(says(&world, "APIServerPodHealthy").0, Status::True);
    world.workload = disconnected(SignedDuration::from_mins(6));
    let said = says(&world, "APIServerPodHealthy");
    assert_eq!((said.0, said.1.as_str()), (Status::Unknown, "ConnectionDown"));
    assert_eq!(said.2, "Last successful probe at 2026-11-20T11:54:00Z");
}
