//! Tables as a whole.

use serde_json::{Value, json};

use super::*;

fn now() -> Timestamp {
    "2024-01-01T01:00:00Z".parse().unwrap()
}

fn cells(columns: &Columns, object: &Value) -> Vec<Value> {
    let table = columns.render(&[object], &json!({}), now(), IncludeObject::None, "v1", true);
    table["rows"][0]["cells"].as_array().unwrap().clone()
}

#[test]
fn custom_columns_follow_their_type() {
    let columns = Columns::custom(&json!([
        {"name": "Phase", "type": "string", "jsonPath": ".status.phase", "description": "the phase"},
        {"name": "Replicas", "type": "integer", "jsonPath": ".spec.replicas", "priority": 1},
        {"name": "Ratio", "type": "number", "jsonPath": ".spec.ratio"},
        {"name": "Paused", "type": "boolean", "jsonPath": ".spec.paused"},
        {"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status"},
        {"name": "Object", "type": "string", "jsonPath": ".spec.object"},
        {"name": "Missing", "type": "string", "jsonPath": ".spec.nope"},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
        {"name": "Bad", "type": "date", "jsonPath": ".spec.text"},
        {"name": "Wrong", "type": "integer", "jsonPath": ".spec.text"},
    ]))
    .unwrap();
    let object = json!({"metadata": {"name": "x", "creationTimestamp": "2024-01-01T00:00:00Z"},
        "spec": {"replicas": 3, "ratio": 1, "paused": true, "object": {"a": [1]}, "text": "t"},
        "status": {"phase": "Up", "conditions": [{"type": "Ready", "status": "True"}]}});
    assert_eq!(
        Value::Array(cells(&columns, &object)),
        json!([
            "x",
            "Up",
            3,
            1.0,
            true,
            "True",
            "{\"a\":[1]}",
            null,
            "60m",
            "<invalid>",
            null
        ])
    );
    let table = columns.render(
        &[&object],
        &json!({"resourceVersion": "7", "other": 1}),
        now(),
        IncludeObject::Metadata,
        "v1",
        true,
    );
    assert_eq!(table["metadata"], json!({"resourceVersion": "7"}));
    assert_eq!(
        table["columnDefinitions"][1],
        json!({"name": "Phase", "type": "string", "format": "", "description": "the phase", "priority": 0})
    );
    assert_eq!(
        table["rows"][0]["object"],
        json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]})
    );
    let table = columns.render(
        &[&object],
        &json!({}),
        now(),
        IncludeObject::Object,
        "v1beta1",
        false,
    );
    assert_eq!(table["columnDefinitions"], json!(null));
    assert_eq!(table["rows"][0]["object"], object);
    assert_eq!(table["apiVersion"], "meta.k8s.io/v1beta1");
}

#[test]
fn without_columns_there_are_name_and_age() {
    let object = json!({"metadata": {"name": "x", "creationTimestamp": "2024-01-01T00:55:00Z"}});
    assert_eq!(
        cells(&Columns::custom(&json!(null)).unwrap(), &object),
        [json!("x"), json!("5m")]
    );
    assert_eq!(
        cells(&Columns::builtin("example.com", "Thing"), &object),
        [json!("x"), json!("2024-01-01T00:55:00Z")]
    );
    assert!(Columns::custom(&json!([{"name": "x", "type": "string", "jsonPath": ".a["}])).is_err());
}

#[test]
fn pods_are_summed_up() {
    let columns = Columns::builtin("", "Pod");
    let pod = |status: Value| {
        json!({"metadata": {"name": "p", "creationTimestamp": "2024-01-01T00:00:00Z"},
            "spec": {"nodeName": "n", "containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "i"}]}, "status": status})
    };
    let ready = |name: &str, restarts: i64| json!({"name": name, "ready": true, "restartCount": restarts, "state": {"running": {}}});
    let cases = [
        (json!({"phase": "Pending"}), "0/2", "Pending", "0"),
        (
            json!({"phase": "Running", "containerStatuses": [ready("a", 0), ready("b", 2)]}),
            "2/2",
            "Running",
            "2",
        ),
        (
            json!({"phase": "Running", "containerStatuses": [ready("a", 0), {"name": "b", "restartCount": 1, "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": {"finishedAt": "2024-01-01T00:55:00Z"}}}]}),
            "1/2",
            "CrashLoopBackOff",
            "1 (5m ago)",
        ),
        (
            json!({"phase": "Pending", "initContainerStatuses": [{"name": "i", "state": {"waiting": {"reason": "PodInitializing"}}}]}),
            "0/2",
            "Init:0/1",
            "0",
        ),
        (
            json!({"phase": "Pending", "initContainerStatuses": [{"name": "i", "state": {"terminated": {"exitCode": 1}}}]}),
            "0/2",
            "Init:ExitCode:1",
            "0",
        ),
        (
            json!({"phase": "Succeeded", "containerStatuses": [{"name": "a", "state": {"terminated": {"reason": "Completed", "exitCode": 0}}}]}),
            "0/2",
            "Completed",
            "0",
        ),
    ];
    for (status, ready, text, restarts) in cases {
        let found = cells(&columns, &pod(status.clone()));
        assert_eq!(
            found[..5],
            [
                json!("p"),
                json!(ready),
                json!(text),
                json!(restarts),
                json!("60m")
            ],
            "{status}"
        );
        assert_eq!(
            found[5..],
            [json!("<none>"), json!("n"), json!("<none>"), json!("<none>")]
        );
    }
    let mut dying = pod(json!({"phase": "Running"}));
    dying["metadata"]["deletionTimestamp"] = json!("2024-01-01T00:59:00Z");
    assert_eq!(cells(&columns, &dying)[2], "Terminating");
    let table = columns.render(
        &[&pod(json!({"phase": "Failed"}))],
        &json!({}),
        now(),
        IncludeObject::None,
        "v1",
        true,
    );
    assert_eq!(table["rows"][0]["conditions"][0]["reason"], "Failed");
}

#[test]
fn other_built_in_kinds_have_their_columns() {
    let meta = json!({"name": "x", "creationTimestamp": "2024-01-01T00:00:00Z"});
    let node = json!({"metadata": {"name": "x", "creationTimestamp": "2024-01-01T00:00:00Z", "labels": {"node-role.kubernetes.io/control-plane": ""}},
        "spec": {"unschedulable": true}, "status": {"conditions": [{"type": "Ready", "status": "True"}], "nodeInfo": {"kubeletVersion": "v1.36.0", "kernelVersion": "6", "architecture": "amd64"}, "addresses": [{"type": "InternalIP", "address": "1.2.3.4"}]}});
    let event = json!({"metadata": {"name": "e"}, "type": "Normal", "reason": "R", "message": " m ", "involvedObject": {"kind": "Machine", "name": "m"}, "source": {"component": "c"}, "firstTimestamp": "2024-01-01T00:00:00Z", "lastTimestamp": "2024-01-01T00:59:00Z", "count": 3});
    let cases = [
        (
            "",
            "Node",
            node,
            json!([
                "x",
                "Ready,SchedulingDisabled",
                "control-plane",
                "60m",
                "v1.36.0",
                "1.2.3.4",
                "<none>",
                "<unknown>",
                "6 (amd64)",
                "<unknown>"
            ]),
        ),
        (
            "",
            "Event",
            event,
            json!(["60s", "Normal", "R", "machine/m", "", "c", "m", "60m", 3, "e"]),
        ),
        (
            "",
            "Namespace",
            json!({"metadata": meta, "status": {"phase": "Active"}}),
            json!(["x", "Active", "60m"]),
        ),
        (
            "",
            "Secret",
            json!({"metadata": meta, "type": "Opaque", "data": {"a": "", "b": ""}}),
            json!(["x", "Opaque", 2, "60m"]),
        ),
        (
            "",
            "ConfigMap",
            json!({"metadata": meta, "data": {"a": ""}, "binaryData": {"b": ""}}),
            json!(["x", 2, "60m"]),
        ),
        (
            "coordination.k8s.io",
            "Lease",
            json!({"metadata": meta, "spec": {"holderIdentity": "h"}}),
            json!(["x", "h", "60m"]),
        ),
        (
            "",
            "Service",
            json!({"metadata": meta, "spec": {"type": "NodePort", "clusterIPs": ["10.0.0.1"], "ports": [{"port": 80, "nodePort": 30000, "protocol": "TCP"}], "selector": {"a": "b"}}}),
            json!([
                "x",
                "NodePort",
                "10.0.0.1",
                "<none>",
                "80:30000/TCP",
                "60m",
                "a=b"
            ]),
        ),
        (
            "apps",
            "Deployment",
            json!({"metadata": meta, "spec": {"replicas": 2, "selector": {"matchLabels": {"a": "b"}}, "template": {"spec": {"containers": [{"name": "c", "image": "i"}]}}}, "status": {"readyReplicas": 1, "updatedReplicas": 2, "availableReplicas": 1}}),
            json!(["x", "1/2", 2, 1, "60m", "c", "i", "a=b"]),
        ),
        (
            "rbac.authorization.k8s.io",
            "RoleBinding",
            json!({"metadata": meta, "roleRef": {"kind": "Role", "name": "r"}, "subjects": [{"kind": "ServiceAccount", "namespace": "n", "name": "s"}, {"kind": "User", "name": "u"}]}),
            json!(["x", "Role/r", "60m", "u", "", "n/s"]),
        ),
        (
            "rbac.authorization.k8s.io",
            "Role",
            json!({"metadata": meta}),
            json!(["x", "2024-01-01T00:00:00Z"]),
        ),
        (
            "apiextensions.k8s.io",
            "CustomResourceDefinition",
            json!({"metadata": meta}),
            json!(["x", "2024-01-01T00:00:00Z"]),
        ),
    ];
    for (group, kind, object, expected) in cases {
        assert_eq!(
            Value::Array(cells(&Columns::builtin(group, kind), &object)),
            expected,
            "{kind}"
        );
    }
}

#[test]
fn garbage_never_panics() {
    let garbage = [
        json!(null),
        json!(1),
        json!([]),
        json!({"metadata": 1, "spec": [], "status": "x"}),
        json!({"status": {"conditions": {}, "containerStatuses": [1, null]}}),
    ];
    for kind in ["Pod", "Node", "Service", "Event", "Secret", "Endpoints"] {
        for object in &garbage {
            let _ = cells(&Columns::builtin("", kind), object);
        }
    }
}
