//! The suite itself: reads cases and recorded answers, runs the cases on a server, tells what differs.
//!
//! Time is nobody's contract: the real server takes a while to notice what was written, and machines are slow. A case whose
//! answers differ is therefore run again with more patience, on the real server always, on the embedded one only when the
//! machine is known to have stalled meanwhile; what differs for another reason differs again.
#![allow(dead_code)]

mod hooks;
mod identity;
mod normalise;
mod stalls;
pub mod target;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use target::{Case, PATIENCE, Target};

pub fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/conformance")
        .join(name)
}

/// Writes past the test harness, which keeps what passing tests print to itself.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// A group of cases with the definitions that they need.
pub struct Group {
    pub name: String,
    pub definitions: Vec<Value>,
    pub cases: Vec<Case>,
}

impl Group {
    pub fn read(name: &str) -> Self {
        let path = folder("cases").join(format!("{name}.yaml"));
        let text = std::fs::read_to_string(&path).unwrap();
        let file: Value = serde_saphyr::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let only = std::env::var("CONFORMANCE_ONLY").unwrap_or_default();
        let cases = file["cases"].as_array().unwrap().iter();
        Self {
            name: name.to_owned(),
            definitions: file["definitions"].as_array().cloned().unwrap_or_default(),
            cases: cases
                .map(|case| Case::read(name, case))
                .filter(|case| case.name.contains(&only))
                .collect(),
        }
    }

    /// Keeps the cases whose names contain one of the texts.
    pub fn only(mut self, parts: &[&str]) -> Self {
        self.cases
            .retain(|case| parts.is_empty() || parts.iter().any(|part| case.name.contains(part)));
        self
    }

    pub fn golden(&self) -> Value {
        std::fs::read_to_string(self.golden_path())
            .ok()
            .and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or_else(|| json!({}))
    }

    pub fn golden_path(&self) -> PathBuf {
        folder("golden").join(format!("{}.json", self.name))
    }

    pub fn requests(&self) -> usize {
        self.cases.iter().map(|case| case.steps.len()).sum()
    }
}

/// Runs all cases of a group on a target: case name -> answers. Without `golden` they are being recorded, in peace.
pub async fn run(target: &Target, group: &Group, golden: Option<&Value>) -> BTreeMap<String, Value> {
    target.define(&group.definitions).await;
    let mut answers = BTreeMap::new();
    for case in &group.cases {
        let Some(golden) = golden else {
            let patient = Value::Array(target.run(case, PATIENCE - 1).await);
            answers.insert(case.name.clone(), patient);
            continue;
        };
        for patience in 0..PATIENCE {
            let stalls = stalls::count();
            let found = Value::Array(target.run(case, patience).await);
            let differs = golden.get(&case.name) != Some(&found);
            answers.insert(case.name.clone(), found);
            if !differs || !(target.is_real() || stalls::count() > stalls) {
                break;
            }
            say(&format!(
                "again, with more patience: {}: {}",
                group.name, case.name
            ));
            target.define(&changed_definitions(group, case)).await;
        }
    }
    answers
}

/// The definitions that a case changes itself, which another run of it needs as they were.
fn changed_definitions(group: &Group, case: &Case) -> Vec<Value> {
    let changes = |definition: &&Value| {
        let name = definition["metadata"]["name"].as_str().unwrap();
        case.steps
            .iter()
            .any(|step| !step.request.starts_with("GET") && step.request.contains(name))
    };
    group.definitions.iter().filter(changes).cloned().collect()
}

/// Cases in which this server is known to differ, and why (`conformance/known.yaml`).
pub fn known(group: &str) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(folder("known.yaml")).unwrap();
    let all: Value = serde_saphyr::from_str(&text).unwrap();
    let listed = all[group].as_object().cloned().unwrap_or_default();
    listed
        .into_iter()
        .map(|(name, why)| (name, why.as_str().unwrap_or_default().to_owned()))
        .collect()
}

/// An object without what differs from run to run.
pub fn comparable(object: &Value) -> Value {
    normalise::object(object)
}

/// What differs, one line for each answer that does.
pub fn differences<'a>(
    what: &str,
    cases: impl IntoIterator<Item = &'a Case>,
    expected: &Value,
    found: &BTreeMap<String, Value>,
) -> Vec<String> {
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
pub fn points(wanted: &Value, found: &Value, at: &str, lines: &mut Vec<String>) {
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
