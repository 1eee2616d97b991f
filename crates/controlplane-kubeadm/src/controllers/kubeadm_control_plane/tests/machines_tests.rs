use serde_json::json;

use super::{
    super::machines::{desired_config, new_machine, readiness_gates},
    *,
};

#[test]
fn the_first_machine_has_all_labels_owners_and_references() {
    let metadata = json!({ "labels": { "team": "a" }, "annotations": { "note": "b" } });
    let world = world(json!({ "spec": { "machineTemplate": { "metadata": metadata } } }));
    let new = new_machine(&world, "cp-abcde", Role::Init, Some("zone".into())).unwrap();
    let value = serde_json::to_value(&new.machine).unwrap();
    assert_eq!(
        value["metadata"]["labels"],
        json!({
            "team": "a",
            "cluster.x-k8s.io/cluster-name": "c",
            "cluster.x-k8s.io/control-plane": "",
            "cluster.x-k8s.io/control-plane-name": "cp",
        })
    );
    assert_eq!(
        value["metadata"]["annotations"],
        json!({ "note": "b", "pre-terminate.delete.hook.machine.cluster.x-k8s.io/kcp-cleanup": "" })
    );
    assert_eq!(value["metadata"]["ownerReferences"][0]["controller"], true);
    assert_eq!(value["spec"]["version"], "v1.35.0");
    assert_eq!(value["spec"]["failureDomain"], "zone");
    assert_eq!(
        value["spec"]["infrastructureRef"],
        json!({ "apiGroup": "infrastructure.cluster.x-k8s.io", "kind": "DevMachine", "name": "cp-abcde" })
    );
    assert_eq!(
        value["spec"]["bootstrap"]["configRef"],
        json!({ "apiGroup": "bootstrap.cluster.x-k8s.io", "kind": "KubeadmConfig", "name": "cp-abcde" })
    );
    let gates: Vec<&str> = new
        .machine
        .spec
        .readiness_gates
        .iter()
        .map(|gate| gate.condition_type.as_str())
        .collect();
    assert_eq!(gates.len(), 6);
    assert_eq!(gates[0], "NodeKubeadmLabelsAndTaintsSet");

    let infrastructure = serde_json::to_value(&new.infrastructure).unwrap();
    assert_eq!(infrastructure["kind"], "DevMachine");
    assert_eq!(infrastructure["spec"], json!({ "backend": { "inMemory": {} } }));
    let annotations = &infrastructure["metadata"]["annotations"];
    assert_eq!(annotations["cluster.x-k8s.io/cloned-from-name"], "template");
    assert_eq!(
        annotations["cluster.x-k8s.io/cloned-from-groupkind"],
        "DevMachineTemplate.infrastructure.cluster.x-k8s.io"
    );
    assert_eq!(
        infrastructure["metadata"]["ownerReferences"][0].get("controller"),
        None
    );
    assert_eq!(new.infrastructure_resource.plural, "devmachines");
}

#[test]
fn init_and_join_get_their_own_half_of_the_configuration() {
    let world = world(json!({}));
    let init = serde_json::to_value(desired_config(&world, Role::Init)).unwrap();
    assert!(init.get("joinConfiguration").is_none() && init.get("initConfiguration").is_some());
    let join = serde_json::to_value(desired_config(&world, Role::Join)).unwrap();
    assert!(join.get("initConfiguration").is_none());
    assert_eq!(join["joinConfiguration"]["controlPlane"], json!({}));
}

#[test]
fn the_kubelets_local_mode_is_switched_on_where_it_is_needed() {
    for (version, changes, expected) in [
        ("v1.35.0", json!({}), Some(true)),
        ("v1.36.0", json!({}), None),
        ("v1.30.9", json!({}), None),
        (
            "v1.31.0",
            json!({ "ControlPlaneKubeletLocalMode": false }),
            Some(false),
        ),
    ] {
        let world = world(json!({ "spec": { "version": version,
            "kubeadmConfigSpec": { "clusterConfiguration": { "featureGates": changes, "imageRepository": "r" } } } }));
        let config = desired_config(&world, Role::Init).cluster_configuration.unwrap();
        assert_eq!(
            config.feature_gates.get("ControlPlaneKubeletLocalMode").copied(),
            expected,
            "{version}"
        );
    }
}

#[test]
fn users_gates_come_last_and_once() {
    let gates =
        json!([{ "conditionType": "EtcdPodHealthy" }, { "conditionType": "Mine", "polarity": "Negative" }]);
    let world = world(json!({ "spec": { "machineTemplate": { "spec": { "readinessGates": gates } } } }));
    let gates = readiness_gates(&world);
    assert_eq!(gates.len(), 7);
    assert_eq!(gates[6].condition_type, "Mine");
}

#[test]
fn a_synced_machine_keeps_what_the_api_server_and_others_added() {
    let mut world = running(1, json!({}));
    let mut machine = world.machines[0].machine.as_ref().clone();
    machine.spec.deletion = serde_json::from_value(json!({ "nodeDeletionTimeoutSeconds": 10 })).unwrap();
    machine
        .metadata
        .labels
        .get_or_insert_default()
        .insert("other".into(), "x".into());
    assert!(!machines::is_out_of_sync(&world, &machine));
    world.control_plane.spec.machine_template.spec.deletion =
        serde_json::from_value(json!({ "nodeDrainTimeoutSeconds": 60 })).unwrap();
    assert!(machines::is_out_of_sync(&world, &machine));
    let wanted = machines::with_timeouts(&world, &machine);
    assert_eq!(
        serde_json::to_value(&wanted.spec.deletion).unwrap(),
        json!({ "nodeDrainTimeoutSeconds": 60, "nodeDeletionTimeoutSeconds": 10 })
    );
}

#[test]
fn long_names_leave_room_for_the_suffix() {
    let world = world(json!({ "metadata": { "name": "a".repeat(70) } }));
    let name = machines::next_name(&world, |_| false);
    assert_eq!(name.len(), 63);
}

#[test]
fn names_follow_the_naming_template() {
    let naming = json!({ "template": "{{ .cluster.name }}-control-{{.random}}" });
    let world = world(json!({ "spec": { "machineNaming": naming } }));
    let name = machines::next_name(&world, |_| false);
    assert!(name.starts_with("c-control-") && name.len() == 15, "{name}");
}

#[test]
fn the_objects_of_a_machine_follow_the_template_too() {
    let mut world = running(1, json!({}));
    assert!(!machines::needs_sync(&world, &world.machines[0]));
    let config = Arc::make_mut(world.machines[0].config.as_mut().unwrap());
    config.metadata.labels = None;
    assert!(machines::needs_sync(&world, &world.machines[0]));
}

#[test]
fn a_spec_that_was_not_seen_through_is_compared_in_full() {
    let world = running(1, json!({ "metadata": { "generation": 2 } }));
    assert!(machines::needs_sync(&world, &world.machines[0]));
}

#[test]
fn only_timeouts_matter_to_a_deleted_machine() {
    let mut world = running(
        1,
        json!({ "spec": { "machineTemplate": { "metadata": { "labels": { "team": "a" } } } } }),
    );
    let machine = Arc::make_mut(&mut world.machines[0].machine);
    machine.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now()));
    assert!(!machines::needs_sync(&world, &world.machines[0]));
    world.control_plane.spec.machine_template.spec.deletion =
        serde_json::from_value(json!({ "nodeDrainTimeoutSeconds": 60 })).unwrap();
    assert!(machines::needs_sync(&world, &world.machines[0]));
}

#[test]
fn the_successor_of_a_machine_that_was_given_up_says_so_and_has_another_name() {
    let record = r#"{"machine":"m3","timestamp":"2026-11-20T11:59:00Z","retryCount":1}"#;
    let name = "controlplane.cluster.x-k8s.io/remediation-in-progress";
    let world = running(2, json!({ "metadata": { "annotations": { name: record } } }));
    let new = new_machine(&world, "m", Role::Join, None).unwrap();
    let annotation = "controlplane.cluster.x-k8s.io/remediation-for";
    assert_eq!(
        new.machine.metadata.annotations.as_ref().unwrap()[annotation],
        record
    );
    assert_eq!(
        machines::intent(&world, &new.machine)["metadata"]["annotations"][annotation],
        record,
        "and keeps saying so"
    );
    assert_ne!(
        machines::next_name(&world, |_| false),
        machines::next_name(&running(2, json!({})), |_| false)
    );
}
