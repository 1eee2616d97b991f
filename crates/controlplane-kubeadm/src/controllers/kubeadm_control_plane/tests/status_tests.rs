use capi_api::conditions::ConditionsAccess;
use jiff::SignedDuration;
use serde_json::json;

use super::{
    super::{
        plan::plan,
        status::{Report, report},
    },
    *,
};

fn reported(world: &World) -> Report {
    report(
        world,
        &plan(world, &NothingInUse, now()),
        now(),
        SignedDuration::from_mins(5),
    )
}

fn says(report: &Report, type_: &str) -> (String, String, String) {
    let condition = report
        .control_plane
        .conditions()
        .iter()
        .find(|condition| condition.type_ == type_)
        .unwrap();
    (
        condition.status.clone(),
        condition.reason.clone(),
        condition.message.clone(),
    )
}

fn triple(status: &str, reason: &str, message: &str) -> (String, String, String) {
    (status.into(), reason.into(), message.into())
}

#[test]
fn a_new_control_plane_reports_what_it_waits_for() {
    let report = reported(&world(json!({})));
    assert_eq!(
        says(&report, "Available"),
        triple("False", "NotAvailable", "Control plane not yet initialized")
    );
    assert_eq!(
        says(&report, "Initialized"),
        triple("False", "NotInitialized", "")
    );
    assert_eq!(
        says(&report, "CertificatesAvailable"),
        triple(
            "False",
            "NotAvailable",
            "Cluster certificates for ca, etcd, proxy, sa are not available, please check cluster certificate secrets"
        )
    );
    assert_eq!(
        says(&report, "ScalingUp"),
        triple("True", "ScalingUp", "Scaling up from 0 to 1 replicas")
    );
    assert_eq!(says(&report, "MachinesReady"), triple("True", "NoReplicas", ""));
    let value = serde_json::to_value(&report.control_plane).unwrap();
    assert_eq!(value["status"]["replicas"], 0);
    assert_eq!(
        value["status"]["selector"],
        "cluster.x-k8s.io/cluster-name=c,cluster.x-k8s.io/control-plane"
    );
    assert!(value["status"].get("initialization").is_none() && value["status"].get("version").is_none());
}

#[test]
fn a_running_control_plane_is_available_and_counted() {
    let report = reported(&running(3, json!({})));
    for (type_, status, reason) in [
        ("Available", "True", "Available"),
        ("Initialized", "True", "Initialized"),
        ("CertificatesAvailable", "True", "Available"),
        ("EtcdClusterHealthy", "True", "Healthy"),
        ("ControlPlaneComponentsHealthy", "True", "Healthy"),
        ("MachinesReady", "True", "Ready"),
        ("MachinesUpToDate", "True", "UpToDate"),
        ("RollingOut", "False", "NotRollingOut"),
        ("ScalingUp", "False", "NotScalingUp"),
        ("ScalingDown", "False", "NotScalingDown"),
        ("Remediating", "False", "NotRemediating"),
        ("Deleting", "False", "NotDeleting"),
    ] {
        assert_eq!(says(&report, type_), triple(status, reason, ""), "{type_}");
    }
    let status = serde_json::to_value(&report.control_plane).unwrap()["status"].clone();
    for counter in [
        "replicas",
        "readyReplicas",
        "availableReplicas",
        "upToDateReplicas",
    ] {
        assert_eq!(status[counter], 3, "{counter}");
    }
    assert_eq!(status["version"], "v1.35.0");
    assert_eq!(
        status["versions"],
        json!([{ "version": "v1.35.0", "replicas": 3 }])
    );
    assert_eq!(
        status["initialization"],
        json!({ "controlPlaneInitialized": true })
    );
    assert_eq!(status["observedGeneration"], 1);
    assert_eq!(status["deprecated"]["v1beta1"]["readyReplicas"], 3);
    assert_eq!(status["deprecated"]["v1beta1"]["unavailableReplicas"], 0);
}

#[test]
fn reporting_twice_changes_nothing() {
    let mut world = running(3, json!({}));
    let first = reported(&world);
    for machine in first.machines {
        let view = world
            .machines
            .iter_mut()
            .find(|view| view.machine.metadata.name == machine.metadata.name)
            .unwrap();
        view.machine = Arc::new(machine);
    }
    world.control_plane = first.control_plane;
    let later = now() + SignedDuration::from_secs(30);
    let second = report(
        &world,
        &plan(&world, &NothingInUse, later),
        later,
        SignedDuration::from_mins(5),
    );
    assert_eq!(second.control_plane, world.control_plane);
    assert!(second.machines.is_empty());
}

#[test]
fn blocked_scaling_says_why() {
    let mut world = running(1, json!({ "spec": { "replicas": 3 } }));
    world.template = Template::Missing;
    let mut machine = world.machines[0].machine.as_ref().clone();
    machine.status.as_mut().unwrap().node_ref = None;
    world.machines[0].machine = Arc::new(machine);
    let report = reported(&world);
    assert_eq!(
        says(&report, "ScalingUp"),
        triple(
            "True",
            "ScalingUp",
            "Scaling up from 1 to 3 replicas is blocked because:\n\
             * waiting for control plane components to become healthy\n\
             * DevMachineTemplate does not exist"
        )
    );
}

#[test]
fn a_rollout_lists_its_reasons() {
    let world = running(2, json!({ "spec": { "version": "v1.36.0" } }));
    assert_eq!(
        says(&reported(&world), "RollingOut"),
        triple(
            "True",
            "RollingOut",
            "Rolling out 2 not up-to-date replicas\n* Version v1.35.0, v1.36.0 required\n* KubeadmConfig is not up-to-date"
        )
    );
}

#[test]
fn deletion_tells_its_stages() {
    let deleting = json!({ "metadata": { "deletionTimestamp": "2026-11-20T11:59:00Z" } });
    let mut world = running(2, deleting);
    world.workers = vec![("worker Machines", vec!["w0".into(), "w1".into()])];
    assert_eq!(
        says(&reported(&world), "Deleting"),
        triple(
            "True",
            "WaitingForWorkersDeletion",
            "KubeadmControlPlane deletion blocked because following objects still exist:\n* worker Machines: w0, w1"
        )
    );
    world.workers.clear();
    let report = reported(&world);
    assert_eq!(
        says(&report, "Deleting"),
        triple("True", "WaitingForMachineDeletion", "Deleting 2 Machines")
    );
    assert_eq!(
        says(&report, "ScalingDown").2,
        "Scaling down from 2 to 0 replicas"
    );
}

#[test]
fn old_conditions_follow_the_new_ones() {
    let report = reported(&running(1, json!({})));
    let status = serde_json::to_value(&report.control_plane).unwrap()["status"].clone();
    let old: BTreeMap<String, String> = status["deprecated"]["v1beta1"]["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|condition| {
            (
                condition["type"].as_str().unwrap().to_owned(),
                condition["status"].as_str().unwrap().to_owned(),
            )
        })
        .collect();
    for type_ in [
        "Ready",
        "Available",
        "CertificatesAvailable",
        "ControlPlaneComponentsHealthy",
        "EtcdClusterHealthy",
        "MachinesCreated",
        "MachinesSpecUpToDate",
        "Resized",
    ] {
        assert_eq!(
            old.get(type_).map(String::as_str),
            Some("True"),
            "{type_}: {old:?}"
        );
    }
}
