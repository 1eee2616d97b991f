//! MachinePools: only admission; there is no controller for them yet.

use capi_api::core::v1beta2::MachinePool;
use capi_runtime::webhook::FieldError;
use kube::ResourceExt;

use super::{machine::NODE_DELETION_TIMEOUT, rules};

/// Fills in what the user left open.
pub fn default(pool: &mut MachinePool, old: Option<&MachinePool>) {
    let cluster = pool.spec.cluster_name.clone();
    rules::default_cluster_label(pool, &cluster);
    if pool.spec.replicas.is_none() {
        let replicas = rules::default_replicas(pool.annotations(), old.map(|o| o.spec.replicas));
        pool.spec.replicas = Some(replicas);
    }
    let spec = &mut pool.spec.template.spec;
    spec.min_ready_seconds.get_or_insert(0);
    rules::default_version(&mut spec.version);
    if pool.metadata.deletion_timestamp.is_none() {
        let deletion = pool.spec.template.spec.deletion.get_or_insert_default();
        deletion
            .node_deletion_timeout_seconds
            .get_or_insert(NODE_DELETION_TIMEOUT);
    }
}

/// What is wrong with a MachinePool.
pub fn validate(new: &MachinePool, old: Option<&MachinePool>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if new.metadata.deletion_timestamp.is_some() {
        return errors;
    }
    let template = &new.spec.template.spec;
    rules::check_bootstrap(template, "spec.template.spec.", &mut errors);
    rules::check_cluster_name(
        &new.spec.cluster_name,
        old.map(|o| o.spec.cluster_name.as_str()),
        &mut errors,
    );
    rules::check_version(
        template.version.as_deref(),
        "spec.template.spec.version",
        &mut errors,
    );
    rules::check_autoscaler_limits(new.annotations(), &mut errors);
    rules::check_metadata(new.spec.template.metadata.as_ref(), &mut errors);
    if !template.taints.is_empty() {
        errors.push(FieldError::forbidden(
            "spec.template.spec.taints",
            "taints are not supported for MachinePools",
        ));
    }
    errors
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pool(template: Value) -> MachinePool {
        let mut spec = json!({"clusterName": "c", "bootstrap": {"dataSecretName": "s"},
            "infrastructureRef": {"apiGroup": "g", "kind": "K", "name": "n"}});
        for (key, value) in template.as_object().unwrap() {
            spec[key] = value.clone();
        }
        serde_json::from_value(json!({"metadata": {"name": "mp"},
            "spec": {"clusterName": "c", "template": {"spec": spec}}}))
        .unwrap()
    }

    #[test]
    fn a_bare_pool_becomes_complete() {
        let mut bare = pool(json!({"version": "1.35.0"}));
        default(&mut bare, None);
        assert_eq!(bare.spec.replicas, Some(1));
        let spec = &bare.spec.template.spec;
        assert_eq!(spec.version.as_deref(), Some("v1.35.0"));
        assert_eq!(spec.min_ready_seconds, Some(0));
        assert_eq!(
            spec.deletion.as_ref().unwrap().node_deletion_timeout_seconds,
            Some(10)
        );
        assert!(validate(&bare, None).is_empty());
    }

    #[test]
    fn bootstrap_version_and_taints_are_checked() {
        let fields = |template: Value| -> Vec<String> {
            validate(&pool(template), None)
                .into_iter()
                .map(|e| e.field)
                .collect()
        };
        assert_eq!(fields(json!({"bootstrap": {}})), ["spec.template.spec.bootstrap"]);
        assert_eq!(fields(json!({"version": "x"})), ["spec.template.spec.version"]);
        let taint = json!([{"key": "k", "effect": "NoSchedule", "propagation": "Always"}]);
        assert_eq!(fields(json!({"taints": taint})), ["spec.template.spec.taints"]);
    }
}
