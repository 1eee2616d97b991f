//! The conformance suite: the same requests, on this server and on the real kube-apiserver, must have the same answers.
//!
//! Cases are data (`conformance/cases/*.yaml`), and so are the answers (`conformance/golden/*.json`), which are recorded
//! from the real server. A plain run compares this server with the recorded answers. With `CONFORMANCE_KUBECONFIG` (the
//! kubeconfig of a real server; see hack/envtest/run) the real server is compared with them too, and with
//! `CONFORMANCE_RECORD=1` besides they are recorded anew. What this server is known to do differently stands in
//! `conformance/known.yaml`, with the reason; a difference that is gone must go from there. `CONFORMANCE_ONLY=text` picks cases by name.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

#[path = "conformance/hooks.rs"]
mod hooks;
#[path = "conformance/identity.rs"]
mod identity;
#[path = "conformance/normalise.rs"]
mod normalise;
#[path = "conformance/target.rs"]
mod target;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use target::{Case, Target};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/conformance")
        .join(name)
}

fn read_cases(group: &str) -> (Vec<Value>, Vec<Case>) {
    let path = folder("cases").join(format!("{group}.yaml"));
    let text = std::fs::read_to_string(&path).unwrap();
    let file: Value = serde_saphyr::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let definitions = file["definitions"].as_array().cloned().unwrap_or_default();
    let only = std::env::var("CONFORMANCE_ONLY").unwrap_or_default();
    let cases = file["cases"]
        .as_array()
        .unwrap()
        .iter()
        .map(|case| Case::read(group, case))
        .filter(|case| case.name.contains(&only))
        .collect();
    (definitions, cases)
}

/// Runs all cases of a group on a target: case name -> answers.
async fn run(target: &Target, definitions: &[Value], cases: &[Case]) -> BTreeMap<String, Value> {
    target.define(definitions).await;
    let mut answers = BTreeMap::new();
    for case in cases {
        answers.insert(case.name.clone(), Value::Array(target.run(case).await));
    }
    answers
}

/// Cases in which this server is known to differ, and why (`conformance/known.yaml`).
fn known(group: &str) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(folder("known.yaml")).unwrap();
    let all: Value = serde_saphyr::from_str(&text).unwrap();
    let listed = all[group].as_object().cloned().unwrap_or_default();
    listed
        .into_iter()
        .map(|(name, why)| (name, why.as_str().unwrap_or_default().to_owned()))
        .collect()
}

/// What differs, one line for each answer that does.
fn differences(what: &str, cases: &[Case], expected: &Value, found: &BTreeMap<String, Value>) -> Vec<String> {
    let mut lines = Vec::new();
    for case in cases {
        let wanted = expected.get(&case.name).cloned().unwrap_or_else(|| json!([]));
        let answers = &found[&case.name];
        for (i, step) in case.steps.iter().enumerate() {
            let (wanted, answer) = (&wanted[i], &answers[i]);
            if wanted != answer {
                lines.push(format!("{what}: {} step {} ({})", case.name, i + 1, step.request));
                points(wanted, answer, "", &mut lines);
            }
        }
    }
    lines
}

/// The places in which two answers differ.
fn points(wanted: &Value, found: &Value, at: &str, lines: &mut Vec<String>) {
    match (wanted, found) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys {
                let (a, b) = (a.get(key), b.get(key));
                if a != b {
                    points(
                        a.unwrap_or(&Value::Null),
                        b.unwrap_or(&Value::Null),
                        &format!("{at}/{key}"),
                        lines,
                    );
                }
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (i, (a, b)) in a.iter().zip(b).enumerate().filter(|(_, (a, b))| a != b) {
                points(a, b, &format!("{at}/{i}"), lines);
            }
        }
        _ => lines.push(format!(
            "    {at}\n      expected {wanted}\n      found    {found}"
        )),
    }
}

async fn conform(group: &str) {
    let (definitions, cases) = read_cases(group);
    let golden_path = folder("golden").join(format!("{group}.json"));
    let mut golden: Value = std::fs::read_to_string(&golden_path)
        .ok()
        .and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or_else(|| json!({}));
    let mut lines = Vec::new();
    match std::env::var("CONFORMANCE_KUBECONFIG") {
        Ok(kubeconfig) => {
            let real = run(&Target::real(&kubeconfig).await, &definitions, &cases).await;
            if std::env::var_os("CONFORMANCE_RECORD").is_some() {
                for (name, answers) in &real {
                    golden[name] = answers.clone();
                }
                std::fs::write(&golden_path, format!("{golden:#}\n")).unwrap();
            }
            lines.extend(differences("real server", &cases, &golden, &real));
        }
        Err(_) => println!("skipped: {group} on a real server (CONFORMANCE_KUBECONFIG is not set)"),
    }
    let embedded = run(&Target::embedded().await, &definitions, &cases).await;
    let known = known(group);
    let (odd, alike): (Vec<Case>, Vec<Case>) =
        cases.into_iter().partition(|case| known.contains_key(&case.name));
    lines.extend(differences("embedded server", &alike, &golden, &embedded));
    for case in odd {
        match differences("", std::slice::from_ref(&case), &golden, &embedded).is_empty() {
            true => lines.push(format!(
                "{}: known to differ, but does not any more: take it out of known.yaml",
                case.name
            )),
            false => println!("known difference: {}: {}", case.name, known[&case.name]),
        }
    }
    assert!(
        lines.is_empty(),
        "{} answers differ in {group}:\n{}",
        lines.len(),
        lines.join("\n")
    );
}

#[tokio::test]
async fn validation_defaulting_and_pruning_of_custom_resources() {
    conform("validation").await;
}

#[tokio::test]
async fn rules_in_cel() {
    conform("cel").await;
}

#[tokio::test]
async fn definitions_of_custom_resources() {
    conform("definitions").await;
}

#[tokio::test]
async fn patches() {
    conform("patches").await;
}

#[tokio::test]
async fn server_side_apply() {
    conform("apply").await;
}

#[tokio::test]
async fn admission_webhooks() {
    conform("admission").await;
}

#[tokio::test]
async fn conversion_webhooks() {
    conform("versions").await;
}

#[tokio::test]
async fn evictions_and_disruption_budgets() {
    conform("eviction").await;
}

#[tokio::test]
async fn users_and_tokens() {
    conform("users").await;
}

#[tokio::test]
async fn roles_and_permissions() {
    conform("rbac").await;
}

#[tokio::test]
async fn certificate_signing_requests() {
    conform("csr").await;
}

#[tokio::test]
async fn watches() {
    conform("watch").await;
}

#[tokio::test]
async fn every_verb_on_built_in_and_custom_resources() {
    conform("matrix").await;
}

#[tokio::test]
async fn selectors_and_tables() {
    conform("reading").await;
}
