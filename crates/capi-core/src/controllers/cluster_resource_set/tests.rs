//! Plans of ClusterResourceSets, rule by rule.

use std::{collections::BTreeMap, sync::Arc};

use capi_api::{
    addons::v1beta2::{ClusterResourceSet, ClusterResourceSetBinding, ResourceRef},
    conditions::{get, v1beta1},
};
use capi_runtime::Key;
use jiff::Timestamp;
use kube::{ResourceExt, core::ObjectMeta};
use serde_json::{Value, json};

use super::{
    content::Content,
    observe::{ClusterView, ResourceView, Source, World, selects},
    plan::{Outcome, binding_after, binding_without, conclude, is_due, plan},
};

fn now() -> Timestamp {
    "2026-01-01T00:10:00.5Z".parse().unwrap()
}

fn set(strategy: &str) -> ClusterResourceSet {
    serde_json::from_value(json!({
        "metadata": {"name": "crs", "namespace": "ns", "uid": "su", "generation": 2},
        "spec": {"clusterSelector": {"matchLabels": {"a": "b"}}, "strategy": strategy,
            "resources": [{"kind": "ConfigMap", "name": "one"}, {"kind": "Secret", "name": "two"}]}}))
    .unwrap()
}

fn reference(kind: &str, name: &str) -> ResourceRef {
    serde_json::from_value(json!({"kind": kind, "name": name})).unwrap()
}

fn binding(sets: Value) -> ClusterResourceSetBinding {
    serde_json::from_value(json!({"metadata": {"name": "c", "namespace": "ns",
            "ownerReferences": [{"apiVersion": "addons.cluster.x-k8s.io/v1beta2", "kind": "ClusterResourceSet", "name": "crs", "uid": "su"}]},
        "spec": {"clusterName": "c", "bindings": sets}}))
    .unwrap()
}

fn bound(hash: &str, applied: bool) -> ClusterResourceSetBinding {
    binding(json!([{"clusterResourceSetName": "crs", "resources":
        [{"kind": "ConfigMap", "name": "one", "hash": hash, "applied": applied, "lastAppliedTime": "2026-01-01T00:00:00Z"}]}]))
}

fn cluster(name: &str, binding: Option<ClusterResourceSetBinding>) -> ClusterView {
    ClusterView {
        key: Key::new("ns", name),
        binding: binding.map(Arc::new),
        connection: Ok(()),
    }
}

fn content() -> Source {
    let text = "apiVersion: v1\nkind: Namespace\nmetadata: {name: ns}\n";
    let values = BTreeMap::from([("k".to_owned(), text.as_bytes().to_vec())]);
    Source::Content(Arc::new(Content::of(&values)))
}

fn view(kind: &str, name: &str, source: Source) -> ResourceView {
    let exists = source != Source::Missing;
    ResourceView {
        reference: reference(kind, name),
        metadata: exists.then(|| ObjectMeta {
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        }),
        source,
    }
}

fn world(set: ClusterResourceSet, clusters: Vec<ClusterView>, resources: Vec<ResourceView>) -> World {
    World {
        set: Arc::new(set),
        clusters,
        resources,
        bindings: Vec::new(),
    }
}

#[test]
fn an_empty_selector_selects_nothing() {
    let labels = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
    assert!(selects(&set("ApplyOnce"), Some(&labels)) && !selects(&set("ApplyOnce"), None));
    let mut all = set("ApplyOnce");
    all.spec.cluster_selector = Default::default();
    assert!(!selects(&all, Some(&labels)));
}

#[test]
fn what_is_due_follows_from_strategy_binding_and_hash() {
    let hash = |text: &str| Source::Hash(text.to_owned());
    let cases = [
        ("ApplyOnce", None, Source::Unread, true),
        ("ApplyOnce", Some(bound("h", true)), Source::Unread, false),
        ("ApplyOnce", Some(bound("h", true)), hash("other"), false),
        ("ApplyOnce", Some(bound("h", false)), hash("h"), true),
        ("Reconcile", None, hash("h"), true),
        ("Reconcile", Some(bound("h", true)), Source::Unread, true),
        ("Reconcile", Some(bound("h", true)), hash("h"), false),
        ("Reconcile", Some(bound("h", true)), hash("other"), true),
        ("Reconcile", Some(bound("h", false)), hash("h"), true),
        ("Reconcile", Some(bound("h", true)), content(), true),
        ("Reconcile", None, Source::Missing, false),
        ("ApplyOnce", None, Source::WrongType("Opaque".into()), false),
    ];
    for (strategy, binding, source, due) in cases {
        let what = format!("{strategy} {binding:?} {source:?}");
        let cluster = cluster("c", binding);
        assert_eq!(
            is_due(&set(strategy), &cluster, &reference("ConfigMap", "one"), &source),
            due,
            "{what}"
        );
        // Of another resource nothing is known.
        let unknown = is_due(&set(strategy), &cluster, &reference("Secret", "one"), &source);
        assert_eq!(
            unknown,
            !matches!(source, Source::Missing | Source::WrongType(_)),
            "{what}"
        );
    }
}

#[test]
fn resources_come_to_belong_to_the_set_and_are_applied_where_they_are_due() {
    let mut unreachable = cluster("d", None);
    unreachable.connection = Err("no route".into());
    let world = world(
        set("ApplyOnce"),
        vec![
            cluster("c", None),
            unreachable,
            cluster("e", Some(bound("h", true))),
        ],
        vec![
            view("ConfigMap", "one", content()),
            view("Secret", "two", Source::WrongType("Opaque".into())),
        ],
    );
    let plan = plan(&world);
    assert_eq!(plan.claims.len(), 1, "a Secret of another type stays as it is");
    assert_eq!(plan.claims[0].2.owner_references.clone().unwrap()[0].uid, "su");
    let counts: Vec<usize> = plan.applications.iter().map(Vec::len).collect();
    assert_eq!(counts, [1, 0, 0]);
}

fn outcome(errors: &[&str]) -> Outcome {
    Outcome {
        reference: reference("ConfigMap", "one"),
        hash: "h".to_owned(),
        errors: errors.iter().map(|e| (*e).to_owned()).collect(),
    }
}

#[test]
fn a_binding_notes_what_was_applied_beside_what_others_noted() {
    let key = Key::new("ns", "c");
    let fresh = binding_after(&set("ApplyOnce"), &key, None, &[outcome(&[])], now());
    assert_eq!(
        (fresh.name_any(), fresh.spec.cluster_name.as_str()),
        ("c".to_owned(), "c")
    );
    assert_eq!(fresh.owner_references()[0].name, "crs");
    let entry = &fresh.spec.bindings[0].resources[0];
    assert_eq!((entry.hash.as_deref(), entry.applied), (Some("h"), true));
    assert_eq!(
        entry.last_applied_time.as_ref().unwrap().0,
        "2026-01-01T00:10:00Z".parse().unwrap()
    );

    let others = binding(json!([{"clusterResourceSetName": "other", "resources": []}]));
    let shared = binding_after(&set("ApplyOnce"), &key, Some(&others), &[outcome(&[])], now());
    let names: Vec<_> = shared
        .spec
        .bindings
        .iter()
        .map(|b| b.cluster_resource_set_name.as_str())
        .collect();
    assert_eq!(names, ["other", "crs"]);

    // A failure is noted once, a success after it too.
    let failed = bound("h", false);
    let again = binding_after(&set("ApplyOnce"), &key, Some(&failed), &[outcome(&["x"])], now());
    assert_eq!(again.spec, failed.spec);
    let healed = binding_after(&set("ApplyOnce"), &key, Some(&failed), &[outcome(&[])], now());
    assert!(healed.spec.bindings[0].resources[0].applied);
}

#[test]
fn a_deleted_set_leaves_the_bindings_of_others() {
    assert!(binding_without(&set("ApplyOnce"), &bound("h", true)).is_none());
    let shared = binding(json!([{"clusterResourceSetName": "crs", "resources": []},
        {"clusterResourceSetName": "other", "resources": []}]));
    let left = binding_without(&set("ApplyOnce"), &shared).unwrap();
    assert_eq!(left.spec.bindings.len(), 1);
    assert!(left.owner_references().is_empty());
}

#[test]
fn the_condition_names_everything_that_is_not_applied() {
    let mut unreachable = cluster("d", None);
    unreachable.connection = Err("no route".into());
    let two_clusters = || vec![cluster("c", None), unreachable.clone()];
    let good = || view("ConfigMap", "one", content());
    let cases = [
        (vec![good()], vec![], ("True", "Applied", "")),
        (
            vec![view("Secret", "two", Source::WrongType("Opaque".into()))],
            vec![],
            (
                "False",
                "WrongSecretType",
                "Secret type of resource two is not supported: it is \"Opaque\", must be \"addons.cluster.x-k8s.io/resource-set\"",
            ),
        ),
        (
            vec![view("ConfigMap", "one", Source::Missing)],
            vec![],
            ("False", "NotApplied", "ConfigMap one does not exist"),
        ),
        (
            vec![good()],
            vec![outcome(&["Thing t: refused", "Thing u: refused"])],
            (
                "False",
                "NotApplied",
                "Failed to apply ConfigMap one to Cluster c: Thing t: refused; Thing u: refused",
            ),
        ),
    ];
    for (resources, outcomes, expected) in cases {
        let world = world(set("ApplyOnce"), vec![cluster("c", None)], resources);
        let after = conclude(&world, &[outcomes], now());
        let condition = get(&after, "ResourcesApplied").unwrap();
        assert_eq!(
            (
                condition.status.as_str(),
                condition.reason.as_str(),
                condition.message.as_str()
            ),
            expected
        );
        assert_eq!(after.status.clone().unwrap().observed_generation, Some(2));
    }
    let world = world(
        set("ApplyOnce"),
        two_clusters(),
        vec![good(), view("Secret", "two", Source::Missing)],
    );
    let after = conclude(&world, &[vec![outcome(&["x"])], vec![]], now());
    assert_eq!(
        get(&after, "ResourcesApplied").unwrap().message,
        "* Secret two does not exist\n* Failed to apply ConfigMap one to Cluster c: x\n* Cluster d: no route"
    );
    let old = v1beta1::get(&after, "ResourcesApplied").unwrap();
    assert_eq!(
        (old.reason.as_deref(), old.severity.as_deref()),
        (Some("RetrievingResourceFailed"), Some("Warning"))
    );
}

#[test]
fn an_unreachable_cluster_that_has_everything_is_no_trouble() {
    let mut unreachable = cluster("d", Some(bound("h", true)));
    unreachable.connection = Err("no route".into());
    for strategy in ["ApplyOnce", "Reconcile"] {
        for source in [Source::Unread, Source::Hash("h".into())] {
            let world = world(
                set(strategy),
                vec![unreachable.clone()],
                vec![view("ConfigMap", "one", source)],
            );
            let after = conclude(&world, &[vec![]], now());
            assert_eq!(get(&after, "ResourcesApplied").unwrap().status, "True");
        }
    }
    let changed = world(
        set("Reconcile"),
        vec![unreachable],
        vec![view("ConfigMap", "one", Source::Hash("new".into()))],
    );
    let after = conclude(&changed, &[vec![]], now());
    let old = v1beta1::get(&after, "ResourcesApplied").unwrap();
    assert_eq!(old.reason.as_deref(), Some("RemoteClusterClientFailed"));
}

#[test]
fn without_clusters_nothing_is_wrong() {
    let failed = conclude(
        &world(
            set("ApplyOnce"),
            vec![cluster("c", None)],
            vec![view("ConfigMap", "one", Source::Missing)],
        ),
        &[vec![]],
        now(),
    );
    let after = conclude(&world(failed, vec![], vec![]), &[], now());
    assert!(get(&after, "ResourcesApplied").is_none());
}
