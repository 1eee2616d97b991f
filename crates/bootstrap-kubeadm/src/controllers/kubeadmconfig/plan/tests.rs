use std::sync::Arc;

use capi_api::bootstrap::v1beta2::KubeadmConfig;
use capi_api::core::v1beta2::{Cluster, Machine, MachinePool};
use capi_api::secrets::VALUE_KEY;
use cluster_pki::PooledKeys;
use serde_json::{Value, json};

use super::*;
use crate::controllers::kubeadmconfig::certificates::{self, Certificates};
use crate::controllers::kubeadmconfig::world::TokenFact;

const NOW: &str = "2026-01-01T00:00:00Z";
const TOKEN: &str = "abcdef.0123456789abcdef";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

fn life() -> TokenLife {
    TokenLife {
        ttl: SignedDuration::from_mins(15),
    }
}

fn read<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn cluster(initialized: bool) -> Value {
    json!({
        "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster",
        "metadata": {"name": "c1", "namespace": "ns", "uid": "cluster-uid"},
        "spec": {
            "clusterNetwork": {"pods": {"cidrBlocks": ["192.168.0.0/16"]}, "services": {"cidrBlocks": ["10.96.0.0/12"]}, "serviceDomain": "cluster.local"},
            "controlPlaneEndpoint": {"host": "10.0.0.9", "port": 6443},
            "controlPlaneRef": {"apiGroup": "controlplane.cluster.x-k8s.io", "kind": "KubeadmControlPlane", "name": "cp"}},
        "status": {"initialization": {"infrastructureProvisioned": true, "controlPlaneInitialized": initialized}},
    })
}

fn machine(control_plane: bool) -> Value {
    let labels = if control_plane {
        json!({"cluster.x-k8s.io/control-plane": ""})
    } else {
        json!({})
    };
    json!({
        "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Machine",
        "metadata": {"name": "m1", "namespace": "ns", "labels": labels},
        "spec": {"clusterName": "c1", "version": "v1.36.0", "bootstrap": {},
            "infrastructureRef": {"apiGroup": "infrastructure.cluster.x-k8s.io", "kind": "DevMachine", "name": "m1"}},
    })
}

fn config(spec: Value) -> Value {
    json!({
        "apiVersion": "bootstrap.cluster.x-k8s.io/v1beta2", "kind": "KubeadmConfig",
        "metadata": {"name": "k1", "namespace": "ns", "uid": "config-uid", "creationTimestamp": NOW},
        "spec": spec,
    })
}

fn world(config: Value, machine: Value, cluster: Value) -> World {
    World {
        config: Arc::new(read::<KubeadmConfig>(config)),
        owner: Owner::Machine(Arc::new(read::<Machine>(machine))),
        cluster: Some(Arc::new(read::<Cluster>(cluster))),
    }
}

fn init_world() -> World {
    world(
        config(json!({"clusterConfiguration": {"apiServer": {"certSANs": ["x"]}}})),
        machine(true),
        cluster(false),
    )
}

fn join_world(control_plane: bool) -> World {
    world(config(json!({})), machine(control_plane), cluster(true))
}

/// All facts as they should be.
fn facts(world: &World) -> Facts {
    let certificates = Certificates::of_control_plane(None);
    let secret = |purpose| {
        let pair = certificates::generate(purpose, None, &PooledKeys::new(), now()).unwrap();
        Some(certificates::secret(
            world.cluster.as_ref().unwrap(),
            purpose,
            &world.config,
            pair,
        ))
    };
    Facts {
        certificates: certificates
            .purposes()
            .into_iter()
            .map(|purpose| (purpose, secret(purpose)))
            .collect(),
        workload: Some(Ok(TokenFact::Missing)),
        fresh_token: Some(TOKEN.parse().unwrap()),
        ..Facts::default()
    }
}

fn names(plan: &Plan) -> Vec<String> {
    let name = |action: &Action| match action {
        Action::DropLock(lock) => format!("drop lock of {}", lock.holder),
        Action::TakeLock => "take lock".to_owned(),
        Action::Generate(purposes) => format!("generate {}", purposes.len()),
        Action::WriteSpec(_) => "write spec".to_owned(),
        Action::CreateToken(token, expires) => format!("create token {} until {expires}", token.id()),
        Action::ExtendToken(token, expires) => format!("extend token {} until {expires}", token.id()),
        Action::CreateData(_) => "create data".to_owned(),
        Action::ReplaceData(..) => "replace data".to_owned(),
    };
    plan.actions.iter().map(name).collect()
}

fn user_data(plan: &Plan) -> String {
    let secret = plan.actions.iter().find_map(|action| match action {
        Action::CreateData(secret) | Action::ReplaceData(_, secret) => Some(secret.clone()),
        _ => None,
    });
    String::from_utf8(secret.unwrap().data.unwrap()[VALUE_KEY].0.clone()).unwrap()
}

fn message(plan: &Plan) -> String {
    match &plan.report.data {
        Some(Data::Failed(text) | Data::WaitsForControlPlane(text) | Data::WaitsForInfrastructure(text)) => {
            text.clone()
        }
        Some(Data::Available(secret)) => format!("available in {secret}"),
        None => String::new(),
    }
}

fn planned(world: &World, facts: &Facts) -> Plan {
    plan(world, facts, life(), now())
}

#[test]
fn the_first_control_plane_machine_takes_the_lock_and_gets_its_data() {
    let world = init_world();
    let plan = planned(&world, &facts(&world));
    assert_eq!(names(&plan), ["take lock", "create data"]);
    assert_eq!(message(&plan), "available in k1");
    let text = user_data(&plan);
    for line in [
        "-   path: /etc/kubernetes/pki/etcd/ca.key",
        "      clusterName: c1",
        "      controlPlaneEndpoint: 10.0.0.9:6443",
        "      kubernetesVersion: v1.36.0",
        "        podSubnet: 192.168.0.0/16",
        "  - 'kubeadm init --config /run/kubeadm/kubeadm.yaml  && echo success > /run/cluster-api/bootstrap-success.complete'",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is missing in\n{text}");
    }
}

#[test]
fn the_lock_of_another_machine_is_waited_for_unless_that_is_gone() {
    let world = init_world();
    let lock = |holder: &str, holder_lives| Facts {
        lock: Some(Lock {
            holder: holder.to_owned(),
            holder_lives,
            uid: None,
        }),
        ..facts(&world)
    };
    assert_eq!(names(&planned(&world, &lock("m1", true))), ["create data"]);
    assert_eq!(
        names(&planned(&world, &lock("m2", false))),
        ["drop lock of m2", "take lock", "create data"]
    );
    let waits = planned(&world, &lock("m2", true));
    assert!(waits.actions.is_empty() && waits.next.is_some());
    assert_eq!(
        message(&waits),
        "Waiting for Cluster control plane to be initialized: Machine m2 is at it"
    );
}

#[test]
fn certificates_are_made_only_where_no_control_plane_provider_makes_them() {
    let mut world = init_world();
    let missing = Facts::default();
    let waits = planned(&world, &missing);
    assert!(waits.actions.is_empty());
    assert_eq!(
        message(&waits),
        "Waiting for Secrets c1-ca, c1-etcd, c1-proxy, c1-sa in namespace ns, made by KubeadmControlPlane cp"
    );
    assert!(matches!(
        waits.report.certificates,
        Some(CertificatesState::Missing(_))
    ));
    Arc::make_mut(world.cluster.as_mut().unwrap())
        .spec
        .control_plane_ref = None;
    let made = planned(&world, &missing);
    assert_eq!(names(&made), ["take lock", "generate 4"]);
    assert!(made.again && made.report == Report::default());
}

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

fn with_data(mut config: Value) -> Value {
    config["status"] = json!({"dataSecretName": "k1", "initialization": {"dataSecretCreated": true}});
    config
}

fn joined_spec() -> Value {
    json!({"joinConfiguration": {"discovery": {"bootstrapToken": {"token": TOKEN, "apiServerEndpoint": "10.0.0.9:6443", "caCertHashes": ["sha256:00"]}}}})
}

#[test]
fn a_token_is_kept_alive_until_its_machine_has_joined() {
    let mut world = world(with_data(config(joined_spec())), machine(false), cluster(true));
    let expires = |minutes| Facts {
        workload: Some(Ok(TokenFact::Expires(Some(
            now() + SignedDuration::from_mins(minutes),
        )))),
        ..facts(&world)
    };
    assert_eq!(names(&planned(&world, &expires(14))), [""; 0]);
    assert_eq!(
        names(&planned(&world, &expires(10))),
        ["extend token abcdef until 2026-01-01T00:15:00Z"]
    );
    // The machine may still boot with the data it got: the very same token is made to work again.
    assert_eq!(
        names(&planned(&world, &facts(&world))),
        ["create token abcdef until 2026-01-01T00:15:00Z"]
    );
    let kept = planned(&world, &facts(&world));
    assert_eq!(
        (message(&kept).as_str(), kept.next),
        ("available in k1", Some(Duration::from_secs(300)))
    );
    let Owner::Machine(machine) = &mut world.owner else {
        panic!()
    };
    Arc::make_mut(machine).status = Some(read(json!({"nodeRef": {"name": "n1"}})));
    let done = planned(&world, &Facts::default());
    assert!(done.actions.is_empty() && done.next.is_none());
}

#[test]
fn a_pool_gets_a_new_token_in_new_data() {
    let pool: MachinePool = read(json!({
        "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "MachinePool", "metadata": {"name": "p1", "namespace": "ns"},
        "spec": {"clusterName": "c1", "template": {"spec": machine(false)["spec"]}},
        "status": {"nodeRefs": [{"name": "n1"}]},
    }));
    let world = World {
        owner: Owner::MachinePool(Arc::new(pool)),
        ..world(with_data(config(joined_spec())), machine(false), cluster(true))
    };
    let facts = Facts {
        workload: Some(Ok(TokenFact::Expires(Some(now() + SignedDuration::from_mins(5))))),
        fresh_token: Some("zzzzzz.zzzzzzzzzzzzzzzz".parse().unwrap()),
        ..facts(&world)
    };
    let plan = planned(&world, &facts);
    assert_eq!(
        names(&plan),
        [
            "write spec",
            "create token zzzzzz until 2026-01-01T00:15:00Z",
            "create data"
        ]
    );
    assert!(user_data(&plan).contains("token: zzzzzz.zzzzzzzzzzzzzzzz"));
}

#[test]
fn data_that_the_owner_already_has_is_adopted() {
    let mut machine = machine(false);
    machine["spec"]["bootstrap"]["dataSecretName"] = json!("from-backup");
    let plan = planned(
        &world(config(json!({})), machine, cluster(true)),
        &Facts::default(),
    );
    assert_eq!(message(&plan), "available in from-backup");
    assert_eq!(plan.report.certificates, Some(CertificatesState::Available));
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

#[test]
fn somebody_elses_secret_is_left_alone() {
    let world = join_world(false);
    let foreign: Secret = read(json!({
        "metadata": {"name": "k1", "namespace": "ns", "ownerReferences": [
            {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u", "controller": true}]},
        "type": "cluster.x-k8s.io/secret",
    }));
    let plan = planned(
        &world,
        &Facts {
            data: Some(foreign),
            ..facts(&world)
        },
    );
    assert!(plan.actions.is_empty());
    assert_eq!(
        message(&plan),
        "Secret ns/k1 belongs to Pod p; delete it or rename this KubeadmConfig"
    );
}

#[test]
fn an_own_secret_that_lost_its_owner_gets_it_back() {
    let world = join_world(false);
    let first = planned(&world, &facts(&world));
    let Some(Action::CreateData(secret)) = first.actions.last() else {
        panic!()
    };
    let mut orphan = (**secret).clone();
    orphan.metadata.owner_references = None;
    let plan = planned(
        &world,
        &Facts {
            data: Some(orphan),
            ..facts(&world)
        },
    );
    let Some(Action::ReplaceData(_, after)) = plan.actions.last() else {
        panic!()
    };
    assert_eq!(after.owner_references()[0].uid, "config-uid");
    let mut orphan = (**secret).clone();
    assert_eq!(mended_owner(&world.config, &orphan), None);
    orphan.metadata.owner_references = None;
    let (_, mended) = mended_owner(&world.config, &orphan).unwrap();
    assert_eq!(mended, **secret);
}
