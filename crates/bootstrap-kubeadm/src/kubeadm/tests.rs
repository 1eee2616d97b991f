use capi_api::bootstrap::v1beta2 as capi;
use serde_json::json;

use super::*;

fn from<T: serde::de::DeserializeOwned>(value: serde_json::Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn values() -> ClusterValues {
    ClusterValues {
        kubernetes_version: Some("v1.36.0".to_owned()),
        cluster_name: Some("demo".to_owned()),
        control_plane_endpoint: Some("10.0.0.9:6443".to_owned()),
        dns_domain: Some("cluster.local".to_owned()),
        service_subnet: Some("10.96.0.0/12".to_owned()),
        pod_subnet: Some("192.168.0.0/16,fd00::/64".to_owned()),
    }
}

fn full_cluster() -> capi::ClusterConfiguration {
    from(json!({
        "etcd": {"local": {
            "imageRepository": "example.com/etcd", "imageTag": "3.6.8-0", "dataDir": "/var/lib/etcddisk/etcd",
            "extraArgs": [{"name": "quota-backend-bytes", "value": "8589934592"}],
            "extraEnvs": [{"name": "ETCD_UNSUPPORTED_ARCH", "value": "arm64"}],
            "serverCertSANs": ["etcd.example"], "peerCertSANs": ["peer.example"]}},
        "apiServer": {
            "extraArgs": [
                {"name": "v", "value": "2"}, {"name": "audit-log-path", "value": "-"},
                {"name": "service-account-issuer", "value": "https://a"}, {"name": "service-account-issuer", "value": "https://b"}],
            "extraEnvs": [{"name": "HTTP_PROXY", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}],
            "extraVolumes": [
                {"name": "audit", "hostPath": "/var/log/audit", "mountPath": "/var/log/audit", "readOnly": false, "pathType": "DirectoryOrCreate"},
                {"name": "tz", "hostPath": "/etc/tz", "mountPath": "/etc/tz", "readOnly": true}],
            "certSANs": ["localhost", "127.0.0.1"]},
        "controllerManager": {"extraArgs": [{"name": "bind-address", "value": ""}]},
        "scheduler": {"extraVolumes": [{"name": "c", "hostPath": "/c", "mountPath": "/c"}]},
        "dns": {"imageTag": "v1.14.2"},
        "certificatesDir": "/etc/kubernetes/certs", "imageRepository": "registry.example/k8s",
        "featureGates": {"RootlessControlPlane": false, "NodeLocalCRISocket": true},
        "certificateValidityPeriodDays": 100, "caCertificateValidityPeriodDays": 3650,
        "encryptionAlgorithm": "ECDSA-P256",
    }))
}

fn full_init() -> capi::InitConfiguration {
    from(json!({
        "nodeRegistration": {
            "name": "node-1", "criSocket": "unix:///run/containerd/containerd.sock",
            "taints": [{"key": "dedicated", "value": "x", "effect": "NoSchedule"}],
            "kubeletExtraArgs": [{"name": "eviction-hard", "value": "nodefs.available<0%"}, {"name": "v", "value": "4"}],
            "ignorePreflightErrors": ["Swap"], "imagePullPolicy": "IfNotPresent", "imagePullSerial": false},
        "bootstrapTokens": [{"token": "abcdef.0123456789abcdef", "ttlSeconds": 3600, "usages": ["signing", "authentication"],
            "groups": ["system:bootstrappers:kubeadm:default-node-token"], "description": "of the first hour"}],
        "localAPIEndpoint": {"advertiseAddress": "10.0.0.4", "bindPort": 6443},
        "skipPhases": ["addon/kube-proxy"], "patches": {"directory": "/etc/kubernetes/patches"},
        "timeouts": {"controlPlaneComponentHealthCheckSeconds": 240, "kubernetesAPICallSeconds": 30, "tlsBootstrapSeconds": 0},
    }))
}

fn full_join() -> capi::JoinConfiguration {
    from(json!({
        "nodeRegistration": {"taints": [], "kubeletExtraArgs": [{"name": "node-labels", "value": "a=b"}], "imagePullSerial": true},
        "caCertPath": "/etc/kubernetes/pki/ca.crt",
        "discovery": {
            "bootstrapToken": {"token": "abcdef.0123456789abcdef", "apiServerEndpoint": "10.0.0.9:6443", "caCertHashes": ["sha256:00"]},
            "tlsBootstrapToken": "abcdef.0123456789abcdef"},
        "controlPlane": {"localAPIEndpoint": {"bindPort": 6444}},
        "timeouts": {"tlsBootstrapSeconds": 600, "discoverySeconds": 300},
    }))
}

/// A cluster whose etcd is elsewhere.
fn external_cluster() -> capi::ClusterConfiguration {
    from(json!({
        "etcd": {"external": {
            "endpoints": ["https://10.0.0.20:2379", "https://10.0.0.21:2379"], "caFile": "/etc/kubernetes/pki/etcd/ca.crt",
            "certFile": "/etc/kubernetes/pki/apiserver-etcd-client.crt", "keyFile": "/etc/kubernetes/pki/apiserver-etcd-client.key"}},
        "controlPlaneEndpoint": "api.example:443"}))
}

/// A worker with a token, as the controller completes it.
fn worker_join() -> capi::JoinConfiguration {
    from(json!({
        "nodeRegistration": {
            "taints": [{"key": "node.cluster.x-k8s.io/uninitialized", "effect": "NoSchedule"}],
            "ignorePreflightErrors": ["Swap", "NumCPU"], "imagePullPolicy": "Never"},
        "discovery": {"bootstrapToken": {
            "token": "abcdef.0123456789abcdef", "apiServerEndpoint": "[fd00::9]:6443", "unsafeSkipCAVerification": true}},
        "skipPhases": ["preflight"], "patches": {"directory": "/etc/kubernetes/patches"},
    }))
}

/// A worker that finds its cluster by a file.
fn file_join() -> capi::JoinConfiguration {
    from(json!({
        "discovery": {"file": {"kubeConfigPath": "/etc/kubernetes/discovery.conf"}, "tlsBootstrapToken": "abcdef.0123456789abcdef"},
        "timeouts": {"kubeletHealthCheckSeconds": 60, "etcdAPICallSeconds": 90, "tlsBootstrapSeconds": 30},
    }))
}

#[track_caller]
fn assert_golden(name: &str, rendered: &str) {
    let path = format!("{}/testdata/kubeadm/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(std::path::Path::new(&path).parent().unwrap()).unwrap();
        std::fs::write(&path, rendered).unwrap();
    }
    assert_eq!(
        rendered,
        std::fs::read_to_string(&path).unwrap_or_default(),
        "{path}; UPDATE_GOLDEN=1 rewrites it"
    );
}

#[test]
fn full_documents_are_as_recorded_in_both_versions() {
    for (version, name) in [
        (ConfigVersion::V1Beta3, "v1beta3"),
        (ConfigVersion::V1Beta4, "v1beta4"),
    ] {
        let cluster = cluster_configuration(version, &full_cluster(), &full_init(), &values()).unwrap();
        assert_golden(&format!("{name}-cluster"), &cluster);
        assert_golden(
            &format!("{name}-init"),
            &init_configuration(version, &full_init()).unwrap(),
        );
        assert_golden(
            &format!("{name}-join"),
            &join_configuration(version, &full_join()).unwrap(),
        );
        let external =
            cluster_configuration(version, &external_cluster(), &<_>::default(), &values()).unwrap();
        assert_golden(&format!("{name}-external-cluster"), &external);
        assert_golden(
            &format!("{name}-external-init"),
            &init_configuration(version, &<_>::default()).unwrap(),
        );
        for (kind, join) in [("worker", worker_join()), ("file", file_join())] {
            assert_golden(
                &format!("{name}-join-{kind}"),
                &join_configuration(version, &join).unwrap(),
            );
        }
    }
}

#[test]
fn minimal_documents_keep_the_empty_structs_of_the_go_types() {
    let v4 = ConfigVersion::V1Beta4;
    let cluster = cluster_configuration(v4, &<_>::default(), &<_>::default(), &values()).unwrap();
    assert_eq!(
        cluster,
        "apiServer: {}\napiVersion: kubeadm.k8s.io/v1beta4\nclusterName: demo\ncontrolPlaneEndpoint: 10.0.0.9:6443\n\
         controllerManager: {}\ndns: {}\netcd: {}\nkind: ClusterConfiguration\nkubernetesVersion: v1.36.0\nnetworking:\n  \
         dnsDomain: cluster.local\n  podSubnet: 192.168.0.0/16,fd00::/64\n  serviceSubnet: 10.96.0.0/12\nproxy: {}\nscheduler: {}\n"
    );
    let v3 = cluster_configuration(
        ConfigVersion::V1Beta3,
        &<_>::default(),
        &<_>::default(),
        &<_>::default(),
    )
    .unwrap();
    assert_eq!(
        v3,
        "apiServer: {}\napiVersion: kubeadm.k8s.io/v1beta3\ncontrollerManager: {}\ndns: {}\netcd: {}\n\
         kind: ClusterConfiguration\nnetworking: {}\nscheduler: {}\n"
    );
    assert_eq!(
        init_configuration(v4, &<_>::default()).unwrap(),
        "apiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\nlocalAPIEndpoint: {}\nnodeRegistration:\n  taints: null\n"
    );
    let control_plane = capi::JoinConfiguration {
        control_plane: Some(<_>::default()),
        ..<_>::default()
    };
    assert_eq!(
        join_configuration(v4, &control_plane).unwrap(),
        "apiVersion: kubeadm.k8s.io/v1beta4\ncontrolPlane:\n  localAPIEndpoint: {}\ndiscovery: {}\n\
         kind: JoinConfiguration\nnodeRegistration:\n  taints: null\n"
    );
}

#[test]
fn external_etcd_and_the_users_endpoint_are_kept() {
    let spec: capi::ClusterConfiguration = from(json!({
        "controlPlaneEndpoint": "api.example:443",
        "etcd": {"external": {"endpoints": ["https://e1:2379"], "caFile": "/ca", "certFile": "/crt", "keyFile": "/key"}},
    }));
    let text = cluster_configuration(ConfigVersion::V1Beta4, &spec, &<_>::default(), &values()).unwrap();
    assert!(text.contains("controlPlaneEndpoint: api.example:443\n"), "{text}");
    assert!(
        text.contains("etcd:\n  external:\n    caFile: /ca\n    certFile: /crt\n    endpoints:\n    - https://e1:2379\n    keyFile: /key\n"),
        "{text}"
    );
}

#[test]
fn a_file_for_discovery_is_named_but_its_content_travels_apart() {
    let spec: capi::JoinConfiguration = from(json!({
        "discovery": {"file": {"kubeConfigPath": "/k", "kubeConfig": {"user": {"exec": {"command": "c"}}}}},
    }));
    let text = join_configuration(ConfigVersion::V1Beta4, &spec).unwrap();
    assert!(
        text.contains("discovery:\n  file:\n    kubeConfigPath: /k\nkind:"),
        "{text}"
    );
}

#[test]
fn the_machines_version_chooses_the_api() {
    for (kubernetes, want) in [
        ("v1.22.0", Some(ConfigVersion::V1Beta3)),
        ("1.30.9", Some(ConfigVersion::V1Beta3)),
        ("v1.31.0-alpha.1", Some(ConfigVersion::V1Beta4)),
        ("v1.36.2+build", Some(ConfigVersion::V1Beta4)),
        ("v1.21.14", None),
        ("latest", None),
    ] {
        assert_eq!(
            ConfigVersion::for_kubernetes(kubernetes).ok(),
            want,
            "{kubernetes}"
        );
    }
}

#[test]
fn durations_print_as_in_go() {
    for (seconds, want) in [
        (0, "0s"),
        (30, "30s"),
        (300, "5m0s"),
        (3600, "1h0m0s"),
        (8760 * 3600, "8760h0m0s"),
    ] {
        assert_eq!(go_duration(seconds), want);
    }
}
