use serde_json::json;

use super::{
    super::up_to_date::{condition, differences},
    *,
};

#[test]
fn each_difference_has_its_words() {
    let after = json!({ "after": "2026-11-20T11:30:00Z" });
    let cases = [
        (json!({}), vec![]),
        (
            json!({ "spec": { "version": "v1.36.0" } }),
            vec![
                "Version v1.35.0, v1.36.0 required".to_owned(),
                "KubeadmConfig is not up-to-date".to_owned(),
            ],
        ),
        (
            json!({ "spec": { "kubeadmConfigSpec": { "preKubeadmCommands": ["true"] } } }),
            vec!["KubeadmConfig is not up-to-date".to_owned()],
        ),
        (
            json!({ "spec": { "machineTemplate": { "spec": { "infrastructureRef": { "name": "other" } } } } }),
            vec!["DevMachine is not up-to-date".to_owned()],
        ),
        (
            json!({ "spec": { "rollout": after } }),
            vec!["KubeadmControlPlane spec.rolloutAfter expired".to_owned()],
        ),
    ];
    for (changes, expected) in cases {
        let world = running(1, changes.clone());
        assert_eq!(
            differences(&world, &world.machines[0], now()),
            expected,
            "{changes}"
        );
    }
}

#[test]
fn what_others_fill_in_is_no_difference() {
    let mut world = running(2, json!({}));
    for view in &mut world.machines {
        let config = Arc::make_mut(view.config.as_mut().unwrap());
        config
            .spec
            .cluster_configuration
            .get_or_insert_default()
            .control_plane_endpoint = Some("10.0.0.1:6443".into());
        if let Some(join) = &mut config.spec.join_configuration {
            join.discovery = serde_json::from_value(json!({ "bootstrapToken": { "token": "a.b" } })).unwrap();
        }
    }
    for view in &world.machines {
        assert_eq!(
            differences(&world, view, now()),
            Vec::<String>::new(),
            "{}",
            view.name()
        );
    }
}

#[test]
fn a_changed_join_configuration_leaves_the_first_machine_alone() {
    let join = json!({ "nodeRegistration": { "criSocket": "other" } });
    let world = running(
        2,
        json!({ "spec": { "kubeadmConfigSpec": { "joinConfiguration": join } } }),
    );
    assert!(differences(&world, &world.machines[0], now()).is_empty());
    assert_eq!(
        differences(&world, &world.machines[1], now()),
        ["KubeadmConfig is not up-to-date"]
    );
}

#[test]
fn certificates_that_expire_soon_ask_for_a_rollout() {
    let mut world = running(
        1,
        json!({ "spec": { "rollout": { "before": { "certificatesExpiryDays": 10 } } } }),
    );
    for (expiry, expected) in [("2026-11-29T12:00:00Z", true), ("2026-12-01T12:00:00Z", false)] {
        let mut machine = world.machines[0].machine.as_ref().clone();
        machine.status.as_mut().unwrap().certificates_expiry_date =
            serde_json::from_value(json!(expiry)).unwrap();
        world.machines[0].machine = Arc::new(machine);
        assert_eq!(
            !differences(&world, &world.machines[0], now()).is_empty(),
            expected,
            "{expiry}"
        );
    }
}

#[test]
fn the_condition_lists_the_differences() {
    let world = running(1, json!({ "spec": { "version": "v1.35.1" } }));
    let draft = condition(&world, &world.machines[0], now());
    assert_eq!(
        (draft.reason.as_str(), draft.message.as_str()),
        ("NotUpToDate", "* Version v1.35.0, v1.35.1 required")
    );
}
