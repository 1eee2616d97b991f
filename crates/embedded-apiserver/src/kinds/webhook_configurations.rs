//! Configurations of admission webhooks, and the parts that definitions with conversion webhooks share with them.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::names::{dns_label_1035, subdomain};
use super::path::{each, items, set, text};
use super::selectors;
use crate::cel::Condition;
use crate::schema::FieldError;
use crate::verbs::qualified_name_error;

/// Fills in defaults.
pub(super) fn default(resource: &str, value: &mut Value) {
    if !resource.ends_with("webhookconfigurations") {
        return;
    }
    for hook in each(value, "webhooks") {
        set(hook, "failurePolicy", "Fail");
        set(hook, "matchPolicy", "Equivalent");
        set(hook, "namespaceSelector", json!({}));
        set(hook, "objectSelector", json!({}));
        set(hook, "timeoutSeconds", 10);
        if resource.starts_with("mutating") {
            set(hook, "reinvocationPolicy", "Never");
        }
        for rule in each(hook, "rules") {
            set(rule, "scope", "*");
        }
        if let Some(service) = super::path::present(&mut hook["clientConfig"], "service") {
            set(service, "port", 443);
        }
    }
}

/// Checks a configuration.
pub(super) fn validate(resource: &str, new: &Value) -> Vec<FieldError> {
    if !resource.ends_with("webhookconfigurations") {
        return Vec::new();
    }
    let (mut errors, mut names) = (Vec::new(), BTreeSet::new());
    for (i, hook) in items(&new["webhooks"]) {
        let at = format!("webhooks[{i}]");
        webhook(hook, &at, &mut errors);
        errors.extend(review_versions(
            &hook["admissionReviewVersions"],
            &format!("{at}.admissionReviewVersions"),
            "must specify one of v1, v1beta1",
        ));
        let name = text(hook, "name");
        if !name.is_empty() && !names.insert(name) {
            errors.push(FieldError::duplicate(format!("{at}.name"), name));
        }
    }
    errors
}

fn choice(hook: &Value, field: &str, at: &str, allowed: &[&str], errors: &mut Vec<FieldError>) {
    if let Some(given) = hook[field].as_str().filter(|given| !allowed.contains(given)) {
        errors.push(FieldError::not_supported(format!("{at}.{field}"), given, allowed));
    }
}

fn webhook(hook: &Value, at: &str, errors: &mut Vec<FieldError>) {
    let name = text(hook, "name");
    let path = format!("{at}.name");
    if name.is_empty() {
        errors.push(FieldError::required(path, ""));
    } else if let Some(problem) = subdomain(name) {
        errors.push(FieldError::invalid(path, name, problem));
    } else if name.split('.').count() < 3 {
        let detail = "should be a domain with at least three segments separated by dots";
        errors.push(FieldError::invalid(path, name, detail));
    }
    for (i, one) in items(&hook["rules"]) {
        rule(one, &format!("{at}.rules[{i}]"), errors);
    }
    choice(hook, "failurePolicy", at, &["Fail", "Ignore"], errors);
    choice(hook, "matchPolicy", at, &["Equivalent", "Exact"], errors);
    choice(hook, "reinvocationPolicy", at, &["IfNeeded", "Never"], errors);
    match hook.get("sideEffects") {
        None => errors.push(FieldError::required(
            format!("{at}.sideEffects"),
            "must specify one of None, NoneOnDryRun",
        )),
        Some(_) => choice(hook, "sideEffects", at, &["None", "NoneOnDryRun"], errors),
    }
    if let Some(seconds) = hook["timeoutSeconds"].as_i64().filter(|s| !(1..=30).contains(s)) {
        let detail = "the timeout value must be between 1 and 30 seconds";
        errors.push(FieldError::invalid(
            format!("{at}.timeoutSeconds"),
            seconds,
            detail,
        ));
    }
    for field in ["namespaceSelector", "objectSelector"] {
        errors.extend(selectors::validate(&hook[field], &format!("{at}.{field}")));
    }
    errors.extend(client(&hook["clientConfig"], &format!("{at}.clientConfig")));
    conditions(&hook["matchConditions"], &format!("{at}.matchConditions"), errors);
}

/// Checks where a webhook is.
pub(crate) fn client(config: &Value, path: &str) -> Vec<FieldError> {
    match (config["url"].as_str(), config.get("service")) {
        (Some(url), None) => url_errors(url, &format!("{path}.url")),
        (None, Some(service)) => service_errors(service, &format!("{path}.service")),
        _ => vec![FieldError::required(
            path,
            "exactly one of url or service is required",
        )],
    }
}

fn rule(rule: &Value, at: &str, errors: &mut Vec<FieldError>) {
    let list = |field: &str| rule[field].as_array().cloned().unwrap_or_default();
    let many = |list: &[Value]| list.len() > 1 && list.contains(&"*".into());
    let operations = list("operations");
    if operations.is_empty() {
        errors.push(FieldError::required(format!("{at}.operations"), ""));
    }
    if many(&operations) {
        let detail = "if '*' is present, must not specify other operations";
        errors.push(FieldError::invalid(
            format!("{at}.operations"),
            operations.clone(),
            detail,
        ));
    }
    let known = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
    for (i, operation) in operations.iter().enumerate() {
        let operation = operation.as_str().unwrap_or_default();
        if !known.contains(&operation) {
            errors.push(FieldError::not_supported(
                format!("{at}.operations[{i}]"),
                operation,
                &known,
            ));
        }
    }
    for (field, what) in [("apiGroups", "API groups"), ("apiVersions", "API versions")] {
        let given = list(field);
        if given.is_empty() {
            errors.push(FieldError::required(format!("{at}.{field}"), ""));
        }
        if many(&given) {
            let detail = format!("if '*' is present, must not specify other {what}");
            errors.push(FieldError::invalid(
                format!("{at}.{field}"),
                given.clone(),
                detail,
            ));
        }
        if field == "apiVersions" {
            for (i, _) in given.iter().enumerate().filter(|(_, v)| **v == "") {
                errors.push(FieldError::required(format!("{at}.{field}[{i}]"), ""));
            }
        }
    }
    resources(&list("resources"), &format!("{at}.resources"), errors);
    choice(rule, "scope", at, &["*", "Cluster", "Namespaced"], errors);
}

fn resources(given: &[Value], at: &str, errors: &mut Vec<FieldError>) {
    if given.is_empty() {
        errors.push(FieldError::required(at, ""));
    }
    let (mut all_of, mut all_with) = (BTreeSet::new(), BTreeSet::new());
    let mut plain = false;
    for (i, resource) in given.iter().enumerate() {
        let (here, resource) = (format!("{at}[{i}]"), resource.as_str().unwrap_or_default());
        if resource.is_empty() {
            errors.push(FieldError::required(here, ""));
            continue;
        }
        let Some((name, subresource)) = resource.split_once('/') else {
            plain = resource != "*";
            continue;
        };
        if all_of.contains(name) {
            let detail = format!("if '{name}/*' is present, must not specify {resource}");
            errors.push(FieldError::invalid(here.as_str(), resource, detail));
        }
        if all_with.contains(subresource) {
            let detail = format!("if '*/{subresource}' is present, must not specify {resource}");
            errors.push(FieldError::invalid(here, resource, detail));
        }
        if subresource == "*" {
            all_of.insert(name);
        }
        if name == "*" {
            all_with.insert(subresource);
        }
    }
    let has = |text: &str| given.contains(&text.into());
    if given.len() > 1 && has("*/*") {
        let detail = "if '*/*' is present, must not specify other resources";
        errors.push(FieldError::invalid(at, given.to_vec(), detail));
    }
    if has("*") && plain {
        let detail = "if '*' is present, must not specify other resources without subresources";
        errors.push(FieldError::invalid(at, given.to_vec(), detail));
    }
}

/// Checks the versions of reviews that a webhook knows.
pub(crate) fn review_versions(versions: &Value, path: &str, required: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let given = versions.as_array().cloned().unwrap_or_default();
    if given.is_empty() {
        return vec![FieldError::required(path, required)];
    }
    let mut seen = BTreeSet::new();
    for (i, version) in given.iter().enumerate() {
        let version = version.as_str().unwrap_or_default();
        if !seen.insert(version) {
            errors.push(FieldError::invalid(
                format!("{path}[{i}]"),
                version,
                "duplicate version",
            ));
            continue;
        }
        if let Some(problem) = dns_label_1035(version) {
            errors.push(FieldError::invalid(format!("{path}[{i}]"), version, problem));
        }
    }
    if !seen.contains("v1") && !seen.contains("v1beta1") {
        let detail = "must include at least one of v1, v1beta1";
        errors.push(FieldError::invalid(path, given.clone(), detail));
    }
    errors
}

fn conditions(given: &Value, at: &str, errors: &mut Vec<FieldError>) {
    let mut names = BTreeSet::new();
    for (i, condition) in items(given) {
        let (here, expression) = (format!("{at}[{i}]"), text(condition, "expression").trim());
        if expression.is_empty() {
            errors.push(FieldError::required(format!("{here}.expression"), ""));
        } else if let Err(why) = Condition::parse(expression) {
            let detail = format!("compilation failed: {why}");
            errors.push(FieldError::invalid(
                format!("{here}.expression"),
                json!({"Name": "", "Expression": expression}),
                detail,
            ));
        }
        let name = text(condition, "name");
        if name.is_empty() {
            errors.push(FieldError::required(format!("{here}.name"), ""));
        } else if let Some(problem) = qualified_name_error(name) {
            errors.push(FieldError::invalid(format!("{here}.name"), name, problem));
        }
        if !name.is_empty() && !names.insert(name) {
            errors.push(FieldError::duplicate(format!("{here}.name"), name));
        }
    }
}

/// Checks a webhook's URL.
pub(crate) fn url_errors(url: &str, path: &str) -> Vec<FieldError> {
    const FORM: &str = "; desired format: https://host[/path]";
    let mut errors = Vec::new();
    let (rest, fragment) = url.split_once('#').unwrap_or((url, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (scheme, rest) = rest.split_once("://").unwrap_or(("", rest));
    let authority = match scheme {
        "" => "",
        _ => rest.split('/').next().unwrap_or_default(),
    };
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    if scheme != "https" {
        let detail = format!("'https' is the only allowed URL scheme{FORM}");
        errors.push(FieldError::invalid(path, scheme, detail));
    }
    if host.is_empty() {
        errors.push(FieldError::invalid(
            path,
            host,
            format!("host must be specified{FORM}"),
        ));
    }
    if !user.is_empty() {
        errors.push(FieldError::invalid(
            path,
            user,
            "user information is not permitted in the URL",
        ));
    }
    if !fragment.is_empty() {
        errors.push(FieldError::invalid(
            path,
            fragment,
            "fragments are not permitted in the URL",
        ));
    }
    if !query.is_empty() {
        errors.push(FieldError::invalid(
            path,
            query,
            "query parameters are not permitted in the URL",
        ));
    }
    errors
}

/// Checks the service of a webhook.
pub(crate) fn service_errors(service: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for field in ["name", "namespace"] {
        if text(service, field).is_empty() {
            errors.push(FieldError::required(format!("{path}.{field}"), ""));
        }
    }
    // Upstream takes the two for each other, so the errors come in this order.
    errors.sort_by(|a, b| b.path.cmp(&a.path));
    let port = service["port"].as_i64().unwrap_or(443);
    if !(1..=65535).contains(&port) {
        let detail = "port is not valid: must be between 1 and 65535, inclusive";
        errors.push(FieldError::invalid(format!("{path}.port"), port, detail));
    }
    let given = text(service, "path");
    let at = format!("{path}.path");
    match given {
        "" | "/" => return errors,
        "//" => {
            errors.push(FieldError::invalid(at, given, "segment[0] may not be empty"));
            return errors;
        }
        _ => {}
    }
    if !given.starts_with('/') {
        errors.push(FieldError::invalid(at.as_str(), given, "must start with a '/'"));
    }
    let checked: String = given.chars().skip(1).collect();
    let checked = checked.strip_suffix('/').unwrap_or(&checked);
    for (i, step) in checked.split('/').enumerate() {
        if step.is_empty() {
            let detail = format!("segment[{i}] may not be empty");
            errors.push(FieldError::invalid(at.as_str(), given, detail));
        } else if let Some(problem) = subdomain(step) {
            let detail = format!("segment[{i}]: {problem}");
            errors.push(FieldError::invalid(at.as_str(), given, detail));
        }
    }
    errors
}
