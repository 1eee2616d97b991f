//! ClusterResourceSets.

use capi_api::addons::v1beta2::{ClusterResourceSet, ClusterResourceSetStrategy};
use capi_runtime::webhook::FieldError;

use crate::selector;

/// Fills in what the user left open.
pub fn default(set: &mut ClusterResourceSet, _: Option<&ClusterResourceSet>) {
    set.spec
        .strategy
        .get_or_insert(ClusterResourceSetStrategy::ApplyOnce);
}

/// What is wrong with a ClusterResourceSet.
pub fn validate(new: &ClusterResourceSet, old: Option<&ClusterResourceSet>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let (spec, field) = (&new.spec, "spec.clusterSelector");
    if !selector::is_valid(&spec.cluster_selector) {
        let detail = "must have known operators, with values for In and NotIn only";
        errors.push(FieldError::invalid(field, &spec.cluster_selector, detail));
    } else if selector::is_empty(&spec.cluster_selector) {
        errors.push(FieldError::invalid(
            field,
            &spec.cluster_selector,
            "selector must not be empty",
        ));
    }
    let Some(old) = old.map(|o| &o.spec) else {
        return errors;
    };
    if old.strategy.is_some() && old.strategy != spec.strategy {
        errors.push(FieldError::invalid(
            "spec.strategy",
            spec.strategy,
            "field is immutable",
        ));
    }
    if old.cluster_selector != spec.cluster_selector {
        errors.push(FieldError::invalid(
            field,
            &spec.cluster_selector,
            "field is immutable",
        ));
    }
    errors
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn set(selector: Value, strategy: Option<&str>) -> ClusterResourceSet {
        serde_json::from_value(
            json!({"metadata": {"name": "crs"}, "spec": {"clusterSelector": selector,
            "strategy": strategy, "resources": [{"kind": "ConfigMap", "name": "cm"}]}}),
        )
        .unwrap()
    }

    #[test]
    fn resources_are_applied_once_unless_said_otherwise() {
        let mut crs = set(json!({"matchLabels": {"cni": "x"}}), None);
        assert!(validate(&crs, None).is_empty());
        default(&mut crs, None);
        assert_eq!(crs.spec.strategy, Some(ClusterResourceSetStrategy::ApplyOnce));
        let mut other = set(json!({"matchLabels": {"cni": "x"}}), Some("Reconcile"));
        default(&mut other, None);
        assert_eq!(other.spec.strategy, Some(ClusterResourceSetStrategy::Reconcile));
    }

    #[test]
    fn selector_and_strategy_stay() {
        let good = || json!({"matchLabels": {"cni": "x"}});
        let fields = |new: ClusterResourceSet, old: Option<&ClusterResourceSet>| -> Vec<String> {
            validate(&new, old).into_iter().map(|e| e.field).collect()
        };
        let old = set(good(), Some("ApplyOnce"));
        assert_eq!(fields(set(json!({}), None), None), ["spec.clusterSelector"]);
        let broken = json!({"matchExpressions": [{"key": "a", "operator": "Near"}]});
        assert_eq!(fields(set(broken, None), None), ["spec.clusterSelector"]);
        assert_eq!(
            fields(set(good(), Some("Reconcile")), Some(&old)),
            ["spec.strategy"]
        );
        assert_eq!(
            fields(
                set(json!({"matchLabels": {"cni": "y"}}), Some("ApplyOnce")),
                Some(&old)
            ),
            ["spec.clusterSelector"]
        );
        assert!(fields(set(good(), Some("Reconcile")), Some(&set(good(), None))).is_empty());
    }
}
