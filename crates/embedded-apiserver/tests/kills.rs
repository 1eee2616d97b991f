//! The program with a data directory, killed (SIGKILL) while clients write: what they were told is there afterwards, their
//! kubeconfigs and tokens stay valid, and watches go on where they were.
//!
//! `KILLS=20` kills more often (`make test-power`).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr
)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{ConfigMap, ServiceAccount};
use kube::api::{
    DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams, WatchEvent, WatchParams,
};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, ResourceExt};
use tokio::process::{Child, Command};
use tokio::sync::Mutex;
use tokio::time::Instant;

const CLIENTS: usize = 8;
/// Objects of each client.
const OBJECTS: usize = 12;

struct Program {
    child: Child,
    client: Client,
}

fn command(directory: &Path, listen: SocketAddr) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_embedded-apiserver"));
    command
        .arg("--data-dir")
        .arg(directory)
        .args(["--listen", &listen.to_string()])
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// A port that is free now; the same one is used again after each kill, since kubeconfigs name it.
async fn address() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

async fn client(kubeconfig: &Path) -> Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .unwrap();
    config.default_retry = false;
    Client::try_from(config).unwrap()
}

impl Program {
    /// Starts the program and waits until it answers; `kubeconfig` is from an earlier start, if there was one.
    async fn start(directory: &Path, listen: SocketAddr, kubeconfig: Option<&Path>) -> Self {
        let mut child = command(directory, listen).spawn().unwrap();
        let written = directory.join("admin.kubeconfig");
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                panic!("the program ended with {status}");
            }
            let path = kubeconfig.unwrap_or(&written);
            if path.exists() {
                let client = client(path).await;
                let ready = http::Request::get("/readyz").body(Vec::new()).unwrap();
                if client.request_text(ready).await.is_ok() {
                    return Self { child, client };
                }
            }
            assert!(Instant::now() < deadline, "the program does not answer");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }
}

/// What a client knows of an object: the data it was told is stored (nothing: deleted), and what it tried last without an answer.
#[derive(Debug, Default, Clone)]
struct Known {
    stored: Option<String>,
    tried: Option<Option<String>>,
}

type Ledger = Arc<Mutex<BTreeMap<String, Known>>>;

fn config_map(name: &str, value: &str) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        },
        data: Some([("value".to_owned(), value.to_owned())].into()),
        ..ConfigMap::default()
    }
}

fn value(object: &ConfigMap) -> String {
    object.data.as_ref().unwrap()["value"].clone()
}

/// Writes until the program is gone.
async fn write(api: Api<ConfigMap>, client: usize, ledger: Ledger, written: Arc<AtomicBool>) -> usize {
    for round in 0.. {
        let name = format!("c{client}-{}", (round * 7 + round / OBJECTS) % OBJECTS);
        let known = ledger.lock().await.get(&name).cloned().unwrap_or_default();
        let next = match &known.stored {
            Some(_) if round % 5 == 4 => None,
            _ => Some(format!("{client} {round} {}", "x".repeat(round % 700))),
        };
        ledger.lock().await.entry(name.clone()).or_default().tried = Some(next.clone());
        let done = match (&known.stored, &next) {
            (None, Some(value)) => api
                .create(&PostParams::default(), &config_map(&name, value))
                .await
                .map(drop),
            (_, Some(value)) => {
                let patch = serde_json::json!({"data": {"value": value}});
                let params = PatchParams::default();
                api.patch(&name, &params, &Patch::Merge(patch)).await.map(drop)
            }
            _ => api.delete(&name, &DeleteParams::default()).await.map(drop),
        };
        match done {
            Ok(()) => {
                let told = Known {
                    stored: next,
                    tried: None,
                };
                ledger.lock().await.insert(name, told);
                written.store(true, Ordering::Relaxed);
            }
            Err(kube::Error::Api(status)) => panic!("{name}: {status:?}"),
            Err(_) => return round,
        }
    }
    0
}

/// Holds what is stored against what clients were told; what was on its way when the program died may be there or not.
async fn check(api: &Api<ConfigMap>, ledger: &Ledger) {
    let stored: BTreeMap<String, String> = api
        .list(&ListParams::default())
        .await
        .unwrap()
        .iter()
        .filter(|object| object.name_any() != "kube-root-ca.crt")
        .map(|object| (object.name_any(), value(object)))
        .collect();
    let mut ledger = ledger.lock().await;
    for (name, known) in ledger.iter_mut() {
        let found = stored.get(name).cloned();
        let tried = known.tried.take();
        assert!(
            found == known.stored || tried.as_ref() == Some(&found),
            "{name}: found {found:?}, told {:?}, tried {tried:?}",
            known.stored
        );
        known.stored = found;
    }
    assert!(stored.keys().all(|name| ledger.contains_key(name)));
}

/// What a watch has seen, over all lives of the program.
#[derive(Default)]
struct Seen {
    objects: BTreeMap<String, String>,
    revision: String,
    expired: usize,
}

/// Watches until the program is gone.
async fn watch(api: Api<ConfigMap>, seen: Arc<Mutex<Seen>>) {
    loop {
        let mut view = seen.lock().await;
        if view.revision.is_empty() {
            let Ok(list) = api.list(&ListParams::default()).await else {
                return;
            };
            view.revision = list.metadata.resource_version.clone().unwrap();
            view.objects = list
                .iter()
                .map(|o| (o.name_any(), o.resource_version().unwrap()))
                .collect();
        }
        let from = view.revision.clone();
        drop(view);
        let Ok(stream) = api.watch(&WatchParams::default().timeout(60), &from).await else {
            return;
        };
        let mut stream = stream.boxed();
        loop {
            let event = match stream.try_next().await {
                Ok(Some(event)) => event,
                Ok(None) => break,
                Err(_) => return,
            };
            let mut view = seen.lock().await;
            match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    view.revision = object.resource_version().unwrap();
                    view.objects
                        .insert(object.name_any(), object.resource_version().unwrap());
                }
                WatchEvent::Deleted(object) => {
                    view.revision = object.resource_version().unwrap();
                    assert!(view.objects.remove(&object.name_any()).is_some());
                }
                WatchEvent::Bookmark(_) => {}
                WatchEvent::Error(error) => {
                    assert_eq!(error.code, 410);
                    view.expired += 1;
                    view.revision.clear();
                    break;
                }
            }
        }
    }
}

/// Waits until a watch has seen what a list tells.
async fn catch_up(api: &Api<ConfigMap>, seen: &Mutex<Seen>) {
    let list = api.list(&ListParams::default()).await.unwrap();
    let listed: BTreeMap<_, _> = list
        .iter()
        .map(|o| (o.name_any(), o.resource_version().unwrap()))
        .collect();
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let view = seen.lock().await;
        if view.objects == listed {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "seen {:?}\nlisted {listed:?}",
            view.objects
        );
        drop(view);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_clients_were_told_survives_kills() {
    let kills: usize = std::env::var("KILLS").map_or(3, |kills| kills.parse().unwrap());
    let (directory, listen) = (tempfile::tempdir().unwrap(), address().await);
    let (ledger, seen) = (Ledger::default(), Arc::new(Mutex::new(Seen::default())));
    let kubeconfig = directory.path().join("first.kubeconfig");
    let mut program = Program::start(directory.path(), listen, None).await;
    std::fs::copy(directory.path().join("admin.kubeconfig"), &kubeconfig).unwrap();
    let mut writes = 0;
    for kill in 0..kills {
        let api = || Api::<ConfigMap>::default_namespaced(program.client.clone());
        let watching = tokio::spawn(watch(api(), seen.clone()));
        let written = Arc::new(AtomicBool::new(false));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| tokio::spawn(write(api(), client, ledger.clone(), written.clone())))
            .collect();
        while !written.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // Each life has another length, from a moment to most of a second.
        tokio::time::sleep(Duration::from_millis(20 + (kill as u64 * 277) % 800)).await;
        program.kill().await;
        for client in clients {
            writes += client.await.unwrap();
        }
        watching.await.unwrap();
        program = Program::start(directory.path(), listen, Some(&kubeconfig)).await;
        let api = Api::<ConfigMap>::default_namespaced(program.client.clone());
        check(&api, &ledger).await;
        let watching = tokio::spawn(watch(api.clone(), seen.clone()));
        catch_up(&api, &seen).await;
        watching.abort();
        let _ = watching.await;
    }
    eprintln!(
        "{kills} kills, {writes} writes, {} watches expired",
        seen.lock().await.expired
    );
    assert!(writes > kills * CLIENTS, "{writes}");
    assert_eq!(
        seen.lock().await.expired,
        0,
        "the history reaches back far enough"
    );
    program.kill().await;
}

#[tokio::test]
async fn tokens_outlive_the_program_and_two_do_not_share_a_directory() {
    let (directory, listen) = (tempfile::tempdir().unwrap(), address().await);
    let program = Program::start(directory.path(), listen, None).await;
    let accounts = Api::<ServiceAccount>::default_namespaced(program.client.clone());
    let wanted = TokenRequest {
        spec: Some(TokenRequestSpec::default()),
        ..TokenRequest::default()
    };
    let token = loop {
        // The account comes with its namespace, a moment later.
        match accounts
            .create_token_request("default", &PostParams::default(), &wanted)
            .await
        {
            Ok(made) => break made.status.unwrap().token.unwrap(),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    let second = command(directory.path(), address().await).output().await.unwrap();
    let told = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(!second.status.success());
    assert!(
        told.contains("objects.redb is in use by another process"),
        "{told}"
    );
    program.kill().await;
    let program = Program::start(directory.path(), listen, None).await;
    let mut config = Config::from_custom_kubeconfig(
        Kubeconfig::read_from(directory.path().join("admin.kubeconfig")).unwrap(),
        &KubeConfigOptions::default(),
    )
    .await
    .unwrap();
    config.auth_info = Default::default();
    config.auth_info.token = Some(token.into());
    let review = serde_json::json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let request = http::Request::post("/apis/authentication.k8s.io/v1/selfsubjectreviews")
        .header("content-type", "application/json")
        .body(review.to_string().into_bytes())
        .unwrap();
    let answer: serde_json::Value = Client::try_from(config).unwrap().request(request).await.unwrap();
    assert_eq!(
        answer["status"]["userInfo"]["username"],
        "system:serviceaccount:default:default"
    );
    program.kill().await;
}
