//! A thousand requests that are broken somewhere: the same code and reason as on the real server, never a panic or a hang, and
//! afterwards the same objects as there.
//!
//! The answers of the real server are recorded in `conformance/golden/fuzz.json` as those of the suite are (see
//! `conformance.rs` for the variables). Requests whose answers are known to differ stand in `conformance/known.yaml`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

#[path = "conformance/mutations.rs"]
mod mutations;
#[path = "conformance/suite.rs"]
mod suite;

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use mutations::Mutated;
use regex::Regex;
use serde_json::{Value, json};
use suite::target::Target;
use suite::{folder, known, points, say};

const SEED: u64 = 20_261_120;
const REQUESTS: usize = 1_000;
const THINGS: &str = "/apis/fuzz.conformance.dev/v1/namespaces/fuzz/things";
const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// The objects of the namespace, comparable: collection and name -> object.
type State = BTreeMap<String, Value>;

async fn state(target: &Target) -> State {
    let mut all = State::new();
    let lists = mutations::objects()
        .into_iter()
        .map(|(collection, _)| async move { (collection, target.plain("GET", collection, None).await) });
    for (collection, (code, list)) in futures::future::join_all(lists).await {
        assert_eq!(code, 200, "{collection}: {list}");
        for item in list["items"].as_array().into_iter().flatten() {
            let name = item["metadata"]["name"].as_str().unwrap();
            if name != "kube-root-ca.crt" {
                all.insert(format!("{collection}/{name}"), comparable(collection, item));
            }
        }
    }
    all
}

/// Takes out what chance decides.
fn comparable(collection: &str, item: &Value) -> Value {
    let mut item = suite::comparable(item);
    if let Some(map) = item.as_object_mut() {
        // Lists of built-in kinds need not repeat these.
        map.remove("apiVersion");
        map.remove("kind");
    }
    // What the real server's controllers report, they report when they like.
    if collection != THINGS
        && let Some(map) = item.as_object_mut()
    {
        map.remove("status");
    }
    static PATTERNS: LazyLock<[(Regex, &str); 3]> = LazyLock::new(|| {
        [
            (r"10\.[0-9]+\.[0-9]+\.[0-9]+", "{address}"),
            (r#""gen-[a-z0-9]{5}""#, "\"gen-{suffix}\""),
            (r#""nodePort":[0-9]+"#, "\"nodePort\":\"{port}\""),
        ]
        .map(|(pattern, name)| (Regex::new(pattern).unwrap(), name))
    });
    let text = PATTERNS.iter().fold(item.to_string(), |text, (pattern, name)| {
        pattern.replace_all(&text, *name).into_owned()
    });
    serde_json::from_str(&text).unwrap()
}

/// What a request changed: `null` is gone.
fn changes(before: &State, after: &State) -> Value {
    let mut out = json!({});
    for (key, value) in after {
        if before.get(key) != Some(value) {
            let key = match key.split_once("/gen-") {
                Some((head, _)) => format!("{head}/gen-{{suffix}}"),
                None => key.clone(),
            };
            out[key] = value.clone();
        }
    }
    for key in before.keys().filter(|key| !after.contains_key(*key)) {
        out[key] = Value::Null;
    }
    out
}

/// Puts the objects back that a request changed.
async fn restore(target: &Target, before: &State, after: &State) {
    let changed = |key: &&String| before.get(*key) != after.get(*key);
    for key in after.keys().filter(changed) {
        let free = json!({"metadata": {"finalizers": null}});
        target.plain("PATCH", key, Some(free.to_string())).await;
        target.plain("DELETE", key, None).await;
    }
    for (collection, object) in mutations::objects() {
        let key = format!("{collection}/a");
        if before.get(&key) != after.get(&key) {
            target.plain("POST", collection, Some(object.to_string())).await;
        }
    }
    let mut now = state(target).await;
    for _ in 0..100 {
        if now == *before {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        now = state(target).await;
    }
    let mut lines = Vec::new();
    points(&json!(before), &json!(now), "", &mut lines);
    panic!("the objects could not be put back:\n{}", lines.join("\n"));
}

/// The definition, the namespace and its objects.
async fn prepare(target: &Target) -> State {
    let definition = mutations::definition();
    let (_, found) = target
        .plain("GET", &format!("{CRDS}/things.fuzz.conformance.dev"), None)
        .await;
    if found["kind"] == "Status" {
        target.define(&[definition]).await;
    }
    let namespace =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": mutations::NAMESPACE}});
    target
        .plain("POST", "/api/v1/namespaces", Some(namespace.to_string()))
        .await;
    for path in ["serviceaccounts/default", "configmaps/kube-root-ca.crt"] {
        target
            .until(&format!("/api/v1/namespaces/fuzz/{path}"), 200)
            .await;
    }
    // What an earlier run left behind.
    for key in state(target).await.keys() {
        let free = json!({"metadata": {"finalizers": null}});
        target.plain("PATCH", key, Some(free.to_string())).await;
        target.plain("DELETE", key, None).await;
    }
    for (collection, object) in mutations::objects() {
        let (code, answer) = target.plain("POST", collection, Some(object.to_string())).await;
        assert_eq!(code, 201, "{collection}: {answer}");
    }
    state(target).await
}

/// What is compared: code, reason and what became of the objects.
async fn answers(target: &Target, requests: &[Mutated]) -> Vec<Value> {
    let before = prepare(target).await;
    let mut all = Vec::new();
    for (i, request) in requests.iter().enumerate() {
        let answer = tokio::time::timeout(
            Duration::from_secs(60),
            target.raw(
                request.method,
                &request.path,
                &request.headers,
                request.body.clone(),
            ),
        );
        let (code, body) = answer
            .await
            .unwrap_or_else(|_| panic!("request {i} hangs: {}", request.title()));
        let reason = match body["kind"] == "Status" && body["status"] != "Success" {
            true => body["reason"].clone(),
            false => Value::Null,
        };
        let mut told = json!({"request": request.title(), "code": code, "reason": reason});
        if std::env::var_os("FUZZ_MESSAGES").is_some() {
            say(&format!(
                "{i:04} {} {code} {} {}",
                target.is_real(),
                request.title(),
                body["message"]
            ));
        }
        if request.method != "GET" {
            let after = state(target).await;
            if after != before {
                told["changes"] = changes(&before, &after);
                restore(target, &before, &after).await;
            }
        }
        all.push(told);
    }
    all
}

fn compare(
    who: &str,
    requests: &[Mutated],
    wanted: &[Value],
    found: &[Value],
    odd: &BTreeMap<String, String>,
) -> Vec<String> {
    let mut lines = Vec::new();
    for (i, request) in requests.iter().enumerate() {
        let (wanted, found) = (wanted.get(i).unwrap_or(&Value::Null), &found[i]);
        let is_known = odd.contains_key(&format!("{i:04}"));
        if wanted != found && !is_known {
            lines.push(format!(
                "{who}: {i:04} {}\n    {}",
                request.title(),
                String::from_utf8_lossy(&request.body)
                    .chars()
                    .take(600)
                    .collect::<String>()
            ));
            points(wanted, found, "", &mut lines);
        }
        if wanted == found && is_known {
            lines.push(format!(
                "{i:04}: known to differ, but does not any more: take it out of known.yaml"
            ));
        }
    }
    lines
}

#[tokio::test]
async fn a_thousand_broken_requests_are_answered_as_by_the_real_server() {
    let requests = mutations::requests(SEED, REQUESTS);
    let path = folder("golden").join("fuzz.json");
    let read = || {
        std::fs::read_to_string(&path)
            .ok()
            .and_then(|text| serde_json::from_str(&text).ok())
    };
    let mut golden: Vec<Value> = read().unwrap_or_default();
    let mut lines = Vec::new();
    let mut servers = "the embedded server";
    match std::env::var("CONFORMANCE_KUBECONFIG") {
        Ok(kubeconfig) => {
            servers = "both servers";
            let real = answers(&Target::real(&kubeconfig).await, &requests).await;
            if std::env::var_os("CONFORMANCE_RECORD").is_some() {
                let rows: Vec<String> = real.iter().map(Value::to_string).collect();
                std::fs::write(&path, format!("[\n{}\n]\n", rows.join(",\n"))).unwrap();
                golden = real;
            } else {
                lines.extend(compare(
                    "real server",
                    &requests,
                    &golden,
                    &real,
                    &BTreeMap::new(),
                ));
            }
        }
        Err(_) => say("SKIPPED broken requests on a real server: CONFORMANCE_KUBECONFIG is not set"),
    }
    let odd = known("fuzz");
    let embedded = answers(&Target::embedded().await, &requests).await;
    lines.extend(compare("embedded server", &requests, &golden, &embedded, &odd));
    let failed = golden
        .iter()
        .filter(|answer| answer["code"].as_u64() >= Some(400))
        .count();
    say(&format!(
        "{} broken requests on {servers}: {failed} refused, {} known differences",
        requests.len(),
        odd.len()
    ));
    assert!(
        lines.is_empty(),
        "{} lines of differences:\n{}",
        lines.len(),
        lines.join("\n")
    );
}
