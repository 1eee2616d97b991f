//! MachineDrainRules.

use capi_api::core::v1beta2::{MachineDrainRule, MachineDrainRuleDrainBehavior};
use capi_runtime::webhook::FieldError;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::selector;

/// Nothing is filled in.
pub fn default(_rule: &mut MachineDrainRule, _old: Option<&MachineDrainRule>) {}

/// What is wrong with a MachineDrainRule.
pub fn validate(new: &MachineDrainRule, _old: Option<&MachineDrainRule>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let drain = &new.spec.drain;
    let ordered = drain.behavior == MachineDrainRuleDrainBehavior::Drain;
    if let (false, Some(order)) = (ordered, drain.order) {
        let detail = format!(
            "order must not be set if drain behavior is {:?}",
            drain.behavior.as_str()
        );
        errors.push(FieldError::invalid("spec.drain.order", order, detail));
    }
    for (index, entry) in new.spec.machines.iter().enumerate() {
        let path = format!("spec.machines[{index}]");
        check(entry.selector.as_ref(), format!("{path}.selector"), &mut errors);
        check(
            entry.cluster_selector.as_ref(),
            format!("{path}.clusterSelector"),
            &mut errors,
        );
    }
    for (index, entry) in new.spec.pods.iter().enumerate() {
        let path = format!("spec.pods[{index}]");
        check(entry.selector.as_ref(), format!("{path}.selector"), &mut errors);
        check(
            entry.namespace_selector.as_ref(),
            format!("{path}.namespaceSelector"),
            &mut errors,
        );
    }
    errors
}

fn check(found: Option<&LabelSelector>, field: String, errors: &mut Vec<FieldError>) {
    if let Some(found) = found.filter(|s| !selector::is_valid(s)) {
        let detail = "every expression needs a known operator, with values for In and NotIn only";
        errors.push(FieldError::invalid(field, found, detail));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn fields(spec: Value) -> Vec<String> {
        let rule: MachineDrainRule =
            serde_json::from_value(json!({"metadata": {"name": "r"}, "spec": spec})).unwrap();
        validate(&rule, None).into_iter().map(|e| e.field).collect()
    }

    #[test]
    fn only_evictions_have_an_order() {
        assert!(fields(json!({"drain": {"behavior": "Drain", "order": 5}})).is_empty());
        for behavior in ["Skip", "WaitCompleted"] {
            assert!(fields(json!({"drain": {"behavior": behavior}})).is_empty());
            assert_eq!(
                fields(json!({"drain": {"behavior": behavior, "order": 5}})),
                ["spec.drain.order"]
            );
        }
    }

    #[test]
    fn selectors_must_select_something_sensible() {
        let bad = json!({"matchExpressions": [{"key": "a", "operator": "In"}]});
        assert_eq!(
            fields(
                json!({"drain": {"behavior": "Skip"}, "machines": [{"selector": {}}, {"clusterSelector": bad}],
                "pods": [{"selector": bad, "namespaceSelector": bad}]})
            ),
            [
                "spec.machines[1].clusterSelector",
                "spec.pods[0].selector",
                "spec.pods[0].namespaceSelector"
            ]
        );
    }
}
