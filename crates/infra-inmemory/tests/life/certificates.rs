//! Certificates of the simulated servers: what they show, and whose clients they accept.

use std::{sync::Arc, time::Duration};

use capi_runtime::WorkloadConnection;
use cluster_pki::{CertificateInfo, CertificateRequest, KeyAlgorithm, Validity};
use infra_inmemory::api::DevMachine;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::Api;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    time_provider::TimeProvider,
};
use seams::SharedClock;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    simulated::{bench_with_control_plane, connect, node_names},
    support::{Bench, is_ready},
};

async fn forward(
    connection: &WorkloadConnection,
    pod: &str,
    port: u16,
) -> impl AsyncRead + AsyncWrite + Unpin + use<> {
    let pods = Api::<Pod>::namespaced(connection.upgrades.clone(), "kube-system");
    let mut forwarder = pods.portforward(pod, &[port]).await.unwrap();
    forwarder.take_stream(port).unwrap()
}

#[tokio::test(start_paused = true)]
async fn etcd_answers_its_own_clients_through_port_forward() {
    let bench = bench_with_control_plane().await;
    let connection = connect(&bench, "ca").await.unwrap();
    let name = ServerName::try_from("etcd-cp-1").unwrap();
    let own = tls_client(&bench, "etcd", "etcd");
    let stream = tokio_rustls::TlsConnector::from(own)
        .connect(name.clone(), forward(&connection, "etcd-cp-1", 2379).await)
        .await
        .unwrap();
    let mut etcd = etcd_api::Client::connect(stream, "etcd-cp-1").await.unwrap();
    let members = etcd.member_list(true).await.unwrap().members;
    assert_eq!(
        members
            .iter()
            .map(|member| member.name.as_str())
            .collect::<Vec<_>>(),
        ["cp-1"]
    );
    assert_eq!(etcd.status().await.unwrap().leader, members[0].id);
    let last = etcd.member_remove(members[0].id).await.unwrap_err().to_string();
    assert!(last.contains("not enough started members"), "{last}");

    let stranger = tls_client(&bench, "ca", "etcd");
    let refused = async {
        let stream = tokio_rustls::TlsConnector::from(stranger)
            .connect(name, forward(&connection, "etcd-cp-1", 2379).await)
            .await
            .ok()?;
        etcd_api::Client::connect(stream, "etcd-cp-1")
            .await
            .ok()?
            .status()
            .await
            .ok()
    };
    assert!(
        refused.await.is_none(),
        "a client of another authority is not served"
    );
}

/// Until when the certificate is valid that the API server of a node shows.
async fn expiry(bench: &Bench, node: &str) -> Timestamp {
    let connection = connect(bench, "ca").await.unwrap();
    let stream = forward(&connection, &format!("kube-apiserver-{node}"), 6443).await;
    let name = ServerName::try_from(node.to_owned()).unwrap();
    let tls = tokio_rustls::TlsConnector::from(tls_client(bench, "ca", "ca"));
    let stream = tls.connect(name, stream).await.unwrap();
    let shown = stream.get_ref().1.peer_certificates().unwrap()[0].clone();
    CertificateInfo::from_der(&shown).unwrap().not_after
}

#[tokio::test(start_paused = true)]
async fn the_certificate_of_an_api_server_is_as_young_as_its_machine() {
    let bench = bench_with_control_plane().await;
    let first = expiry(&bench, "cp-1").await;
    tokio::time::sleep(Duration::from_secs(86_400)).await;
    bench.make_token().await;
    bench
        .make_machine("cp-2", true, &bench.join_control_plane_data())
        .await;
    bench.until::<DevMachine>("cp-2", is_ready).await;
    let later = expiry(&bench, "cp-2").await.duration_since(first);
    assert!(later >= SignedDuration::from_hours(24), "{later}");
    assert_eq!(expiry(&bench, "cp-1").await, first);
}

#[tokio::test(start_paused = true)]
async fn a_new_certificate_authority_is_taken_over_by_the_api_server() {
    let bench = bench_with_control_plane().await;
    connect(&bench, "ca").await.unwrap();
    let pair = bench.authority("stranger").to_pem_pair();
    let data = serde_json::json!({ "stringData": { "tls.crt": pair.certificate, "tls.key": pair.key } });
    bench
        .api::<Secret>()
        .patch("c1-ca", &Default::default(), &kube::api::Patch::Merge(data))
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(
        connect(&bench, "ca").await.is_err(),
        "clients of the old authority are strangers now"
    );
    assert_eq!(
        node_names(&connect(&bench, "stranger").await.unwrap()).await,
        ["cp-1"]
    );
}

/// A client certificate of `authority`, for servers of the authority `servers`.
fn tls_client(bench: &Bench, authority: &str, servers: &str) -> Arc<ClientConfig> {
    let request = CertificateRequest::client(
        "tester",
        Validity::from_now(bench.clock.now(), SignedDuration::from_hours(1)),
    );
    let pair = bench
        .authority(authority)
        .issue_pair(
            &request,
            &*bench.keys,
            KeyAlgorithm::EcdsaP256,
            &*bench.randomness,
        )
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(bench.authority(servers).certificate_pem().as_bytes()).unwrap())
        .unwrap();
    let certificate = CertificateDer::from_pem_slice(pair.certificate.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
    let config = ClientConfig::builder_with_details(
        Arc::new(aws_lc_rs::default_provider()),
        Arc::new(Now(bench.clock.clone())),
    )
    .with_safe_default_protocol_versions()
    .unwrap()
    .with_root_certificates(roots)
    .with_client_auth_cert(vec![certificate], key)
    .unwrap();
    Arc::new(config)
}

struct Now(SharedClock);

impl std::fmt::Debug for Now {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Now")
    }
}

impl TimeProvider for Now {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(
            self.0.now().as_second().unsigned_abs(),
        )))
    }
}
