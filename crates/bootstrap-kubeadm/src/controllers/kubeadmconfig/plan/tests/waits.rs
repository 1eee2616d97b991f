//! What is waited for, and what the conditions say about it.

use super::*;

#[test]
fn waits_and_troubles_name_object_field_and_remedy() {
    let with = |spec: Value, control_plane, initialized| {
        world(config(spec), machine(control_plane), cluster(initialized))
    };
    let cases: Vec<(World, &str)> = vec![
        (
            world(config(json!({})), machine(false), {
                let mut c = cluster(false);
                c["status"] = json!({});
                c
            }),
            "Waiting for Cluster status.infrastructureReady to be true",
        ),
        (
            with(json!({}), false, false),
            "Waiting for Cluster control plane to be initialized",
        ),
        (
            with(json!({"joinConfiguration": {"controlPlane": {}}}), true, false),
            "Waiting for Cluster control plane to be initialized",
        ),
        (
            with(json!({"format": "ignition", "bootCommands": ["x"]}), false, true),
            "spec.bootCommands cannot be used with format ignition, which runs nothing that early; use preKubeadmCommands or a systemd unit",
        ),
        (
            with(
                json!({"format": "ignition", "ignition": {"containerLinuxConfig": {"additionalConfig": "etcd: {}"}}}),
                false,
                true,
            ),
            "spec.ignition.containerLinuxConfig.additionalConfig cannot be used: etcd: is not supported beside kubeadm; write a unit or a drop-in under systemd.units",
        ),
        (
            with(
                json!({"files": [{"path": "/a", "content": "{{ nope }}", "contentFormat": "Template"}]}),
                false,
                true,
            ),
            "Failed to prepare spec.files: spec.files[0] (/a) is a template that cannot be rendered (line 1: function \"nope\" not defined); correct it",
        ),
        (
            with(json!({"joinConfiguration": {"controlPlane": {}}}), false, true),
            "spec.joinConfiguration.controlPlane is set, but Machine m1 is a worker (it has no label cluster.x-k8s.io/control-plane); remove it",
        ),
        (
            with(
                json!({"files": [{"path": "/a", "contentFrom": {"secret": {"name": "s", "key": "k"}}}]}),
                false,
                true,
            ),
            "Failed to prepare spec.files: spec.files[0] (/a) contentFrom: Secret ns/s does not exist; create it",
        ),
        (
            with(
                json!({"users": [{"name": "u", "passwdFrom": {"secret": {"name": "s", "key": "k"}}}]}),
                false,
                true,
            ),
            "Failed to read password from secrets for spec.users: spec.users[0] (u) passwdFrom: Secret ns/s does not exist; create it",
        ),
        (
            with(
                json!({"joinConfiguration": {"discovery": {"bootstrapToken": {"token": "bad"}}}}),
                false,
                true,
            ),
            "spec.joinConfiguration.discovery.bootstrapToken.token is not of the form abcdef.0123456789abcdef; remove it to have one made",
        ),
        (
            world(config(json!({})), machine(false), {
                let mut c = cluster(true);
                c["spec"]["controlPlaneEndpoint"] = json!({});
                c
            }),
            "Waiting for spec.controlPlaneEndpoint of Cluster c1 to be set",
        ),
        (
            world(
                config(json!({})),
                {
                    let mut m = machine(false);
                    m["spec"]["version"] = json!("v1.20.0");
                    m
                },
                cluster(true),
            ),
            "kubeadm of Kubernetes v1.20.0 is too old; set spec.version of the Machine to v1.22.0 or later",
        ),
    ];
    for (world, want) in cases {
        let plan = planned(&world, &facts(&world));
        assert_eq!(message(&plan), want);
        assert!(plan.actions.is_empty(), "nothing is spent: {want}");
    }
}

#[test]
fn an_unreachable_cluster_is_waited_for_before_anything_is_written() {
    let world = join_world(false);
    let facts = Facts {
        workload: Some(Err("connection refused".to_owned())),
        ..facts(&world)
    };
    let plan = planned(&world, &facts);
    assert!(plan.actions.is_empty());
    assert_eq!(
        message(&plan),
        "Waiting for a connection to workload cluster ns/c1 to create a bootstrap token: connection refused"
    );
}

#[test]
fn a_configuration_that_nobody_uses_says_so_after_a_while() {
    let world = World {
        owner: Owner::Nobody,
        cluster: None,
        ..join_world(false)
    };
    let early = planned(&world, &Facts::default());
    assert_eq!(
        (early.report, early.next),
        (Report::default(), Some(Duration::from_secs(20)))
    );
    let late = plan(
        &world,
        &Facts::default(),
        life(),
        now() + SignedDuration::from_secs(21),
    );
    assert_eq!(
        message(&late),
        "Waiting for a Machine or MachinePool to use this KubeadmConfig: no owner reference names one"
    );
}
