//! Checks of the fields that the scale subresource reads and writes.

use serde_json::Value;

use super::errors::FieldError;
use super::{ScaleFields, go_float, go_json};

/// Errors of the replica counts and the selector.
pub(super) fn check(fields: &ScaleFields<'_>, object: &Value, status_only: bool) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if !status_only {
        errors.extend(replicas(fields.spec_replicas, object));
    }
    errors.extend(replicas(fields.status_replicas, object));
    if let Some(path) = fields.label_selector {
        let accessor = |e: String| FieldError::invalid(path, "", e);
        match find(path, object) {
            Ok(Some(value)) if !value.is_string() => errors.push(accessor(wrong_type(path, value, "string"))),
            Ok(_) => {}
            Err(error) => errors.push(accessor(error)),
        }
    }
    errors
}

fn replicas(path: &str, object: &Value) -> Option<FieldError> {
    match find(path, object) {
        Err(error) => Some(FieldError::invalid(path, 0, error)),
        Ok(None) => None,
        Ok(Some(value)) => match value.as_i64() {
            None => Some(FieldError::invalid(path, 0, wrong_type(path, value, "int64"))),
            Some(n) if n < 0 => Some(FieldError::invalid(path, n, "should be a non-negative integer")),
            Some(n) if n > i64::from(i32::MAX) => Some(FieldError::invalid(
                path,
                n,
                format!("should be less than or equal to {}", i32::MAX),
            )),
            Some(_) => None,
        },
    }
}

/// The value at a path of plain field names; an error when something on the way is no object.
fn find<'a>(path: &str, object: &'a Value) -> Result<Option<&'a Value>, String> {
    let mut value = object;
    let mut walked = String::new();
    for name in path.trim_start_matches('.').split('.') {
        let Value::Object(map) = value else {
            return if value.is_null() {
                Ok(None)
            } else {
                Err(wrong_type(&walked, value, "map[string]interface{}"))
            };
        };
        walked.push('.');
        walked.push_str(name);
        match map.get(name) {
            Some(next) => value = next,
            None => return Ok(None),
        }
    }
    Ok(Some(value))
}

fn wrong_type(path: &str, value: &Value, wanted: &str) -> String {
    let (shown, found) = match value {
        Value::Null => ("<nil>".to_owned(), "<nil>"),
        Value::Bool(b) => (b.to_string(), "bool"),
        Value::Number(n) if n.is_f64() => (n.as_f64().map_or_else(String::new, go_float), "float64"),
        Value::Number(n) => (n.to_string(), "int64"),
        Value::String(text) => (text.clone(), "string"),
        Value::Array(_) => (go_json(value), "[]interface {}"),
        Value::Object(_) => (go_json(value), "map[string]interface {}"),
    };
    format!("{path} accessor error: {shown} is of the type {found}, expected {wanted}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn counts_must_be_counts() {
        let fields = ScaleFields {
            spec_replicas: ".spec.replicas",
            status_replicas: ".status.replicas",
            label_selector: Some(".status.selector"),
        };
        let cases = [
            (json!({}), vec![]),
            (json!({"spec": {"replicas": 3}}), vec![]),
            (
                json!({"spec": {"replicas": -1}}),
                vec![".spec.replicas: Invalid value: -1: should be a non-negative integer"],
            ),
            (
                json!({"spec": {"replicas": 3_000_000_000i64}}),
                vec![".spec.replicas: Invalid value: 3000000000: should be less than or equal to 2147483647"],
            ),
            (
                json!({"spec": {"replicas": "x"}}),
                vec![
                    ".spec.replicas: Invalid value: 0: .spec.replicas accessor error: x is of the type string, expected int64",
                ],
            ),
            (
                json!({"spec": {"replicas": 2.0}}),
                vec![
                    ".spec.replicas: Invalid value: 0: .spec.replicas accessor error: 2 is of the type float64, expected int64",
                ],
            ),
            (
                json!({"status": {"selector": 1}}),
                vec![
                    ".status.selector: Invalid value: \"\": .status.selector accessor error: 1 is of the type int64, expected string",
                ],
            ),
        ];
        for (object, expected) in cases {
            let found: Vec<String> = check(&fields, &object, false)
                .iter()
                .map(ToString::to_string)
                .collect();
            assert_eq!(found, expected, "{object}");
        }
    }
}
