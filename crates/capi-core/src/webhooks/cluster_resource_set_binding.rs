//! ClusterResourceSetBindings.

use capi_api::addons::v1beta2::ClusterResourceSetBinding;
use capi_runtime::webhook::FieldError;

/// Nothing is left open.
pub fn default(_: &mut ClusterResourceSetBinding, _: Option<&ClusterResourceSetBinding>) {}

/// What is wrong with a ClusterResourceSetBinding.
pub fn validate(new: &ClusterResourceSetBinding, old: Option<&ClusterResourceSetBinding>) -> Vec<FieldError> {
    let old = old.map_or("", |o| o.spec.cluster_name.as_str());
    match old.is_empty() || old == new.spec.cluster_name {
        true => Vec::new(),
        false => vec![FieldError::invalid(
            "spec.clusterName",
            &new.spec.cluster_name,
            "field is immutable",
        )],
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_binding_stays_with_its_cluster() {
        let binding = |cluster: &str| -> ClusterResourceSetBinding {
            serde_json::from_value(json!({"metadata": {"name": "b"}, "spec": {"clusterName": cluster}}))
                .unwrap()
        };
        assert!(validate(&binding("c"), None).is_empty());
        assert!(validate(&binding("c"), Some(&binding(""))).is_empty());
        assert!(validate(&binding("c"), Some(&binding("c"))).is_empty());
        assert_eq!(
            validate(&binding("d"), Some(&binding("c")))[0].field,
            "spec.clusterName"
        );
    }
}
