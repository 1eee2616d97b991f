//! Machines.

use capi_api::{core::v1beta2::Machine, labels};
use capi_runtime::webhook::FieldError;
use kube::ResourceExt;

use super::rules;

/// What `nodeDeletionTimeoutSeconds` is if nobody says, in seconds.
pub const NODE_DELETION_TIMEOUT: i32 = 10;

/// Fills in what the user left open.
pub fn default(machine: &mut Machine, _old: Option<&Machine>) {
    let cluster = machine.spec.cluster_name.clone();
    rules::default_cluster_label(machine, &cluster);
    rules::default_version(&mut machine.spec.version);
    // A Machine that goes must not be held up by what is new.
    if machine.metadata.deletion_timestamp.is_none() {
        let deletion = machine.spec.deletion.get_or_insert_default();
        deletion
            .node_deletion_timeout_seconds
            .get_or_insert(NODE_DELETION_TIMEOUT);
    }
}

/// What is wrong with a Machine.
pub fn validate(new: &Machine, old: Option<&Machine>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    // Whatever is wrong with it, a Machine must be able to go.
    if new.metadata.deletion_timestamp.is_some() {
        return errors;
    }
    rules::check_cluster_name(
        &new.spec.cluster_name,
        old.map(|o| o.spec.cluster_name.as_str()),
        &mut errors,
    );
    // Those of a MachinePool have their bootstrap data from it.
    if !new.labels().contains_key(labels::POOL_NAME) {
        rules::check_bootstrap(&new.spec, "spec.", &mut errors);
    }
    let worker = !new.labels().contains_key(labels::CONTROL_PLANE);
    rules::check_taints(&new.spec.taints, "spec.taints", worker, &mut errors);
    rules::check_version(new.spec.version.as_deref(), "spec.version", &mut errors);
    errors
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn machine(spec: Value) -> Machine {
        let mut all = json!({"clusterName": "c", "bootstrap": {"dataSecretName": "s"},
            "infrastructureRef": {"apiGroup": "g", "kind": "K", "name": "n"}});
        for (key, value) in spec.as_object().unwrap() {
            all[key] = value.clone();
        }
        serde_json::from_value(json!({"metadata": {"name": "m"}, "spec": all})).unwrap()
    }

    #[test]
    fn label_version_and_timeout_are_filled_in() {
        let mut m = machine(json!({"version": "1.35.0"}));
        default(&mut m, None);
        assert_eq!(
            m.labels().get(labels::CLUSTER_NAME).map(String::as_str),
            Some("c")
        );
        assert_eq!(m.spec.version.as_deref(), Some("v1.35.0"));
        assert_eq!(m.spec.deletion.unwrap().node_deletion_timeout_seconds, Some(10));
    }

    #[test]
    fn a_machine_needs_bootstrap_data_a_good_version_and_keeps_its_cluster() {
        let fields = |new: Value, old: Option<Value>| -> Vec<String> {
            let old = old.map(machine);
            validate(&machine(new), old.as_ref())
                .into_iter()
                .map(|e| e.field)
                .collect()
        };
        assert!(fields(json!({}), None).is_empty());
        assert_eq!(fields(json!({"bootstrap": {}}), None), ["spec.bootstrap"]);
        assert_eq!(fields(json!({"version": "v1.35"}), None), ["spec.version"]);
        assert_eq!(
            fields(json!({"clusterName": "d"}), Some(json!({}))),
            ["spec.clusterName"]
        );
    }
}
