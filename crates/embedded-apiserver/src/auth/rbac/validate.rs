//! What roles and bindings must look like.

use serde_json::Value;

use super::GROUP;
use crate::registry::Resource;
use crate::registry::names::NameRule;
use crate::schema::FieldError;
use crate::selector::LabelSelector;

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

fn filled(value: &Value) -> bool {
    value.as_array().is_some_and(|list| !list.is_empty())
}

/// Checks a role or a binding; nothing for other resources.
pub(crate) fn validate(resource: &Resource, old: Option<&Value>, new: &Value) -> Vec<FieldError> {
    if resource.is_custom() || &*resource.gr.group != GROUP {
        return Vec::new();
    }
    match &*resource.gr.resource {
        "roles" | "clusterroles" => role(new, resource.namespaced),
        _ => binding(old, new, resource.namespaced),
    }
}

fn role(role: &Value, namespaced: bool) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (i, entry) in role["rules"].as_array().into_iter().flatten().enumerate() {
        rule(entry, namespaced, &format!("rules[{i}]"), &mut errors);
    }
    if !role["aggregationRule"].is_object() {
        return errors;
    }
    let path = "aggregationRule.clusterRoleSelectors";
    let selectors = &role["aggregationRule"]["clusterRoleSelectors"];
    if !filled(selectors) {
        let detail = "at least one clusterRoleSelector required if aggregationRule is non-nil";
        errors.push(FieldError::required(path, detail));
    }
    for (i, selector) in selectors.as_array().into_iter().flatten().enumerate() {
        if LabelSelector::from_object(selector).is_err() {
            let path = format!("{path}[{i}]");
            errors.push(FieldError::invalid(
                path,
                selector.clone(),
                "invalid label selector.",
            ));
        }
    }
    errors
}

fn rule(rule: &Value, namespaced: bool, path: &str, errors: &mut Vec<FieldError>) {
    if !filled(&rule["verbs"]) {
        let path = format!("{path}.verbs");
        errors.push(FieldError::required(
            path,
            "verbs must contain at least one value",
        ));
    }
    let urls = &rule["nonResourceURLs"];
    if filled(urls) {
        let path = format!("{path}.nonResourceURLs");
        let mut refuse = |detail: &str| errors.push(FieldError::invalid(path.as_str(), urls.clone(), detail));
        if namespaced {
            refuse("namespaced rules cannot apply to non-resource URLs");
        }
        if ["apiGroups", "resources", "resourceNames"]
            .iter()
            .any(|field| filled(&rule[*field]))
        {
            refuse("rules cannot apply to both regular resources and non-resource URLs");
        }
        return;
    }
    for (field, detail) in [
        ("apiGroups", "resource rules must supply at least one api group"),
        ("resources", "resource rules must supply at least one resource"),
    ] {
        if !filled(&rule[field]) {
            errors.push(FieldError::required(format!("{path}.{field}"), detail));
        }
    }
}

fn binding(old: Option<&Value>, new: &Value, namespaced: bool) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let role = &new["roleRef"];
    if text(role, "apiGroup") != GROUP {
        errors.push(FieldError::not_supported(
            "roleRef.apiGroup",
            text(role, "apiGroup"),
            &[GROUP],
        ));
    }
    let kinds: &[&str] = match namespaced {
        true => &["Role", "ClusterRole"],
        false => &["ClusterRole"],
    };
    if !kinds.contains(&text(role, "kind")) {
        errors.push(FieldError::not_supported(
            "roleRef.kind",
            text(role, "kind"),
            kinds,
        ));
    }
    match text(role, "name") {
        "" => errors.push(FieldError::required("roleRef.name", "")),
        name => errors.extend(
            NameRule::PathSegment
                .check(name, false)
                .into_iter()
                .map(|problem| FieldError::invalid("roleRef.name", name, problem)),
        ),
    }
    for (i, entry) in new["subjects"].as_array().into_iter().flatten().enumerate() {
        subject(entry, namespaced, &format!("subjects[{i}]"), &mut errors);
    }
    if old.is_some_and(|old| old["roleRef"] != *role) {
        // Printed as upstream's own type.
        let [group, kind, name] = ["apiGroup", "kind", "name"].map(|field| text(role, field));
        let shown = serde_json::json!({"APIGroup": group, "Kind": kind, "Name": name});
        errors.push(FieldError::invalid("roleRef", shown, "cannot change roleRef"));
    }
    errors
}

fn subject(subject: &Value, namespaced: bool, path: &str, errors: &mut Vec<FieldError>) {
    let (name, group) = (text(subject, "name"), text(subject, "apiGroup"));
    if name.is_empty() {
        errors.push(FieldError::required(format!("{path}.name"), ""));
    }
    match text(subject, "kind") {
        "ServiceAccount" => {
            let problems = match name {
                "" => Vec::new(),
                name => NameRule::Subdomain.check(name, false),
            };
            errors.extend(
                problems
                    .into_iter()
                    .map(|problem| FieldError::invalid(format!("{path}.name"), name, problem)),
            );
            if !group.is_empty() {
                errors.push(FieldError::not_supported(
                    format!("{path}.apiGroup"),
                    group,
                    &[""],
                ));
            }
            if !namespaced && text(subject, "namespace").is_empty() {
                errors.push(FieldError::required(format!("{path}.namespace"), ""));
            }
        }
        "User" | "Group" => {
            if group != GROUP {
                errors.push(FieldError::not_supported(
                    format!("{path}.apiGroup"),
                    group,
                    &[GROUP],
                ));
            }
        }
        other => {
            let supported = ["ServiceAccount", "User", "Group"];
            errors.push(FieldError::not_supported(
                format!("{path}.kind"),
                other,
                &supported,
            ));
        }
    }
}
