//! Defaults and checks that are told by example; the rest is compared with the real server by the conformance suite.

use serde_json::{Value, json};

use super::*;

fn defaulted(group: &str, resource: &str, mut value: Value) -> Value {
    default(group, resource, &mut value);
    value
}

fn paths(errors: &[FieldError]) -> Vec<&str> {
    errors.iter().map(|e| e.path.as_str()).collect()
}

#[test]
fn defaults_are_stable() {
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "reg:5000/i"}]}});
    let spec = json!({"selector": {"matchLabels": {"a": "b"}}, "template": template});
    let cases = [
        ("apps", "deployments", spec.clone()),
        ("apps", "daemonsets", spec.clone()),
        ("apps", "statefulsets", spec.clone()),
        ("apps", "replicasets", spec.clone()),
        ("batch", "jobs", json!({"template": template})),
        ("", "pods", template["spec"].clone()),
        ("", "services", json!({"ports": [{"port": 80}]})),
        ("", "persistentvolumeclaims", json!({})),
    ];
    for (group, resource, spec) in cases {
        let once = defaulted(group, resource, json!({"metadata": {"name": "x"}, "spec": spec}));
        assert_eq!(defaulted(group, resource, once.clone()), once, "{resource}");
    }
}

#[test]
fn images_without_a_tag_or_with_the_latest_are_pulled_always() {
    for (image, expected) in [
        ("i", "Always"),
        ("i:latest", "Always"),
        ("reg:5000/i", "Always"),
        ("reg:5000/i:v1", "IfNotPresent"),
        ("i@sha256:00", "IfNotPresent"),
    ] {
        let pod = defaulted("", "pods", json!({"spec": {"containers": [{"image": image}]}}));
        assert_eq!(
            pod["spec"]["containers"][0]["imagePullPolicy"], expected,
            "{image}"
        );
    }
}

#[test]
fn services_get_addresses_that_are_free() {
    let mut taken = Addresses::default();
    let mut first = defaulted(
        "",
        "services",
        json!({"spec": {"type": "NodePort", "ports": [{"port": 80}]}}),
    );
    assert!(taken.allocate(&mut first, None, 5).is_empty());
    taken.note(&first);
    let mut second = defaulted(
        "",
        "services",
        json!({"spec": {"type": "NodePort", "ports": [{"port": 80}]}}),
    );
    assert!(taken.allocate(&mut second, None, 5).is_empty());
    assert_ne!(first["spec"]["clusterIP"], second["spec"]["clusterIP"]);
    assert_ne!(
        first["spec"]["ports"][0]["nodePort"],
        second["spec"]["ports"][0]["nodePort"]
    );
    let mut third = defaulted(
        "",
        "services",
        json!({"spec": {"clusterIP": first["spec"]["clusterIP"], "ports": [{"port": 80}]}}),
    );
    assert_eq!(paths(&taken.allocate(&mut third, None, 5)), ["spec.clusterIPs"]);
    let mut headless = defaulted("", "services", json!({"spec": {"clusterIP": "None"}}));
    assert!(taken.allocate(&mut headless, None, 5).is_empty());
    assert_eq!(headless["spec"]["clusterIPs"], json!(["None"]));
    // A replacement that names no address keeps it.
    let mut again = defaulted(
        "",
        "services",
        json!({"spec": {"type": "NodePort", "ports": [{"port": 80}]}}),
    );
    assert!(taken.allocate(&mut again, Some(&first), 9).is_empty());
    assert_eq!(again["spec"], first["spec"]);
}

#[test]
fn workloads_must_select_their_own_pods() {
    let with = |selector: Value, labels: Value| {
        let object = json!({"spec": {"selector": selector, "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
        validate("apps", "deployments", None, &object)
    };
    assert!(with(json!({"matchLabels": {"a": "b"}}), json!({"a": "b"})).is_empty());
    assert_eq!(paths(&with(Value::Null, json!({}))), ["spec.selector"]);
    assert_eq!(
        paths(&with(json!({"matchLabels": {"a": "b"}}), json!({"a": "c"}))),
        ["spec.template.metadata.labels"]
    );
}
