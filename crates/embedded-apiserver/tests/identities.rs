//! Users and permissions as hosts of the library set them up.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::sync::Arc;

use common::*;
use embedded_apiserver::{
    Audit, AuditEvent, Authentication, Authorization, BuildError, Builder, CertificateAuthority, Server,
    ServiceAccounts, User,
};
use kube::Client;
use parking_lot::Mutex;
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use serde_json::{Value, json};

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const JSON: &str = "application/json";

/// A key whose signatures repeat.
fn rsa() -> String {
    KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256)
        .unwrap()
        .serialize_pem()
}

fn guarded(builder: Builder, key: &str) -> Builder {
    let authentication = Authentication {
        tokens: [("secret".to_owned(), User::new("jane", &["team"]))].into(),
        service_accounts: Some(ServiceAccounts::new(key)),
        ..Authentication::default()
    };
    builder
        .authentication(authentication)
        .authorization(Authorization::Rbac)
}

async fn get(client: &Client, path: &str) -> (u16, Value) {
    raw(client, "GET", path, JSON, "").await
}

async fn post(client: &Client, path: &str, body: Value) -> (u16, Value) {
    raw(client, "POST", path, JSON, &body.to_string()).await
}

async fn allow(client: &Client, group: &str) {
    let role = json!({"metadata": {"name": "r"}, "rules": [{"verbs": ["list"], "apiGroups": [""], "resources": ["nodes"]}]});
    let binding = json!({"metadata": {"name": "b"}, "roleRef": {"kind": "ClusterRole", "name": "r"}, "subjects": [{"kind": "Group", "name": group}]});
    assert_eq!(post(client, &format!("{RBAC}/clusterroles"), role).await.0, 201);
    assert_eq!(
        post(client, &format!("{RBAC}/clusterrolebindings"), binding)
            .await
            .0,
        201
    );
}

#[tokio::test(start_paused = true)]
async fn a_client_acts_as_the_user_it_was_made_for() {
    let server = guarded(builder(), &rsa()).build().await.unwrap();
    let jane = server.client_as_user(User::new("jane", &["team"]));
    let (code, refusal) = get(&jane, "/api/v1/nodes").await;
    assert_eq!((code, &refusal["reason"]), (403, &json!("Forbidden")));
    allow(&server.client(), "team").await;
    assert_eq!(get(&jane, "/api/v1/nodes").await.0, 200);
    assert_eq!(
        get(&server.client_as_user(User::new("bob", &[])), "/api/v1/nodes")
            .await
            .0,
        403
    );
    // A fork has the same policy, and a restart repairs what kube-apiserver's own roles lack.
    let path = format!("{RBAC}/clusterrolebindings/system:discovery");
    assert_eq!(raw(&server.client(), "DELETE", &path, JSON, "").await.0, 200);
    let fork = guarded(builder(), &rsa())
        .storage(server.fork())
        .build()
        .await
        .unwrap();
    assert_eq!(
        get(
            &fork.client_as_user(User::new("jane", &["team"])),
            "/api/v1/nodes"
        )
        .await
        .0,
        200
    );
    assert_eq!(get(&fork.client(), &path).await.0, 200);
}

#[tokio::test(start_paused = true)]
async fn strangers_prove_who_they_are_by_token() {
    let server = guarded(builder(), &rsa()).build().await.unwrap();
    let stranger = server.client_for("stranger", None);
    let ask = |token: &'static str| {
        let stranger = stranger.clone();
        async move {
            let request =
                http::Request::get("/api/v1/nodes").header("authorization", format!("Bearer {token}"));
            let answer = stranger
                .send(request.body(kube::client::Body::empty()).unwrap())
                .await
                .unwrap();
            answer.status().as_u16()
        }
    };
    assert_eq!(ask("secret").await, 403);
    allow(&server.client(), "team").await;
    assert_eq!(ask("secret").await, 200);
    assert_eq!(ask("wrong").await, 401);
    assert_eq!(get(&stranger, "/api/v1/nodes").await.0, 403);
    assert_eq!(get(&stranger, "/readyz").await.0, 200);
}

#[tokio::test(start_paused = true)]
async fn one_seed_and_one_key_give_the_same_objects_and_tokens() {
    let key = rsa();
    let mut seen = Vec::new();
    for _ in 0..2 {
        let server = guarded(builder(), &key).build().await.unwrap();
        settle().await;
        let client = server.client();
        let secret = json!({"type": "kubernetes.io/service-account-token", "metadata": {
            "name": "t", "annotations": {"kubernetes.io/service-account.name": "default"}}});
        assert_eq!(
            post(&client, "/api/v1/namespaces/default/secrets", secret)
                .await
                .0,
            201
        );
        settle().await;
        let (code, stored) = get(&client, "/api/v1/namespaces/default/secrets/t").await;
        assert_eq!(code, 200);
        assert!(stored["data"]["token"].is_string());
        let token = post(
            &client,
            "/api/v1/namespaces/default/serviceaccounts/default/token",
            json!({}),
        )
        .await;
        assert_eq!(token.0, 201);
        seen.push((stored, token.1, server.revision()));
    }
    assert_eq!(seen[0], seen[1]);
}

#[tokio::test(start_paused = true)]
async fn without_a_policy_nothing_is_checked_and_nothing_is_added() {
    let server = builder().build().await.unwrap();
    settle().await;
    let before = server.revision();
    let nobody = server.client_for("nobody", None);
    assert_eq!(get(&nobody, "/api/v1/nodes").await.0, 200);
    for path in [
        format!("{RBAC}/clusterroles"),
        "/api/v1/serviceaccounts".into(),
        "/api/v1/configmaps".into(),
    ] {
        assert_eq!(get(&nobody, &path).await.1["items"], json!([]), "{path}");
    }
    assert_eq!(server.revision(), before);
    let token = "/api/v1/namespaces/default/serviceaccounts/default/token";
    assert_eq!(post(&nobody, token, json!({})).await.0, 404);
}

#[tokio::test]
async fn keys_that_are_none_are_refused_at_once() {
    let error = guarded(builder(), "nothing").build().await.unwrap_err();
    assert!(matches!(error, BuildError::Key(..)), "{error}");
    let authority = CertificateAuthority {
        certificate: "nothing".into(),
        key: None,
    };
    let error = builder()
        .certificate_authority(authority)
        .build()
        .await
        .unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_node_joins_by_bootstrap_token_and_certificate() {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertificateAuthority {
        certificate: params.self_signed(&key).unwrap().pem(),
        key: Some(key.serialize_pem()),
    };
    let server = guarded(builder(), &rsa())
        .certificate_authority(authority)
        .build()
        .await
        .unwrap();
    let admin = server.client();
    let secret = json!({"type": "bootstrap.kubernetes.io/token", "metadata": {"name": "bootstrap-token-abcdef"}, "stringData": {
        "token-id": "abcdef", "token-secret": "0123456789abcdef", "usage-bootstrap-authentication": "true"}});
    assert_eq!(
        post(&admin, "/api/v1/namespaces/kube-system/secrets", secret)
            .await
            .0,
        201
    );
    // As kubeadm init does.
    for (name, role) in [
        ("a", "system:node-bootstrapper"),
        (
            "c",
            "system:certificates.k8s.io:certificatesigningrequests:nodeclient",
        ),
    ] {
        let binding = json!({"metadata": {"name": name}, "roleRef": {"kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "Group", "name": "system:bootstrappers"}]});
        assert_eq!(
            post(&admin, &format!("{RBAC}/clusterrolebindings"), binding)
                .await
                .0,
            201
        );
    }
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, "system:node:one");
    params
        .distinguished_name
        .push(rcgen::DnType::OrganizationName, "system:nodes");
    let pem = params
        .serialize_request(&KeyPair::generate().unwrap())
        .unwrap()
        .pem()
        .unwrap();
    let request = json!({"metadata": {"name": "csr"}, "spec": {
        "request": base64::Engine::encode(&base64::engine::general_purpose::STANDARD, pem),
        "signerName": "kubernetes.io/kube-apiserver-client-kubelet", "usages": ["digital signature", "client auth"]}});
    let path = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
    let sent = http::Request::post(path)
        .header("authorization", "Bearer abcdef.0123456789abcdef")
        .header("content-type", JSON)
        .body(kube::client::Body::from(request.to_string().into_bytes()))
        .unwrap();
    let answer = server.client_for("kubelet", None).send(sent).await.unwrap();
    assert_eq!(answer.status(), 201);
    settle().await;
    let (_, signed) = get(&admin, &format!("{path}/csr")).await;
    let text = signed["status"]["certificate"].as_str().expect("a certificate");
    let pem = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, text).unwrap();
    let user = User::from_certificate(pem::parse(pem).unwrap().contents()).unwrap();
    assert_eq!(user.name, "system:node:one");
    assert_eq!(user.groups, ["system:nodes", "system:authenticated"]);
}

struct Seen(Mutex<Vec<(String, u16)>>);

impl Audit for Seen {
    fn observe(&self, event: &AuditEvent) {
        self.0.lock().push((event.verb.clone(), event.code));
    }
}

#[tokio::test(start_paused = true)]
async fn refusals_are_audited() {
    let seen = Arc::new(Seen(Mutex::default()));
    let server: Server = guarded(builder(), &rsa())
        .audit(seen.clone())
        .build()
        .await
        .unwrap();
    settle().await;
    seen.0.lock().clear();
    get(&server.client_as_user(User::new("bob", &[])), "/api/v1/nodes").await;
    assert_eq!(*seen.0.lock(), [("list".to_owned(), 403)]);
}
