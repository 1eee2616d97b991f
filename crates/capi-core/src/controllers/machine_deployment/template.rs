//! Comparing Machine templates: what needs new Machines, and what existing ones can simply take over. Pure.

use capi_api::{
    contract::Template,
    core::v1beta2::{MachineDeployment, MachineSet, MachineTemplateSpec},
    names::hash_of,
};
use jiff::Timestamp;

/// The template without what never needs new Machines: labels, annotations, timeouts, gates, taints.
fn rollout_relevant(template: &MachineTemplateSpec) -> MachineTemplateSpec {
    let mut template = template.clone();
    template.metadata = None;
    let spec = &mut template.spec;
    spec.cluster_name = String::new();
    spec.provider_id = None;
    spec.min_ready_seconds = None;
    spec.readiness_gates = Vec::new();
    spec.deletion = None;
    spec.taints = Vec::new();
    template
}

/// A hash of what makes Machines differ.
pub fn hash(template: &MachineTemplateSpec) -> String {
    hash_of(&rollout_relevant(template))
}

/// Whether two templates lead to the same Machines.
pub fn reads_alike(a: &MachineTemplateSpec, b: &MachineTemplateSpec) -> bool {
    differences(a, b).is_empty()
}

/// What Machines made from `current` lack to be as `wanted`, as lines of conditions.
pub fn differences(current: &MachineTemplateSpec, wanted: &MachineTemplateSpec) -> Vec<String> {
    let (current, wanted) = (rollout_relevant(current).spec, rollout_relevant(wanted).spec);
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let or_nil = |value: &Option<String>| value.clone().unwrap_or_else(|| "nil".to_owned());
    let mut lines = Vec::new();
    if text(&current.version) != text(&wanted.version) {
        lines.push(format!(
            "Version {}, {} required",
            text(&current.version),
            text(&wanted.version)
        ));
    }
    if current.bootstrap != wanted.bootstrap {
        lines.push(match &current.bootstrap.config_ref {
            Some(reference) => format!("{} is not up-to-date", Template::cloned_kind(&reference.kind)),
            None => format!(
                "spec.bootstrap.dataSecretName {}, {} required",
                or_nil(&current.bootstrap.data_secret_name),
                or_nil(&wanted.bootstrap.data_secret_name)
            ),
        });
    }
    if current.infrastructure_ref != wanted.infrastructure_ref {
        lines.push(format!(
            "{} is not up-to-date",
            Template::cloned_kind(&current.infrastructure_ref.kind)
        ));
    }
    if text(&current.failure_domain) != text(&wanted.failure_domain) {
        let (current, wanted) = (text(&current.failure_domain), text(&wanted.failure_domain));
        lines.push(format!("Failure domain {current}, {wanted} required"));
    }
    lines
}

/// Whether a rollout that was asked for by time has to replace this MachineSet.
pub fn is_overdue(set: &MachineSet, deployment: &MachineDeployment, now: Timestamp) -> bool {
    let after = deployment
        .spec
        .rollout
        .as_ref()
        .and_then(|r| r.after.as_ref())
        .map(|t| t.0);
    let created = set.metadata.creation_timestamp.as_ref().map(|t| t.0);
    match (after, created) {
        (Some(after), Some(created)) => after <= now && created < after,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn template(change: Value) -> MachineTemplateSpec {
        let mut spec = json!({"clusterName": "c", "version": "v1.35.0", "failureDomain": "a",
            "bootstrap": {"configRef": {"apiGroup": "b", "kind": "KubeadmConfigTemplate", "name": "b1"}},
            "infrastructureRef": {"apiGroup": "i", "kind": "DevMachineTemplate", "name": "i1"}});
        for (key, value) in change.as_object().unwrap() {
            spec[key] = value.clone();
        }
        serde_json::from_value(json!({"metadata": {"labels": {"x": "y"}}, "spec": spec})).unwrap()
    }

    #[test]
    fn differences_are_named_and_in_place_fields_are_none() {
        let current = template(json!({}));
        let cases = [
            (json!({}), vec![]),
            (
                json!({"minReadySeconds": 5, "deletion": {"nodeDrainTimeoutSeconds": 1}, "readinessGates": [{"conditionType": "x"}]}),
                vec![],
            ),
            (
                json!({"version": "v1.36.0"}),
                vec!["Version v1.35.0, v1.36.0 required"],
            ),
            (
                json!({"failureDomain": "b"}),
                vec!["Failure domain a, b required"],
            ),
            (
                json!({"bootstrap": {"configRef": {"apiGroup": "b", "kind": "KubeadmConfigTemplate", "name": "b2"}},
                    "infrastructureRef": {"apiGroup": "i", "kind": "DevMachineTemplate", "name": "i2"}}),
                vec!["KubeadmConfig is not up-to-date", "DevMachine is not up-to-date"],
            ),
        ];
        for (change, expected) in cases {
            let wanted = template(change.clone());
            assert_eq!(differences(&current, &wanted), expected, "{change}");
            assert_eq!(hash(&current) == hash(&wanted), expected.is_empty(), "{change}");
        }
    }

    #[test]
    fn provided_bootstrap_data_is_compared_by_name() {
        let a = template(json!({"bootstrap": {"dataSecretName": "a"}}));
        let b = template(json!({"bootstrap": {"dataSecretName": "b"}}));
        assert_eq!(
            differences(&a, &b),
            ["spec.bootstrap.dataSecretName a, b required"]
        );
    }
}
