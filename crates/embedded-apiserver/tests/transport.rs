//! Port-forward in process, and HTTPS with client certificates.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod common;

use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use common::*;
use embedded_apiserver::{ByteStream, PortForward};
use futures::StreamExt;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{ListParams, PostParams, WatchEvent, WatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client};
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A pod whose port 7 echoes and whose other ports are closed.
struct Echo;

#[async_trait]
impl PortForward for Echo {
    async fn connect(&self, namespace: &str, pod: &str, port: u16) -> io::Result<Box<dyn ByteStream>> {
        assert_eq!((namespace, pod), ("default", "p"));
        if port != 7 {
            return Err(io::Error::new(
                io::ErrorKind::ConnectionRefused,
                "connection refused",
            ));
        }
        let (near, far) = tokio::io::duplex(64);
        tokio::spawn(async move {
            let (mut read, mut write) = tokio::io::split(far);
            let _ = tokio::io::copy(&mut read, &mut write).await;
            let _ = write.shutdown().await;
        });
        Ok(Box::new(near))
    }
}

async fn pod(client: &Client) -> Api<Pod> {
    let api: Api<Pod> = Api::default_namespaced(client.clone());
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    api.create(&PostParams::default(), &serde_json::from_value(pod).unwrap())
        .await
        .unwrap();
    api
}

#[tokio::test(start_paused = true)]
async fn bytes_are_forwarded_to_pods_in_process() {
    let server = builder().port_forward(Arc::new(Echo)).build().await.unwrap();
    let api = pod(&server.client()).await;
    let mut forward = api.portforward("p", &[7]).await.unwrap();
    let (mut read, mut write) = tokio::io::split(forward.take_stream(7).unwrap());
    let sent: Vec<u8> = (0..200_000u32).map(|i| i as u8).collect();
    let copy = sent.clone();
    let writing = tokio::spawn(async move {
        write.write_all(&copy).await.unwrap();
        write
    });
    let mut received = vec![0; sent.len()];
    read.read_exact(&mut received).await.unwrap();
    assert!(received == sent);
    drop(writing.await.unwrap());
    drop(read);
    forward.join().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_closed_port_tells_its_error() {
    let server = builder().port_forward(Arc::new(Echo)).build().await.unwrap();
    let api = pod(&server.client()).await;
    let mut forward = api.portforward("p", &[8]).await.unwrap();
    let error = forward.take_error(8).unwrap().await.unwrap();
    assert_eq!(error, "error forwarding port 8 to pod p: connection refused");
    let absent = api.portforward("q", &[7]).await.err().unwrap();
    assert_eq!(refusal(&absent), "pods \"q\" not found: NotFound");
}

struct Pki {
    ca: String,
    server: Arc<rustls::ServerConfig>,
    client_cert: String,
    client_key: String,
}

fn pki() -> Pki {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let ca_key = KeyPair::generate().unwrap();
    let mut ca_params = CertificateParams::default();
    ca_params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca_params.distinguished_name.push(DnType::CommonName, "test-ca");
    let ca = ca_params.self_signed(&ca_key).unwrap();
    let issuer = Issuer::from_params(&ca_params, &ca_key);
    let leaf = |names: Vec<String>, cn: &str, usage| {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, cn);
        params
            .distinguished_name
            .push(DnType::OrganizationName, "system:masters");
        params.extended_key_usages = vec![usage];
        (params.signed_by(&key, &issuer).unwrap(), key)
    };
    let (server_cert, server_key) = leaf(
        vec!["127.0.0.1".into(), "localhost".into()],
        "server",
        ExtendedKeyUsagePurpose::ServerAuth,
    );
    let (client_cert, client_key) = leaf(vec![], "admin", ExtendedKeyUsagePurpose::ClientAuth);
    let mut roots = rustls::RootCertStore::empty();
    roots.add(ca.der().clone()).unwrap();
    let verifier = rustls::server::WebPkiClientVerifier::builder(Arc::new(roots))
        .build()
        .unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(server_key.serialize_der()));
    let mut server = rustls::ServerConfig::builder()
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![server_cert.der().clone()], key)
        .unwrap();
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Pki {
        ca: ca.pem(),
        server: Arc::new(server),
        client_cert: client_cert.pem(),
        client_key: client_key.serialize_pem(),
    }
}

async fn https_client(pki: &Pki, port: u16) -> Client {
    use base64::Engine;
    let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": format!("https://127.0.0.1:{port}"), "certificate-authority-data": encode(&pki.ca)}}],
        "users": [{"name": "u", "user": {"client-certificate-data": encode(&pki.client_cert), "client-key-data": encode(&pki.client_key)}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u", "namespace": "default"}}],
    });
    let kubeconfig: Kubeconfig = serde_json::from_value(config).unwrap();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .unwrap();
    Client::try_from(config).unwrap()
}

#[tokio::test]
async fn https_serves_objects_watches_and_port_forward() {
    let server = builder().port_forward(Arc::new(Echo)).build().await.unwrap();
    let pki = pki();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let stop = tokio_util::sync::CancellationToken::new();
    let serving = tokio::spawn(
        server
            .clone()
            .serve_https(listener, pki.server.clone(), stop.clone()),
    );
    let client = https_client(&pki, port).await;
    assert_eq!(client.apiserver_version().await.unwrap().minor, "36");
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    let map: ConfigMap = serde_json::from_value(json!({"metadata": {"name": "a"}})).unwrap();
    maps.create(&PostParams::default(), &map).await.unwrap();
    assert_eq!(maps.list(&ListParams::default()).await.unwrap().items.len(), 1);
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}).to_string();
    let (code, who) = raw(
        &client,
        "POST",
        "/apis/authentication.k8s.io/v1/selfsubjectreviews",
        "application/json",
        &review,
    )
    .await;
    assert_eq!(
        (code, &who["status"]["userInfo"]["username"]),
        (201, &json!("admin"))
    );
    assert_eq!(
        who["status"]["userInfo"]["groups"],
        json!(["system:masters", "system:authenticated"])
    );
    let api = pod(&client).await;
    let mut forward = api.portforward("p", &[7]).await.unwrap();
    let mut stream = forward.take_stream(7).unwrap();
    stream.write_all(b"hello").await.unwrap();
    let mut reply = [0; 5];
    stream.read_exact(&mut reply).await.unwrap();
    assert_eq!(&reply, b"hello");
    let mut watch = maps.watch(&WatchParams::default(), "0").await.unwrap().boxed();
    assert!(matches!(watch.next().await, Some(Ok(WatchEvent::Added(_)))));
    stop.cancel();
    assert!(watch.next().await.is_none(), "watches end when serving ends");
    drop((watch, stream, forward));
    serving.await.unwrap().unwrap();
}
