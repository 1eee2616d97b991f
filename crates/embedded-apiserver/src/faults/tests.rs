//! Each fault is caught by the conformance suite: at least one case of a group has another answer than recorded.

use std::cell::Cell;

use super::Fault;

#[path = "../../tests/conformance/suite.rs"]
mod suite;

use suite::target::Target;
use suite::{Group, differences, known, run, say};

thread_local! {
    static FAULT: Cell<Option<Fault>> = const { Cell::new(None) };
}

pub(crate) fn broken(fault: Fault) -> bool {
    FAULT.get() == Some(fault)
}

/// Every fault with a group that catches it, and the cases of it that are run (by parts of their names; all if empty).
const CAUGHT: &[(Fault, &str, &[&str])] = &[
    (
        Fault::StaleUpdate,
        "matrix",
        &["update thing conflict", "merge config map conflict"],
    ),
    (Fault::LostEvent, "watch", &["changes of things since a version"]),
    (Fault::SkippedDefault, "validation", &[]),
    (Fault::NoPruning, "validation", &[]),
    (
        Fault::LostFinalizer,
        "watch",
        &["deletion with a finalizer of things"],
    ),
    (Fault::WrongManager, "apply", &[]),
    (
        Fault::IgnoredPreconditions,
        "matrix",
        &["delete thing conflict", "delete lease conflict"],
    ),
    (Fault::SkippedAdmission, "admission", &["denied", "deny"]),
    (
        Fault::FailsOpen,
        "admission",
        &["a hook that fails closed", "a hook that is not found"],
    ),
    (Fault::NoReinvocation, "admission", &["reinvocation when a later"]),
    (Fault::RbacHole, "matrix", &["list thing forbidden"]),
    (
        Fault::Escalation,
        "rbac",
        &["nobody grants", "aggregation needs everything"],
    ),
    (Fault::OpenApproval, "csr", &["permission to approve"]),
    (Fault::StaleList, "reading", &[]),
    (Fault::WrongReason, "matrix", &["get thing not found"]),
    (
        Fault::MissingExpiry,
        "watch",
        &["a version of config maps that is gone"],
    ),
    (
        Fault::OldBookmark,
        "watch",
        &["streamed initial events of things"],
    ),
    (Fault::SkippedRules, "cel", &[]),
    (
        Fault::StoredDryRun,
        "matrix",
        &["create thing dry", "merge lease dry"],
    ),
    (Fault::ForcedApply, "apply", &["conflict"]),
    (Fault::ReplacedLists, "patches", &["strategic"]),
    (Fault::OpenStatus, "matrix", &["leaves the status alone"]),
    (Fault::StuckGeneration, "apply", &[]),
    (Fault::IgnoredSelector, "reading", &[]),
    (
        Fault::LostWarnings,
        "matrix",
        &["create thing with an unknown field"],
    ),
    (Fault::IgnoredLimit, "watch", &["in pieces"]),
    (
        Fault::NoConversion,
        "versions",
        &["get in the other version", "a list is converted"],
    ),
    (Fault::IgnoredBudget, "eviction", &[]),
    (Fault::IgnoredPropagation, "matrix", &["with propagation"]),
    (Fault::NoNamespaces, "matrix", &["create thing elsewhere"]),
    (Fault::Duplicates, "validation", &[]),
    (
        Fault::UncheckedKinds,
        "matrix",
        &["create service invalid", "create deployment invalid"],
    ),
    (
        Fault::OpenImpersonation,
        "users",
        &["acting within narrow limits"],
    ),
    (
        Fault::LaxFields,
        "matrix",
        &["create thing with an unknown field, strictly"],
    ),
    (Fault::AnyKind, "patches", &[]),
];

/// What a group says about a server that is broken in this way.
async fn complaints(fault: Fault, group: &str, parts: &[&str]) -> Vec<String> {
    let group = Group::read(group).only(parts);
    assert!(!group.cases.is_empty(), "{fault:?}: no case is called {parts:?}");
    let golden = group.golden();
    FAULT.set(Some(fault));
    let answers = run(&Target::embedded().await, &group, Some(&golden)).await;
    FAULT.set(None);
    let known = known(&group.name);
    let cases = group.cases.iter().filter(|case| !known.contains_key(&case.name));
    differences("", cases, &golden, &answers)
        .into_iter()
        .filter(|line| line.starts_with(": "))
        .collect()
}

#[tokio::test]
async fn every_fault_is_caught_by_the_conformance_suite() {
    let mut missed = Vec::new();
    for (fault, group, parts) in CAUGHT {
        let complaints = complaints(*fault, group, parts).await;
        match complaints.first() {
            Some(first) => say(&format!(
                "{fault:?} is caught by {group} ({} answers), first{first}",
                complaints.len()
            )),
            None => missed.push(format!("{fault:?} by {group}")),
        }
    }
    say(&format!(
        "{} broken servers, {} not caught",
        CAUGHT.len(),
        missed.len()
    ));
    assert!(missed.is_empty(), "not caught: {}", missed.join(", "));
}
