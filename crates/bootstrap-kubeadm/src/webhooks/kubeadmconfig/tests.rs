use serde_json::{Value, json};

use super::*;

fn refused(spec: Value, gate: IgnitionGate) -> Vec<String> {
    let spec: KubeadmConfigSpec = serde_json::from_value(spec).unwrap();
    validate(&spec, "spec", gate)
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn contradictions_are_refused_with_their_field() {
    let from = json!({"secret": {"name": "s", "key": "k"}});
    for (spec, want) in [
        (json!({}), vec![]),
        (
            json!({"files": [{"path": "/a", "content": "x"}, {"path": "/a", "content": "y", "contentFrom": from}]}),
            vec![
                "spec.files[1]: Forbidden: only one of content and contentFrom may be set",
                "spec.files[1].path: Duplicate value: \"/a\": must be unique among all files",
            ],
        ),
        (
            json!({"users": [{"name": "u", "passwd": "x", "passwdFrom": {"secret": {"name": "", "key": "k"}}}]}),
            vec![
                "spec.users[0]: Forbidden: only one of passwd and passwdFrom may be set",
                "spec.users[0].passwdFrom.secret.name: Required value: must be set",
            ],
        ),
        (
            json!({"joinConfiguration": {"discovery": {"file": {"kubeConfigPath": "/k", "kubeConfig": {"user": {}}}}}}),
            vec![
                "spec.joinConfiguration.discovery.file.kubeConfig.user: Invalid value: {}: one of authProvider and exec must be set",
            ],
        ),
        (
            json!({"diskSetup": {"partitions": [{"device": "/d", "diskLayout": [{"percentage": 60}, {"percentage": 50}]}]}}),
            vec![
                "spec.diskSetup.partitions[0].diskLayout: Invalid value: 110: the percentages sum up to 110; they must not exceed 100",
            ],
        ),
    ] {
        assert_eq!(refused(spec, IgnitionGate::Off), want);
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

#[test]
fn an_old_fault_does_not_stop_another_change() {
    let fault = |field: &str| FieldError::forbidden(field, "x");
    let verdict = verdict(&[fault("a")], vec![fault("a"), fault("b")], Vec::new());
    assert_eq!(verdict.errors, [fault("b")]);
}

#[test]
fn text_that_breaks_the_machines_template_engine_is_warned_of() {
    let spec: KubeadmConfigSpec = serde_json::from_value(json!({
        "files": [{"path": "/a", "content": "docker ps --format '{{.Names}}'"}],
        "preKubeadmCommands": ["echo ok", "echo ${#list[@]}"],
    }))
    .unwrap();
    let fields: Vec<String> = warnings(&spec, "spec")
        .iter()
        .map(|text| text.split(' ').next().unwrap().to_owned())
        .collect();
    assert_eq!(fields, ["spec.files[0].content", "spec.preKubeadmCommands[1]"]);
    let ignition = KubeadmConfigSpec {
        format: Some(Format::Ignition),
        ..spec
    };
    assert!(warnings(&ignition, "spec").is_empty());
}

#[test]
fn what_will_keep_machines_waiting_is_warned_of() {
    for (spec, want) in [
        (
            json!({"files": [
                {"path": "/a", "content": "{{ .controlPlane.version }}", "contentFormat": "Template"},
                {"path": "/b", "content": "{{ upper 1 }}", "contentFormat": "Template"}]}),
            "spec.files[1].content is a template that cannot be rendered (line 1: function \"upper\" not defined): machines will wait for it to be corrected",
        ),
        (
            json!({"format": "ignition", "ignition": {"containerLinuxConfig": {"additionalConfig": "sytemd: {}"}}}),
            "spec.ignition.containerLinuxConfig.additionalConfig: sytemd: is not known and has no effect",
        ),
    ] {
        let spec: KubeadmConfigSpec = serde_json::from_value(spec).unwrap();
        assert_eq!(warnings(&spec, "spec"), [want]);
    }
}

#[test]
fn a_templates_metadata_is_judged_too_and_old_faults_stay_allowed() {
    let template = |label: &str, verbosity: i32| -> KubeadmConfigTemplate {
        serde_json::from_value(json!({"metadata": {"name": "t"}, "spec": {"template": {
            "metadata": {"labels": {"a": label}},
            "spec": {"verbosity": verbosity, "files": [{"path": "/a", "content": "x"}, {"path": "/a", "content": "y"}]}}}}))
        .unwrap()
    };
    let rules = Rules {
        ignition: IgnitionGate::Off,
    };
    let fields = |template: &KubeadmConfigTemplate| -> Vec<String> {
        rules
            .template(template)
            .into_iter()
            .map(|error| error.field)
            .collect()
    };
    let faulty = template("not a value", 1);
    assert_eq!(
        fields(&faulty),
        [
            "spec.template.spec.files[1].path",
            "spec.template.metadata.labels[a]"
        ]
    );
    let changed = template("not a value", 2);
    assert!(
        verdict(&rules.template(&faulty), rules.template(&changed), Vec::new())
            .errors
            .is_empty()
    );
}
