//! Validation of an object against its schema, CEL aside.
//!
//! The texts, their order and the choice between several errors follow kube-apiserver; see `number.rs` for numeric rules.

use serde_json::Value;

use super::correlate::{old_field, old_item, unchanged};
use super::errors::{ErrorKind, FieldError, go_json, quote};
use super::node::{Additional, Node, Type};
use super::number;

/// Errors of one check, and how many sub-checks matched (junctors show the errors of the best match).
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) errors: Vec<Finding>,
    pub(crate) matched: usize,
}

/// One error before it gets its final path.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    /// Path as the validator knows it, possibly with a leading dot; None for errors without a place.
    pub(crate) path: Option<String>,
    pub(crate) kind: ErrorKind,
    pub(crate) value: Value,
    /// Full text: both the detail of `Invalid` and what duplicates are recognised by.
    pub(crate) text: String,
}

impl Outcome {
    pub(crate) fn add(&mut self, finding: Finding) {
        if !self.errors.iter().any(|known| known.text == finding.text) {
            self.errors.push(finding);
        }
    }

    pub(crate) fn invalid(&mut self, path: &str, value: impl Into<Value>, text: String) {
        self.add(Finding {
            path: Some(path.to_owned()),
            kind: ErrorKind::Invalid,
            value: value.into(),
            text,
        });
    }

    /// An error that upstream reports without a field.
    pub(crate) fn placeless(&mut self, text: String) {
        self.add(Finding {
            path: None,
            kind: ErrorKind::Invalid,
            value: Value::from(""),
            text,
        });
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.matched += other.matched;
        for finding in other.errors {
            self.add(finding);
        }
    }

    fn is_valid(&self) -> bool {
        self.errors.is_empty()
    }
}

/// Validates a value at the root of `node`. `prefix` is the path of that root in the object (empty, or `status`).
/// With `old`, errors of unchanged parts are let through.
pub(crate) fn validate(node: &Node, value: &Value, old: Option<&Value>, prefix: &str) -> Vec<FieldError> {
    check_ratcheted(node, value, old, "")
        .errors
        .into_iter()
        .map(|finding| finish(finding, prefix))
        .collect()
}

fn finish(finding: Finding, prefix: &str) -> FieldError {
    let path = match finding.path.as_deref().map(|p| p.trim_start_matches('.')) {
        None | Some("") if prefix.is_empty() => "<nil>".to_owned(),
        None | Some("") => prefix.to_owned(),
        Some(path) if prefix.is_empty() => path.to_owned(),
        Some(path) => format!("{prefix}.{path}"),
    };
    let detail = match finding.kind {
        ErrorKind::Required => String::new(),
        ErrorKind::NotSupported | ErrorKind::TooLong | ErrorKind::TooMany => {
            match finding.text.split_once('\u{0}') {
                Some((_, detail)) => detail.to_owned(),
                None => finding.text,
            }
        }
        _ => finding.text,
    };
    FieldError {
        path,
        kind: finding.kind,
        value: Some(finding.value),
        detail,
    }
}

/// A check whose errors vanish when the value did not change since `old`.
fn check_ratcheted(node: &Node, value: &Value, old: Option<&Value>, path: &str) -> Outcome {
    let mut outcome = check(node, value, old, path);
    if !outcome.is_valid() && old.is_some_and(|old| unchanged(node, value, old)) {
        outcome.errors.clear();
    }
    outcome
}

fn check(node: &Node, value: &Value, old: Option<&Value>, path: &str) -> Outcome {
    let mut outcome = Outcome::default();
    if value.is_null() {
        if node.is_typed() && !node.nullable {
            wrong_type(&mut outcome, path, node.type_text(), "null");
        } else {
            outcome.matched += 1;
        }
        check_enum(node, value, path, &mut outcome);
        return outcome;
    }
    // Each validator that applies counts one match, as do some of their inner results.
    if node.is_typed() || !node.format.is_empty() {
        check_type(node, value, path, &mut outcome);
        outcome.matched += 1;
    }
    junctors(node, value, old, path, &mut outcome);
    outcome.matched += 1;
    match value {
        Value::String(text) => {
            check_string(node, text, path, &mut outcome);
            outcome.matched += 1;
            if let Some(format) = node.checked_format() {
                if !format.accepts(text) {
                    wrong_type(&mut outcome, path, &node.format, text);
                }
                outcome.matched += 1;
            }
        }
        Value::Number(n) => {
            number::check(node, n, path, &mut outcome);
            outcome.matched += 1;
        }
        Value::Array(list) => {
            check_array(node, list, old, path, &mut outcome);
            outcome.matched += 2;
        }
        _ => {}
    }
    check_enum(node, value, path, &mut outcome);
    outcome.matched += 1;
    if let Value::Object(map) = value {
        check_object(node, map, old, path, &mut outcome);
        outcome.matched += 1;
    }
    outcome.matched += 1;
    outcome
}

fn wrong_type(outcome: &mut Outcome, path: &str, expected: &str, found: &str) {
    let text = format!("{path} in body must be of type {expected}: {}", quote(found));
    outcome.add(Finding {
        path: Some(path.to_owned()),
        kind: ErrorKind::TypeInvalid,
        value: Value::from(found),
        text,
    });
}

fn check_type(node: &Node, value: &Value, path: &str, outcome: &mut Outcome) {
    let (type_, format) = match value {
        Value::Bool(_) => (Type::Boolean, ""),
        Value::Number(n) if n.as_i64().is_some() => (Type::Integer, "int64"),
        Value::Number(_) => (Type::Number, "float64"),
        Value::String(_) => (Type::String, ""),
        Value::Array(_) => (Type::Array, ""),
        Value::Object(_) | Value::Null => (Type::Object, ""),
    };
    outcome.matched += 1;
    let whole = type_ == Type::Number
        && node.allows(Type::Integer)
        && value.as_f64().is_some_and(number::is_json_integer);
    let widened = type_ == Type::Integer && node.allows(Type::Number);
    let fits = node.allows(type_) || whole || widened;
    let listed = matches!(value, Value::String(_) | Value::Array(_));
    if !node.format.is_empty() {
        if !listed && !fits && format != node.format {
            wrong_type(outcome, path, &node.format, format);
            return;
        }
        // A format other than a number's stands for the type: the format check that follows decides.
        if listed && !node.allows(Type::Number) && !node.allows(Type::Integer) {
            return;
        }
    }
    if !fits {
        wrong_type(outcome, path, node.type_text(), type_.name());
    }
}

fn check_string(node: &Node, text: &str, path: &str, outcome: &mut Outcome) {
    if let Some(limits) = &node.limits {
        let length = text.chars().count() as i64;
        if let Some(max) = limits.max_length.filter(|max| length > *max) {
            let text = format!("{path} in body should be at most {max} chars long");
            limit(
                outcome,
                ErrorKind::TooLong,
                path,
                Value::from(""),
                text,
                FieldError::too_long("", max).detail,
            );
            return;
        }
        if let Some(min) = limits.min_length.filter(|min| length < *min) {
            outcome.invalid(
                path,
                text,
                format!("{path} in body should be at least {min} chars long"),
            );
            return;
        }
    }
    if let Some(pattern) = &node.pattern {
        match pattern.regex() {
            Ok(regex) if regex.is_match(text) => {}
            Ok(_) => outcome.invalid(
                path,
                text,
                format!("{path} in body should match '{}'", pattern.text),
            ),
            Err(error) => outcome.invalid(
                path,
                text,
                format!(
                    "{path} in body should match '{}, but pattern is invalid: {error}'",
                    pattern.text
                ),
            ),
        }
    }
}

/// A kind of error whose final detail differs from the text that identifies it.
fn limit(outcome: &mut Outcome, kind: ErrorKind, path: &str, value: Value, text: String, detail: String) {
    outcome.add(Finding {
        path: Some(path.to_owned()),
        kind,
        value,
        text: format!("{text}\u{0}{detail}"),
    });
}

fn check_enum(node: &Node, value: &Value, path: &str, outcome: &mut Outcome) {
    if node.enumeration.is_empty()
        || node
            .enumeration
            .iter()
            .any(|allowed| same_in_enum(value, allowed))
    {
        return;
    }
    let names: Vec<String> = node
        .enumeration
        .iter()
        .map(|v| match v {
            Value::String(s) => s.clone(),
            other => go_json(other),
        })
        .collect();
    let error = FieldError::not_supported("", value.clone(), &names);
    let text = format!("{path} in body should be one of [{}]", names.join(" "));
    limit(
        outcome,
        ErrorKind::NotSupported,
        path,
        value.clone(),
        text,
        error.detail,
    );
}

/// Equality after conversion to the type of the listed value.
fn same_in_enum(value: &Value, allowed: &Value) -> bool {
    match (value, allowed) {
        (Value::Null, _) | (_, Value::Null) => false,
        (Value::Number(a), Value::Number(b)) => match (a.as_i64(), b.as_i64()) {
            (Some(a), Some(b)) => a == b,
            (None, Some(b)) => a.as_f64().is_some_and(|a| a as i64 == b),
            _ => a.as_f64() == b.as_f64(),
        },
        _ => value == allowed,
    }
}

fn check_array(node: &Node, list: &[Value], old: Option<&Value>, path: &str, outcome: &mut Outcome) {
    if let Some(items) = &node.items {
        for (i, item) in list.iter().enumerate() {
            let before = old_item(node, old, item);
            outcome.merge(check_ratcheted(items, item, before, &format!("{path}[{i}]")));
        }
    }
    let Some(limits) = &node.limits else { return };
    let size = list.len() as i64;
    if let Some(min) = limits.min_items.filter(|min| size < *min) {
        outcome.invalid(
            path,
            size,
            format!("{path} in body should have at least {min} items"),
        );
    }
    if let Some(max) = limits.max_items.filter(|max| size > *max) {
        let text = format!("{path} in body should have at most {max} items");
        let detail = FieldError::too_many("", size, max).detail;
        limit(outcome, ErrorKind::TooMany, path, Value::from(size), text, detail);
    }
    if limits.unique_items && list.iter().enumerate().any(|(i, v)| list[..i].contains(v)) {
        outcome.invalid(path, "", format!("{path} in body shouldn't contain duplicates"));
    }
}

fn check_object(
    node: &Node,
    map: &serde_json::Map<String, Value>,
    old: Option<&Value>,
    path: &str,
    outcome: &mut Outcome,
) {
    if let Some(limits) = &node.limits {
        let size = map.len() as i64;
        if let Some(min) = limits.min_properties.filter(|min| size < *min) {
            outcome.invalid(
                path,
                size,
                format!("{path} in body should have at least {min} properties"),
            );
        }
        if let Some(max) = limits.max_properties.filter(|max| size > *max) {
            let text = format!("{path} in body should have at most {max} properties");
            let detail = FieldError::too_many("", size, max).detail;
            limit(outcome, ErrorKind::TooMany, path, Value::from(size), text, detail);
        }
    }
    let child_old = |name: &str| {
        // The type of an object is not visible to ratcheting: old and new are read in the same version.
        if path.is_empty() && matches!(name, "apiVersion" | "kind") {
            None
        } else {
            old_field(node, old, name)
        }
    };
    match &node.additional {
        Some(Additional::Any(false)) => {
            for name in map.keys().filter(|name| !node.properties.contains_key(*name)) {
                outcome.invalid(
                    path,
                    name.as_str(),
                    format!("{path}.{name} in body is a forbidden property"),
                );
            }
        }
        Some(Additional::Schema(schema)) => {
            for (name, child) in map
                .iter()
                .filter(|(name, _)| !node.properties.contains_key(*name))
            {
                outcome.merge(check_ratcheted(
                    schema,
                    child,
                    child_old(name),
                    &format!("{path}.{name}"),
                ));
            }
        }
        _ => {}
    }
    for (name, property) in &node.properties {
        if let Some(child) = map.get(name) {
            let child_path = if path.is_empty() {
                name.clone()
            } else {
                format!("{path}.{name}")
            };
            outcome.merge(check_ratcheted(property, child, child_old(name), &child_path));
        }
    }
    for name in node.required.iter().filter(|name| !map.contains_key(*name)) {
        outcome.add(Finding {
            path: Some(format!("{path}.{name}")),
            kind: ErrorKind::Required,
            value: Value::from(""),
            text: format!("{path}.{name} in body is required"),
        });
    }
}

/// anyOf, oneOf, allOf and not.
fn junctors(node: &Node, value: &Value, old: Option<&Value>, path: &str, outcome: &mut Outcome) {
    if !node.any_of.is_empty() {
        let (valid, best, first) = alternatives(&node.any_of, value, old, path, true);
        if valid == 0 {
            outcome.placeless(format!(
                "{} must validate at least one schema (anyOf)",
                quote(path)
            ));
        }
        if let Some(shown) = best.or(first) {
            outcome.merge(shown);
        }
    }
    if !node.one_of.is_empty() {
        let (valid, best, first) = alternatives(&node.one_of, value, old, path, false);
        if valid == 1 {
            if let Some(first) = first {
                outcome.merge(first);
            }
        } else {
            let found = if valid == 0 {
                "Found none valid".to_owned()
            } else {
                format!("Found {valid} valid alternatives")
            };
            outcome.placeless(format!(
                "{} must validate one and only one schema (oneOf). {found}",
                quote(path)
            ));
            if let Some(best) = best {
                outcome.merge(best);
            }
        }
    }
    if !node.all_of.is_empty() {
        let mut valid = 0;
        for schema in &node.all_of {
            let result = check(schema, value, old, path);
            valid += usize::from(result.is_valid());
            outcome.merge(result);
        }
        if valid != node.all_of.len() {
            let more = if valid == 0 { ". None validated" } else { "" };
            outcome.placeless(format!(
                "{} must validate all the schemas (allOf){more}",
                quote(path)
            ));
        }
    }
    if let Some(not) = &node.not
        && check(not, value, old, path).is_valid()
    {
        outcome.placeless(format!("{} must not validate the schema (not)", quote(path)));
    }
    outcome.matched += 1;
}

/// How many alternatives are valid, the failure with the most matches (only while none is valid), and the first valid one.
fn alternatives(
    schemas: &[std::sync::Arc<Node>],
    value: &Value,
    old: Option<&Value>,
    path: &str,
    stop_at_first: bool,
) -> (usize, Option<Outcome>, Option<Outcome>) {
    let (mut valid, mut best, mut first): (usize, Option<Outcome>, Option<Outcome>) = (0, None, None);
    for schema in schemas {
        let result = check(schema, value, old, path);
        if result.is_valid() {
            valid += 1;
            best = None;
            first = first.or(Some(result));
            if stop_at_first {
                break;
            }
        } else if valid == 0 && best.as_ref().is_none_or(|best| result.matched > best.matched) {
            best = Some(result);
        }
    }
    (valid, best, first)
}
