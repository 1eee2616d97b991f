//! Ownership as a whole: creates, updates, applies, conflicts. Cases build on each other as a story per test.

use serde_json::{Value, json};

use super::*;
use crate::schema::Structural;

const T0: &str = "2024-01-01T00:00:00Z";
const T1: &str = "2024-01-01T00:01:00Z";

fn writer<'a>(manager: &'a str, now: &str) -> Writer<'a> {
    Writer {
        manager,
        api_version: "example.com/v1",
        subresource: "",
        now: now.parse().unwrap(),
    }
}

fn custom() -> TypeSchema {
    let schema = Structural::compile(&json!({"type": "object", "properties": {
        "spec": {"type": "object", "properties": {
            "replicas": {"type": "integer"}, "name": {"type": "string"},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            "atomic": {"type": "object", "x-kubernetes-map-type": "atomic", "properties": {"a": {"type": "string"}, "b": {"type": "string"}}},
            "list": {"type": "array", "items": {"type": "string"}},
            "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
            "ports": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["port", "protocol"], "items": {"type": "object", "required": ["port"], "properties": {
                "port": {"type": "integer"}, "protocol": {"type": "string", "default": "TCP"}, "name": {"type": "string"}, "target": {"type": "string"}}}},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        }},
        "status": {"type": "object", "properties": {"phase": {"type": "string"}}},
    }}))
    .unwrap();
    TypeSchema::custom(&schema)
}

fn object(spec: Value) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "x", "namespace": "ns"}, "spec": spec})
}

fn stored(mut object: Value) -> Value {
    object["metadata"]["uid"] = json!("u");
    object
}

/// `manager/operation` -> fieldsV1 of every entry.
fn owners(object: &Value) -> Value {
    let mut out = serde_json::Map::new();
    for entry in object
        .pointer("/metadata/managedFields")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let key = format!(
            "{}/{}",
            entry["manager"].as_str().unwrap(),
            entry["operation"].as_str().unwrap()
        );
        out.insert(key, entry["fieldsV1"].clone());
    }
    Value::Object(out)
}

fn create(manager: &str, spec: Value) -> Value {
    let mut new = object(spec);
    record_update(&custom(), None, &mut new, &writer(manager, T0), &[&["status"]]);
    stored(new)
}

fn do_apply(live: Option<&Value>, manager: &str, spec: Value, force: bool) -> Result<Value, ApplyError> {
    apply(
        &custom(),
        live,
        &object(spec),
        &writer(manager, T1),
        force,
        &[&["status"]],
    )
}

#[test]
fn a_create_owns_what_it_sets() {
    let created = create(
        "m",
        json!({"replicas": 1, "labels": {"a": "b"}, "list": ["x"], "set": ["y"], "ports": [{"port": 80}], "atomic": {"a": "1"}}),
    );
    assert_eq!(
        created["metadata"]["managedFields"],
        json!([{"manager": "m", "operation": "Update", "apiVersion": "example.com/v1", "time": T0, "fieldsType": "FieldsV1", "fieldsV1": {
        "f:spec": {
            ".": {}, "f:atomic": {}, "f:labels": {".": {}, "f:a": {}}, "f:list": {}, "f:replicas": {},
            "f:set": {".": {}, "v:\"y\"": {}},
            "f:ports": {".": {}, "k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}, "f:port": {}}},
        }}}])
    );
}

#[test]
fn updates_take_fields_from_others_and_merge_into_own_entries() {
    let live = create("a", json!({"replicas": 1, "name": "n"}));
    let mut new = live.clone();
    new["spec"]["replicas"] = json!(2);
    record_update(&custom(), Some(&live), &mut new, &writer("b", T1), &[]);
    assert_eq!(
        owners(&new),
        json!({"a/Update": {"f:spec": {".": {}, "f:name": {}}}, "b/Update": {"f:spec": {"f:replicas": {}}}})
    );

    let live = new;
    let mut new = live.clone();
    new["spec"]["labels"] = json!({"x": "y"});
    new["spec"].as_object_mut().unwrap().remove("name");
    record_update(&custom(), Some(&live), &mut new, &writer("b", T1), &[]);
    assert_eq!(
        owners(&new),
        json!({"a/Update": {"f:spec": {}}, "b/Update": {"f:spec": {"f:replicas": {}, "f:labels": {".": {}, "f:x": {}}}}})
    );

    // Nothing changed: nothing happens, not even to times.
    let live = new;
    let mut new = live.clone();
    record_update(
        &custom(),
        Some(&live),
        &mut new,
        &writer("c", "2025-01-01T00:00:00Z"),
        &[],
    );
    assert_eq!(new, live);
}

#[test]
fn status_and_main_resource_are_different_managers() {
    let live = create("m", json!({"replicas": 1}));
    let mut new = live.clone();
    new["status"] = json!({"phase": "x"});
    let status = Writer {
        subresource: "status",
        ..writer("m", T1)
    };
    record_update(
        &custom(),
        Some(&live),
        &mut new,
        &status,
        &[&["metadata"], &["spec"]],
    );
    let entries = new["metadata"]["managedFields"].as_array().unwrap();
    assert_eq!(entries.len(), 2);
    assert_eq!(entries[1]["subresource"], "status");
    assert_eq!(
        entries[1]["fieldsV1"],
        json!({"f:status": {".": {}, "f:phase": {}}})
    );
}

#[test]
fn what_the_client_says_about_managed_fields_counts() {
    let live = create("m", json!({"replicas": 1}));
    let mut reset = live.clone();
    reset["metadata"]["managedFields"] = json!([]);
    record_update(&custom(), Some(&live), &mut reset, &writer("m", T1), &[]);
    assert_eq!(reset["metadata"].get("managedFields"), None);

    let mut garbage = live.clone();
    garbage["metadata"]["managedFields"] = json!([{"manager": "x", "operation": "Dance"}]);
    record_update(&custom(), Some(&live), &mut garbage, &writer("m", T1), &[]);
    assert_eq!(
        garbage["metadata"]["managedFields"],
        live["metadata"]["managedFields"]
    );
}

#[test]
fn old_updaters_are_merged_when_there_are_too_many() {
    let mut live = create("m00", json!({"labels": {"k0": "0"}}));
    for i in 1..14 {
        let mut new = live.clone();
        new["spec"]["labels"][format!("k{i}")] = json!("x");
        let (manager, time) = (format!("m{i:02}"), format!("2024-01-01T00:{i:02}:00Z"));
        record_update(&custom(), Some(&live), &mut new, &writer(&manager, &time), &[]);
        live = new;
    }
    let owners = owners(&live);
    assert_eq!(owners.as_object().unwrap().len(), 10);
    assert!(owners.get("ancient-changes/Update").is_some());
}

#[test]
fn apply_creates_changes_and_removes() {
    let live = stored(
        do_apply(
            None,
            "m",
            json!({"replicas": 1, "name": "n", "ports": [{"port": 80, "name": "a"}]}),
            false,
        )
        .unwrap(),
    );
    assert_eq!(
        owners(&live),
        json!({"m/Apply": {"f:spec": {"f:replicas": {}, "f:name": {}, "f:ports": {"k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}, "f:port": {}, "f:name": {}}}}}})
    );
    let live = do_apply(
        Some(&live),
        "m",
        json!({"replicas": 2, "ports": [{"port": 81}]}),
        false,
    )
    .unwrap();
    assert_eq!(live["spec"], json!({"replicas": 2, "ports": [{"port": 81}]}));
    let same = do_apply(
        Some(&live),
        "m",
        json!({"replicas": 2, "ports": [{"port": 81}]}),
        false,
    )
    .unwrap();
    assert_eq!(same, live);
}

#[test]
fn conflicts_are_refused_unless_forced() {
    let live = create("other", json!({"replicas": 1, "name": "n"}));
    let error = do_apply(Some(&live), "m", json!({"replicas": 2}), false).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Apply failed with 1 conflict: conflict with \"other\" using example.com/v1: .spec.replicas"
    );
    let ApplyError::Conflicts(conflicts) = error else {
        panic!("not a conflict")
    };
    assert_eq!(
        conflicts[0].cause(),
        json!({"reason": "FieldManagerConflict", "message": "conflict with \"other\" using example.com/v1", "field": ".spec.replicas"})
    );
    let error = do_apply(Some(&live), "m", json!({"replicas": 2, "name": "o"}), false).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Apply failed with 2 conflicts: conflicts with \"other\" using example.com/v1:\n- .spec.name\n- .spec.replicas"
    );
    let forced = do_apply(Some(&live), "m", json!({"replicas": 2}), true).unwrap();
    assert_eq!(forced["spec"], json!({"replicas": 2, "name": "n"}));
    assert_eq!(
        owners(&forced),
        json!({"m/Apply": {"f:spec": {"f:replicas": {}}}, "other/Update": {"f:spec": {".": {}, "f:name": {}}}})
    );
}

#[test]
fn equal_values_are_owned_together_and_outlive_one_owner() {
    let live = stored(do_apply(None, "a", json!({"replicas": 1, "name": "n"}), false).unwrap());
    let live = do_apply(Some(&live), "b", json!({"replicas": 1}), false).unwrap();
    assert_eq!(
        owners(&live),
        json!({"a/Apply": {"f:spec": {"f:replicas": {}, "f:name": {}}}, "b/Apply": {"f:spec": {"f:replicas": {}}}})
    );
    let live = do_apply(Some(&live), "a", json!({}), false).unwrap();
    assert_eq!(live["spec"], json!({"replicas": 1}));
    assert_eq!(owners(&live)["b/Apply"], json!({"f:spec": {"f:replicas": {}}}));
    let error = do_apply(Some(&live), "c", json!({"replicas": 3}), false).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Apply failed with 1 conflict: conflict with \"b\": .spec.replicas"
    );
}

#[test]
fn lists_merge_by_their_kind() {
    let cases = [
        // (live of "a", applied by "b", expected)
        (
            json!({"set": ["x", "y"]}),
            json!({"set": ["z", "y"]}),
            json!({"set": ["x", "z", "y"]}),
        ),
        (
            json!({"ports": [{"port": 1, "name": "a"}, {"port": 2}]}),
            json!({"ports": [{"port": 1, "target": "t"}, {"port": 3}]}),
            json!({"ports": [{"port": 1, "name": "a", "target": "t"}, {"port": 2}, {"port": 3}]}),
        ),
        (
            json!({"labels": {"a": "1"}}),
            json!({"labels": {"b": "2"}}),
            json!({"labels": {"a": "1", "b": "2"}}),
        ),
        (
            json!({"free": {"a": {"x": 1}}}),
            json!({"free": {"a": {"y": 2}}}),
            json!({"free": {"a": {"x": 1, "y": 2}}}),
        ),
    ];
    for (live, applied, expected) in cases {
        let live = stored(do_apply(None, "a", live, false).unwrap());
        let merged = do_apply(Some(&live), "b", applied.clone(), false).unwrap();
        assert_eq!(merged["spec"], expected, "{applied}");
    }
    for (live, applied) in [
        (json!({"list": ["x"]}), json!({"list": ["y"]})),
        (json!({"atomic": {"a": "1"}}), json!({"atomic": {"b": "2"}})),
    ] {
        let live = stored(do_apply(None, "a", live, false).unwrap());
        assert!(
            matches!(
                do_apply(Some(&live), "b", applied.clone(), false),
                Err(ApplyError::Conflicts(_))
            ),
            "{applied}"
        );
        assert_eq!(
            do_apply(Some(&live), "b", applied.clone(), true).unwrap()["spec"],
            applied
        );
    }
}

#[test]
fn the_applied_object_must_fit() {
    let cases = [
        (
            json!({"nope": 1}),
            "failed to create typed patch object (ns/x; example.com/v1, Kind=Thing): .spec.nope: field not declared in schema",
        ),
        (
            json!({"set": ["a", "a"]}),
            "failed to create typed patch object (ns/x; example.com/v1, Kind=Thing): .spec.set: duplicate entries for key [=\"a\"]",
        ),
        (
            json!({"replicas": "x"}),
            "failed to create typed patch object (ns/x; example.com/v1, Kind=Thing): .spec.replicas: expected numeric (int or float), got string",
        ),
    ];
    for (spec, expected) in cases {
        assert_eq!(
            do_apply(None, "m", spec.clone(), false).unwrap_err(),
            ApplyError::Internal(expected.to_owned()),
            "{spec}"
        );
    }
    let mut with_fields = object(json!({}));
    with_fields["metadata"]["managedFields"] = json!([]);
    let error = apply(&custom(), None, &with_fields, &writer("m", T0), false, &[]).unwrap_err();
    assert_eq!(
        error,
        ApplyError::BadRequest("metadata.managedFields must be nil".to_owned())
    );
}

#[test]
fn untracked_objects_get_an_owner_at_their_first_apply() {
    let live = stored(object(json!({"replicas": 1})));
    let error = do_apply(Some(&live), "m", json!({"replicas": 2}), false).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Apply failed with 1 conflict: conflict with \"before-first-apply\" using example.com/v1: .spec.replicas"
    );
    let live = do_apply(Some(&live), "m", json!({"name": "n"}), false).unwrap();
    assert_eq!(
        owners(&live),
        json!({"before-first-apply/Update": {"f:spec": {".": {}, "f:replicas": {}}}, "m/Apply": {"f:spec": {"f:name": {}}}})
    );
}

#[test]
fn kubectl_takes_over_from_client_side_apply() {
    let mut new = object(json!({"replicas": 1}));
    let last = json!({"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "x", "namespace": "ns"}, "spec": {"replicas": 1}});
    new["metadata"]["annotations"] =
        json!({"kubectl.kubernetes.io/last-applied-configuration": last.to_string()});
    record_update(
        &custom(),
        None,
        &mut new,
        &writer("kubectl-client-side-apply", T0),
        &[],
    );
    let live = stored(new);
    assert!(do_apply(Some(&live), "other", json!({"replicas": 2}), false).is_err());
    let live = do_apply(Some(&live), "kubectl", json!({"replicas": 2}), false).unwrap();
    assert_eq!(live["spec"]["replicas"], 2);
    let annotation = live["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"]
        .as_str()
        .unwrap();
    assert!(annotation.contains("\"replicas\":2"), "{annotation}");
}

#[test]
fn built_in_kinds_use_the_table() {
    let types = TypeSchema::builtin("apps", "v1", "Deployment").unwrap();
    let writer = |manager| Writer {
        manager,
        api_version: "apps/v1",
        subresource: "",
        now: T0.parse().unwrap(),
    };
    let deployment = |containers: Value| json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "namespace": "ns"}, "spec": {"template": {"spec": {"containers": containers}}}});
    let mut live = apply(
        &types,
        None,
        &deployment(json!([{"name": "a", "image": "1", "ports": [{"containerPort": 80}]}])),
        &writer("x"),
        false,
        &[],
    )
    .unwrap();
    live["metadata"]["uid"] = json!("u");
    assert_eq!(
        owners(&live)["x/Apply"],
        json!({"f:spec": {"f:template": {"f:spec": {"f:containers": {"k:{\"name\":\"a\"}": {".": {}, "f:name": {}, "f:image": {}, "f:ports": {"k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}}}}}}}})
    );
    let live = apply(
        &types,
        Some(&live),
        &deployment(json!([{"name": "b", "image": "2"}])),
        &writer("y"),
        false,
        &[],
    )
    .unwrap();
    let names: Vec<&str> = live
        .pointer("/spec/template/spec/containers")
        .unwrap()
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["a", "b"]);
    let error = apply(
        &types,
        Some(&live),
        &deployment(json!([{"name": "a", "image": "3"}])),
        &writer("z"),
        false,
        &[],
    )
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "Apply failed with 1 conflict: conflict with \"x\": .spec.template.spec.containers[name=\"a\"].image"
    );

    let types = TypeSchema::builtin("", "v1", "ConfigMap").unwrap();
    let mut map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "labels": {"l": "1"}}, "data": {"a": "1"}});
    record_update(
        &types,
        None,
        &mut map,
        &Writer {
            api_version: "v1",
            ..writer("m")
        },
        &[],
    );
    assert_eq!(
        owners(&map)["m/Update"],
        json!({"f:data": {".": {}, "f:a": {}}, "f:metadata": {"f:labels": {".": {}, "f:l": {}}}})
    );
}

#[test]
fn writes_without_effect_are_recognised() {
    let live = create("m", json!({"replicas": 1}));
    let mut new = live.clone();
    new["metadata"]["managedFields"][0]["time"] = json!(T1);
    assert!(is_unchanged(&live, &mut new));
    assert_eq!(new, live);
    new["spec"]["replicas"] = json!(2);
    assert!(!is_unchanged(&live, &mut new));
}

#[test]
fn manager_names_come_from_user_agents() {
    for (agent, name) in [
        ("kubectl/v1.36.0 (linux)", "kubectl"),
        ("", ""),
        ("a\u{1}b", "ab"),
    ] {
        assert_eq!(default_manager(agent), name);
    }
    assert_eq!(default_manager(&"x".repeat(200)).len(), 128);
}

#[test]
fn garbage_never_panics() {
    let garbage = [
        json!(null),
        json!(1),
        json!([]),
        json!({"metadata": 1}),
        json!({"metadata": {"managedFields": {"a": 1}}}),
        json!({"metadata": {"managedFields": [null]}}),
    ];
    for types in [
        custom(),
        TypeSchema::deduced(),
        TypeSchema::builtin("", "v1", "Pod").unwrap(),
    ] {
        for a in &garbage {
            for b in &garbage {
                let mut new = b.clone();
                record_update(&types, Some(a), &mut new, &writer("m", T0), &[]);
                let _ = apply(&types, Some(a), b, &writer("m", T0), true, &[]);
                let _ = is_unchanged(a, &mut new);
            }
        }
    }
}
