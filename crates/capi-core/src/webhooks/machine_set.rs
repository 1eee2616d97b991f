//! MachineSets.

use capi_api::{
    core::v1beta2::{MachineSet, MachineSetDeletionOrder},
    labels,
};
use capi_runtime::webhook::FieldError;
use kube::ResourceExt;

use super::rules;
use crate::controllers::machine_set::names::{DEFAULT_TEMPLATE, Namer};

/// Fills in what the user left open.
pub fn default(set: &mut MachineSet, old: Option<&MachineSet>) {
    let cluster = set.spec.cluster_name.clone();
    rules::default_cluster_label(set, &cluster);
    if set.spec.replicas.is_none() {
        set.spec.replicas = Some(rules::default_replicas(
            set.annotations(),
            old.map(|o| o.spec.replicas),
        ));
    }
    let deletion = set.spec.deletion.get_or_insert_default();
    deletion.order.get_or_insert(MachineSetDeletionOrder::Random);
    let name = set.name_any();
    let spec = &mut set.spec;
    rules::default_selector(
        &mut spec.selector,
        &mut spec.template,
        (labels::SET_NAME, &name),
        &cluster,
    );
    rules::default_version(&mut spec.template.spec.version);
}

/// The defaults for an object that came past the webhook.
pub fn default_in_place(set: &mut MachineSet) {
    if set.metadata.deletion_timestamp.is_none() {
        default(set, None);
    }
}

/// What is wrong with a MachineSet.
pub fn validate(new: &MachineSet, old: Option<&MachineSet>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if new.metadata.deletion_timestamp.is_some() {
        return errors;
    }
    let spec = &new.spec;
    rules::check_cluster_name(
        &spec.cluster_name,
        old.map(|o| o.spec.cluster_name.as_str()),
        &mut errors,
    );
    rules::check_template(&spec.selector, &spec.template, &spec.cluster_name, &mut errors);
    rules::check_autoscaler_limits(new.annotations(), &mut errors);
    rules::check_skipped_preflight_checks(new, &mut errors);
    let template = spec
        .machine_naming
        .as_ref()
        .and_then(|n| n.template.as_deref())
        .unwrap_or(DEFAULT_TEMPLATE);
    check_naming(template, &mut errors);
    errors
}

/// A naming template must render.
pub fn check_naming(template: &str, errors: &mut Vec<FieldError>) {
    let namer = Namer {
        template,
        cluster: "cluster",
        set: "machineset",
        uid: "",
        episode: "",
    };
    let problem = match namer.next(&Default::default(), |_| false) {
        Err(error) => Some(error.to_string()),
        Ok(name) if !name.split('.').all(capi_api::names::is_dns_label) => Some(format!(
            "generated names like {name:?} would not be valid Kubernetes object names"
        )),
        Ok(_) => None,
    };
    if let Some(problem) = problem {
        let detail = format!("invalid template, {problem}");
        errors.push(FieldError::invalid(
            "spec.machineNaming.template",
            template,
            detail,
        ));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn set(change: Value) -> MachineSet {
        let mut spec = json!({"clusterName": "c", "selector": {}, "template": {"spec": {"clusterName": "c", "version": "1.35.0",
            "bootstrap": {"dataSecretName": "s"}, "infrastructureRef": {"apiGroup": "g", "kind": "K", "name": "n"}}}});
        for (key, value) in change.as_object().unwrap() {
            spec[key] = value.clone();
        }
        serde_json::from_value(json!({"metadata": {"name": "ms"}, "spec": spec})).unwrap()
    }

    #[test]
    fn a_bare_machine_set_becomes_complete() {
        let mut ms = set(json!({}));
        default(&mut ms, None);
        assert_eq!(ms.spec.replicas, Some(1));
        assert_eq!(
            crate::selector::text(&ms.spec.selector),
            "cluster.x-k8s.io/cluster-name=c,cluster.x-k8s.io/set-name=ms"
        );
        assert_eq!(ms.spec.template.spec.version.as_deref(), Some("v1.35.0"));
        assert!(validate(&ms, None).is_empty());
        let again = {
            let mut again = ms.clone();
            default(&mut again, Some(&ms));
            again
        };
        assert_eq!(again, ms);
    }

    #[test]
    fn selector_cluster_and_naming_are_checked() {
        let fields = |change: Value| -> Vec<String> {
            let mut ms = set(change);
            default(&mut ms, None);
            validate(&ms, None).into_iter().map(|e| e.field).collect()
        };
        assert_eq!(
            fields(json!({"selector": {"matchLabels": {"a": "b"}}})),
            ["spec.template.metadata.labels"]
        );
        assert_eq!(
            fields(json!({"clusterName": "d"})),
            ["spec.template.spec.clusterName"]
        );
        assert_eq!(
            fields(json!({"machineNaming": {"template": "x"}})),
            ["spec.machineNaming.template"]
        );
        assert_eq!(
            fields(json!({"machineNaming": {"template": "Big-{{ .random }}"}})),
            ["spec.machineNaming.template"]
        );
        assert!(
            fields(json!({"machineNaming": {"template": "{{ .machineSet.name }}.x-{{ .random }}"}}))
                .is_empty()
        );
    }
}
