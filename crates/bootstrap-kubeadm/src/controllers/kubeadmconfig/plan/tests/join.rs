//! Machines that join: workers and control-plane machines.

use super::*;

#[test]
fn a_worker_joins_with_a_token_and_a_taint_that_stays_out_of_the_object() {
    let world = join_world(false);
    let plan = planned(&world, &facts(&world));
    assert_eq!(
        names(&plan),
        [
            "write spec",
            "create token abcdef until 2026-01-01T00:15:00Z",
            "create data"
        ]
    );
    assert_eq!(plan.next, Some(Duration::from_secs(300)));
    let Action::WriteSpec(spec) = &plan.actions[0] else {
        panic!()
    };
    let join = spec.join_configuration.as_ref().unwrap();
    assert!(join.node_registration.is_none(), "the taint is not written");
    let token = join.discovery.as_ref().unwrap().bootstrap_token.as_ref().unwrap();
    assert_eq!(
        (token.token.as_deref(), token.api_server_endpoint.as_deref()),
        (Some(TOKEN), Some("10.0.0.9:6443"))
    );
    assert!(token.ca_cert_hashes[0].starts_with("sha256:"));
    let text = user_data(&plan);
    assert!(
        text.contains("          key: node.cluster.x-k8s.io/uninitialized\n")
            || text.contains("key: node.cluster.x-k8s.io/uninitialized")
    );
    assert!(
        text.contains("kubeadm join --config /run/kubeadm/kubeadm-join-config.yaml")
            && !text.contains("PRIVATE KEY")
    );
}

#[test]
fn a_worker_that_finds_its_cluster_by_file_gets_the_file_and_no_token() {
    let world = world(
        config(json!({"joinConfiguration": {
            "discovery": {"file": {"kubeConfigPath": "/etc/kubernetes/discovery.conf", "kubeConfig": {
                "user": {"exec": {"command": "/bin/token"}}}}},
            "nodeRegistration": {"taints": []}}})),
        machine(false),
        cluster(true),
    );
    // No token is needed, so nobody has to be reached.
    let facts = Facts {
        workload: Some(Err("connection refused".to_owned())),
        ..facts(&world)
    };
    let plan = planned(&world, &facts);
    assert_eq!(names(&plan), ["write spec", "create data"]);
    assert_eq!(plan.next, None);
    let Action::WriteSpec(spec) = &plan.actions[0] else {
        panic!()
    };
    let discovery = spec
        .join_configuration
        .as_ref()
        .unwrap()
        .discovery
        .as_ref()
        .unwrap();
    assert_eq!(discovery.bootstrap_token, None);
    let target = discovery.file.as_ref().unwrap().kube_config.as_ref().unwrap();
    let target = target.cluster.as_ref().unwrap();
    assert_eq!(target.server.as_deref(), Some("https://10.0.0.9:6443"));
    assert!(
        target
            .certificate_authority_data
            .as_ref()
            .unwrap()
            .0
            .starts_with(b"-----BEGIN CERTIFICATE")
    );
    let text = user_data(&plan);
    for part in [
        "-   path: /etc/kubernetes/discovery.conf",
        "        server: https://10.0.0.9:6443",
        "        kubeConfigPath: /etc/kubernetes/discovery.conf",
        "key: node.cluster.x-k8s.io/uninitialized",
    ] {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
}

#[test]
fn the_users_token_endpoint_and_pins_are_respected() {
    let joins = |token: Value| {
        let spec = json!({"joinConfiguration": {"discovery": {"bootstrapToken": token}}});
        let world = world(config(spec), machine(false), cluster(true));
        let plan = planned(&world, &facts(&world));
        let written = plan.actions.iter().find_map(|action| match action {
            Action::WriteSpec(spec) => Some((**spec).clone()),
            _ => None,
        });
        let spec = written.unwrap_or_else(|| world.config.spec.clone());
        let discovery = spec.join_configuration.unwrap().discovery.unwrap();
        (names(&plan), discovery.bootstrap_token.unwrap())
    };
    let own = json!({"token": "uuuuuu.uuuuuuuuuuuuuuuu", "apiServerEndpoint": "lb:443", "caCertHashes": ["sha256:00"]});
    let (actions, token) = joins(own.clone());
    assert_eq!(
        actions,
        ["create token uuuuuu until 2026-01-01T00:15:00Z", "create data"]
    );
    assert_eq!(serde_json::to_value(token).unwrap(), own);
    let (_, token) = joins(json!({"unsafeSkipCAVerification": true}));
    assert!(
        token.ca_cert_hashes[0].starts_with("sha256:"),
        "pinned all the same"
    );
    assert_eq!(token.token.as_deref(), Some(TOKEN));
}

#[test]
fn a_joining_control_plane_machine_carries_the_certificates_and_frees_the_lock() {
    let world = join_world(true);
    let facts = Facts {
        lock: Some(Lock {
            holder: "m0".to_owned(),
            holder_lives: true,
            uid: None,
        }),
        ..facts(&world)
    };
    let plan = planned(&world, &facts);
    assert_eq!(names(&plan)[..2], ["drop lock of m0", "write spec"]);
    let text = user_data(&plan);
    assert!(
        text.contains("controlPlane:\n        localAPIEndpoint: {}")
            && text.contains("/etc/kubernetes/pki/sa.key")
    );
    assert!(!text.contains("uninitialized"));
}

#[test]
fn a_repeated_plan_after_a_crash_spends_no_second_token() {
    let world = join_world(false);
    let first = planned(&world, &facts(&world));
    let Action::WriteSpec(spec) = &first.actions[0] else {
        panic!()
    };
    let mut config = (*world.config).clone();
    config.spec = (**spec).clone();
    let world = World {
        config: Arc::new(config),
        ..world
    };
    let mut facts = facts(&world);
    facts.fresh_token = Some("zzzzzz.zzzzzzzzzzzzzzzz".parse().unwrap());
    assert_eq!(
        names(&planned(&world, &facts)),
        ["create token abcdef until 2026-01-01T00:15:00Z", "create data"]
    );
    facts.workload = Some(Ok(TokenFact::Expires(Some(life().expiry(now())))));
    let second = planned(&world, &facts);
    assert_eq!(names(&second), ["create data"]);
    let Action::CreateData(secret) = &second.actions[0] else {
        panic!()
    };
    facts.data = Some((**secret).clone());
    assert!(
        planned(&world, &facts).actions.is_empty(),
        "only the status is left to write"
    );
}
