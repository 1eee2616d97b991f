//! The conformance suite: the same requests, on this server and on the real kube-apiserver, must have the same answers.
//!
//! Cases are data (`conformance/cases/*.yaml`), and so are the answers (`conformance/golden/*.json`), which are recorded
//! from the real server. A plain run compares this server with the recorded answers. With `CONFORMANCE_KUBECONFIG` (the
//! kubeconfig of a real server; see hack/envtest/run) the real server is compared with them too, and with
//! `CONFORMANCE_RECORD=1` besides they are recorded anew. What this server is known to do differently stands in
//! `conformance/known.yaml`, with the reason; a difference that is gone must go from there. `CONFORMANCE_ONLY=text` picks cases by name.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

#[path = "conformance/suite.rs"]
mod suite;

use suite::target::{Case, Target};
use suite::{Group, differences, known, run, say};

async fn conform(name: &str) {
    let group = Group::read(name);
    let mut golden = group.golden();
    let mut lines = Vec::new();
    let mut servers = "the embedded server";
    match std::env::var("CONFORMANCE_KUBECONFIG") {
        Ok(kubeconfig) => {
            servers = "both servers";
            let target = Target::real(&kubeconfig).await;
            if std::env::var_os("CONFORMANCE_RECORD").is_some() {
                for (case, answers) in run(&target, &group, None).await {
                    golden[&case] = answers;
                }
                std::fs::write(group.golden_path(), format!("{golden:#}\n")).unwrap();
            } else {
                let real = run(&target, &group, Some(&golden)).await;
                lines.extend(differences("real server", &group.cases, &golden, &real));
            }
        }
        Err(_) => say(&format!(
            "SKIPPED {name} on a real server: CONFORMANCE_KUBECONFIG is not set"
        )),
    }
    let embedded = run(&Target::embedded().await, &group, Some(&golden)).await;
    let known = known(name);
    let (odd, alike): (Vec<&Case>, Vec<&Case>) = group
        .cases
        .iter()
        .partition(|case| known.contains_key(&case.name));
    lines.extend(differences("embedded server", alike, &golden, &embedded));
    for case in &odd {
        if differences("", [*case], &golden, &embedded).is_empty() {
            lines.push(format!(
                "{}: known to differ, but does not any more: take it out of known.yaml",
                case.name
            ));
        }
    }
    say(&format!(
        "conformance of {name}: {} cases, {} requests on {servers}, {} known differences",
        group.cases.len(),
        group.requests(),
        odd.len()
    ));
    assert!(
        lines.is_empty(),
        "{} lines of differences in {name}:\n{}",
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
