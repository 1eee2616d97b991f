use capi_api::secrets::VALUE_KEY;
use cluster_pki::{CertificateInfo, Kubeconfig};
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Secret;
use serde_json::json;

use super::{
    super::certificates::{
        CertificateProblem, KubeconfigNeed, kubeconfig_need, needs_owner, problem, to_generate,
    },
    *,
};

fn text(secret: &Secret, key: &str) -> String {
    String::from_utf8(secret.data.as_ref().unwrap()[key].0.clone()).unwrap()
}

#[test]
fn secrets_look_like_upstreams() {
    let world = with_secrets(world(json!({})));
    let names: Vec<String> = world
        .secrets
        .values()
        .map(|secret| secret.metadata.name.clone().unwrap())
        .collect();
    assert_eq!(names, ["c-kubeconfig", "c-ca", "c-etcd", "c-proxy", "c-sa"]);
    for secret in world.secrets.values() {
        assert_eq!(secret.type_.as_deref(), Some("cluster.x-k8s.io/secret"));
        assert_eq!(
            secret.metadata.labels.as_ref().unwrap()["cluster.x-k8s.io/cluster-name"],
            "c"
        );
        let owner = &secret.metadata.owner_references.as_ref().unwrap()[0];
        assert_eq!(
            (owner.kind.as_str(), owner.uid.as_str(), owner.controller),
            ("KubeadmControlPlane", "uid-cp", Some(true))
        );
        assert_eq!(owner.api_version, "controlplane.cluster.x-k8s.io/v1beta2");
        assert!(!needs_owner(&world, secret));
    }
    let sa = &world.secrets[&Purpose::ServiceAccount];
    assert!(text(sa, "tls.crt").starts_with("-----BEGIN PUBLIC KEY-----"));
    assert!(text(sa, "tls.key").starts_with("-----BEGIN RSA PRIVATE KEY-----"));
    assert_eq!(problem(&world), None);
}

#[test]
fn the_kubeconfig_leads_to_the_endpoint_with_a_certificate_of_the_cluster() {
    let world = with_secrets(world(json!({})));
    let kubeconfig = Kubeconfig::parse(&text(&world.secrets[&Purpose::Kubeconfig], VALUE_KEY)).unwrap();
    assert_eq!(
        (kubeconfig.server.as_str(), kubeconfig.context_name.as_str()),
        ("https://10.0.0.1:6443", "c-admin@c")
    );
    let ca = text(&world.secrets[&Purpose::ClusterCa], "tls.crt");
    assert_eq!(kubeconfig.certificate_authority.as_deref(), Some(ca.as_str()));
    let info = CertificateInfo::from_pem(&kubeconfig.client.unwrap().certificate).unwrap();
    assert_eq!(info.organizations, ["system:masters"]);
}

#[test]
fn the_kubeconfig_is_rotated_at_half_its_life() {
    let mut world = with_secrets(world(json!({})));
    let half = SignedDuration::from_hours(4380);
    assert_eq!(
        kubeconfig_need(&world, now()),
        KubeconfigNeed::Keep(Some(now() + half))
    );
    let later = now() + half + SignedDuration::from_secs(1);
    assert_eq!(kubeconfig_need(&world, later), KubeconfigNeed::Rotate);

    let (keys, randomness) = (PooledKeys::new(), SeededRandomness::new(2));
    let rotated = certificates::kubeconfig(
        &world,
        &Sources {
            keys: &keys,
            randomness: &randomness,
            now: later,
        },
    )
    .unwrap();
    world
        .secrets
        .insert(Purpose::Kubeconfig, Arc::new(rotated.clone()));
    assert_eq!(
        kubeconfig_need(&world, later),
        KubeconfigNeed::Keep(Some(later + half))
    );

    let foreign = Secret {
        type_: Some("Opaque".into()),
        ..rotated
    };
    world.secrets.insert(Purpose::Kubeconfig, Arc::new(foreign));
    assert_eq!(
        kubeconfig_need(&world, later + half + half),
        KubeconfigNeed::Keep(None),
        "a user's own is left alone"
    );
    world.secrets.remove(&Purpose::Kubeconfig);
    assert_eq!(kubeconfig_need(&world, later), KubeconfigNeed::Create);
}

#[test]
fn nothing_is_generated_once_the_control_plane_is_initialised() {
    let mut world = running(1, json!({}));
    world.secrets.remove(&Purpose::EtcdCa);
    assert_eq!(to_generate(&world), []);
    assert_eq!(
        problem(&world),
        Some(CertificateProblem::Missing(vec![Purpose::EtcdCa]))
    );
}

#[test]
fn secrets_of_users_are_used_and_not_owned() {
    let mut world = with_secrets(world(json!({})));
    let mut secret = world.secrets[&Purpose::ClusterCa].as_ref().clone();
    secret.metadata.owner_references = None;
    assert!(needs_owner(&world, &secret), "a generated one changes hands");
    secret.type_ = Some("kubernetes.io/tls".into());
    assert!(!needs_owner(&world, &secret));
    world.secrets.insert(Purpose::ClusterCa, Arc::new(secret));
    assert_eq!(problem(&world), None);
}

#[test]
fn an_external_etcd_needs_the_users_certificates() {
    let external = json!({ "endpoints": ["https://e:2379"], "caFile": "a", "certFile": "b", "keyFile": "c" });
    let config = json!({ "clusterConfiguration": { "etcd": { "external": external } } });
    let world = world(json!({ "spec": { "kubeadmConfigSpec": config } }));
    assert_eq!(
        to_generate(&world),
        [Purpose::ClusterCa, Purpose::FrontProxyCa, Purpose::ServiceAccount]
    );
}

#[test]
fn algorithm_and_validity_come_from_the_spec() {
    let config = json!({ "clusterConfiguration": {
        "encryptionAlgorithm": "ECDSA-P256", "caCertificateValidityPeriodDays": 100 } });
    let world = with_secrets(world(json!({ "spec": { "kubeadmConfigSpec": config } })));
    let ca = &world.secrets[&Purpose::ClusterCa];
    assert!(text(ca, "tls.key").starts_with("-----BEGIN EC PRIVATE KEY-----"));
    let info = CertificateInfo::from_pem(&text(ca, "tls.crt")).unwrap();
    assert_eq!(info.not_after, now() + SignedDuration::from_hours(2400));
}
