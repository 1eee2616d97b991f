//! Disruption budgets, priorities, leases and network policies.

use serde_json::{Value, json};

use super::path::{each, set, set_text, text};
use super::selectors;
use crate::schema::FieldError;

/// Fills in defaults.
pub(super) fn default(resource: &str, value: &mut Value) {
    match resource {
        "priorityclasses" => set(value, "preemptionPolicy", "PreemptLowerPriority"),
        "networkpolicies" => {
            let spec = &mut value["spec"];
            if spec["policyTypes"].as_array().is_none_or(Vec::is_empty) {
                let out = spec["egress"].as_array().is_some_and(|list| !list.is_empty());
                spec["policyTypes"] = match out {
                    true => json!(["Ingress", "Egress"]),
                    false => json!(["Ingress"]),
                };
            }
            for direction in ["ingress", "egress"] {
                for rule in each(spec, direction) {
                    for port in each(rule, "ports") {
                        set_text(port, "protocol", "TCP");
                    }
                }
            }
        }
        "ingressclasses" => {
            if let Some(parameters) = super::path::present(&mut value["spec"], "parameters") {
                set(parameters, "scope", "Cluster");
            }
        }
        _ => {}
    }
}

/// Checks an object.
pub(super) fn validate(resource: &str, old: Option<&Value>, new: &Value) -> Vec<FieldError> {
    match resource {
        "poddisruptionbudgets" => budget(&new["spec"]),
        "priorityclasses" => priority(old, new),
        "leases" => lease(&new["spec"]),
        _ => Vec::new(),
    }
}

const PERCENTAGE: &str = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for \
                          validation is '[0-9]+%')";

/// A number of pods or a percentage up to 100.
fn amount(value: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if let Some(number) = value.as_i64() {
        if number < 0 {
            errors.push(FieldError::invalid(
                path,
                number,
                "must be greater than or equal to 0",
            ));
        }
        return errors;
    }
    let given = value.as_str().unwrap_or_default();
    let digits = given
        .strip_suffix('%')
        .filter(|d| !d.is_empty() && d.bytes().all(|b| b.is_ascii_digit()));
    match digits.map(str::parse::<u32>) {
        None => errors.push(FieldError::invalid(path, given, PERCENTAGE)),
        Some(Ok(percent)) if percent <= 100 => {}
        Some(_) => errors.push(FieldError::invalid(path, given, "must not be greater than 100%")),
    }
    errors
}

fn budget(spec: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if spec.get("minAvailable").is_some() && spec.get("maxUnavailable").is_some() {
        let detail = "minAvailable and maxUnavailable cannot be both set";
        let shown = format!(
            "{{\"MinAvailable\":{},\"Selector\":{},\"MaxUnavailable\":{},\"UnhealthyPodEvictionPolicy\":{}}}",
            spec["minAvailable"],
            spec["selector"],
            spec["maxUnavailable"],
            spec["unhealthyPodEvictionPolicy"],
        );
        errors.push(FieldError::invalid_struct("spec", &shown, detail));
    }
    for field in ["minAvailable", "maxUnavailable"] {
        if let Some(value) = spec.get(field) {
            errors.extend(amount(value, &format!("spec.{field}")));
        }
    }
    errors.extend(selectors::validate(&spec["selector"], "spec.selector"));
    let policy = text(spec, "unhealthyPodEvictionPolicy");
    if !matches!(policy, "" | "IfHealthyBudget" | "AlwaysAllow") {
        errors.push(FieldError::not_supported(
            "spec.unhealthyPodEvictionPolicy",
            policy,
            &["AlwaysAllow", "IfHealthyBudget"],
        ));
    }
    errors
}

/// The highest value that is not reserved for the system.
const HIGHEST: i64 = 1_000_000_000;

fn priority(old: Option<&Value>, new: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let name = new["metadata"]["name"].as_str().unwrap_or_default();
    let value = new["value"].as_i64().unwrap_or(0);
    let known = matches!(name, "system-node-critical" | "system-cluster-critical");
    if name.starts_with("system-") && !known {
        errors.push(FieldError::forbidden(
            "metadata.name",
            format!("priority class names with 'system-' prefix are reserved for system use only. error: {name} is not a known system priority class"),
        ));
    } else if value > HIGHEST && !known {
        errors.push(FieldError::forbidden(
            "value",
            format!("maximum allowed value of a user defined priority is {HIGHEST}"),
        ));
    }
    let policy = text(new, "preemptionPolicy");
    if !matches!(policy, "" | "PreemptLowerPriority" | "Never") {
        errors.push(FieldError::not_supported(
            "preemptionPolicy",
            policy,
            &["Never", "PreemptLowerPriority"],
        ));
    }
    let Some(old) = old else { return errors };
    if old["value"].as_i64().unwrap_or(0) != value {
        errors.push(FieldError::forbidden("value", "may not be changed in an update."));
    }
    if old["preemptionPolicy"] != new["preemptionPolicy"] {
        let detail = "field is immutable";
        errors.push(FieldError::invalid(
            "preemptionPolicy",
            new["preemptionPolicy"].clone(),
            detail,
        ));
    }
    errors
}

fn lease(spec: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if let Some(seconds) = spec["leaseDurationSeconds"].as_i64().filter(|s| *s <= 0) {
        errors.push(FieldError::invalid(
            "spec.leaseDurationSeconds",
            seconds,
            "must be greater than 0",
        ));
    }
    if let Some(count) = spec["leaseTransitions"].as_i64().filter(|c| *c < 0) {
        errors.push(FieldError::invalid(
            "spec.leaseTransitions",
            count,
            "must be greater than or equal to 0",
        ));
    }
    errors
}
