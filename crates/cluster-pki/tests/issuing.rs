//! Certificates from issue to verification by another library (rustls), and kubeconfigs through kube's reader.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::sync::Arc;

use cluster_pki::*;
use jiff::{SignedDuration, Timestamp};
use rustls::{
    RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
    server::WebPkiClientVerifier,
};
use seams::SeededRandomness;

fn now() -> Timestamp {
    "2026-11-20T12:00:00.75Z".parse().unwrap()
}

fn authority(keys: &dyn KeySource, algorithm: KeyAlgorithm) -> CertificateAuthority {
    CertificateAuthority::for_cluster(keys, algorithm, now(), DEFAULT_CA_DAYS).unwrap()
}

fn der(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

fn roots(authority: &CertificateAuthority) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(der(authority.certificate_pem())).unwrap();
    Arc::new(roots)
}

fn unix(time: Timestamp) -> UnixTime {
    UnixTime::since_unix_epoch(std::time::Duration::from_secs(time.as_second() as u64))
}

fn server_accepts(authority: &CertificateAuthority, certificate: &str, name: &str, at: Timestamp) -> bool {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(roots(authority), provider)
        .build()
        .unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    verifier
        .verify_server_cert(&der(certificate), &[], &name, &[], unix(at))
        .is_ok()
}

fn client_accepts(authority: &CertificateAuthority, certificate: &str, at: Timestamp) -> bool {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(authority), provider)
        .build()
        .unwrap();
    verifier
        .verify_client_cert(&der(certificate), &[], unix(at))
        .is_ok()
}

#[test]
fn a_cluster_authority_looks_like_cluster_apis() {
    let ca = authority(&PooledKeys::new(), KeyAlgorithm::Rsa2048);
    let info = ca.info();
    assert_eq!(
        (info.common_name.as_str(), info.issuer_common_name.as_str()),
        ("kubernetes", "kubernetes")
    );
    assert_eq!((info.serial.as_str(), info.is_ca), ("00", true));
    assert_eq!(
        info.not_before,
        "2026-11-20T11:55:00Z".parse::<Timestamp>().unwrap()
    );
    assert_eq!(
        info.not_after,
        "2036-11-17T12:00:00Z".parse::<Timestamp>().unwrap()
    );
    assert!(ca.certificate_pem().starts_with("-----BEGIN CERTIFICATE-----\n"));
    let pair = ca.to_pem_pair();
    let again = CertificateAuthority::from_pem(&pair.certificate, &pair.key).unwrap();
    assert_eq!(again.to_pem_pair(), pair);
}

#[test]
fn a_server_certificate_verifies_for_its_names_and_times_only() {
    let keys = PooledKeys::new();
    for algorithm in [
        KeyAlgorithm::Rsa2048,
        KeyAlgorithm::EcdsaP256,
        KeyAlgorithm::EcdsaP384,
    ] {
        let ca = authority(&keys, algorithm);
        let names = ["localhost", "kubernetes.default.svc", "127.0.0.1", "fd00::1"];
        let request = CertificateRequest::server("kube-apiserver", names, Validity::days(now(), 365));
        let pair = ca
            .issue_pair(&request, &keys, algorithm, &SeededRandomness::new(1))
            .unwrap();
        let info = CertificateInfo::from_pem(&pair.certificate).unwrap();
        assert_eq!(info.dns_names, ["localhost", "kubernetes.default.svc"]);
        assert_eq!(info.ip_addresses.len(), 2);
        assert!(!info.is_ca);
        for name in names {
            assert!(
                server_accepts(&ca, &pair.certificate, name, now()),
                "{algorithm} {name}"
            );
        }
        assert!(!server_accepts(&ca, &pair.certificate, "example.org", now()));
        let later = now() + SignedDuration::from_hours(24 * 366);
        assert!(
            !server_accepts(&ca, &pair.certificate, "localhost", later),
            "expired"
        );
        assert!(
            !server_accepts(
                &ca,
                &pair.certificate,
                "localhost",
                now() - SignedDuration::from_hours(1)
            ),
            "not yet valid"
        );
        assert!(
            !client_accepts(&ca, &pair.certificate, now()),
            "a server certificate is none of a client"
        );
        let stranger = authority(&FreshKeys, KeyAlgorithm::EcdsaP256);
        assert!(
            !server_accepts(&stranger, &pair.certificate, "localhost", now()),
            "another authority"
        );
    }
}

#[test]
fn a_client_certificate_names_user_and_group() {
    let keys = PooledKeys::new();
    let ca = authority(&keys, KeyAlgorithm::Rsa2048);
    let request = CertificateRequest::client("kubernetes-admin", Validity::days(now(), 1))
        .organization("system:masters");
    let pair = ca
        .issue_pair(
            &request,
            &keys,
            KeyAlgorithm::EcdsaP256,
            &SeededRandomness::new(1),
        )
        .unwrap();
    let info = CertificateInfo::from_pem(&pair.certificate).unwrap();
    assert_eq!(
        (info.common_name.as_str(), info.organizations),
        ("kubernetes-admin", vec!["system:masters".to_owned()])
    );
    assert!(client_accepts(&ca, &pair.certificate, now()));
    let member =
        CertificateRequest::server("etcd-a", ["etcd-a"], Validity::days(now(), 1)).usage(Usage::Both);
    let pair = ca
        .issue_pair(&member, &keys, KeyAlgorithm::Rsa2048, &SeededRandomness::new(1))
        .unwrap();
    assert!(
        client_accepts(&ca, &pair.certificate, now())
            && server_accepts(&ca, &pair.certificate, "etcd-a", now())
    );
}

#[test]
fn the_same_inputs_give_the_same_bytes() {
    let make = |seed| {
        let keys = PooledKeys::new();
        let ca = authority(&keys, KeyAlgorithm::Rsa2048);
        let request = AdminKubeconfig {
            cluster_name: "c",
            server: "https://h:6443",
            algorithm: KeyAlgorithm::Rsa2048,
            now: now(),
        };
        Kubeconfig::admin(&ca, &request, &keys, &SeededRandomness::new(seed))
            .unwrap()
            .to_yaml()
            .unwrap()
    };
    assert_eq!(make(1), make(1));
    assert_ne!(make(1), make(2));
}

#[test]
fn an_admin_kubeconfig_is_read_back_by_us_and_by_kube() {
    let keys = PooledKeys::new();
    let ca = authority(&keys, KeyAlgorithm::Rsa2048);
    let server = Kubeconfig::server_url("fd00::1", 6443);
    assert_eq!(server, "https://[fd00::1]:6443");
    let request = AdminKubeconfig {
        cluster_name: "123",
        server: &server,
        algorithm: KeyAlgorithm::Rsa2048,
        now: now(),
    };
    let kubeconfig = Kubeconfig::admin(&ca, &request, &keys, &SeededRandomness::new(1)).unwrap();
    let yaml = kubeconfig.to_yaml().unwrap();
    assert_eq!(Kubeconfig::parse(&yaml).unwrap(), kubeconfig);
    assert_eq!(kubeconfig.context_name, "123-admin@123");
    let expiry = kubeconfig.client_certificate_expiry().unwrap().unwrap();
    assert_eq!(expiry, "2027-11-20T12:00:00Z".parse::<Timestamp>().unwrap());
    let client = CertificateInfo::from_pem(&kubeconfig.client.as_ref().unwrap().certificate).unwrap();
    assert_eq!(client.not_before, ca.info().not_before);
    assert!(client_accepts(
        &ca,
        &kubeconfig.client.as_ref().unwrap().certificate,
        now()
    ));

    let read = kube::config::Kubeconfig::from_yaml(&yaml).unwrap();
    assert_eq!(read.current_context.as_deref(), Some("123-admin@123"));
    assert_eq!(
        read.clusters[0].cluster.as_ref().unwrap().server.as_deref(),
        Some(server.as_str())
    );
    assert_eq!(read.auth_infos[0].name, "123-admin");
}

#[test]
fn kubeconfigs_without_what_is_needed_are_refused() {
    for (text, expected) in [
        ("[", "cannot use"),
        ("kind: Config", "current-context"),
        ("current-context: a\ncontexts: []", "contexts has no entry \"a\""),
        (
            "current-context: a\ncontexts:\n- {name: a, context: {cluster: c, user: u}}\nclusters: []",
            "clusters has no entry \"c\"",
        ),
    ] {
        let error = Kubeconfig::parse(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let keys = PooledKeys::new();
    let (a, b) = (
        authority(&keys, KeyAlgorithm::Rsa2048),
        authority(&keys, KeyAlgorithm::Rsa2048),
    );
    let error = CertificateAuthority::from_pem(a.certificate_pem(), &b.to_pem_pair().key).unwrap_err();
    assert!(matches!(error, Error::Mismatch(_)));
}

#[test]
fn the_hash_of_a_ca_is_the_one_openssl_computes() {
    // openssl x509 -in known-ca.pem -pubkey -noout | openssl pkey -pubin -outform der | openssl dgst -sha256 -hex
    let text = include_str!("../testdata/known-ca.pem");
    let expected = "sha256:1e88649fd0dc2ef9dfbff9c1392b0c5e9cb1443670d37a8d352be12e391ad02f";
    assert_eq!(public_key_hashes(text).unwrap(), [expected]);
    assert_eq!(public_key_hashes(&format!("{text}{text}")).unwrap().len(), 2);
    assert!(public_key_hashes("").is_err());
    let info = CertificateInfo::from_pem(text).unwrap();
    assert_eq!(
        (info.common_name.as_str(), info.public_key_hash.as_str()),
        ("kubernetes", expected)
    );
}

#[test]
fn a_service_account_pair_holds_both_halves_of_one_key() {
    let pair = service_account_pair(&PooledKeys::new(), KeyAlgorithm::Rsa2048).unwrap();
    assert_eq!(
        PrivateKey::from_pem(&pair.key).unwrap().public_key_pem(),
        pair.certificate
    );
    assert!(pair.certificate.starts_with("-----BEGIN PUBLIC KEY-----\n"));
    assert!(!format!("{pair:?}").contains("PRIVATE"), "keys stay out of logs");
}
