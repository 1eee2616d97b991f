//! Deployments, DaemonSets, StatefulSets, ReplicaSets, Jobs and CronJobs.

use serde_json::{Value, json};

use super::path::{each, set, set_text};
use super::{pod_rules, pods, selectors, volumes};
use crate::schema::FieldError;
use crate::selector::LabelSelector;

/// Fills in defaults.
pub(super) fn default(resource: &str, value: &mut Value) {
    let spec = &mut value["spec"];
    if !spec.is_object() {
        return;
    }
    match resource {
        "deployments" => {
            set(spec, "replicas", 1);
            rolling(
                &mut spec["strategy"],
                &[("maxUnavailable", "25%".into()), ("maxSurge", "25%".into())],
            );
            set(spec, "revisionHistoryLimit", 10);
            set(spec, "progressDeadlineSeconds", 600);
        }
        "daemonsets" => {
            rolling(
                &mut spec["updateStrategy"],
                &[("maxUnavailable", 1.into()), ("maxSurge", 0.into())],
            );
            set(spec, "revisionHistoryLimit", 10);
        }
        "statefulsets" => stateful(spec),
        "replicasets" => set(spec, "replicas", 1),
        "jobs" => job(value),
        "cronjobs" => {
            set_text(spec, "concurrencyPolicy", "Allow");
            set(spec, "suspend", false);
            set(spec, "successfulJobsHistoryLimit", 3);
            set(spec, "failedJobsHistoryLimit", 1);
            pods::default_spec(&mut spec["jobTemplate"]["spec"]["template"]["spec"]);
        }
        _ => {}
    }
    if matches!(resource, "cronjobs" | "controllerrevisions") {
        return;
    }
    if let Some(template) = value["spec"].get_mut("template") {
        pods::default_spec(&mut template["spec"]);
    }
}

fn rolling(strategy: &mut Value, numbers: &[(&str, Value)]) {
    set(strategy, "type", "RollingUpdate");
    if strategy["type"] == "RollingUpdate" {
        for (field, number) in numbers {
            set(&mut strategy["rollingUpdate"], field, number.clone());
        }
    }
}

fn stateful(spec: &mut Value) {
    set_text(spec, "podManagementPolicy", "OrderedReady");
    let strategy = &mut spec["updateStrategy"];
    let fresh = strategy.get("type").is_none();
    set(strategy, "type", "RollingUpdate");
    if strategy["type"] == "RollingUpdate" && (fresh || strategy["rollingUpdate"].is_object()) {
        set(&mut strategy["rollingUpdate"], "partition", 0);
    }
    let retention = &mut spec["persistentVolumeClaimRetentionPolicy"];
    set(retention, "whenDeleted", "Retain");
    set(retention, "whenScaled", "Retain");
    set(spec, "replicas", 1);
    set(spec, "revisionHistoryLimit", 10);
    for claim in each(spec, "volumeClaimTemplates") {
        set(claim, "apiVersion", "v1");
        set(claim, "kind", "PersistentVolumeClaim");
        volumes::default("persistentvolumeclaims", claim);
    }
}

fn job(value: &mut Value) {
    let labels = value["spec"]["template"]["metadata"].get("labels").cloned();
    let spec = &mut value["spec"];
    if spec.get("completions").is_none() && spec.get("parallelism").is_none() {
        set(spec, "completions", 1);
    }
    set(spec, "parallelism", 1);
    set(spec, "backoffLimit", 6);
    set(spec, "completionMode", "NonIndexed");
    set(spec, "suspend", false);
    set(spec, "podReplacementPolicy", "TerminatingOrFailed");
    set(spec, "manualSelector", false);
    if let Some(labels) = labels.filter(|_| value["metadata"].get("labels").is_none()) {
        value["metadata"]["labels"] = labels;
    }
}

/// Initial values of a new Job: the selector that finds its pods.
pub(crate) fn generate_job_selector(value: &mut Value) {
    let uid = value["metadata"]["uid"].clone();
    let name = value["metadata"]["name"].clone();
    if value["spec"]["manualSelector"] == true {
        return;
    }
    let labels = &mut value["spec"]["template"]["metadata"]["labels"];
    if labels.is_null() {
        *labels = json!({});
    }
    for (key, label) in [
        ("batch.kubernetes.io/controller-uid", &uid),
        ("batch.kubernetes.io/job-name", &name),
        ("controller-uid", &uid),
        ("job-name", &name),
    ] {
        set(labels, key, label.clone());
    }
    set(
        &mut value["spec"],
        "selector",
        json!({"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}),
    );
}

/// Checks the template of a Job or CronJob.
fn validate_batch(resource: &str, new: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let (template, path) = match resource {
        "cronjobs" => {
            if new["spec"]["schedule"].as_str().unwrap_or_default().is_empty() {
                errors.push(FieldError::required("spec.schedule", ""));
            }
            let template = &new["spec"]["jobTemplate"]["spec"]["template"];
            (template, "spec.jobTemplate.spec.template.spec")
        }
        _ => (&new["spec"]["template"], "spec.template.spec"),
    };
    errors.extend(pod_rules::validate_spec(&template["spec"], path));
    let at = format!("{path}.restartPolicy");
    match template["spec"]["restartPolicy"].as_str().unwrap_or_default() {
        "OnFailure" | "Never" => {}
        "Always" | "" => errors.push(FieldError::required(at, "valid values: \"OnFailure\", \"Never\"")),
        _ => {}
    }
    errors
}

/// Checks a workload.
pub(super) fn validate(resource: &str, old: Option<&Value>, new: &Value) -> Vec<FieldError> {
    if resource == "controllerrevisions" {
        return Vec::new();
    }
    if matches!(resource, "jobs" | "cronjobs") {
        return validate_batch(resource, new);
    }
    let spec = &new["spec"];
    let mut errors = Vec::new();
    if let Some(replicas) = spec["replicas"].as_i64().filter(|r| *r < 0) {
        errors.push(FieldError::invalid(
            "spec.replicas",
            replicas,
            "must be greater than or equal to 0",
        ));
    }
    errors.extend(selector(resource, spec));
    let template = &spec["template"];
    errors.extend(pod_rules::validate_spec(&template["spec"], "spec.template.spec"));
    let restart = template["spec"]["restartPolicy"].as_str().unwrap_or_default();
    if matches!(restart, "OnFailure" | "Never") {
        errors.push(FieldError::not_supported(
            "spec.template.spec.restartPolicy",
            restart,
            &["Always"],
        ));
    }
    let fixed = old.map(|old| &old["spec"]["selector"]);
    if fixed.is_some_and(|old| *old != spec["selector"]) {
        errors.push(FieldError::invalid(
            "spec.selector",
            spec["selector"].clone(),
            "field is immutable",
        ));
    }
    errors
}

fn selector(resource: &str, spec: &Value) -> Vec<FieldError> {
    let selector = &spec["selector"];
    if selector.is_null() {
        return vec![FieldError::required("spec.selector", "")];
    }
    let mut errors = selectors::validate(selector, "spec.selector");
    let Ok(parsed) = LabelSelector::from_object(selector) else {
        return errors;
    };
    if parsed.is_everything() {
        let kind = match resource {
            "deployments" => "deployment",
            "daemonsets" => "daemonset",
            "statefulsets" => "statefulset",
            _ => "deployment",
        };
        let detail = format!("empty selector is invalid for {kind}");
        errors.push(FieldError::invalid("spec.selector", selector.clone(), detail));
        return errors;
    }
    let labels = &spec["template"]["metadata"]["labels"];
    if errors.is_empty() && !parsed.matches(labels.as_object()) {
        errors.push(FieldError::invalid(
            "spec.template.metadata.labels",
            labels.clone(),
            "`selector` does not match template `labels`",
        ));
    }
    errors
}
