use serde_json::{Value, json};

use super::*;

fn refused(spec: Value, gate: IgnitionGate) -> Vec<String> {
    let spec: KubeadmConfigSpec = serde_json::from_value(spec).unwrap();
    validate(&spec, "spec", gate)
        .iter()
        .map(ToString::to_string)
        .collect()
}

/// Each rule by what breaks it. Where the schema is stricter, as with empty names, the rule is what is left for objects
/// that were stored under another schema.
#[test]
fn contradictions_are_refused_with_their_field() {
    let from = json!({"secret": {"name": "s", "key": "k"}});
    let exec = json!({"command": "c"});
    let provider = json!({"name": "p"});
    let discovered = |user: Value| {
        let file = json!({"kubeConfigPath": "/k", "kubeConfig": {"user": user}});
        json!({"joinConfiguration": {"discovery": {"file": file}}})
    };
    for (spec, want) in [
        (json!({}), vec![]),
        (
            json!({"files": [{"path": "/a", "content": "x"}, {"path": "/b", "contentFrom": from}]}),
            vec![],
        ),
        (
            json!({"files": [{"path": "/a", "content": "x"}, {"path": "/a", "content": "y", "contentFrom": from}]}),
            vec![
                "spec.files[1]: Forbidden: only one of content and contentFrom may be set",
                "spec.files[1].path: Invalid value: \"/a\": path property must be unique among all files",
            ],
        ),
        (
            json!({"files": [{"path": "/a", "contentFrom": {"secret": {"name": "", "key": ""}}}]}),
            vec![
                "spec.files[0].contentFrom.secret.name: Required value: must be set",
                "spec.files[0].contentFrom.secret.key: Required value: must be set",
            ],
        ),
        (json!({"users": [{"name": "u", "passwdFrom": from}]}), vec![]),
        (
            json!({"users": [{"name": "u", "passwd": "x", "passwdFrom": {"secret": {"name": "", "key": ""}}}]}),
            vec![
                "spec.users[0]: Forbidden: only one of passwd and passwdFrom may be set",
                "spec.users[0].passwdFrom.secret.name: Required value: must be set",
                "spec.users[0].passwdFrom.secret.key: Required value: must be set",
            ],
        ),
        (discovered(json!({"exec": exec})), vec![]),
        (
            discovered(json!({})),
            vec![
                "spec.joinConfiguration.discovery.file.kubeConfig.user: Invalid value: {}: one of authProvider and exec must be set",
            ],
        ),
        (
            discovered(json!({"exec": exec, "authProvider": provider})),
            vec![
                "spec.joinConfiguration.discovery.file.kubeConfig.user: Forbidden: only one of authProvider and exec may be set",
            ],
        ),
        (
            json!({"diskSetup": {"partitions": [{"device": "/d", "diskLayout": [{"percentage": 60}, {"percentage": 40}]}]}}),
            vec![],
        ),
        (
            json!({"diskSetup": {"partitions": [{"device": "/d", "diskLayout": [{"percentage": 60}, {"percentage": 50}]}]}}),
            vec![
                "spec.diskSetup.partitions[0].diskLayout: Invalid value: 110: the percentages sum up to 110; they must not exceed 100",
            ],
        ),
    ] {
        assert_eq!(refused(spec.clone(), IgnitionGate::Off), want, "{spec}");
    }
}

#[test]
fn ignition_needs_its_gate_and_has_its_limits() {
    let off = "needs the feature gate KubeadmBootstrapFormatIgnition, which is off";
    let spec = json!({"format": "ignition", "ignition": {"containerLinuxConfig": {"strict": true}}});
    assert_eq!(
        refused(spec.clone(), IgnitionGate::Off),
        [
            format!("spec.format: Forbidden: {off}"),
            format!("spec.ignition: Forbidden: {off}")
        ]
    );
    assert!(refused(spec, IgnitionGate::On).is_empty());
    assert_eq!(
        refused(
            json!({"ignition": {"containerLinuxConfig": {"strict": true}}}),
            IgnitionGate::On
        ),
        ["spec.format: Invalid value: null: must be ignition when ignition is set"]
    );
    let spec = json!({
        "format": "ignition", "bootCommands": ["x"],
        "users": [{"name": "a", "inactive": true}, {"name": "b", "inactive": false}],
        "files": [{"path": "/a", "content": "x", "encoding": "gzip"}],
        "diskSetup": {
            "partitions": [{"device": "/d", "layout": true, "tableType": "mbr"}],
            "filesystems": [{"device": "/d", "filesystem": "ext4", "replaceFS": "ntfs", "partition": "auto"}]},
    });
    let fields: Vec<String> = refused(spec, IgnitionGate::On)
        .iter()
        .map(|text| text.split(':').next().unwrap().to_owned())
        .collect();
    assert_eq!(
        fields,
        [
            "spec.users[0].inactive",
            "spec.files[0].encoding",
            "spec.bootCommands",
            "spec.diskSetup.partitions[0].tableType",
            "spec.diskSetup.filesystems[0].replaceFS",
            "spec.diskSetup.filesystems[0].partition",
        ]
    );
}
