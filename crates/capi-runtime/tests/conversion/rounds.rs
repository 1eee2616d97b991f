//! Round trips of random objects, made from the schemas of both versions.

use std::collections::BTreeMap;

use capi_api::{
    annotations::CONVERSION_DATA,
    conversion::{ADDONS, BOOTSTRAP, CONTROL_PLANE, CORE, IPAM, Kind, RUNTIME},
    crd::{self, samples::Samples},
};
use capi_runtime::webhook::conversion::Conversions;
use serde_json::{Value, json};

fn kinds() -> impl Iterator<Item = &'static Kind> {
    [CORE, ADDONS, IPAM, RUNTIME, BOOTSTRAP, CONTROL_PLANE]
        .into_iter()
        .flatten()
}

pub(super) fn conversions() -> Conversions {
    let conversions = Conversions::default();
    for kinds in [CORE, ADDONS, IPAM, RUNTIME, BOOTSTRAP, CONTROL_PLANE] {
        conversions.add_tables(kinds, crd::crds);
    }
    conversions
}

/// The schemas of a kind by version.
fn schemas() -> BTreeMap<(String, String), Value> {
    let mut all = BTreeMap::new();
    for shipped in crd::crds().unwrap() {
        let spec = shipped.definition.spec;
        for version in spec.versions {
            let schema = version.schema.unwrap().open_api_v3_schema.unwrap();
            all.insert(
                (spec.names.kind.clone(), version.name),
                serde_json::to_value(schema).unwrap(),
            );
        }
    }
    all
}

fn rounds() -> u64 {
    let set = std::env::var("CONVERSION_ROUND_TRIPS").ok();
    set.map_or(300, |text| {
        text.parse().expect("CONVERSION_ROUND_TRIPS is a number")
    })
}

/// A random object; `zeroes` are values that only pointers tell from nothing.
fn object(kind: &Kind, version: &str, schema: &Value, seed: u64, zeroes: bool) -> Value {
    let mut samples = Samples::new(seed);
    samples.zeroes = zeroes;
    samples.density = 20 + seed % 4 * 25;
    let mut object = samples.object(schema, "");
    object["apiVersion"] = format!("{}/{version}", kind.group).into();
    object["kind"] = kind.kind.into();
    object["metadata"] = json!({ "name": "a", "namespace": "ns", "annotations": { "mine": "x" } });
    object
}

#[test]
fn objects_of_v1beta2_come_back_from_older_versions_unchanged() {
    let (conversions, schemas) = (conversions(), schemas());
    for kind in kinds() {
        let schema = &schemas[&(kind.kind.to_owned(), "v1beta2".to_owned())];
        for (version, _) in kind.versions {
            for seed in 0..rounds() {
                let before = object(kind, "v1beta2", schema, seed, true);
                let older = format!("{}/{version}", kind.group);
                let there = conversions.convert(before.clone(), &older).unwrap();
                assert_eq!(there["apiVersion"], older.as_str());
                let back = conversions
                    .convert(there.clone(), before["apiVersion"].as_str().unwrap())
                    .unwrap();
                assert!(
                    back == before,
                    "{} {version} seed {seed}\nbefore {before:#}\nthere {there:#}\nback {back:#}",
                    kind.kind
                );
            }
        }
    }
}

/// Fields of older versions that v1beta2 has no word for, by kind; `*` is every kind. Whoever writes them in the older
/// version does not see them again.
const LOST: &[(&str, &[&str])] = &[
    // Of object references group, kind and name are kept; the namespace is always that of the object.
    ("*", &["uid", "fieldPath", "resourceVersion"]),
    ("Cluster", &["rolloutAfter", "definitionFrom"]),
    (
        "MachineDeployment",
        &["progressDeadlineSeconds", "revisionHistoryLimit"],
    ),
    (
        "Kubeadm",
        &[
            "useExperimentalRetryJoin",
            "clusterConfiguration.apiVersion",
            "clusterConfiguration.kind",
            "clusterConfiguration.clusterName",
            "clusterConfiguration.kubernetesVersion",
            "clusterConfiguration.networking",
            "initConfiguration.apiVersion",
            "initConfiguration.kind",
            "joinConfiguration.apiVersion",
            "joinConfiguration.kind",
        ],
    ),
    // Told from the counters.
    ("KubeadmControlPlane", &["status.ready"]),
];

fn may_be_lost(kind: &str, path: &str) -> bool {
    LOST.iter()
        .filter(|(of, _)| *of == "*" || kind.starts_with(of))
        .flat_map(|(_, fields)| fields.iter())
        .any(|field| path.contains(&format!(".{field}")))
}

/// The leaves of an object by path; list items by place.
fn leaves(value: &Value, path: String, all: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (name, value) in fields {
                leaves(value, format!("{path}.{name}"), all);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (index, value) in items.iter().enumerate() {
                leaves(value, format!("{path}[{index}]"), all);
            }
        }
        leaf => {
            all.insert(path, leaf.clone());
        }
    }
}

#[test]
fn objects_of_older_versions_keep_all_that_v1beta2_can_say() {
    let (conversions, schemas) = (conversions(), schemas());
    for kind in kinds() {
        for (version, _) in kind.versions {
            let schema = &schemas[&(kind.kind.to_owned(), (*version).to_owned())];
            for seed in 0..rounds() {
                let before = object(kind, version, schema, seed, false);
                let stored = conversions
                    .convert(before.clone(), &format!("{}/v1beta2", kind.group))
                    .unwrap();
                assert!(stored["metadata"]["annotations"][CONVERSION_DATA].is_null());
                let mut back = conversions
                    .convert(stored.clone(), before["apiVersion"].as_str().unwrap())
                    .unwrap();
                back["metadata"] = before["metadata"].clone();
                let (mut old, mut new) = (BTreeMap::new(), BTreeMap::new());
                leaves(&before, String::new(), &mut old);
                leaves(&back, String::new(), &mut new);
                let told = || {
                    format!(
                        "{} {version} seed {seed}\nbefore {before:#}\nstored {stored:#}\nback {back:#}",
                        kind.kind
                    )
                };
                for (path, value) in &old {
                    let same = new.get(path) == Some(value)
                        || may_be_lost(kind.kind, path)
                        || reference_says_the_same(path, value, new.get(path))
                        || path.contains(".spec.versions");
                    assert!(same, "{path} is lost: {}", told());
                }
                for path in new.keys().filter(|path| !old.contains_key(*path)) {
                    let made = is_reference(path)
                        || may_be_lost(kind.kind, path)
                        // A strategy is a rolling update unless it says otherwise.
                        || path.ends_with("strategy.type");
                    assert!(made, "{path} comes out of nowhere: {}", told());
                }
                // Nothing changes any more from here on.
                let again = conversions
                    .convert(back.clone(), &format!("{}/v1beta2", kind.group))
                    .unwrap();
                assert!(again == stored, "{}", told());
            }
        }
    }
}

/// What conversion fills into object references.
fn is_reference(path: &str) -> bool {
    ["apiVersion", "namespace", "kind"]
        .iter()
        .any(|part| path.ends_with(&format!(".{part}")))
        && (path.to_lowercase().contains("ref") || path.contains(".remediationTemplate."))
}

/// Of an object reference the namespace becomes that of the object, and the version the one that is served; a Node is a
/// Node whatever was written.
fn reference_says_the_same(path: &str, before: &Value, after: Option<&Value>) -> bool {
    let group = |value: Option<&Value>| {
        let text = value.and_then(Value::as_str).unwrap_or_default();
        text.split('/').next().unwrap_or_default().to_owned()
    };
    let node = path.contains(".nodeRef.");
    is_reference(path)
        && (node
            || path.ends_with(".namespace")
            || path.ends_with(".apiVersion") && group(Some(before)) == group(after))
}
