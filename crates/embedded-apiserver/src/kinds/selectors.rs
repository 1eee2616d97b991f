//! Checks of label selectors inside objects.

use serde_json::Value;

use super::path::items;
use crate::schema::FieldError;
use crate::verbs::{label_value_error, qualified_name_error};

/// Checks a `metav1.LabelSelector`.
pub(super) fn validate(selector: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (key, value) in selector["matchLabels"].as_object().into_iter().flatten() {
        let path = format!("{path}.matchLabels");
        if let Some(problem) = qualified_name_error(key) {
            errors.push(FieldError::invalid(path.as_str(), key.as_str(), problem));
        }
        if let Some(problem) = label_value_error(value.as_str().unwrap_or_default()) {
            errors.push(FieldError::invalid(path, value.clone(), problem));
        }
    }
    for (i, requirement) in items(&selector["matchExpressions"]) {
        errors.extend(expression(requirement, &format!("{path}.matchExpressions[{i}]")));
    }
    errors
}

fn expression(requirement: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let operator = requirement["operator"].as_str().unwrap_or_default();
    let values = requirement["values"].as_array().map_or(0, Vec::len);
    match operator {
        "In" | "NotIn" if values == 0 => errors.push(FieldError::required(
            format!("{path}.values"),
            "must be specified when `operator` is 'In' or 'NotIn'",
        )),
        "Exists" | "DoesNotExist" if values > 0 => errors.push(FieldError::forbidden(
            format!("{path}.values"),
            "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
        )),
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        other => errors.push(FieldError::invalid(
            format!("{path}.operator"),
            other,
            "not a valid selector operator",
        )),
    }
    let key = requirement["key"].as_str().unwrap_or_default();
    if let Some(problem) = qualified_name_error(key) {
        errors.push(FieldError::invalid(format!("{path}.key"), key, problem));
    }
    for (i, value) in items(&requirement["values"]) {
        if let Some(problem) = label_value_error(value.as_str().unwrap_or_default()) {
            errors.push(FieldError::invalid(
                format!("{path}.values[{i}]"),
                value.clone(),
                problem,
            ));
        }
    }
    errors
}
