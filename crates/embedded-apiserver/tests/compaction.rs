//! What clients are told who come back after the history they need is gone: the same on this server and on the real one.
//!
//! The real server is asked when `COMPACTION_KUBECONFIG` is set (`make conformance`); its etcd (`ENVTEST_ETCD`) is compacted, and
//! it runs without its watch cache, which would go on telling what etcd has forgotten.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr
)]

use embedded_apiserver::{DataDir, Server};
use http_body_util::{BodyExt, Full};
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};

/// How a server is made to forget.
enum Compaction {
    Server(Server),
    /// The address of etcd's JSON gateway.
    Etcd(String),
}

impl Compaction {
    async fn until(&self, revision: u64) {
        match self {
            Self::Server(server) => server.compact(revision),
            Self::Etcd(address) => {
                let address = address.trim_start_matches("http://");
                let stream = tokio::net::TcpStream::connect(address).await.unwrap();
                let io = hyper_util::rt::TokioIo::new(stream);
                let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
                tokio::spawn(connection);
                let body = json!({"revision": revision.to_string(), "physical": true}).to_string();
                let request = http::Request::post("/v3/kv/compaction")
                    .header("host", address)
                    .body(Full::new(bytes::Bytes::from(body)))
                    .unwrap();
                let response = sender.send_request(request).await.unwrap();
                assert!(response.status().is_success(), "{:?}", response.status());
                response.collect().await.unwrap();
            }
        }
    }
}

struct Subject {
    client: Client,
    compaction: Compaction,
    namespace: String,
}

impl Subject {
    /// Code and body of an answer; of a watch the first line.
    async fn ask(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let path = format!("/api/v1/namespaces/{}/configmaps{path}", self.namespace);
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/json")
            .body(Body::from(body.to_string().into_bytes()))
            .unwrap();
        let response = self.client.send(request).await.unwrap();
        let code = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let line = bytes.split(|byte| *byte == b'\n').next().unwrap();
        (code, serde_json::from_slice(line).unwrap_or(Value::Null))
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        self.ask("GET", path, Value::Null).await
    }

    async fn create(&self, name: &str) -> u64 {
        let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
        let (code, object) = self.ask("POST", "", body).await;
        assert_eq!(code, 201, "{object}");
        object["metadata"]["resourceVersion"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap()
    }
}

/// What a list tells, without what differs from server to server.
fn names(list: &Value) -> Value {
    let items = list["items"].as_array().cloned().unwrap_or_default();
    items
        .iter()
        .map(|item| item["metadata"]["name"].clone())
        .collect()
}

fn status((code, status): &(u16, Value)) -> Value {
    json!([
        code,
        status["code"],
        status["reason"],
        status["message"],
        status["kind"]
    ])
}

/// Everything that is compared.
async fn story(subject: &Subject) -> Value {
    let mut told = serde_json::Map::new();
    let first = subject.create("a").await;
    for name in ["b", "c", "d"] {
        subject.create(name).await;
    }
    let (_, page) = subject.get("?limit=2").await;
    let token = page["metadata"]["continue"].as_str().unwrap().to_owned();
    let exact = format!("?resourceVersion={first}&resourceVersionMatch=Exact");
    told.insert("exactly, before".into(), names(&subject.get(&exact).await.1));
    let (code, event) = subject
        .get(&format!("?watch=1&timeoutSeconds=1&resourceVersion={first}"))
        .await;
    told.insert(
        "watch, before".into(),
        json!([code, event["type"], event["object"]["metadata"]["name"]]),
    );

    let last = subject.create("e").await;
    subject.ask("DELETE", "/a", Value::Null).await;
    let after = subject.create("f").await;
    subject.compaction.until(after).await;

    let (code, event) = subject
        .get(&format!("?watch=1&timeoutSeconds=1&resourceVersion={first}"))
        .await;
    let object = &event["object"];
    told.insert(
        "watch, after".into(),
        json!([
            code,
            event["type"],
            object["kind"],
            object["status"],
            object["code"],
            object["reason"]
        ]),
    );
    told.insert("exactly, after".into(), status(&subject.get(&exact).await));
    let exact = format!("?resourceVersion={last}&resourceVersionMatch=Exact&limit=1");
    told.insert("a page exactly, after".into(), status(&subject.get(&exact).await));
    let expired = subject.get(&format!("?limit=1&continue={token}")).await;
    told.insert("going on, after".into(), status(&expired));
    // The answer tells how to go on among what there is now.
    let next = expired.1["metadata"]["continue"].as_str().unwrap_or_default();
    let (code, page) = subject.get(&format!("?limit=2&continue={next}")).await;
    told.insert("going on anew".into(), json!([code, names(&page)]));
    let next = page["metadata"]["continue"].as_str().unwrap_or_default();
    let (code, page) = subject.get(&format!("?continue={next}")).await;
    told.insert(
        "going on once more".into(),
        json!([code, names(&page), page["metadata"]["continue"]]),
    );
    // Not older than something forgotten is still possible, and so is a watch from now on.
    let (code, list) = subject
        .get(&format!(
            "?resourceVersion={first}&resourceVersionMatch=NotOlderThan"
        ))
        .await;
    told.insert("not older, after".into(), json!([code, names(&list)]));
    subject.create("g").await;
    let (code, event) = subject
        .get(&format!("?watch=1&timeoutSeconds=1&resourceVersion={after}"))
        .await;
    told.insert(
        "watch from the present".into(),
        json!([code, event["type"], event["object"]["metadata"]["name"]]),
    );
    Value::Object(told)
}

async fn subject(client: Client, compaction: Compaction) -> Subject {
    let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"generateName": "compaction-"}});
    let request = http::Request::post("/api/v1/namespaces")
        .header("content-type", "application/json")
        .body(body.to_string().into_bytes())
        .unwrap();
    let made: Value = client.request(request).await.unwrap();
    Subject {
        client,
        compaction,
        namespace: made["metadata"]["name"].as_str().unwrap().to_owned(),
    }
}

fn expected() -> Value {
    let old = "The resourceVersion for the provided list is too old.";
    let going = "The provided continue parameter is too old to display a consistent list result. You can start a new list without \
                 the continue parameter, or use the continue token in this response to retrieve the remainder of the results. \
                 Continuing with the provided token results in an inconsistent list - objects that were created, modified, or \
                 deleted between the time the first chunk was returned and now may show up in the list.";
    json!({
        "exactly, before": ["a"],
        "watch, before": [200, "ADDED", "b"],
        "watch, after": [200, "ERROR", "Status", "Failure", 410, "Expired"],
        "exactly, after": [410, 410, "Expired", old, "Status"],
        "a page exactly, after": [410, 410, "Expired", old, "Status"],
        "going on, after": [410, 410, "Expired", going, "Status"],
        "going on anew": [200, ["c", "d"]],
        "going on once more": [200, ["e", "f"], null],
        "not older, after": [200, ["b", "c", "d", "e", "f"]],
        "watch from the present": [200, "ADDED", "g"],
    })
}

#[tokio::test]
async fn forgotten_history_is_told_in_memory() {
    let server = Server::builder().build().await.unwrap();
    let subject = subject(server.client(), Compaction::Server(server)).await;
    assert_eq!(story(&subject).await, expected());
}

#[tokio::test]
async fn forgotten_history_is_told_on_disk() {
    let directory = tempfile::tempdir().unwrap();
    let storage = DataDir::open(directory.path()).unwrap().storage().unwrap();
    let server = Server::builder().storage(storage).build().await.unwrap();
    let subject = subject(server.client(), Compaction::Server(server)).await;
    assert_eq!(story(&subject).await, expected());
}

#[tokio::test]
async fn forgotten_history_is_told_by_the_real_server() {
    let (Ok(kubeconfig), Ok(etcd)) = (
        std::env::var("COMPACTION_KUBECONFIG"),
        std::env::var("ENVTEST_ETCD"),
    ) else {
        println!("SKIPPED compaction on a real server: COMPACTION_KUBECONFIG is not set");
        return;
    };
    let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .unwrap();
    let subject = subject(Client::try_from(config).unwrap(), Compaction::Etcd(etcd)).await;
    assert_eq!(story(&subject).await, expected());
}
