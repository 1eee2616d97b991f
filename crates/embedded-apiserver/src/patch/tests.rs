//! Patches and their errors.

use serde_json::{Value, json};

use super::*;

#[test]
fn json_patches_apply() {
    let object = json!({"a": {"b": 1}, "list": [1, 2, 3], "n": null});
    let cases = [
        (
            json!([{"op": "add", "path": "/a/c", "value": 2}]),
            json!({"a": {"b": 1, "c": 2}, "list": [1, 2, 3], "n": null}),
        ),
        (
            json!([{"op": "add", "path": "/list/-", "value": 4}]),
            json!({"a": {"b": 1}, "list": [1, 2, 3, 4], "n": null}),
        ),
        (
            json!([{"op": "add", "path": "/list/1", "value": 9}]),
            json!({"a": {"b": 1}, "list": [1, 9, 2, 3], "n": null}),
        ),
        (
            json!([{"op": "remove", "path": "/list/0"}, {"op": "remove", "path": "/n"}]),
            json!({"a": {"b": 1}, "list": [2, 3]}),
        ),
        (
            json!([{"op": "replace", "path": "/a/new", "value": 1}]),
            json!({"a": {"b": 1, "new": 1}, "list": [1, 2, 3], "n": null}),
        ),
        (
            json!([{"op": "move", "from": "/a/b", "path": "/b"}]),
            json!({"a": {}, "b": 1, "list": [1, 2, 3], "n": null}),
        ),
        (
            json!([{"op": "copy", "from": "/a", "path": "/z~1y"}]),
            json!({"a": {"b": 1}, "z/y": {"b": 1}, "list": [1, 2, 3], "n": null}),
        ),
        (
            json!([{"op": "test", "path": "/a/b", "value": 1}, {"op": "test", "path": "/absent", "value": null}]),
            object.clone(),
        ),
    ];
    for (patch, expected) in cases {
        assert_eq!(
            json_patch(&object, patch.to_string().as_bytes()).unwrap(),
            expected,
            "{patch}"
        );
    }
}

#[test]
fn json_patch_errors_are_worded_as_upstream() {
    let object = json!({"a": {"b": 1}, "list": [1]});
    let cases = [
        (
            json!([{"op": "test", "path": "/a/b", "value": 2}]),
            "testing value /a/b failed: test failed",
        ),
        (
            json!([{"op": "remove", "path": "/a/c"}]),
            "error in remove for path: '/a/c': Unable to remove nonexistent key: c: missing value",
        ),
        (
            json!([{"op": "remove", "path": "/x/y"}]),
            "remove operation does not apply: doc is missing path: \"/x/y\": missing value",
        ),
        (
            json!([{"op": "add", "path": "/x/y", "value": 1}]),
            "add operation does not apply: doc is missing path: \"/x/y\": missing value",
        ),
        (
            json!([{"op": "replace", "path": "/list/4", "value": 1}]),
            "replace operation does not apply: doc is missing key: /list/4: missing value",
        ),
        (
            json!([{"op": "add", "path": "/list/4", "value": 1}]),
            "error in add for path: '/list/4': Unable to access invalid index: 4: invalid index referenced",
        ),
        (json!([{"op": "dance", "path": "/a"}]), "Unexpected kind: dance"),
    ];
    for (patch, expected) in cases {
        let error = json_patch(&object, patch.to_string().as_bytes()).unwrap_err();
        assert_eq!(error, PatchError::Unprocessable(expected.to_owned()), "{patch}");
    }
    assert!(matches!(
        json_patch(&object, b"{}"),
        Err(PatchError::BadRequest(_))
    ));
    assert!(matches!(
        json_patch(&object, b"nonsense"),
        Err(PatchError::BadRequest(_))
    ));
    let many = Value::from(vec![json!({"op": "test", "path": "/a/b", "value": 1}); 10_001]);
    assert!(matches!(
        json_patch(&object, many.to_string().as_bytes()),
        Err(PatchError::TooLarge(_))
    ));
}

#[test]
fn merge_patches_apply() {
    let object = json!({"a": {"b": 1, "c": 2}, "l": [1]});
    let cases = [
        (json!({"a": {"b": null}}), json!({"a": {"c": 2}, "l": [1]})),
        (
            json!({"l": [2], "n": {"x": null, "y": 1}}),
            json!({"a": {"b": 1, "c": 2}, "l": [2], "n": {"y": 1}}),
        ),
        (json!({"a": "text"}), json!({"a": "text", "l": [1]})),
    ];
    for (patch, expected) in cases {
        assert_eq!(
            merge_patch(&object, patch.to_string().as_bytes()).unwrap(),
            expected,
            "{patch}"
        );
    }
    assert!(matches!(
        merge_patch(&object, b"[]"),
        Err(PatchError::BadRequest(_))
    ));
    assert!(matches!(
        merge_patch(&object, b"{"),
        Err(PatchError::BadRequest(_))
    ));
}

fn pod(spec: Value) -> Value {
    json!({"metadata": {"name": "p"}, "spec": spec})
}

fn strategic(object: &Value, patch: &Value) -> Result<Value, PatchError> {
    let kind = TypeSchema::builtin("", "v1", "Pod").unwrap();
    strategic_merge_patch(object, patch.to_string().as_bytes(), &kind)
}

#[test]
fn strategic_patches_merge_lists_by_key() {
    let object = pod(json!({
        "containers": [{"name": "a", "image": "1", "env": [{"name": "E", "value": "1"}]}, {"name": "b", "image": "2"}],
        "tolerations": [{"key": "x"}], "nodeSelector": {"k": "v"}, "serviceAccountName": "s"}));
    let cases = [
        (
            json!({"containers": [{"name": "a", "image": "9"}]}),
            json!({"containers": [{"name": "a", "image": "9", "env": [{"name": "E", "value": "1"}]}, {"name": "b", "image": "2"}]}),
        ),
        (
            json!({"containers": [{"name": "c", "image": "3"}]}),
            json!({"containers": [{"name": "c", "image": "3"}, {"name": "a", "image": "1", "env": [{"name": "E", "value": "1"}]}, {"name": "b", "image": "2"}]}),
        ),
        (
            json!({"containers": [{"name": "a", "$patch": "delete"}]}),
            json!({"containers": [{"name": "b", "image": "2"}]}),
        ),
        (
            json!({"containers": [{"$patch": "replace"}, {"name": "z"}]}),
            json!({"containers": [{"name": "z"}]}),
        ),
        (
            json!({"containers": [{"name": "a", "env": [{"name": "F", "value": "2"}], "$setElementOrder/env": [{"name": "E"}, {"name": "F"}]}]}),
            json!({"containers": [{"name": "a", "image": "1", "env": [{"name": "E", "value": "1"}, {"name": "F", "value": "2"}]}, {"name": "b", "image": "2"}]}),
        ),
        (
            json!({"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}),
            json!({"containers": [{"name": "b", "image": "2"}, {"name": "a", "image": "1", "env": [{"name": "E", "value": "1"}]}]}),
        ),
        (
            json!({"tolerations": [{"key": "y"}]}),
            json!({"tolerations": [{"key": "y"}]}),
        ),
        (
            json!({"nodeSelector": {"k": null, "l": "w"}}),
            json!({"nodeSelector": {"l": "w"}}),
        ),
        (
            json!({"nodeSelector": {"$patch": "replace", "l": "w"}}),
            json!({"nodeSelector": {"l": "w"}}),
        ),
        (
            json!({"nodeSelector": {"$patch": "delete"}}),
            json!({"nodeSelector": {}}),
        ),
        (
            json!({"serviceAccountName": null}),
            json!({"serviceAccountName": null}),
        ),
    ];
    for (patch, expected) in cases {
        let mut whole = object.clone();
        for (name, value) in expected.as_object().unwrap() {
            if value.is_null() {
                whole["spec"].as_object_mut().unwrap().remove(name);
            } else {
                whole["spec"][name] = value.clone();
            }
        }
        assert_eq!(
            strategic(&object, &json!({"spec": patch})).unwrap(),
            whole,
            "{patch}"
        );
    }
}

#[test]
fn strategic_patches_merge_sets_and_retain_keys() {
    let object = json!({"metadata": {"finalizers": ["a", "b"]}});
    let patched = strategic(&object, &json!({"metadata": {"finalizers": ["c"]}})).unwrap();
    assert_eq!(patched["metadata"]["finalizers"], json!(["c", "a", "b"]));
    let patched = strategic(
        &object,
        &json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}}),
    )
    .unwrap();
    assert_eq!(patched["metadata"]["finalizers"], json!(["b"]));
    let patch = json!({"metadata": {"$setElementOrder/finalizers": ["b", "c", "a"], "finalizers": ["c"]}});
    assert_eq!(
        strategic(&object, &patch).unwrap()["metadata"]["finalizers"],
        json!(["b", "c", "a"])
    );

    let deployment = TypeSchema::builtin("apps", "v1", "Deployment").unwrap();
    let object = json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}});
    let patch = json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}});
    let patched = strategic_merge_patch(&object, patch.to_string().as_bytes(), &deployment).unwrap();
    assert_eq!(patched, json!({"spec": {"strategy": {"type": "Recreate"}}}));
    let patch = json!({"spec": {"strategy": {"$retainKeys": ["type"], "rollingUpdate": {}}}});
    let error = strategic_merge_patch(&object, patch.to_string().as_bytes(), &deployment).unwrap_err();
    assert_eq!(
        error,
        PatchError::BadRequest("invalid patch format of retainKeys".to_owned())
    );
}

#[test]
fn strategic_patch_errors() {
    let object = pod(json!({"containers": [{"name": "a"}]}));
    let cases = [
        (
            json!({"spec": {"containers": [{"image": "x"}]}}),
            "map: map[image:x] does not contain declared merge key: name",
        ),
        (
            json!({"spec": {"$patch": "dance"}}),
            "unknown patch type: dance in map: map[$patch:dance]",
        ),
        (
            json!({"spec": {"containers": ["x"]}}),
            "list element types are not identical: [[map[name:a]] [x]]",
        ),
    ];
    for (patch, expected) in cases {
        assert_eq!(
            strategic(&object, &patch).unwrap_err(),
            PatchError::Internal(expected.to_owned()),
            "{patch}"
        );
    }
    assert!(matches!(
        strategic(&object, &json!([])),
        Err(PatchError::BadRequest(_))
    ));
}

#[test]
fn garbage_never_panics() {
    let garbage = [
        json!(null),
        json!(1),
        json!([]),
        json!({"spec": 1}),
        json!({"spec": {"containers": {}}}),
        json!({"spec": {"containers": [[]]}}),
        json!({"$setElementOrder/x": 1}),
        json!({"$retainKeys": 1}),
    ];
    for a in &garbage {
        for b in &garbage {
            let _ = strategic(a, b);
            let _ = merge_patch(a, b.to_string().as_bytes());
            let _ = json_patch(a, b.to_string().as_bytes());
        }
        let _ = json_patch(
            a,
            json!([{"op": "add", "path": "x"}, {"op": "move", "from": "/", "path": ""}])
                .to_string()
                .as_bytes(),
        );
    }
}
