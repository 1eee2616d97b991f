//! Rules that several kinds share.

use std::collections::BTreeMap;

use capi_api::{
    annotations,
    core::{
        metadata,
        v1beta2::{MachineSpec, MachineTaint, MachineTemplateSpec, ObjectMeta},
    },
    labels, versions,
};
use capi_runtime::webhook::FieldError;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::ResourceExt;

use crate::{controllers::machine_set::preflight, selector};

/// Gives a version its leading `v`.
pub fn default_version(version: &mut Option<String>) {
    if let Some(text) = version.as_mut() {
        *text = versions::with_v(text);
    }
}

/// Sets the cluster-name label.
pub fn default_cluster_label(object: &mut impl ResourceExt, cluster: &str) {
    object
        .labels_mut()
        .insert(labels::CLUSTER_NAME.to_owned(), cluster.to_owned());
}

/// Fills an empty selector with a label that names the owner, and ties selector and template to the Cluster.
pub fn default_selector(
    selector: &mut LabelSelector,
    template: &mut MachineTemplateSpec,
    owner: (&str, &str),
    cluster: &str,
) {
    let template_labels = &mut template.metadata.get_or_insert_default().labels;
    if selector::is_empty(selector) {
        let (label, name) = owner;
        selector
            .match_labels
            .get_or_insert_default()
            .insert(label.to_owned(), name.to_owned());
        template_labels.insert(label.to_owned(), name.to_owned());
    }
    let cluster = (labels::CLUSTER_NAME.to_owned(), cluster.to_owned());
    selector
        .match_labels
        .get_or_insert_default()
        .insert(cluster.0.clone(), cluster.1.clone());
    template_labels.insert(cluster.0, cluster.1);
}

/// The replicas of an object that does not say how many: within the autoscaler's limits if it has some, otherwise 1.
pub fn default_replicas(all: &BTreeMap<String, String>, old: Option<Option<i32>>) -> i32 {
    let limit = |key: &str| all.get(key).and_then(|text| text.parse::<i32>().ok());
    match (
        limit(annotations::AUTOSCALER_MIN_SIZE),
        limit(annotations::AUTOSCALER_MAX_SIZE),
    ) {
        (Some(min), Some(max)) => match old.flatten() {
            None => min,
            Some(old) => old.max(min).min(max.max(min)),
        },
        _ => 1,
    }
}

/// A version must be one.
pub fn check_version(version: Option<&str>, field: &str, errors: &mut Vec<FieldError>) {
    if let Some(version) = version.filter(|v| !v.is_empty() && versions::parse_strict(v).is_none()) {
        errors.push(FieldError::invalid(
            field,
            version,
            "must be a valid semantic version",
        ));
    }
}

/// The autoscaler's limits must be numbers, the lower one the lower.
pub fn check_autoscaler_limits(all: &BTreeMap<String, String>, errors: &mut Vec<FieldError>) {
    let mut numbers = Vec::new();
    for key in [annotations::AUTOSCALER_MIN_SIZE, annotations::AUTOSCALER_MAX_SIZE] {
        let Some(text) = all.get(key) else { continue };
        match text.parse::<i32>() {
            Ok(number) => numbers.push(number),
            Err(_) => errors.push(FieldError::invalid(annotation(key), text, "must be a number")),
        }
    }
    if let [min, max] = numbers[..]
        && min > max
    {
        let detail = format!("must not be less than {}", annotations::AUTOSCALER_MIN_SIZE);
        let field = annotation(annotations::AUTOSCALER_MAX_SIZE);
        errors.push(FieldError::invalid(field, max, detail));
    }
}

fn annotation(key: &str) -> String {
    format!("metadata.annotations.{key}")
}

/// Preflight checks that are to be left out must exist.
pub fn check_skipped_preflight_checks(object: &impl ResourceExt, errors: &mut Vec<FieldError>) {
    let unknown: Vec<&str> = preflight::skipped(object)
        .into_iter()
        .filter(|name| !preflight::is_known(name))
        .collect();
    if !unknown.is_empty() {
        let detail = format!(
            "skipped preflight check(s) must be among: {}",
            preflight::NAMES.join(", ")
        );
        errors.push(FieldError::invalid(
            annotation(annotations::SKIP_PREFLIGHT_CHECKS),
            unknown,
            detail,
        ));
    }
}

/// Taints that others look after cannot be asked for; `worker` is false where it may be a control plane.
pub fn check_taints(taints: &[MachineTaint], path: &str, worker: bool, errors: &mut Vec<FieldError>) {
    for (index, taint) in taints.iter().enumerate() {
        let key = taint.key.as_str();
        let detail = match key {
            annotations::UNINITIALIZED_TAINT | annotations::OUTDATED_REVISION_TAINT => {
                "taint key is not allowed"
            }
            "node.kubernetes.io/out-of-service" => continue,
            _ if key.starts_with("node.kubernetes.io/") => {
                "taint key must not have the prefix node.kubernetes.io/, except for node.kubernetes.io/out-of-service"
            }
            _ if key.starts_with("node.cloudprovider.kubernetes.io/") => {
                "taint key must not have the prefix node.cloudprovider.kubernetes.io/"
            }
            "node-role.kubernetes.io/master" => {
                "taint is deprecated since 1.24 and should not be used anymore"
            }
            labels::NODE_ROLE_CONTROL_PLANE if worker => "taint is not allowed for worker Machines",
            _ => continue,
        };
        errors.push(FieldError::invalid(format!("{path}[{index}].key"), key, detail));
    }
}

/// Labels and annotations of a template must be such.
pub fn check_metadata(metadata: Option<&ObjectMeta>, errors: &mut Vec<FieldError>) {
    let found = metadata.map(|metadata| metadata::validate(metadata, "spec.template.metadata"));
    errors.extend(found.into_iter().flatten());
}

/// A Cluster's name cannot be changed.
pub fn check_cluster_name(new: &str, old: Option<&str>, errors: &mut Vec<FieldError>) {
    if old.is_some_and(|old| old != new) {
        errors.push(FieldError::forbidden("spec.clusterName", "field is immutable"));
    }
}

/// There must be something to bootstrap from.
pub fn check_bootstrap(spec: &MachineSpec, path: &str, errors: &mut Vec<FieldError>) {
    if spec.bootstrap.config_ref.is_none() && spec.bootstrap.data_secret_name.is_none() {
        let detail =
            "expected either spec.bootstrap.dataSecretName or spec.bootstrap.configRef to be populated";
        errors.push(FieldError::required(format!("{path}bootstrap"), detail));
    }
}

/// The selector must select the template's Machines, which must be of the same Cluster.
pub fn check_template(
    selector: &LabelSelector,
    template: &MachineTemplateSpec,
    cluster: &str,
    errors: &mut Vec<FieldError>,
) {
    let all = template.metadata.as_ref().map(|m| &m.labels);
    if !selector::is_valid(selector) {
        let detail = "every expression needs a known operator, with values for In and NotIn only";
        errors.push(FieldError::invalid("spec.selector", selector, detail));
    } else if !selector::matches(selector, all) {
        let text = selector::text(selector);
        errors.push(FieldError::invalid(
            "spec.template.metadata.labels",
            all,
            format!("must match spec.selector {text:?}"),
        ));
    }
    if template.spec.cluster_name != cluster {
        errors.push(FieldError::invalid(
            "spec.template.spec.clusterName",
            &template.spec.cluster_name,
            "must match spec.clusterName",
        ));
    }
    check_version(
        template.spec.version.as_deref(),
        "spec.template.spec.version",
        errors,
    );
    check_taints(&template.spec.taints, "spec.template.spec.taints", true, errors);
    check_metadata(template.metadata.as_ref(), errors);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_default_within_the_autoscalers_limits() {
        let limits: BTreeMap<String, String> = [
            (annotations::AUTOSCALER_MIN_SIZE.to_owned(), "3".to_owned()),
            (annotations::AUTOSCALER_MAX_SIZE.to_owned(), "7".to_owned()),
        ]
        .into();
        assert_eq!(default_replicas(&BTreeMap::new(), None), 1);
        assert_eq!(default_replicas(&limits, None), 3);
        for (old, expected) in [(1, 3), (5, 5), (9, 7)] {
            assert_eq!(default_replicas(&limits, Some(Some(old))), expected);
        }
    }

    #[test]
    fn the_autoscalers_limits_are_numbers_in_order() {
        let fields = |min: &str, max: &str| -> Vec<String> {
            let all = [
                (annotations::AUTOSCALER_MIN_SIZE.to_owned(), min.to_owned()),
                (annotations::AUTOSCALER_MAX_SIZE.to_owned(), max.to_owned()),
            ];
            let mut errors = Vec::new();
            check_autoscaler_limits(&all.into(), &mut errors);
            errors.into_iter().map(|e| e.field).collect()
        };
        assert!(fields("1", "5").is_empty());
        assert_eq!(fields("few", "5").len(), 1);
        assert_eq!(
            fields("6", "5"),
            ["metadata.annotations.cluster.x-k8s.io/cluster-api-autoscaler-node-group-max-size"]
        );
    }

    #[test]
    fn taints_of_others_cannot_be_asked_for() {
        let allowed = |key: &str, worker: bool| {
            let taint = serde_json::from_value(
                serde_json::json!({"key": key, "effect": "NoSchedule", "propagation": "Always"}),
            );
            let mut errors = Vec::new();
            check_taints(&[taint.unwrap()], "spec.taints", worker, &mut errors);
            errors.is_empty()
        };
        for (key, expected) in [
            ("mine", true),
            ("example.com/mine", true),
            ("node.kubernetes.io/out-of-service", true),
            ("node.kubernetes.io/not-ready", false),
            ("node.cloudprovider.kubernetes.io/uninitialized", false),
            ("node.cluster.x-k8s.io/uninitialized", false),
            ("node.cluster.x-k8s.io/outdated-revision", false),
            ("node-role.kubernetes.io/master", false),
            ("node-role.kubernetes.io/control-plane", false),
        ] {
            assert_eq!(allowed(key, true), expected, "{key}");
        }
        assert!(allowed("node-role.kubernetes.io/control-plane", false));
    }
}
