//! Rules that several kinds share.

use std::collections::BTreeMap;

use capi_api::{
    annotations,
    core::v1beta2::{MachineSpec, MachineTemplateSpec},
    labels, versions,
};
use capi_runtime::webhook::FieldError;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::ResourceExt;

use crate::selector;

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
        errors.push(FieldError::required(format!("{path}bootstrap.data"), detail));
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
    if !selector::matches(selector, all) {
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
}
