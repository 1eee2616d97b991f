//! What kubectl says about users, permissions, tokens and certificates must be the same on this server and on the real one.
//!
//! `conformance/golden/kubectl.json` is recorded from the real server as the answers of the conformance suite are, with
//! `CONFORMANCE_KUBECONFIG` and `CONFORMANCE_RECORD=1` (see `conformance.rs`). kubectl is taken from `KUBECTL` or the path;
//! the test needs the version that the answers were recorded with and skips otherwise.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

#[path = "conformance/identity.rs"]
#[allow(dead_code)]
mod identity;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use embedded_apiserver::Server;
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Map, Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

const VERSION: &str = "v1.36.";
/// A request for a client certificate (`/O=a/O=b/CN=someone`).
const REQUEST: &str = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUlIbE1JR01BZ0VBTUNveENqQUlCZ05WQkFvTUFXRXhDakFJQmdOVkJBb01BV0l4RURBT0JnTlZCQU1NQjNOdgpiV1Z2Ym1Vd1dUQVRCZ2NxaGtqT1BRSUJCZ2dxaGtqT1BRTUJCd05DQUFSMXJ3MDRzTDd5endIVEJsT1JWNDBECmVWMDZqVmZoVE9IWTVvZEt2R015RmVyUmw5SEZHRTExaGJ4eE0vTHNqQmxYYXEzdTNROWNSV3JGVmZZcXpUKy8Kb0FBd0NnWUlLb1pJemowRUF3SURTQUF3UlFJZ2VRUHFOaEgzejZrNGhJV1VFTUFraWdQSExPeVMwUUxRSGVjdwplbGo3ZWY0Q0lRRFBoVTZ2MThBNmxCYXIxRlE2THpFWUgzbEloUmhFZUJKVUpPTm45ZUlkQ1E9PQotLS0tLUVORCBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0K";

/// One call of kubectl: its arguments, and what it reads. A `!` before the arguments: give the server time afterwards.
fn script() -> Vec<(&'static str, Option<Value>)> {
    let request = |name: &str| {
        json!({
            "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": {"name": name},
            "spec": {"request": REQUEST, "signerName": "kubernetes.io/kube-apiserver-client", "usages": ["client auth"]},
        })
    };
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "reader", "namespace": "says"},
        "rules": [{"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get"]}],
    });
    let plain = |arguments| (arguments, None);
    let mut all: Vec<(&str, Option<Value>)> = [
        "create namespace says",
        "!-n says create serviceaccount robot",
        "-n says create token robot",
        "-n says create token robot --duration 10s",
        "-n says create token robot --audience a --bound-object-kind Secret --bound-object-name none",
        "-n says create token none",
        "-n says create role reader --verb=get,list --resource=pods,configmaps,pods/log",
        "-n says create role reader --verb=get --resource=pods",
        "-n says create rolebinding reader --role=reader --serviceaccount=says:robot --user=bob",
        "create clusterrolebinding says-view --clusterrole=view --user=carl",
        "!create clusterrole says --verb=get --non-resource-url=/logs/*",
        "auth can-i get pods -n says --as bob",
        "auth can-i delete pods -n says --as bob",
        "auth can-i get pods --subresource=log -n says --as bob",
        "auth can-i get pods -n says --as system:serviceaccount:says:robot",
        "auth can-i list nodes --as bob",
        "auth can-i get /healthz --as bob",
        "auth can-i get /logs/ --as bob",
        "auth can-i * *",
        "auth can-i --list -n says --as bob",
        "auth can-i --list -n says --as carl",
        "auth can-i --list -n says",
        "auth whoami --as bob --as-group g --as-uid 7",
        "auth whoami --as bob -o json",
        "get pods -n says --as bob",
        "get secrets -n says --as bob",
        "get nodes --as bob",
        "delete configmap x -n says --as bob",
        "create deployment x --image y -n says --as bob",
        "describe role reader -n says",
        "describe clusterrole system:basic-user",
        "get rolebinding -n says -o wide",
        "get clusterrolebinding says-view",
        "describe rolebinding reader -n says",
        "get serviceaccounts,configmaps -n says",
        "describe serviceaccount robot -n says",
    ]
    .into_iter()
    .map(plain)
    .collect();
    all.extend([
        ("apply -f -", Some(request("says-one"))),
        ("apply -f -", Some(request("says-two"))),
        ("get csr says-one", None),
        ("!certificate approve says-one", None),
        ("get csr says-one", None),
        ("certificate approve says-one", None),
        ("certificate deny says-two", None),
        ("get csr says-two -o wide", None),
        ("certificate approve says-two", None),
        ("certificate approve says-none", None),
        ("auth reconcile -f -", Some(role)),
        ("get role reader -n says -o jsonpath={.rules}", None),
        ("api-resources --api-group=rbac.authorization.k8s.io", None),
        ("api-resources --api-group=certificates.k8s.io", None),
        ("api-resources --api-group=authorization.k8s.io", None),
        ("api-resources --api-group=authentication.k8s.io", None),
        ("delete serviceaccount robot -n says", None),
        ("delete csr says-one says-two", None),
        ("delete clusterrolebinding says-view", None),
        ("delete clusterrole says", None),
        ("delete namespace says --wait=false", None),
    ]);
    all
}

fn kubectl() -> String {
    std::env::var("KUBECTL").unwrap_or_else(|_| "kubectl".to_owned())
}

async fn has_kubectl() -> bool {
    let output = Command::new(kubectl())
        .args(["version", "--client", "-o", "json"])
        .output()
        .await;
    output.is_ok_and(|output| {
        let value: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        value["clientVersion"]["gitVersion"]
            .as_str()
            .is_some_and(|v| v.starts_with(VERSION))
    })
}

/// Names what differs from run to run, and takes out how wide columns are.
fn normalise(text: &str) -> String {
    let patterns = [
        (r"eyJ[A-Za-z0-9_-]+\.eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", "{token}"),
        (
            r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
            "{uid}",
        ),
        (
            r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z",
            "{time}",
        ),
        (r"\b[0-9]+(s|m[0-9]+s)(\s|$)", "{age}$2"),
        (r"(?m)-{4,}", "----"),
        // The administrators have names of their own.
        (r"system:admin\b|\badmin\b", "{admin}"),
        (r"  +", "  "),
        (r"(?m) +$", ""),
    ];
    patterns.iter().fold(text.to_owned(), |text, (pattern, name)| {
        regex::Regex::new(pattern)
            .unwrap()
            .replace_all(&text, *name)
            .into_owned()
    })
}

/// Rules come from several bindings in no order, so lists of them are compared line by line.
fn ordered(arguments: &str, text: String) -> String {
    if !arguments.contains("can-i --list") {
        return text;
    }
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines.join("\n")
}

async fn run(kubeconfig: &Path, pause: Duration) -> Map<String, Value> {
    let cache = tempfile::tempdir().unwrap();
    let mut answers = Map::new();
    for (i, (arguments, input)) in script().into_iter().enumerate() {
        let (waits, arguments) = match arguments.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, arguments),
        };
        let mut command = Command::new(kubectl());
        command
            .arg("--kubeconfig")
            .arg(kubeconfig)
            .arg("--cache-dir")
            .arg(cache.path())
            .args(arguments.split(' '))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin
            .write_all(
                input
                    .map(|value| value.to_string())
                    .unwrap_or_default()
                    .as_bytes(),
            )
            .await
            .unwrap();
        drop(stdin);
        let output = child.wait_with_output().await.unwrap();
        let text = |bytes: &[u8]| ordered(arguments, normalise(&String::from_utf8_lossy(bytes)));
        answers.insert(
            format!("{:02} {arguments}", i + 1),
            json!({"code": output.status.code(), "out": text(&output.stdout), "err": text(&output.stderr)}),
        );
        if waits {
            tokio::time::sleep(pause).await;
        }
    }
    answers
}

/// Serves over HTTPS to clients with and without certificates; gives the administrator's kubeconfig.
async fn serve(server: &Server, folder: &Path) -> (PathBuf, CancellationToken) {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&key).unwrap();
    let issuer = Issuer::from_params(&params, &key);
    let leaf = |names: Vec<String>, name: &str, usage| {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params
            .distinguished_name
            .push(DnType::OrganizationName, "system:masters");
        params.extended_key_usages = vec![usage];
        (params.signed_by(&key, &issuer).unwrap(), key)
    };
    let (serving, serving_key) = leaf(
        vec!["127.0.0.1".into()],
        "server",
        ExtendedKeyUsagePurpose::ServerAuth,
    );
    let (admin, admin_key) = leaf(vec![], "admin", ExtendedKeyUsagePurpose::ClientAuth);
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let verifier = rustls::server::WebPkiClientVerifier::builder(Arc::new(roots))
        .allow_unauthenticated()
        .build()
        .unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(serving_key.serialize_der()));
    let tls = rustls::ServerConfig::builder()
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![serving.der().clone()], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let stop = CancellationToken::new();
    tokio::spawn(server.clone().serve_https(listener, Arc::new(tls), stop.clone()));
    let encode = |text: String| STANDARD.encode(text);
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": url, "certificate-authority-data": encode(authority.pem())}}],
        "users": [{"name": "u", "user": {
            "client-certificate-data": encode(admin.pem()), "client-key-data": encode(admin_key.serialize_pem()),
        }}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    });
    let path = folder.join("kubeconfig");
    std::fs::write(&path, kubeconfig.to_string()).unwrap();
    (path, stop)
}

fn compare(who: &str, wanted: &Map<String, Value>, found: &Map<String, Value>, lines: &mut Vec<String>) {
    for (name, answer) in found {
        let wanted = wanted.get(name).cloned().unwrap_or_default();
        for part in ["code", "out", "err"] {
            if wanted[part] != answer[part] {
                lines.push(format!(
                    "{who}: {name}: {part}\n  expected {}\n  found    {}",
                    wanted[part], answer[part]
                ));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_says_the_same_on_both_servers() {
    if !has_kubectl().await {
        println!("skipped: kubectl {VERSION} is not there");
        return;
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/golden/kubectl.json");
    let read = || {
        std::fs::read_to_string(&path)
            .ok()
            .and_then(|text| serde_json::from_str(&text).ok())
    };
    let mut golden: Map<String, Value> = read().unwrap_or_default();
    let mut lines = Vec::new();
    match std::env::var("CONFORMANCE_KUBECONFIG") {
        Ok(kubeconfig) => {
            let real = run(Path::new(&kubeconfig), Duration::from_millis(1500)).await;
            if std::env::var_os("CONFORMANCE_RECORD").is_some() {
                golden = real.clone();
                std::fs::write(&path, format!("{:#}\n", Value::Object(real.clone()))).unwrap();
            }
            compare("real server", &golden, &real, &mut lines);
        }
        Err(_) => println!("skipped: kubectl on a real server (CONFORMANCE_KUBECONFIG is not set)"),
    }
    let folder = tempfile::tempdir().unwrap();
    let server = identity::configured(Server::builder()).build().await.unwrap();
    let (kubeconfig, stop) = serve(&server, folder.path()).await;
    let embedded = run(&kubeconfig, Duration::from_millis(200)).await;
    stop.cancel();
    compare("embedded server", &golden, &embedded, &mut lines);
    assert!(
        lines.is_empty(),
        "{} answers differ:\n{}",
        lines.len(),
        lines.join("\n")
    );
}
