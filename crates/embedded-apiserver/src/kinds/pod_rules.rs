//! Checks of pods and of the templates of pods.

use std::collections::BTreeSet;

use serde_json::Value;

use super::names::dns_label;
use super::path::{items, text};
use crate::schema::FieldError;

const RESTART_POLICIES: [&str; 3] = ["Always", "OnFailure", "Never"];

/// Checks a pod.
pub(super) fn validate_pod(old: Option<&Value>, pod: &Value) -> Vec<FieldError> {
    let mut errors = validate_spec(&pod["spec"], "spec");
    if let Some(old) = old
        && fixed_part(&old["spec"]) != fixed_part(&pod["spec"])
    {
        let detail = "pod updates may not change fields other than \
                      `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only \
                      additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was \
                      previously negative)\n";
        errors.push(FieldError::forbidden("spec", detail));
    }
    errors
}

/// What of a pod's spec may not change.
fn fixed_part(spec: &Value) -> Value {
    let mut spec = spec.clone();
    for list in ["containers", "initContainers"] {
        for container in super::path::each(&mut spec, list) {
            if let Some(map) = container.as_object_mut() {
                map.remove("image");
            }
        }
    }
    if let Some(map) = spec.as_object_mut() {
        for field in [
            "activeDeadlineSeconds",
            "tolerations",
            "terminationGracePeriodSeconds",
            "nodeName",
            "schedulingGates",
        ] {
            map.remove(field);
        }
    }
    spec
}

/// Checks the spec of a pod or of a template.
pub(super) fn validate_spec(spec: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let volumes = volumes(spec, path, &mut errors);
    if spec["containers"].as_array().is_none_or(Vec::is_empty) {
        errors.push(FieldError::required(format!("{path}.containers"), ""));
    }
    let mut seen = BTreeSet::new();
    for list in ["containers", "initContainers"] {
        for (i, one) in items(&spec[list]) {
            let at = format!("{path}.{list}[{i}]");
            container(one, &at, &volumes, &mut errors);
            let name = text(one, "name");
            if !name.is_empty() && !seen.insert(name) {
                errors.push(FieldError::duplicate(format!("{at}.name"), name));
            }
        }
    }
    choice(spec, "restartPolicy", path, &RESTART_POLICIES, &mut errors);
    choice(
        spec,
        "dnsPolicy",
        path,
        &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"],
        &mut errors,
    );
    if let Some(seconds) = spec["terminationGracePeriodSeconds"].as_i64().filter(|s| *s < 0) {
        let detail = "must be greater than or equal to 0";
        errors.push(FieldError::invalid(
            format!("{path}.terminationGracePeriodSeconds"),
            seconds,
            detail,
        ));
    }
    errors
}

fn choice(value: &Value, field: &str, path: &str, allowed: &[&str], errors: &mut Vec<FieldError>) {
    let given = text(value, field);
    if !given.is_empty() && !allowed.contains(&given) {
        let mut sorted = allowed.to_vec();
        sorted.sort_unstable();
        errors.push(FieldError::not_supported(
            format!("{path}.{field}"),
            given,
            &sorted,
        ));
    }
}

fn volumes<'a>(spec: &'a Value, path: &str, errors: &mut Vec<FieldError>) -> BTreeSet<&'a str> {
    let mut names = BTreeSet::new();
    for (i, volume) in items(&spec["volumes"]) {
        let (at, name) = (format!("{path}.volumes[{i}].name"), text(volume, "name"));
        if name.is_empty() {
            errors.push(FieldError::required(at, ""));
        } else if let Some(problem) = dns_label(name) {
            errors.push(FieldError::invalid(at, name, problem));
        } else if !names.insert(name) {
            errors.push(FieldError::duplicate(at, name));
        }
        let sources = volume
            .as_object()
            .map_or(0, |map| map.keys().filter(|key| *key != "name").count());
        if sources > 1 {
            let second = volume
                .as_object()
                .and_then(|map| map.keys().filter(|key| *key != "name").nth(1));
            let at = format!("{path}.volumes[{i}].{}", second.map_or("", String::as_str));
            errors.push(FieldError::forbidden(
                at,
                "may not specify more than 1 volume type",
            ));
        }
    }
    names
}

fn container(one: &Value, at: &str, volumes: &BTreeSet<&str>, errors: &mut Vec<FieldError>) {
    let name = text(one, "name");
    match dns_label(name) {
        _ if name.is_empty() => errors.push(FieldError::required(format!("{at}.name"), "")),
        Some(problem) => errors.push(FieldError::invalid(format!("{at}.name"), name, problem)),
        None => {}
    }
    let image = text(one, "image");
    if image.is_empty() {
        errors.push(FieldError::required(format!("{at}.image"), ""));
    } else if image.trim() != image {
        let detail = "must not have leading or trailing whitespace";
        errors.push(FieldError::invalid(format!("{at}.image"), image, detail));
    }
    choice(
        one,
        "imagePullPolicy",
        at,
        &["Always", "IfNotPresent", "Never"],
        errors,
    );
    choice(
        one,
        "terminationMessagePolicy",
        at,
        &["FallbackToLogsOnError", "File"],
        errors,
    );
    ports(one, at, errors);
    for (i, variable) in items(&one["env"]) {
        if text(variable, "name").is_empty() {
            errors.push(FieldError::required(format!("{at}.env[{i}].name"), ""));
        }
    }
    let mut paths = BTreeSet::new();
    for (i, mount) in items(&one["volumeMounts"]) {
        let (name, path) = (text(mount, "name"), text(mount, "mountPath"));
        let here = format!("{at}.volumeMounts[{i}]");
        if name.is_empty() {
            errors.push(FieldError::required(format!("{here}.name"), ""));
        } else if !volumes.contains(name) {
            errors.push(FieldError::new(
                crate::schema::ErrorKind::NotFound,
                format!("{here}.name"),
                name,
                "",
            ));
        }
        if path.is_empty() {
            errors.push(FieldError::required(format!("{here}.mountPath"), ""));
        } else if !paths.insert(path) {
            errors.push(FieldError::invalid(
                format!("{here}.mountPath"),
                path,
                "must be unique",
            ));
        }
    }
}

pub(super) const PORT_RANGE: &str = "must be between 1 and 65535, inclusive";

fn ports(one: &Value, at: &str, errors: &mut Vec<FieldError>) {
    let mut names = BTreeSet::new();
    for (i, port) in items(&one["ports"]) {
        let here = format!("{at}.ports[{i}]");
        let name = text(port, "name");
        if !name.is_empty() && !names.insert(name) {
            errors.push(FieldError::duplicate(format!("{here}.name"), name));
        }
        match port["containerPort"].as_i64().unwrap_or(0) {
            0 => errors.push(FieldError::required(format!("{here}.containerPort"), "")),
            1..=65535 => {}
            other => errors.push(FieldError::invalid(
                format!("{here}.containerPort"),
                other,
                PORT_RANGE,
            )),
        }
        if let Some(other) = port["hostPort"]
            .as_i64()
            .filter(|p| *p != 0 && !(1..=65535).contains(p))
        {
            errors.push(FieldError::invalid(format!("{here}.hostPort"), other, PORT_RANGE));
        }
        choice(port, "protocol", &here, &["TCP", "UDP", "SCTP"], errors);
    }
}
