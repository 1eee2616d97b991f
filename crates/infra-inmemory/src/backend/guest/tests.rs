use jiff::Timestamp;

use super::{
    BootstrapData, Discovery, Host, Mode,
    join::{Authorities, AuthorityFiles, ClusterFacts, Refusal, TokenSecret, check_init, check_join},
};

use crate::backend::EtcdError;

const INIT: &str = include_str!("../../../testdata/init.cloud-config");
const JOIN: &str = include_str!("../../../testdata/join-worker.cloud-config");
const JOIN_CONTROL_PLANE: &str = include_str!("../../../testdata/join-control-plane.cloud-config");
const OWN: &str = "v1.35.0";
const HASH: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000001";

fn parse(text: &str) -> Result<BootstrapData, String> {
    let host = Host {
        name: "dev-1",
        instance_id: "dev-1",
        kubernetes_version: Some("v1.35.0"),
    };
    BootstrapData::parse(text.as_bytes(), Some("cloud-config"), host).map_err(|error| error.to_string())
}

fn authorities() -> Authorities {
    let pair = |name: &str| AuthorityFiles {
        certificate: format!("{name} certificate\n"),
        key: format!("{name} key\n"),
    };
    Authorities {
        cluster: pair("ca"),
        etcd: Some(pair("etcd")),
        ca_hashes: vec![HASH.to_owned()],
    }
}

fn now() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

/// A cluster that serves and knows the token of the samples.
fn facts() -> ClusterFacts {
    let token = TokenSecret {
        secret: "0123456789abcdef".to_owned(),
        expiration: Some("2026-01-01T00:15:00Z".parse().unwrap()),
        authentication: true,
        signing: true,
    };
    ClusterFacts {
        endpoint: "127.0.0.1:20000".to_owned(),
        serving: true,
        initialized_by: Some("dev-0".to_owned()),
        certificates_dir: None,
        tokens: [("abcdef".to_owned(), token)].into(),
        ..ClusterFacts::default()
    }
}

#[test]
fn init_data_is_understood() {
    let data = parse(INIT).unwrap();
    assert!(data.is_init() && data.is_control_plane());
    assert_eq!(
        data.kubeadm.registration.name.as_deref(),
        Some("dev-1"),
        "rendered from the instance data"
    );
    let Mode::Init { cluster } = &data.kubeadm.mode else {
        panic!("not init")
    };
    assert_eq!(cluster["networking"]["podSubnet"], "192.168.0.0/16");
}

#[test]
fn join_data_is_understood() {
    let data = parse(JOIN).unwrap();
    assert!(!data.is_init() && !data.is_control_plane());
    let Mode::Join {
        discovery:
            Discovery::Token {
                token,
                endpoint,
                ca_hashes,
            },
        ..
    } = &data.kubeadm.mode
    else {
        panic!("not a join by token")
    };
    assert_eq!(
        (token.id.as_str(), endpoint.as_str(), ca_hashes.as_slice()),
        ("abcdef", "127.0.0.1:20000", &[HASH.to_owned()][..])
    );
    assert_eq!(data.kubeadm.registration.labels["pool"], "a");
    assert_eq!(data.kubeadm.registration.taints.as_ref().map(Vec::len), Some(1));
    assert!(parse(JOIN_CONTROL_PLANE).unwrap().is_control_plane());
}

#[test]
fn data_that_does_not_make_a_node_is_refused() {
    for (text, replace, by, want) in [
        (INIT, "kubeadm init", "kubelet init", "no entry of runcmd"),
        (
            INIT,
            "  - 'kubeadm",
            "  - 'kubeadm init --config /a'\n  - 'kubeadm",
            "more than once",
        ),
        (
            INIT,
            "--config /run/kubeadm/kubeadm.yaml",
            "--config /run/other",
            "`/run/other`, which write_files does not hold",
        ),
        (
            INIT,
            "kind: InitConfiguration",
            "kind: JoinConfiguration",
            "JoinConfiguration.localAPIEndpoint: unknown field",
        ),
        (
            JOIN,
            "kubeadm join",
            "kubeadm init",
            "holds no document of kind InitConfiguration",
        ),
        (
            INIT,
            "v1beta4",
            "v1beta2",
            "apiVersion `kubeadm.k8s.io/v1beta2` of kind `ClusterConfiguration`",
        ),
        (
            INIT,
            "kubernetesVersion: v1.35.0",
            "kubernetesVersion: v1.34.0",
            "is v1.34.0, but the machine's image holds v1.35.0",
        ),
        (
            INIT,
            "local_hostname",
            "zone",
            "`ds.meta_data.zone` is not part of the instance data",
        ),
        (
            INIT,
            "#cloud-config",
            "#cloudconfig",
            "does not begin with the line",
        ),
        (
            JOIN,
            "abcdef.0123456789abcdef",
            "abcdef",
            "is not of the form id.secret",
        ),
        (
            JOIN,
            "discovery:",
            "discovry:",
            "JoinConfiguration.discovry: unknown field",
        ),
        (
            JOIN,
            "caCertHashes",
            "caHashes",
            "bootstrapToken.caHashes: unknown field",
        ),
    ] {
        let changed = text.replace(replace, by);
        assert_ne!(changed, text, "{replace}");
        let got = parse(&changed).unwrap_err();
        assert!(got.contains(want), "{replace} -> {by}: {got}");
    }
    let host = Host {
        name: "dev-1",
        instance_id: "dev-1",
        kubernetes_version: None,
    };
    let got = BootstrapData::parse(b"{}", Some("ignition"), host)
        .unwrap_err()
        .to_string();
    assert!(got.contains("format `ignition` is not supported"), "{got}");
    assert!(
        BootstrapData::parse(&[0xff], None, host)
            .unwrap_err()
            .to_string()
            .contains("not text")
    );
}

#[test]
fn an_old_configuration_version_is_refused_by_a_new_kubeadm() {
    let text = INIT
        .replace("v1beta4", "v1beta3")
        .replace("v1.35.0", "v1.37.0")
        .replace("      proxy: {}\n", "");
    let list =
        "        kubeletExtraArgs:\n        - name: eviction-hard\n          value: nodefs.available<0%\n";
    let text = text.replace(list, "");
    let host = Host {
        name: "dev-1",
        instance_id: "dev-1",
        kubernetes_version: Some("v1.37.0"),
    };
    let got = BootstrapData::parse(text.as_bytes(), None, host)
        .unwrap_err()
        .to_string();
    assert!(
        got.contains("kubeadm of Kubernetes 1.37 does not read kubeadm.k8s.io/v1beta3"),
        "{got}"
    );
}

fn refused(result: Result<(), Refusal>, want: &str, retried: bool) {
    let refusal = result.unwrap_err();
    assert!(refusal.message.contains(want), "{}", refusal.message);
    assert_eq!(refusal.retried, retried, "{}", refusal.message);
}

#[test]
fn init_needs_the_clusters_own_certificates() {
    let facts = ClusterFacts {
        initialized_by: None,
        ..facts()
    };
    let data = parse(INIT).unwrap();
    assert_eq!(check_init("dev-1", &data, &facts, &authorities()), Ok(()));

    let other = Authorities {
        cluster: AuthorityFiles {
            certificate: "x".into(),
            key: "x".into(),
        },
        ..authorities()
    };
    refused(
        check_init("dev-1", &data, &facts, &other),
        "ca.crt in write_files is not the one of the cluster's Secret",
        false,
    );

    let mut without = data.clone();
    without.files.remove("/etc/kubernetes/pki/sa.key");
    refused(
        check_init("dev-1", &without, &facts, &authorities()),
        "does not hold /etc/kubernetes/pki/sa.key",
        false,
    );

    let moved = ClusterFacts {
        endpoint: "10.0.0.1:6443".into(),
        ..facts.clone()
    };
    refused(
        check_init("dev-1", &data, &moved, &authorities()),
        "the cluster's endpoint is `10.0.0.1:6443`",
        false,
    );

    let second = ClusterFacts {
        initialized_by: Some("dev-0".into()),
        ..facts.clone()
    };
    refused(
        check_init("dev-1", &data, &second, &authorities()),
        "kubeadm init ran on dev-0 already",
        false,
    );
    let again = ClusterFacts {
        initialized_by: Some("dev-1".into()),
        ..facts
    };
    assert_eq!(
        check_init("dev-1", &data, &again, &authorities()),
        Ok(()),
        "a crash between init and its record"
    );
}

#[test]
fn join_needs_a_serving_cluster_a_valid_token_and_the_right_authority() {
    let data = parse(JOIN).unwrap();
    let authorities = authorities();
    let check = |facts: &ClusterFacts| check_join(&data, Some(OWN), facts, &authorities, now());
    assert_eq!(check(&facts()), Ok(()));

    refused(
        check(&ClusterFacts {
            serving: false,
            ..facts()
        }),
        "connection refused",
        true,
    );
    refused(
        check(&ClusterFacts {
            tokens: Default::default(),
            ..facts()
        }),
        "bootstrap-token-abcdef is missing",
        true,
    );

    let with_token = |change: fn(&mut TokenSecret)| {
        let mut facts = facts();
        facts.tokens.values_mut().for_each(change);
        facts
    };
    refused(
        check(&with_token(|t| t.expiration = Some(now()))),
        "expired at 2026-01-01T00:00:00Z",
        true,
    );
    refused(
        check(&with_token(|t| t.secret = "other".into())),
        "another secret part",
        false,
    );
    refused(
        check(&with_token(|t| t.authentication = false)),
        "may not be used",
        false,
    );
    refused(
        check(&with_token(|t| t.signing = false)),
        "may not be used",
        false,
    );
    assert_eq!(check(&with_token(|t| t.expiration = None)), Ok(()));

    let rotated = Authorities {
        ca_hashes: vec!["sha256:2".into()],
        ..authorities.clone()
    };
    refused(
        check_join(&data, Some(OWN), &facts(), &rotated, now()),
        "its CA has hash sha256:2, the bootstrap data pins sha256:0",
        false,
    );

    let control_plane = parse(JOIN_CONTROL_PLANE).unwrap();
    assert_eq!(
        check_join(&control_plane, Some(OWN), &facts(), &authorities, now()),
        Ok(())
    );
    let mut without = control_plane;
    without.files.remove("/etc/kubernetes/pki/etcd/ca.key");
    refused(
        check_join(&without, Some(OWN), &facts(), &authorities, now()),
        "does not hold /etc/kubernetes/pki/etcd/ca.key",
        false,
    );
}

#[test]
fn a_control_plane_machine_joins_when_etcd_and_its_version_allow_it() {
    let data = parse(JOIN_CONTROL_PLANE).unwrap();
    let check = |own: &str, facts: &ClusterFacts| check_join(&data, Some(own), facts, &authorities(), now());
    let configured = |version: &str| ClusterFacts {
        kubernetes_version: Some(version.into()),
        ..facts()
    };
    assert_eq!(check("v1.35.2", &configured("v1.35.0")), Ok(()));
    assert_eq!(
        check("v1.36.0", &configured("v1.35.0")),
        Ok(()),
        "kubeadm knows the minor version before its own"
    );
    for (own, stored) in [("v1.35.0", "v1.36.0"), ("v1.36.0", "v1.34.3")] {
        let text = format!("kubeadm {own} cannot join a control plane of version {stored}");
        refused(check(own, &configured(stored)), &text, false);
    }
    let unwell = ClusterFacts {
        etcd_problem: Some(EtcdError::Unhealthy),
        ..facts()
    };
    refused(
        check(OWN, &unwell),
        "waits for etcd to take a new member: etcdserver: unhealthy cluster",
        true,
    );
    let worker = parse(JOIN).unwrap();
    assert_eq!(
        check_join(&worker, Some(OWN), &unwell, &authorities(), now()),
        Ok(()),
        "workers do not care"
    );
}

#[test]
fn a_discovery_file_is_followed() {
    let kubeconfig = "      apiVersion: v1\n      kind: Config\n      current-context: default\n      contexts:\n      - name: default\n        context: {cluster: default, user: default}\n      clusters:\n      - name: default\n        cluster: {server: 'https://127.0.0.1:20000', certificate-authority-data: Y2EgY2VydGlmaWNhdGUK}\n      users:\n      - name: default\n        user: {token: abcdef.0123456789abcdef}\n";
    let start = JOIN.find("        bootstrapToken:").unwrap();
    let end = start + JOIN[start..].find("      kind:").unwrap();
    let text = format!(
        "{}        file: {{kubeConfigPath: /etc/discovery}}\n{}",
        &JOIN[..start],
        &JOIN[end..],
    )
    .replace(
        "write_files:\n",
        &format!("write_files:\n-   path: /etc/discovery\n    content: |\n{kubeconfig}"),
    );
    let data = parse(&text).unwrap();
    assert_eq!(
        check_join(&data, Some(OWN), &facts(), &authorities(), now()),
        Ok(())
    );
    let other = Authorities {
        cluster: AuthorityFiles::default(),
        ..authorities()
    };
    refused(
        check_join(&data, Some(OWN), &facts(), &other, now()),
        "the discovery file holds another CA",
        false,
    );
    assert!(
        parse(&text.replace("kubeConfigPath: /etc/discovery", "kubeConfigPath: /etc/x"))
            .unwrap_err()
            .contains("`/etc/x` is not in write_files")
    );
}

#[test]
fn the_kubelet_calls_the_machine_as_its_infrastructure_does() {
    let labels = "        - name: node-labels\n";
    let id = "        - name: provider-id\n          value: cloud:///'{{ ds.meta_data.instance_id }}'\n";
    let text = JOIN.replace(labels, &format!("{id}{labels}"));
    assert_ne!(text, JOIN);
    let host = Host {
        name: "dev-1",
        instance_id: "f00",
        kubernetes_version: Some("v1.35.0"),
    };
    let data = BootstrapData::parse(text.as_bytes(), None, host).unwrap();
    assert_eq!(
        data.kubeadm.registration.provider_id.as_deref(),
        Some("cloud:///f00")
    );
}
