use serde_json::json;

use super::*;

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
