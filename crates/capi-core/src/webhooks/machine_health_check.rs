//! MachineHealthChecks.

use capi_api::{core::v1beta2::MachineHealthCheck, labels};
use capi_runtime::webhook::FieldError;

use super::rules;
use crate::{
    controllers::machine_health_check::{
        health::DEFAULT_NODE_STARTUP_TIMEOUT,
        short_circuit::{range, scaled_down},
    },
    selector,
};

/// The shortest startup timeout that makes sense, in seconds; 0 switches the check off.
const SHORTEST_STARTUP_TIMEOUT: i32 = 30;

/// Fills in what the user left open.
pub fn default(check: &mut MachineHealthCheck, _: Option<&MachineHealthCheck>) {
    let cluster = check.spec.cluster_name.clone();
    rules::default_cluster_label(check, &cluster);
    check
        .spec
        .checks
        .get_or_insert_default()
        .node_startup_timeout_seconds
        .get_or_insert(DEFAULT_NODE_STARTUP_TIMEOUT);
}

/// What is wrong with a MachineHealthCheck.
pub fn validate(new: &MachineHealthCheck, old: Option<&MachineHealthCheck>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let spec = &new.spec;
    if !selector::is_valid(&spec.selector) {
        let detail = "must have known operators, with values for In and NotIn only";
        errors.push(FieldError::invalid("spec.selector", &spec.selector, detail));
    } else if selector::is_empty(&spec.selector) {
        errors.push(FieldError::required(
            "spec.selector",
            "selector must not be empty",
        ));
    }
    let named = spec
        .selector
        .match_labels
        .as_ref()
        .and_then(|l| l.get(labels::CLUSTER_NAME));
    if named.is_some_and(|name| *name != spec.cluster_name) {
        let detail = "cannot specify a cluster selector other than the one specified by ClusterName";
        errors.push(FieldError::invalid("spec.selector", &spec.selector, detail));
    }
    rules::check_cluster_name(
        &spec.cluster_name,
        old.map(|o| o.spec.cluster_name.as_str()),
        &mut errors,
    );
    let timeout = spec.checks.as_ref().and_then(|c| c.node_startup_timeout_seconds);
    if let Some(timeout) = timeout.filter(|t| *t != 0 && *t < SHORTEST_STARTUP_TIMEOUT) {
        errors.push(FieldError::invalid(
            "spec.checks.nodeStartupTimeoutSeconds",
            timeout,
            "must be at least 30s",
        ));
    }
    check_limits(new, &mut errors);
    errors
}

fn check_limits(check: &MachineHealthCheck, errors: &mut Vec<FieldError>) {
    const PATH: &str = "spec.remediation.triggerIf";
    let remediation = check.spec.remediation.as_ref();
    let Some(limits) = remediation.and_then(|r| r.trigger_if.as_ref()) else {
        return;
    };
    if let Some(limit) = &limits.unhealthy_less_than_or_equal_to
        && scaled_down(limit, 0).is_none()
    {
        errors.push(FieldError::invalid(
            format!("{PATH}.unhealthyLessThanOrEqualTo"),
            limit,
            "must be either an int or a percentage",
        ));
    }
    // A range that can never hold would be found out only when Machines need help.
    if let Some(text) = limits.unhealthy_in_range.as_deref()
        && range(text).is_none()
    {
        errors.push(FieldError::invalid(
            format!("{PATH}.unhealthyInRange"),
            text,
            "must be a range as in [1-3], its start not above its end",
        ));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(change: Value) -> MachineHealthCheck {
        let mut spec = json!({"clusterName": "c", "selector": {"matchLabels": {"a": "b"}}});
        for (key, value) in change.as_object().unwrap() {
            spec[key] = value.clone();
        }
        serde_json::from_value(json!({"metadata": {"name": "mhc"}, "spec": spec})).unwrap()
    }

    #[test]
    fn a_bare_check_becomes_complete() {
        let mut mhc = check(json!({}));
        default(&mut mhc, None);
        assert_eq!(mhc.metadata.labels.clone().unwrap()[labels::CLUSTER_NAME], "c");
        assert_eq!(
            mhc.spec.checks.clone().unwrap().node_startup_timeout_seconds,
            Some(600)
        );
        assert!(validate(&mhc, None).is_empty());
        let mut off = check(json!({"checks": {"nodeStartupTimeoutSeconds": 0}}));
        default(&mut off, None);
        assert_eq!(
            off.spec.checks.clone().unwrap().node_startup_timeout_seconds,
            Some(0)
        );
        assert!(validate(&off, None).is_empty());
    }

    #[test]
    fn wrong_fields_are_named() {
        let limit =
            |value: Value| json!({"remediation": {"triggerIf": {"unhealthyLessThanOrEqualTo": value}}});
        let range = |value: &str| json!({"remediation": {"triggerIf": {"unhealthyInRange": value}}});
        let cases = [
            (json!({"selector": {}}), "spec.selector"),
            (
                json!({"selector": {"matchExpressions": [{"key": "a", "operator": "In", "values": []}]}}),
                "spec.selector",
            ),
            (
                json!({"selector": {"matchLabels": {"cluster.x-k8s.io/cluster-name": "d"}}}),
                "spec.selector",
            ),
            (json!({"clusterName": "d"}), "spec.clusterName"),
            (
                json!({"checks": {"nodeStartupTimeoutSeconds": 29}}),
                "spec.checks.nodeStartupTimeoutSeconds",
            ),
            (
                limit(json!("a third")),
                "spec.remediation.triggerIf.unhealthyLessThanOrEqualTo",
            ),
            (range("[3-1]"), "spec.remediation.triggerIf.unhealthyInRange"),
        ];
        let old = check(json!({}));
        for (change, field) in cases {
            let errors = validate(&check(change.clone()), Some(&old));
            let fields: Vec<&str> = errors.iter().map(|e| e.field.as_str()).collect();
            assert_eq!(fields, [field], "{change}");
        }
        for change in [limit(json!(0)), limit(json!("40%")), range("[0-2]")] {
            assert!(validate(&check(change), Some(&old)).is_empty());
        }
    }
}
