//! KubeadmConfigs from creation to user data, and what happens to them afterwards, on an embedded API server.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here fails the test")]

mod plane;

use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, PostParams};
use plane::{Gate, Plane, condition, secret_name};
use serde_json::{Value, json};

fn cluster(control_plane_ref: bool) -> Value {
    let mut cluster = json!({
        "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster",
        "metadata": {"name": "c1", "namespace": "default"},
        "spec": {
            "clusterNetwork": {"pods": {"cidrBlocks": ["192.168.0.0/16"]}, "services": {"cidrBlocks": ["10.96.0.0/12"]}},
            "controlPlaneEndpoint": {"host": "10.0.0.9", "port": 6443},
            "infrastructureRef": {"apiGroup": "infrastructure.cluster.x-k8s.io", "kind": "DevCluster", "name": "c1"}},
        "status": {"initialization": {"infrastructureProvisioned": true}},
    });
    if control_plane_ref {
        cluster["spec"]["controlPlaneRef"] =
            json!({"apiGroup": "controlplane.cluster.x-k8s.io", "kind": "KubeadmControlPlane", "name": "cp"});
    }
    cluster
}

fn machine(name: &str, control_plane: bool) -> Value {
    let mut labels = json!({"cluster.x-k8s.io/cluster-name": "c1"});
    if control_plane {
        labels["cluster.x-k8s.io/control-plane"] = json!("");
    }
    json!({
        "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Machine",
        "metadata": {"name": name, "namespace": "default", "labels": labels},
        "spec": {"clusterName": "c1", "version": "v1.36.0",
            "bootstrap": {"configRef": {"apiGroup": "bootstrap.cluster.x-k8s.io", "kind": "KubeadmConfig", "name": name}},
            "infrastructureRef": {"apiGroup": "infrastructure.cluster.x-k8s.io", "kind": "DevMachine", "name": name}},
    })
}

/// A Machine and its configuration of the same name, as the machine controller leaves them.
async fn create_machine(plane: &Plane, name: &str, control_plane: bool, spec: Value) {
    let uid = plane
        .create(machine(name, control_plane))
        .await
        .metadata
        .uid
        .unwrap();
    let mut config = json!({
        "apiVersion": "bootstrap.cluster.x-k8s.io/v1beta2", "kind": "KubeadmConfig",
        "metadata": {"name": name, "namespace": "default", "labels": {"cluster.x-k8s.io/cluster-name": "c1"},
            "ownerReferences": [{"apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Machine", "name": name, "uid": uid, "controller": true}]},
    });
    // The schema wants no spec rather than an empty one.
    if spec != json!({}) {
        config["spec"] = spec;
    }
    plane.create(config).await;
}

/// What turns up when a control plane has come up: the Cluster says so, and there is a kubeconfig.
async fn initialize(plane: &Plane) {
    plane
        .change(
            "Cluster",
            "c1",
            json!({"status": {"initialization": {"controlPlaneInitialized": true}}}),
        )
        .await;
    plane
        .create(json!({
            "apiVersion": "v1", "kind": "Secret", "type": "cluster.x-k8s.io/secret",
            "metadata": {"name": "c1-kubeconfig", "namespace": "default", "labels": {"cluster.x-k8s.io/cluster-name": "c1"}},
            "stringData": {"value": "{}"},
        }))
        .await;
}

fn init_spec() -> Value {
    json!({"clusterConfiguration": {"apiServer": {"certSANs": ["x.example"]}}, "initConfiguration": {"nodeRegistration": {"criSocket": "unix:///x"}}})
}

#[tokio::test(start_paused = true)]
async fn a_stand_alone_control_plane_and_a_worker_get_their_user_data() {
    let plane = Plane::start().await;
    plane.create(cluster(false)).await;
    create_machine(&plane, "cp-0", true, init_spec()).await;
    create_machine(&plane, "w-0", false, json!({})).await;

    let (secret, text) = plane.user_data("cp-0").await;
    assert_eq!(secret.type_.as_deref(), Some("cluster.x-k8s.io/secret"));
    assert_eq!(secret.data.as_ref().unwrap()["format"].0, b"cloud-config");
    assert_eq!(
        secret.metadata.labels.as_ref().unwrap()["cluster.x-k8s.io/cluster-name"],
        "c1"
    );
    assert!(
        secret.metadata.owner_references.as_ref().unwrap()[0]
            .controller
            .unwrap()
    );
    assert!(text.contains("kubeadm init --config") && text.contains("-----BEGIN RSA PRIVATE KEY-----"));
    let config = plane
        .config_that("cp-0", "is ready", |c| condition(c, "Ready").starts_with("True"))
        .await;
    assert_eq!(condition(&config, "Ready"), "True Ready: ");
    assert_eq!(condition(&config, "Paused"), "False NotPaused: ");
    assert_eq!(
        config.status.as_ref().unwrap().observed_generation,
        config.metadata.generation
    );
    let lock = plane.api("ConfigMap").get("c1-lock").await.unwrap();
    assert_eq!(lock.data["data"]["lock-information"], r#"{"machineName":"cp-0"}"#);
    assert_eq!(lock.metadata.owner_references.unwrap()[0].kind, "Cluster");
    for suffix in ["ca", "etcd", "proxy", "sa"] {
        let made = plane.api("Secret").get(&format!("c1-{suffix}")).await.unwrap();
        assert_eq!(made.metadata.owner_references.unwrap()[0].name, "cp-0");
    }

    let waits = plane
        .config_that("w-0", "waits", |c| {
            !condition(c, "DataSecretAvailable").is_empty()
        })
        .await;
    assert_eq!(
        condition(&waits, "DataSecretAvailable"),
        "False NotAvailable: Waiting for Cluster control plane to be initialized"
    );
    initialize(&plane).await;
    let (_, text) = plane.user_data("w-0").await;
    let joins = plane
        .config_that("w-0", "is ready", |c| condition(c, "Ready").starts_with("True"))
        .await;
    let discovery = joins
        .spec
        .join_configuration
        .unwrap()
        .discovery
        .unwrap()
        .bootstrap_token
        .unwrap();
    let token = discovery.token.unwrap();
    assert_eq!(discovery.api_server_endpoint.as_deref(), Some("10.0.0.9:6443"));
    assert!(text.contains(&format!("token: {token}")) && text.contains(&discovery.ca_cert_hashes[0]));
    assert!(text.contains("node.cluster.x-k8s.io/uninitialized") && !text.contains("PRIVATE KEY"));
    let (id, _) = token.split_once('.').unwrap();
    let known = plane
        .tokens()
        .get(&format!("bootstrap-token-{id}"))
        .await
        .unwrap();
    assert_eq!(known.type_.as_deref(), Some("bootstrap.kubernetes.io/token"));
    assert!(
        plane.api("ConfigMap").get_opt("c1-lock").await.unwrap().is_none(),
        "the first join frees the lock"
    );
}

#[tokio::test(start_paused = true)]
async fn a_machine_costs_few_writes_and_none_at_rest() {
    let plane = Plane::start().await;
    plane.create(cluster(false)).await;
    create_machine(&plane, "cp-0", true, init_spec()).await;
    plane.user_data("cp-0").await;
    initialize(&plane).await;
    plane.settle().await;
    create_machine(
        &plane,
        "cp-1",
        true,
        json!({"joinConfiguration": {"controlPlane": {}}}),
    )
    .await;
    let (_, text) = plane.user_data("cp-1").await;
    assert!(text.contains("kubeadm join") && text.contains("/etc/kubernetes/pki/etcd/ca.key"));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(
        plane.writes.take(),
        [
            "delete configmaps/c1-lock 200",
            "patch kubeadmconfigs/cp-1 200",
            "create secrets/ 201",
            "patch kubeadmconfigs/cp-1/status 200",
        ]
    );
    for name in ["cp-0", "cp-1"] {
        plane
            .change("Machine", name, json!({"status": {"nodeRef": {"name": name}}}))
            .await;
    }
    tokio::time::sleep(Duration::from_secs(1200)).await;
    assert!(plane.writes.take().is_empty());
}

#[tokio::test(start_paused = true)]
async fn only_one_of_two_machines_initialises_and_a_gone_holder_makes_room() {
    let plane = Plane::start().await;
    plane.create(cluster(false)).await;
    create_machine(&plane, "cp-0", true, init_spec()).await;
    plane.user_data("cp-0").await;
    create_machine(&plane, "cp-1", true, init_spec()).await;
    let message =
        "False NotAvailable: Waiting for Cluster control plane to be initialized: Machine cp-0 is at it";
    plane
        .config_that("cp-1", "waits", |c| {
            condition(c, "DataSecretAvailable") == message
        })
        .await;
    plane
        .api("Machine")
        .delete("cp-0", &Default::default())
        .await
        .unwrap();
    let (_, text) = plane.user_data("cp-1").await;
    assert!(text.contains("kubeadm init"));
    let lock = plane.api("ConfigMap").get("c1-lock").await.unwrap();
    assert_eq!(lock.data["data"]["lock-information"], r#"{"machineName":"cp-1"}"#);
}

#[tokio::test(start_paused = true)]
async fn a_missing_secret_is_named_and_its_appearance_helps() {
    let plane = Plane::start().await;
    plane.create(cluster(false)).await;
    let mut spec = init_spec();
    spec["files"] = json!([{"path": "/etc/x", "contentFrom": {"secret": {"name": "later", "key": "k"}}}]);
    create_machine(&plane, "cp-0", true, spec).await;
    let config = plane
        .config_that("cp-0", "complains", |c| condition(c, "Ready").contains("Secret"))
        .await;
    assert_eq!(
        condition(&config, "DataSecretAvailable"),
        "False NotAvailable: Failed to prepare spec.files: spec.files[0] (/etc/x) contentFrom: Secret default/later does not exist; create it"
    );
    assert!(
        plane.api("ConfigMap").get_opt("c1-lock").await.unwrap().is_none(),
        "nothing is claimed before"
    );
    plane
        .create(json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "later", "namespace": "default"}, "stringData": {"k": "the text"}}))
        .await;
    let (_, text) = plane.user_data("cp-0").await;
    assert!(text.contains("      the text\n"));
}

#[tokio::test(start_paused = true)]
async fn certificates_of_a_control_plane_provider_are_awaited() {
    let plane = Plane::start().await;
    plane.create(cluster(true)).await;
    create_machine(&plane, "cp-0", true, init_spec()).await;
    let config = plane
        .config_that("cp-0", "waits", |c| {
            condition(c, "CertificatesAvailable").contains("c1-ca")
        })
        .await;
    assert_eq!(
        condition(&config, "CertificatesAvailable"),
        "Unknown InternalError: Waiting for Secrets c1-ca, c1-etcd, c1-proxy, c1-sa in namespace default, made by KubeadmControlPlane cp"
    );
    assert!(secret_name(&config).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_token_lives_until_its_machine_has_joined() {
    let plane = Plane::start().await;
    plane.create(cluster(false)).await;
    create_machine(&plane, "cp-0", true, init_spec()).await;
    plane.user_data("cp-0").await;
    initialize(&plane).await;
    create_machine(&plane, "w-0", false, json!({})).await;
    plane.user_data("w-0").await;
    let expiry = || async {
        let list = plane.tokens().list(&Default::default()).await.unwrap().items;
        let tokens: Vec<&Secret> = list
            .iter()
            .filter(|s| s.metadata.name.as_ref().unwrap().starts_with("bootstrap-token-"))
            .collect();
        assert_eq!(tokens.len(), 1);
        let text = String::from_utf8(tokens[0].data.as_ref().unwrap()["expiration"].0.clone()).unwrap();
        (
            tokens[0].metadata.name.clone().unwrap(),
            text.parse::<jiff::Timestamp>().unwrap(),
        )
    };
    let (name, first) = expiry().await;
    tokio::time::sleep(Duration::from_secs(400)).await;
    let (_, second) = expiry().await;
    assert!(second > first, "{second} is later than {first}");
    plane.tokens().delete(&name, &Default::default()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(400)).await;
    assert_eq!(
        expiry().await.0,
        name,
        "the machine may boot yet: its token is made to work again"
    );
    plane
        .change("Machine", "w-0", json!({"status": {"nodeRef": {"name": "w-0"}}}))
        .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (_, last) = expiry().await;
    tokio::time::sleep(Duration::from_secs(2000)).await;
    assert_eq!(expiry().await.1, last);
}

#[tokio::test(start_paused = true)]
async fn a_paused_configuration_is_left_alone() {
    let plane = Plane::start().await;
    plane.create(cluster(false)).await;
    plane
        .change("Cluster", "c1", json!({"spec": {"paused": true}}))
        .await;
    create_machine(&plane, "cp-0", true, init_spec()).await;
    let config = plane
        .config_that("cp-0", "is paused", |c| {
            condition(c, "Paused").starts_with("True")
        })
        .await;
    assert_eq!(
        condition(&config, "Paused"),
        "True Paused: Cluster spec.paused is set to true"
    );
    plane.settle().await;
    assert!(plane.api("Secret").get_opt("cp-0").await.unwrap().is_none());
    plane
        .change("Cluster", "c1", json!({"spec": {"paused": null}}))
        .await;
    plane.user_data("cp-0").await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_owner_reference_comes_back() {
    let plane = Plane::start().await;
    plane.create(cluster(false)).await;
    create_machine(&plane, "cp-0", true, init_spec()).await;
    let (secret, _) = plane.user_data("cp-0").await;
    plane.settle().await;
    plane
        .change("Secret", "cp-0", json!({"metadata": {"ownerReferences": null}}))
        .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(plane.writes.take(), ["patch secrets/cp-0 200"]);
    let (mended, _) = plane.user_data("cp-0").await;
    assert_eq!(mended.metadata.owner_references, secret.metadata.owner_references);
}

#[tokio::test(start_paused = true)]
async fn secrets_of_the_user_serve_as_certificates_and_stay_theirs() {
    let plane = Plane::start().await;
    plane.create(cluster(false)).await;
    let authority = cluster_pki::CertificateAuthority::for_cluster(
        &cluster_pki::PooledKeys::new(),
        cluster_pki::KeyAlgorithm::EcdsaP256,
        "2026-01-01T00:00:00Z".parse().unwrap(),
        30,
    );
    let pair = authority.unwrap().to_pem_pair();
    let api: Api<Secret> = Api::namespaced(plane.client.clone(), "default");
    let own: Secret = serde_json::from_value(json!({
        "metadata": {"name": "c1-ca", "labels": {"cluster.x-k8s.io/cluster-name": "c1"}}, "type": "kubernetes.io/tls",
        "stringData": {"tls.crt": pair.certificate, "tls.key": pair.key},
    }))
    .unwrap();
    api.create(&PostParams::default(), &own).await.unwrap();
    create_machine(&plane, "cp-0", true, init_spec()).await;
    let (_, text) = plane.user_data("cp-0").await;
    let line = pair.key.lines().nth(1).unwrap();
    assert!(text.contains(line), "the user's key is the one in use");
    assert!(
        api.get("c1-ca")
            .await
            .unwrap()
            .metadata
            .owner_references
            .is_none()
    );
}

/// How long it takes until a configuration has data, in simulated time.
async fn time_to_data(plane: &Plane, name: &str) -> Duration {
    let start = tokio::time::Instant::now();
    plane.user_data(name).await;
    start.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_key_that_appears_in_a_secret_of_the_user_is_seen_at_once() {
    let plane = Plane::start().await;
    plane.create(cluster(false)).await;
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "mine", "namespace": "default"}, "stringData": {"other": "x"}});
    plane.create(secret).await;
    let mut spec = init_spec();
    spec["users"] = json!([{"name": "u", "passwdFrom": {"secret": {"name": "mine", "key": "k"}}}]);
    create_machine(&plane, "cp-0", true, spec).await;
    let config = plane
        .config_that("cp-0", "complains", |c| condition(c, "Ready").contains("key k"))
        .await;
    assert_eq!(
        condition(&config, "DataSecretAvailable"),
        "False NotAvailable: Failed to read password from secrets for spec.users: spec.users[0] (u) passwdFrom: key k of Secret default/mine does not exist; correct the Secret"
    );
    plane.settle().await;
    plane
        .change("Secret", "mine", json!({"stringData": {"k": "hash-of-it"}}))
        .await;
    let took = time_to_data(&plane, "cp-0").await;
    assert!(took < Duration::from_secs(2), "no timer was waited for: {took:?}");
    assert!(plane.user_data("cp-0").await.1.contains("passwd: hash-of-it"));
}

#[tokio::test(start_paused = true)]
async fn the_lock_of_a_deleted_machine_frees_the_next_one_at_once() {
    let plane = Plane::start().await;
    plane.create(cluster(false)).await;
    create_machine(&plane, "cp-0", true, init_spec()).await;
    plane.user_data("cp-0").await;
    create_machine(&plane, "cp-1", true, init_spec()).await;
    plane
        .config_that("cp-1", "waits", |c| {
            condition(c, "DataSecretAvailable").contains("cp-0 is at it")
        })
        .await;
    plane
        .api("Machine")
        .delete("cp-0", &Default::default())
        .await
        .unwrap();
    let took = time_to_data(&plane, "cp-1").await;
    assert!(took < Duration::from_secs(2), "no timer was waited for: {took:?}");
}

#[tokio::test(start_paused = true)]
async fn machines_that_join_together_delete_the_lock_once() {
    let plane = Plane::start().await;
    plane.create(cluster(false)).await;
    create_machine(&plane, "cp-0", true, init_spec()).await;
    plane.user_data("cp-0").await;
    let names = ["w-0", "w-1", "w-2", "w-3", "w-4"];
    for name in names {
        create_machine(&plane, name, false, json!({})).await;
    }
    plane.settle().await;
    initialize(&plane).await;
    for name in names {
        plane.user_data(name).await;
    }
    let writes = plane.writes.take();
    let deletes: Vec<&String> = writes.iter().filter(|line| line.starts_with("delete")).collect();
    assert_eq!(deletes, ["delete configmaps/c1-lock 200"]);
    let failed: Vec<&String> = writes
        .iter()
        .filter(|line| !line.ends_with(" 200") && !line.ends_with(" 201"))
        .collect();
    assert!(failed.is_empty(), "{failed:?}");
}

#[tokio::test(start_paused = true)]
async fn a_machine_with_ignition_gets_ignition() {
    let plane = Plane::start().await;
    plane.create(cluster(false)).await;
    let mut spec = init_spec();
    spec["format"] = json!("ignition");
    spec["files"] = json!([{"path": "/etc/x", "content": "x", "permissions": "0600"}]);
    spec["ignition"] = json!({"containerLinuxConfig": {"additionalConfig": "systemd:\n  units:\n  - name: kubeadm.service\n    dropins:\n    - name: 10-more.conf\n      contents: |\n        [Unit]\n        After=containerd.service\n"}});
    // Which formats may be asked for is a matter of admission; this one is stored, and thus made.
    create_machine(&plane, "cp-0", true, spec).await;
    let (secret, text) = plane.user_data("cp-0").await;
    assert_eq!(secret.data.as_ref().unwrap()["format"].0, b"ignition");
    let document: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(document["ignition"]["version"], "2.3.0");
    let files = document["storage"]["files"].as_array().unwrap();
    let paths: Vec<&str> = files.iter().map(|file| file["path"].as_str().unwrap()).collect();
    assert_eq!(
        paths,
        [
            "/etc/kubernetes/pki/ca.crt",
            "/etc/kubernetes/pki/ca.key",
            "/etc/kubernetes/pki/etcd/ca.crt",
            "/etc/kubernetes/pki/etcd/ca.key",
            "/etc/kubernetes/pki/front-proxy-ca.crt",
            "/etc/kubernetes/pki/front-proxy-ca.key",
            "/etc/kubernetes/pki/sa.pub",
            "/etc/kubernetes/pki/sa.key",
            "/etc/x",
            "/etc/kubeadm.sh",
            "/etc/kubeadm.yml",
        ]
    );
    assert_eq!(
        document["systemd"]["units"][1]["dropins"][0]["name"],
        "10-more.conf"
    );
}

#[tokio::test(start_paused = true)]
async fn a_template_in_a_file_waits_for_its_control_plane_and_knows_its_version() {
    let plane = Plane::start().await;
    plane.create(cluster(true)).await;
    initialize(&plane).await;
    create_ca(&plane).await;
    let spec = json!({"files": [{"path": "/etc/v", "contentFormat": "Template", "content": "is {{ .controlPlane.version }}"}]});
    create_machine(&plane, "w-0", false, spec).await;
    let config = plane
        .config_that("w-0", "waits", |c| {
            condition(c, "DataSecretAvailable").contains("template")
        })
        .await;
    assert_eq!(
        condition(&config, "DataSecretAvailable"),
        "False NotAvailable: Failed to prepare spec.files: spec.files[0] (/etc/v) is a template, but KubeadmControlPlane default/cp does not exist"
    );
    plane.settle().await;
    plane
        .create(json!({
            "apiVersion": "controlplane.cluster.x-k8s.io/v1beta2", "kind": "KubeadmControlPlane",
            "metadata": {"name": "cp", "namespace": "default", "labels": {"cluster.x-k8s.io/cluster-name": "c1"}},
            "spec": {"version": "v1.36.1", "replicas": 1, "machineTemplate": {"spec": {"infrastructureRef": {
                "apiGroup": "infrastructure.cluster.x-k8s.io", "kind": "DevMachineTemplate", "name": "m"}}}},
        }))
        .await;
    let took = time_to_data(&plane, "w-0").await;
    assert!(took < Duration::from_secs(2), "no timer was waited for: {took:?}");
    assert!(plane.user_data("w-0").await.1.contains("      is v1.36.1\n"));
}

/// The authority that a control plane provider would have made.
async fn create_ca(plane: &Plane) {
    let authority = cluster_pki::CertificateAuthority::for_cluster(
        &cluster_pki::PooledKeys::new(),
        cluster_pki::KeyAlgorithm::EcdsaP256,
        "2026-01-01T00:00:00Z".parse().unwrap(),
        30,
    );
    let pair = authority.unwrap().to_pem_pair();
    plane
        .create(json!({
            "apiVersion": "v1", "kind": "Secret", "type": "cluster.x-k8s.io/secret",
            "metadata": {"name": "c1-ca", "namespace": "default", "labels": {"cluster.x-k8s.io/cluster-name": "c1"}},
            "stringData": {"tls.crt": pair.certificate, "tls.key": pair.key},
        }))
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_pool_gets_new_tokens_as_long_as_it_lives_and_writes_nothing_between() {
    let plane = Plane::start().await;
    plane.create(cluster(true)).await;
    initialize(&plane).await;
    create_ca(&plane).await;
    let pool = plane
        .create(json!({
            "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "MachinePool",
            "metadata": {"name": "p-0", "namespace": "default", "labels": {"cluster.x-k8s.io/cluster-name": "c1"}},
            "spec": {"clusterName": "c1", "replicas": 1, "template": {"spec": machine("p-0", false)["spec"]}},
        }))
        .await;
    plane
        .create(json!({
            "apiVersion": "bootstrap.cluster.x-k8s.io/v1beta2", "kind": "KubeadmConfig",
            "metadata": {"name": "p-0", "namespace": "default", "labels": {"cluster.x-k8s.io/cluster-name": "c1"},
                "ownerReferences": [{"apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "MachinePool", "name": "p-0", "uid": pool.metadata.uid, "controller": true}]},
        }))
        .await;
    let token = |text: &str| {
        let line = text
            .lines()
            .find(|line| line.trim_start().starts_with("token: "))
            .unwrap();
        line.trim().to_owned()
    };
    let first = token(&plane.user_data("p-0").await.1);
    plane
        .change(
            "MachinePool",
            "p-0",
            json!({"status": {"nodeRefs": [{"name": "n-0"}]}}),
        )
        .await;
    plane.settle().await;
    tokio::time::sleep(Duration::from_secs(320)).await;
    assert!(
        plane.writes.take().is_empty(),
        "more than half of the token's life is left"
    );
    tokio::time::sleep(Duration::from_secs(400)).await;
    let second = token(&plane.user_data("p-0").await.1);
    assert_ne!(first, second, "machines that come later get a token that works");
    assert_eq!(
        plane.writes.take(),
        [
            "patch kubeadmconfigs/p-0 200",
            "patch secrets/p-0 200",
            "patch kubeadmconfigs/p-0/status 200"
        ],
        "the Secret keeps its name; the status follows the generation"
    );
    let id = second
        .trim_start_matches("token: ")
        .split('.')
        .next()
        .unwrap()
        .to_owned();
    plane
        .tokens()
        .get(&format!("bootstrap-token-{id}"))
        .await
        .unwrap();
}

/// Waits for the user data of `name`; a provider that was cut off meanwhile is replaced.
async fn data_despite_crash(plane: &Plane, gate: &Gate, replaced: &mut bool, name: &str) {
    let api = plane.api("KubeadmConfig");
    for _ in 0..6000 {
        if gate.is_closed() && !*replaced {
            *replaced = true;
            plane.run_provider(&Gate::default());
        }
        if api.get(name).await.unwrap().data["status"]["dataSecretName"] == name {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{name} never has data");
}

#[tokio::test(start_paused = true)]
async fn a_crash_after_any_write_leads_to_the_same_end() {
    let mut crashes = 0;
    loop {
        let plane = Plane::without_provider().await;
        let (gate, mut replaced) = (Gate::closing_at(crashes + 1), false);
        plane.run_provider(&gate);
        plane.create(cluster(false)).await;
        create_machine(&plane, "cp-0", true, init_spec()).await;
        create_machine(&plane, "w-0", false, json!({})).await;
        data_despite_crash(&plane, &gate, &mut replaced, "cp-0").await;
        initialize(&plane).await;
        data_despite_crash(&plane, &gate, &mut replaced, "w-0").await;
        plane.settle().await;

        let what = format!("stopped after write {}", crashes + 1);
        for name in ["cp-0", "w-0"] {
            let config = plane
                .config_that(name, "is ready", |c| condition(c, "Ready") == "True Ready: ")
                .await;
            assert_eq!(
                config.status.as_ref().unwrap().observed_generation,
                config.metadata.generation,
                "{what}"
            );
        }
        let authority = plane.api("Secret").get("c1-ca").await.unwrap();
        let authority: Secret = authority.try_parse().unwrap();
        let pem = String::from_utf8(authority.data.unwrap()["tls.crt"].0.clone()).unwrap();
        let (_, text) = plane.user_data("cp-0").await;
        assert!(
            text.contains(pem.lines().nth(1).unwrap()),
            "{what}: the authority in use is the one kept"
        );
        let (_, text) = plane.user_data("w-0").await;
        let tokens = plane.tokens().list(&Default::default()).await.unwrap().items;
        assert_eq!(tokens.len(), 1, "{what}: no token is left over");
        let secret = String::from_utf8(tokens[0].data.as_ref().unwrap()["token-secret"].0.clone()).unwrap();
        assert!(text.contains(&secret), "{what}: the token in the user data works");
        assert!(
            plane.api("ConfigMap").get_opt("c1-lock").await.unwrap().is_none(),
            "{what}"
        );
        if !gate.is_closed() {
            break;
        }
        crashes += 1;
    }
    assert!(crashes >= 10, "only {crashes} writes");
}
