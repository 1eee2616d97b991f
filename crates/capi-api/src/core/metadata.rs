//! Labels and annotations that a template passes on, which nobody else checks before objects are made with them.

use super::v1beta2::ObjectMeta;
use crate::field::FieldError;
use crate::names::{is_dns_label, is_label_value};

/// All annotations of an object together must not be larger.
const ANNOTATIONS: usize = 256 * 1024;

/// What API servers would refuse of `metadata` at `path`.
pub fn validate(metadata: &ObjectMeta, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (key, value) in &metadata.labels {
        if let Some(problem) = key_problem(key) {
            errors.push(FieldError::invalid(format!("{path}.labels"), key, problem));
        }
        if !is_label_value(value) {
            let problem =
                "must be at most 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends";
            errors.push(FieldError::invalid(
                format!("{path}.labels[{key}]"),
                value,
                problem,
            ));
        }
    }
    let mut size = 0;
    for (key, value) in &metadata.annotations {
        size += key.len() + value.len();
        // Annotations may be written with capitals in their prefix.
        if let Some(problem) = key_problem(&key.to_lowercase()) {
            errors.push(FieldError::invalid(format!("{path}.annotations"), key, problem));
        }
    }
    if size > ANNOTATIONS {
        let problem = format!("all together must not be larger than {ANNOTATIONS} bytes");
        errors.push(FieldError::invalid(format!("{path}.annotations"), size, problem));
    }
    errors
}

/// What is wrong with a key of the form `name` or `prefix/name`.
fn key_problem(key: &str) -> Option<&'static str> {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    if name.is_empty() || !is_label_value(name) {
        return Some(
            "the name must be 1 to 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends",
        );
    }
    match prefix {
        Some(prefix) if prefix.len() > 253 || !prefix.split('.').all(is_dns_label) => {
            Some("the part before the slash must be a DNS name of at most 253 characters")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_and_values_are_those_that_api_servers_take() {
        let fields = |metadata: serde_json::Value| -> Vec<String> {
            let metadata: ObjectMeta = serde_json::from_value(metadata).unwrap();
            validate(&metadata, "m")
                .into_iter()
                .map(|error| error.field)
                .collect()
        };
        let good = json!({"labels": {"a": "", "x.example/b_c": "v-1", "node-role.kubernetes.io/worker": ""}, "annotations": {"Example.COM/a": "any \n text"}});
        assert!(fields(good).is_empty());
        for (metadata, field) in [
            (json!({"labels": {"-a": "x"}}), "m.labels"),
            (json!({"labels": {"a/b/c": "x"}}), "m.labels"),
            (json!({"labels": {"Example.com/b": "x"}}), "m.labels"),
            (json!({"labels": {"a b": "x"}}), "m.labels"),
            (json!({"labels": {"/b": "x"}}), "m.labels"),
            (json!({"labels": {"a": "x y"}}), "m.labels[a]"),
            (json!({"annotations": {"": "x"}}), "m.annotations"),
            (
                json!({"annotations": {"a": "x".repeat(ANNOTATIONS)}}),
                "m.annotations",
            ),
        ] {
            assert_eq!(fields(metadata.clone()), [field], "{metadata}");
        }
    }
}
