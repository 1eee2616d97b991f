//! The table and the types built from schemas.

use serde_json::json;

use super::*;

#[test]
fn the_table_knows_the_kinds_and_their_lists() {
    for (group, version, kind) in [
        ("", "v1", "Pod"),
        ("", "v1", "Secret"),
        ("", "v1", "Event"),
        ("events.k8s.io", "v1", "Event"),
        ("apps", "v1", "Deployment"),
        ("coordination.k8s.io", "v1", "Lease"),
        ("apiextensions.k8s.io", "v1", "CustomResourceDefinition"),
        ("rbac.authorization.k8s.io", "v1", "ClusterRole"),
    ] {
        assert!(
            TypeSchema::builtin(group, version, kind).is_some(),
            "{group}/{version} {kind}"
        );
    }
    assert!(TypeSchema::builtin("", "v1", "Nope").is_none());
    let pod = TypeSchema::builtin("", "v1", "Pod").unwrap();
    let spec = pod
        .root
        .atom()
        .unwrap()
        .map
        .as_ref()
        .unwrap()
        .field_type("spec")
        .atom()
        .unwrap();
    let containers = &spec.map.as_ref().unwrap().fields["containers"];
    assert_eq!(
        containers.patch,
        PatchRule {
            merge: true,
            key: Some("name".to_owned()),
            ..PatchRule::default()
        }
    );
    let list = containers.type_.atom().unwrap().list.as_ref().unwrap();
    assert_eq!(list.relation, Relation::Keys(vec!["name".to_owned()]));
    let ports = list.item.atom().unwrap().map.as_ref().unwrap().fields["ports"]
        .type_
        .atom()
        .unwrap();
    let port = ports
        .list
        .as_ref()
        .unwrap()
        .item
        .atom()
        .unwrap()
        .map
        .as_ref()
        .unwrap();
    assert_eq!(port.fields["protocol"].default, Some(json!("TCP")));
}

#[test]
fn built_in_objects_lose_what_their_kind_does_not_have() {
    let pod = TypeSchema::builtin("", "v1", "Pod").unwrap();
    let mut object = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "foo": 1, "labels": {"a": "b"}, "annotations": null},
        "spec": {"containers": [{"name": "c", "bar": 1}], "nope": {}}, "extra": true});
    assert_eq!(
        pod.prune(&mut object),
        ["extra", "metadata.foo", "spec.containers[0].bar", "spec.nope"]
    );
    assert_eq!(
        object,
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "labels": {"a": "b"}}, "spec": {"containers": [{"name": "c"}]}})
    );
    pod.fill_structs(&mut object);
    assert_eq!(object["spec"]["containers"][0]["resources"], json!({}));
    assert_eq!(object["status"], json!({}));
}

#[test]
fn wrong_json_types_are_found() {
    let deployment = TypeSchema::builtin("apps", "v1", "Deployment").unwrap();
    let text = deployment.decode_error(&json!({"spec": {"replicas": "x"}}));
    assert_eq!(
        text.unwrap(),
        "json: cannot unmarshal string into Go struct field .spec.replicas of type int32"
    );
    assert_eq!(
        deployment.decode_error(&json!({"spec": {"replicas": 1, "unknown": []}})),
        None
    );
    let service = TypeSchema::builtin("", "v1", "Service").unwrap();
    assert_eq!(
        service.decode_error(
            &json!({"spec": {"ports": [{"port": 1, "targetPort": "http"}, {"targetPort": 2}]}})
        ),
        None
    );
}

#[test]
fn custom_types_follow_their_schema() {
    let schema = Structural::compile(&json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
        "map": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"], "items": {"type": "object", "properties": {"k": {"type": "string", "default": "d"}}}},
        "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
    }}}}))
    .unwrap();
    let type_ = TypeSchema::custom(&schema);
    let root = type_.root.atom().unwrap().map.as_ref().unwrap();
    assert!(matches!(root.field_type("metadata"), Ref::Builtin(_)));
    assert!(matches!(root.field_type("nope"), Ref::Undeclared));
    let spec = root.field_type("spec").atom().unwrap().map.as_ref().unwrap();
    assert!(matches!(
        spec.field_type("free")
            .atom()
            .unwrap()
            .map
            .as_ref()
            .unwrap()
            .other,
        Ref::Deduced
    ));
    assert_eq!(
        spec.field_type("set")
            .atom()
            .unwrap()
            .list
            .as_ref()
            .unwrap()
            .relation,
        Relation::Set
    );
}
