//! Whether a webhook wants to hear of a request: rules, selectors, conditions.

use serde_json::{Map, Value};

use super::config::Hook;
use crate::http::status::ApiError;

/// One rule of a webhook.
#[derive(Debug, Default, Clone)]
pub(super) struct Rule {
    operations: Vec<String>,
    groups: Vec<String>,
    versions: Vec<String>,
    /// Resources and subresources.
    resources: Vec<(String, String)>,
    scope: String,
}

/// What a rule is compared with.
#[derive(Debug, Clone)]
pub(super) struct Asked<'a> {
    pub operation: &'a str,
    pub group: &'a str,
    pub version: &'a str,
    pub resource: &'a str,
    pub subresource: &'a str,
    /// The namespace; for namespaces themselves their name.
    pub namespace: &'a str,
}

fn strings(value: &Value) -> Vec<String> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

fn has(items: &[String], wanted: &str) -> bool {
    items.iter().any(|item| item == "*" || item == wanted)
}

impl Rule {
    pub fn read(rule: &Value) -> Self {
        let split = |text: String| match text.split_once('/') {
            Some((resource, subresource)) => (resource.to_owned(), subresource.to_owned()),
            None => (text, String::new()),
        };
        Self {
            operations: strings(&rule["operations"]),
            groups: strings(&rule["apiGroups"]),
            versions: strings(&rule["apiVersions"]),
            resources: strings(&rule["resources"]).into_iter().map(split).collect(),
            scope: rule["scope"].as_str().unwrap_or("*").to_owned(),
        }
    }

    pub fn matches(&self, asked: &Asked<'_>) -> bool {
        let is_namespace = (asked.group, asked.resource) == ("", "namespaces");
        let in_scope = match self.scope.as_str() {
            "Namespaced" => !is_namespace && !asked.namespace.is_empty(),
            "Cluster" => is_namespace || asked.namespace.is_empty(),
            _ => true,
        };
        let resource = |(resource, subresource): &(String, String)| {
            (resource == "*" || resource == asked.resource)
                && (subresource == "*" || subresource == asked.subresource)
        };
        in_scope
            && has(&self.operations, asked.operation)
            && has(&self.groups, asked.group)
            && has(&self.versions, asked.version)
            && self.resources.iter().any(resource)
    }
}

/// The version under which a hook is told of a request: the request's own, or, with `matchPolicy: Equivalent`, the first
/// of the other versions of the same resource that a rule names.
pub(super) fn version<'a>(hook: &Hook, asked: &Asked<'a>, others: &[&'a str]) -> Option<&'a str> {
    if hook.rules.iter().any(|rule| rule.matches(asked)) {
        return Some(asked.version);
    }
    if !hook.equivalent {
        return None;
    }
    let other = |rule: &Rule| {
        let names = |version: &&&'a str| {
            rule.matches(&Asked {
                version,
                ..asked.clone()
            })
        };
        others.iter().find(names).copied()
    };
    hook.rules.iter().find_map(other)
}

/// Whether the namespace's labels are selected. `labels` is asked only when it matters.
pub(super) fn namespace(
    hook: &Hook,
    asked: &Asked<'_>,
    labels: impl FnOnce() -> Result<Map<String, Value>, ApiError>,
) -> Result<bool, ApiError> {
    if asked.namespace.is_empty() && asked.resource != "namespaces" {
        return Ok(true);
    }
    let selector = hook.namespaces.as_ref().map_err(ApiError::internal)?;
    Ok(selector.is_everything() || selector.matches(Some(&labels()?)))
}

/// Whether the object, as it is or as it was, is selected.
pub(super) fn object(hook: &Hook, object: Option<&Value>, old: Option<&Value>) -> Result<bool, ApiError> {
    let selector = hook.objects.as_ref().map_err(ApiError::internal)?;
    let selected = |value: &Value| selector.matches_object(value);
    Ok(selector.is_everything() || object.is_some_and(selected) || old.is_some_and(selected))
}

/// Whether all conditions hold. One that is false settles it; errors count only when none is.
pub(super) fn conditions(hook: &Hook, values: &[(&str, &Value)]) -> Result<bool, String> {
    let mut errors = Vec::new();
    for condition in &hook.conditions {
        let outcome = condition
            .compiled
            .as_ref()
            .map_err(|e| format!("compilation error: {e}"))
            .and_then(|compiled| {
                let said = |e| format!("expression '{}' resulted in error: {e}", condition.expression);
                compiled.holds(values).map_err(said)
            });
        match outcome {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            Err(error) => errors.push(error),
        }
    }
    match errors.as_slice() {
        [] => Ok(true),
        _ if hook.fails_open => Ok(false),
        [one] => Err(one.clone()),
        many => Err(format!("[{}]", many.join(", "))),
    }
}
