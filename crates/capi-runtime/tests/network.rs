//! What needs real sockets: HTTP/2 to an API server, and admission over HTTPS.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::type_complexity
)]

mod support;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use capi_api::core::v1beta2::Machine;
use capi_runtime::{
    Controller, Key, Kind, Manager,
    cli::{self, Flags, NoFlags},
    transport::management_client,
    webhook::{Defaulter, FieldError, Request, Validator, Verdict, WebhookOptions, WebhookServer},
};
use cluster_pki::{
    CertificateAuthority, CertificateRequest, FreshKeys, KeyAlgorithm, KeySource, PemPair, Validity,
};
use embedded_apiserver::Server;
use k8s_openapi::api::{
    admissionregistration::v1::ValidatingWebhookConfiguration,
    core::v1::{ConfigMap, Node, Secret, ServiceAccount},
};
use kube::{
    Api, Config,
    api::{ListParams, Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use seams::{Clock, SystemClock, SystemRandomness};
use serde_json::{Value, json};
use support::{Probe, Running, config_map, eventually, eventually_async, machine};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

fn authority() -> CertificateAuthority {
    let key = FreshKeys.generate(KeyAlgorithm::EcdsaP256).unwrap();
    CertificateAuthority::new("test", Validity::days(SystemClock.now(), 1), key).unwrap()
}

fn issue(authority: &CertificateAuthority, request: &CertificateRequest) -> PemPair {
    authority
        .issue_pair(request, &FreshKeys, KeyAlgorithm::EcdsaP256, &SystemRandomness)
        .unwrap()
}

fn tls(authority: &CertificateAuthority, protocols: &[&[u8]]) -> rustls::ServerConfig {
    let validity = Validity::days(SystemClock.now(), 1);
    let pair = issue(
        authority,
        &CertificateRequest::server("api", ["127.0.0.1"], validity),
    );
    let chain = vec![CertificateDer::from_pem_slice(pair.certificate.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
    let mut tls = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    tls.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    tls
}

/// An API server on a port, and a configuration that leads to it.
async fn serve(protocols: &[&[u8]]) -> (Server, Config, CancellationToken) {
    capi_runtime::transport::install_crypto();
    let authority = authority();
    let server = Server::builder().build().await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    tokio::spawn(
        server
            .clone()
            .serve_https(listener, Arc::new(tls(&authority, protocols)), stop.clone()),
    );
    let kubeconfig = json!({
        "clusters": [{"name": "c", "cluster": {
            "server": format!("https://{address}"),
            "certificate-authority-data": base64(authority.certificate_pem()),
        }}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    });
    let kubeconfig: Kubeconfig = serde_json::from_value(kubeconfig).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .unwrap();
    (server, config, stop)
}

fn base64(text: &str) -> Value {
    serde_json::to_value(k8s_openapi::ByteString(text.as_bytes().to_vec())).unwrap()
}

/// Passes connections on to an address, counts them, and can cut them all.
struct Wire {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    cut: Arc<Notify>,
}

impl Wire {
    async fn to(address: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let wire = Self {
            address: listener.local_addr().unwrap(),
            connections: Arc::default(),
            cut: Arc::default(),
        };
        let (connections, cut) = (wire.connections.clone(), wire.cut.clone());
        tokio::spawn(async move {
            loop {
                let (mut near, _) = listener.accept().await.unwrap();
                connections.fetch_add(1, Ordering::Relaxed);
                let cut = cut.clone();
                tokio::spawn(async move {
                    let mut far = TcpStream::connect(address).await.unwrap();
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                        () = cut.notified() => {}
                    }
                });
            }
        });
        wire
    }

    fn count(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

#[tokio::test]
async fn all_watches_and_requests_share_one_connection() {
    let (server, mut config, stop) = serve(&[b"h2", b"http/1.1"]).await;
    let port = config.cluster_url.port_u16().unwrap();
    let wire = Wire::to(SocketAddr::from(([127, 0, 0, 1], port))).await;
    config.cluster_url = format!("https://{}", wire.address).parse().unwrap();
    let mut manager = Manager::builder(management_client(config).unwrap())
        .build()
        .unwrap();
    let (reconciler, calls) = Probe::idle();
    manager.register(
        Controller::<ConfigMap>::new("test", reconciler)
            .reads::<Secret>()
            .reads::<Node>()
            .reads::<ServiceAccount>(),
    );
    let ctx = manager.context("test");
    let running = Running::start(manager).await;
    for number in 0..20 {
        let object = serde_json::from_value(config_map(&format!("x{number}"))).unwrap();
        ctx.create::<ConfigMap>(&object).await.unwrap();
    }
    assert_eq!(
        Api::<ConfigMap>::default_namespaced(server.client())
            .list(&ListParams::default().fields("metadata.name=x19"))
            .await
            .unwrap()
            .items
            .len(),
        1
    );
    assert_eq!(wire.count(), 1);
    // The connection is lost: watches and requests go on over a new one.
    wire.cut.notify_waiters();
    let late = config_map("late");
    let api = Api::<ConfigMap>::default_namespaced(server.client());
    api.create(&PostParams::default(), &serde_json::from_value(late).unwrap())
        .await
        .unwrap();
    eventually("the watch goes on", || calls.lock().contains(&"late".to_owned())).await;
    assert!(
        ctx.get_live::<ConfigMap>(&Key::new("default", "late"))
            .await
            .unwrap()
            .is_some()
    );
    assert_eq!(wire.count(), 2);
    running.stop().await;
    stop.cancel();
}

#[tokio::test]
async fn a_provider_process_serves_its_pages_and_stops_when_told() {
    let (server, config, stop) = serve(&[b"h2"]).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kubeconfig");
    let certificate = rustls_pem(&config.root_cert.clone().unwrap()[0]);
    let kubeconfig = json!({
        "clusters": [{"name": "c", "cluster": {
            "server": config.cluster_url.to_string(), "certificate-authority-data": base64(&certificate),
        }}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    });
    std::fs::write(&path, kubeconfig.to_string()).unwrap();
    let port = || async {
        TcpListener::bind("127.0.0.1:0")
            .await
            .unwrap()
            .local_addr()
            .unwrap()
    };
    let (health, metrics) = (port().await, port().await);
    let arguments = [
        "test".to_owned(),
        format!("--kubeconfig={}", path.display()),
        format!("--health-addr={health}"),
        format!("--diagnostics-address={metrics}"),
        "--insecure-diagnostics".to_owned(),
        "--test-concurrency=3".to_owned(),
        "--leader-elect".to_owned(),
    ];
    let (flags, _) = Flags::parse::<NoFlags>("test", arguments.map(Into::into)).unwrap();
    let shutdown = CancellationToken::new();
    let (reconciler, _) = Probe::idle();
    let stopper = shutdown.clone();
    let process = tokio::spawn(async move {
        let register =
            |manager: &mut Manager| manager.register(Controller::<ConfigMap>::new("test", reconciler));
        cli::serve("test", &flags, register, stopper).await
    });
    let page = async |address: SocketAddr, path: &str| -> String {
        let client = management_client(Config::new(format!("http://{address}").parse().unwrap())).unwrap();
        let request = http::Request::get(path).body(Vec::new()).unwrap();
        client.request_text(request).await.unwrap_or_default()
    };
    eventually_async("it is ready", || async { page(health, "/readyz").await == "ok" }).await;
    assert_eq!(page(health, "/healthz").await, "ok");
    let namespaces = Api::<ConfigMap>::default_namespaced(server.client());
    namespaces
        .create(
            &PostParams::default(),
            &serde_json::from_value(config_map("x")).unwrap(),
        )
        .await
        .unwrap();
    let counted = "capi_reconcile_total{controller=\"test\",result=\"success\"}";
    eventually_async("it is counted", || async {
        page(metrics, "/metrics").await.contains(counted)
    })
    .await;
    shutdown.cancel();
    process.await.unwrap().unwrap();
    stop.cancel();
}

fn rustls_pem(der: &[u8]) -> String {
    let text = serde_json::to_value(k8s_openapi::ByteString(der.to_vec())).unwrap();
    format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        text.as_str().unwrap()
    )
}

#[tokio::test]
async fn a_manager_runs_over_http2_and_over_http1_where_the_server_wants_it_so() {
    for protocols in [&[b"h2".as_slice(), b"http/1.1"][..], &[b"http/1.1"]] {
        let (server, config, stop) = serve(protocols).await;
        let client = management_client(config).unwrap();
        let mut manager = Manager::builder(client.clone()).build().unwrap();
        let (reconciler, calls) = Probe::idle();
        manager.register(Controller::<ConfigMap>::new("test", reconciler).reads::<Secret>());
        let running = Running::start(manager).await;
        let api: Api<ConfigMap> = Api::namespaced(client, "default");
        let object = serde_json::from_value(config_map("x")).unwrap();
        api.create(&PostParams::default(), &object).await.unwrap();
        let seen = Api::<ConfigMap>::namespaced(server.client(), "default");
        assert_eq!(
            seen.list(&ListParams::default())
                .await
                .unwrap()
                .items
                .iter()
                .filter(|o| o.metadata.name.as_deref() == Some("x"))
                .count(),
            1
        );
        eventually("the watch showed it", || calls.lock().contains(&"x".to_owned())).await;
        running.stop().await;
        stop.cancel();
    }
}

struct Rules;

#[async_trait]
impl Defaulter<Machine> for Rules {
    async fn default(&self, _: &Request, _: Option<&Machine>, machine: &mut Machine) -> Result<(), String> {
        machine
            .metadata
            .labels
            .get_or_insert_default()
            .insert("defaulted".into(), "yes".into());
        Ok(())
    }
}

#[async_trait]
impl Validator<Machine> for Rules {
    async fn create(&self, request: &Request, machine: &Machine) -> Verdict {
        assert!(!request.dry_run);
        match machine.spec.cluster_name.as_str() {
            "bad" => Verdict::of(vec![FieldError::invalid(
                "spec.clusterName",
                "bad",
                "must be good",
            )]),
            _ => Verdict::allow().warn("take care"),
        }
    }

    async fn update(&self, _: &Request, old: &Machine, new: &Machine) -> Verdict {
        match old.spec.cluster_name == new.spec.cluster_name {
            true => Verdict::allow(),
            false => Verdict::of(vec![FieldError::forbidden(
                "spec.clusterName",
                "field is immutable",
            )]),
        }
    }
}

fn review<K: Kind>(operation: &str, object: Value, old: Value) -> Value {
    let kind = json!({"group": K::group(&()), "version": K::version(&()), "kind": K::kind(&())});
    let resource = json!({"group": K::group(&()), "version": K::version(&()), "resource": K::plural(&())});
    json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "u1", "kind": kind, "resource": resource, "operation": operation, "name": "m",
            "namespace": "default", "userInfo": {"username": "somebody"}, "object": object, "oldObject": old,
        },
    })
}

/// Posts to the webhook server, trusting only what was injected into the configuration.
async fn ask(address: SocketAddr, bundle: &str, path: &str, body: &Value) -> Value {
    let mut config = Config::new(format!("https://localhost:{}", address.port()).parse().unwrap());
    config.root_cert = Some(
        CertificateDer::pem_slice_iter(bundle.as_bytes())
            .map(|certificate| certificate.unwrap().to_vec())
            .collect(),
    );
    let client = management_client(config).unwrap();
    let request = http::Request::post(path)
        .body(serde_json::to_vec(body).unwrap())
        .unwrap();
    client.request::<Value>(request).await.unwrap()["response"].clone()
}

#[tokio::test]
async fn admission_is_served_with_a_certificate_that_is_injected_and_repaired() {
    capi_runtime::transport::install_crypto();
    let server = Server::builder().build().await.unwrap();
    let client = server.client();
    let configurations: Api<ValidatingWebhookConfiguration> = Api::all(client.clone());
    let configuration = json!({
        "metadata": {"name": "test-validating"},
        "webhooks": [{
            "name": "machine.example.dev", "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "clientConfig": {"service": {"name": "s", "namespace": "default"}}, "failurePolicy": "Ignore",
        }],
    });
    let configuration: ValidatingWebhookConfiguration = serde_json::from_value(configuration).unwrap();
    configurations
        .create(&PostParams::default(), &configuration)
        .await
        .unwrap();
    let port = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut manager = Manager::builder(client.clone()).build().unwrap();
    manager.webhook::<Machine>(Rules, Rules);
    manager.serve_webhooks(WebhookServer::new(WebhookOptions {
        address,
        names: vec!["localhost".into()],
        secret: Key::new("default", "webhook-ca"),
        mutating: vec![],
        validating: vec!["test-validating".into()],
        certificate_folder: None,
        linger: Duration::from_secs(1),
    }));
    let running = Running::start(manager).await;
    let bundle = || async {
        let found = configurations.get("test-validating").await.unwrap();
        let bundle = found.webhooks.unwrap().remove(0).client_config.ca_bundle;
        bundle.map(|bundle| String::from_utf8(bundle.0).unwrap())
    };
    eventually_async("the bundle is injected", || async { bundle().await.is_some() }).await;
    let trusted = bundle().await.unwrap();

    let good = machine("m", "good");
    let path = "/mutate-cluster-x-k8s-io-v1beta2-machine";
    let answer = ask(
        address,
        &trusted,
        path,
        &review::<Machine>("CREATE", good.clone(), Value::Null),
    )
    .await;
    assert_eq!(
        (answer["allowed"].clone(), answer["uid"].clone()),
        (json!(true), json!("u1"))
    );
    assert_eq!(answer["patchType"], "JSONPatch");
    let path = "/validate-cluster-x-k8s-io-v1beta2-machine";
    let answer = ask(
        address,
        &trusted,
        path,
        &review::<Machine>("CREATE", good.clone(), Value::Null),
    )
    .await;
    assert_eq!(
        (answer["allowed"].clone(), answer["warnings"].clone()),
        (json!(true), json!(["take care"]))
    );
    let bad = machine("m", "bad");
    let answer = ask(
        address,
        &trusted,
        path,
        &review::<Machine>("CREATE", bad.clone(), Value::Null),
    )
    .await;
    assert_eq!(
        answer["status"]["message"],
        r#"Machine.cluster.x-k8s.io "m" is invalid: spec.clusterName: Invalid value: "bad": must be good"#
    );
    assert_eq!(answer["status"]["code"], 422);
    let answer = ask(address, &trusted, path, &review::<Machine>("UPDATE", bad, good)).await;
    assert_eq!(
        answer["status"]["details"]["causes"][0]["field"],
        "spec.clusterName"
    );

    // A manifest without the bundle is applied over it.
    let dropped = json!([{"op": "remove", "path": "/webhooks/0/clientConfig/caBundle"}]);
    let dropped: kube::core::params::Patch<()> = Patch::Json(serde_json::from_value(dropped).unwrap());
    configurations
        .patch("test-validating", &PatchParams::default(), &dropped)
        .await
        .unwrap();
    eventually_async("the bundle is back", || async {
        bundle().await.as_ref() == Some(&trusted)
    })
    .await;
    let secrets: Api<Secret> = Api::namespaced(client.clone(), "default");
    assert_eq!(
        secrets.get("webhook-ca").await.unwrap().type_.as_deref(),
        Some("kubernetes.io/tls")
    );

    // Who has not heard of the end is still answered for a while.
    let ended = tokio::spawn(running.stop());
    tokio::time::sleep(Duration::from_millis(300)).await;
    let last = review::<Machine>("CREATE", machine("m", "good"), Value::Null);
    assert_eq!(ask(address, &trusted, path, &last).await["allowed"], true);
    ended.await.unwrap();
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}
