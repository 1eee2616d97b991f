//! Rules of matching, of answers and of converted objects.

use serde_json::{Value, json};

use super::config;
use super::conversion::{Fault, accept, fit};
use super::matching::{self, Asked};
use super::review::verdict;

fn hook(extra: Value) -> config::Hook {
    let mut hook = json!({
        "name": "a.b.c", "clientConfig": {"url": "https://localhost/x"}, "sideEffects": "None",
        "admissionReviewVersions": ["v2", "v1beta1", "v1"],
        "rules": [{"operations": ["CREATE"], "apiGroups": ["g"], "apiVersions": ["v1"], "resources": ["things"]}],
    });
    for (key, value) in extra.as_object().unwrap() {
        hook[key] = value.clone();
    }
    let configuration = json!({"metadata": {"name": "c"}, "webhooks": [hook]});
    config::read(&configuration, true).remove(0)
}

fn asked<'a>(version: &'a str, resource: &'a str, subresource: &'a str) -> Asked<'a> {
    Asked {
        operation: "CREATE",
        group: "g",
        version,
        resource,
        subresource,
        namespace: "n",
    }
}

#[test]
fn rules_name_resources_and_subresources() {
    let cases = [
        (json!(["things"]), "things", "", true),
        (json!(["things"]), "things", "status", false),
        (json!(["things/status"]), "things", "status", true),
        (json!(["things/*"]), "things", "status", true),
        (json!(["*"]), "other", "", true),
        (json!(["*"]), "other", "status", false),
        (json!(["*/*"]), "other", "status", true),
        (json!(["*/scale"]), "other", "status", false),
    ];
    for (resources, resource, subresource, expected) in cases {
        let rules = json!({"rules": [{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": resources}]});
        let found = matching::version(&hook(rules.clone()), &asked("v1", resource, subresource), &[]);
        assert_eq!(found.is_some(), expected, "{rules} {resource}/{subresource}");
    }
}

#[test]
fn an_equivalent_version_is_found_unless_the_policy_is_exact() {
    let cases = [("Equivalent", Some("v1")), ("Exact", None)];
    for (policy, expected) in cases {
        let hook = hook(json!({"matchPolicy": policy}));
        assert_eq!(
            matching::version(&hook, &asked("v2", "things", ""), &["v1"]),
            expected
        );
    }
}

#[test]
fn scope_tells_namespaces_from_what_is_in_them() {
    for (scope, namespace, resource, expected) in [
        ("Namespaced", "n", "things", true),
        ("Namespaced", "", "things", false),
        ("Cluster", "", "things", true),
        ("Cluster", "n", "things", false),
        ("Cluster", "n", "namespaces", true),
        ("*", "n", "namespaces", true),
    ] {
        let rules = json!({"rules": [{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"], "scope": scope}]});
        let group = if resource == "namespaces" { "" } else { "g" };
        let question = Asked {
            namespace,
            resource,
            group,
            ..asked("v1", resource, "")
        };
        let found = matching::version(&hook(rules), &question, &[]);
        assert_eq!(found.is_some(), expected, "{scope} {namespace:?} {resource}");
    }
}

#[test]
fn conditions_that_are_false_win_over_those_that_fail() {
    let object = json!({"spec": {"size": 3}});
    let holds = |policy: &str, expressions: &[&str]| {
        let conditions: Vec<Value> = expressions
            .iter()
            .map(|e| json!({"name": "x", "expression": e}))
            .collect();
        let hook = hook(json!({"failurePolicy": policy, "matchConditions": conditions}));
        matching::conditions(&hook, &[("object", &object)])
    };
    assert_eq!(holds("Fail", &["object.spec.size == 3"]), Ok(true));
    assert_eq!(
        holds("Fail", &["object.spec.none == 3", "object.spec.size == 4"]),
        Ok(false)
    );
    assert_eq!(
        holds("Fail", &["object.spec.none == 3"]),
        Err("expression 'object.spec.none == 3' resulted in error: no such key: none".to_owned())
    );
    assert_eq!(holds("Ignore", &["object.spec.none == 3"]), Ok(false));
}

#[test]
fn answers_must_fit_their_request() {
    let answer = |response: Value| json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response});
    let said =
        |mutating, response| verdict("v1", mutating, "u", &answer(response)).map_err(|e| e.to_string());
    assert!(said(false, json!({"uid": "u", "allowed": true})).unwrap().allowed);
    assert_eq!(
        said(false, Value::Null),
        Err("webhook response was absent".to_owned())
    );
    assert_eq!(
        said(false, json!({"uid": "x"})),
        Err("expected response.uid=\"u\", got \"x\"".to_owned())
    );
    assert_eq!(
        said(false, json!({"uid": "u", "patch": "W10="})),
        Err("validating webhook may not return response.patch".to_owned())
    );
    assert_eq!(
        said(true, json!({"uid": "u", "patch": "W10="})),
        Err("webhook returned response.patch but not response.patchType".to_owned())
    );
    // The same bytes twice, in base64 and as numbers.
    for patch in [json!("W10="), json!([91, 93])] {
        let response = json!({"uid": "u", "allowed": true, "patchType": "JSONPatch", "patch": patch});
        assert_eq!(said(true, response).unwrap().patch, b"[]");
    }
    assert_eq!(
        said(true, json!({"uid": "u", "patchType": "JSONPatch"})),
        Err("webhook returned response.patchType but not response.patch".to_owned())
    );
    let patched = said(
        true,
        json!({"uid": "u", "patch": "W10=", "patchType": "JSONPatch"}),
    )
    .unwrap();
    assert_eq!(patched.patch, b"[]");
}

#[test]
fn converted_objects_keep_their_identity() {
    let original = json!({"apiVersion": "g/v1", "kind": "T", "metadata": {"name": "a", "uid": "u", "generation": 3, "labels": {"a": "b"}}});
    let mut good = original.clone();
    good["apiVersion"] = "g/v2".into();
    good["metadata"]["generation"] = 9.into();
    good["metadata"]["labels"] = json!({"c": "d"});
    let result = fit(&original, good.clone(), "g/v2").unwrap();
    assert_eq!(
        result["metadata"],
        json!({"name": "a", "uid": "u", "generation": 3, "labels": {"c": "d"}})
    );
    let mut renamed = good.clone();
    renamed["metadata"]["name"] = "b".into();
    assert_eq!(
        fit(&original, renamed, "g/v2"),
        Err(Fault::Identity("must have the same name: a != b".to_owned()))
    );
    assert_eq!(
        fit(&original, good.clone(), "g/v3"),
        Err(Fault::Type(
            "invalid groupVersion (expected g/v3, received g/v2)".to_owned()
        ))
    );
    good["metadata"]["labels"] = json!({"a": 1});
    let odd =
        Fault::Metadata("metadata.labels[a] must be a string, but is int64 in converted object".to_owned());
    assert_eq!(fit(&original, good, "g/v2"), Err(odd));
}

#[test]
fn conversion_reviews_tell_success() {
    let answer = |result: Value| {
        json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview",
            "response": {"uid": "u", "result": result, "convertedObjects": [{}]}})
    };
    assert_eq!(
        accept("v1", "u", &answer(json!({"status": "Success"})))
            .unwrap()
            .len(),
        1
    );
    let cases = [
        (json!({"status": "Failed", "message": "no"}), "no"),
        (json!({}), "response.result.status was '', not 'Success'"),
    ];
    for (result, expected) in cases {
        assert_eq!(accept("v1", "u", &answer(result)), Err(expected.to_owned()));
    }
}
