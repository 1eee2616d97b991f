//! Defaults and validation of KubeadmControlPlaneTemplate. Pure.

use capi_api::{
    annotations,
    bootstrap::rules::IgnitionGate,
    controlplane::v1beta2::{KubeadmControlPlaneTemplate, KubeadmControlPlaneTemplateSpec},
};
use capi_runtime::webhook::FieldError;
use kube::ResourceExt;

use super::{
    kubeadm_config::validate_config,
    kubeadm_control_plane::{set_rollout_defaults, validate_metadata, validate_naming, validate_rollout},
};

/// Fills in the rollout strategy.
pub fn set_defaults(spec: &mut KubeadmControlPlaneTemplateSpec) {
    set_rollout_defaults(&mut spec.template.spec.get_or_insert_default().rollout);
}

/// What is wrong with a template.
pub fn validate(spec: &KubeadmControlPlaneTemplateSpec, gate: IgnitionGate) -> Vec<FieldError> {
    let Some(inner) = &spec.template.spec else {
        return Vec::new();
    };
    let path = "spec.template.spec";
    let mut errors = validate_rollout(inner.rollout.as_ref(), None, path);
    errors.extend(validate_naming(inner.machine_naming.as_ref(), path));
    let metadata = inner
        .machine_template
        .as_ref()
        .and_then(|template| template.metadata.as_ref());
    errors.extend(validate_metadata(
        metadata,
        &format!("{path}.machineTemplate.metadata"),
    ));
    if let Some(config) = &inner.kubeadm_config_spec {
        let path = format!("{path}.kubeadmConfigSpec");
        errors.extend(validate_config(config, &path, gate));
    }
    errors
}

/// A template's spec does not change, but for the dry runs by which topologies compare.
pub fn validate_change(
    dry_run: bool,
    old: &KubeadmControlPlaneTemplate,
    new: &KubeadmControlPlaneTemplate,
) -> Vec<FieldError> {
    if dry_run && new.annotations().contains_key(annotations::TOPOLOGY_DRY_RUN) {
        return Vec::new();
    }
    // Templates that were stored before a default existed are compared with it.
    let mut before = old.spec.clone();
    set_defaults(&mut before);
    match before.template.spec == new.spec.template.spec {
        true => Vec::new(),
        false => vec![FieldError::invalid(
            "spec.template.spec",
            "...",
            "KubeadmControlPlaneTemplate spec.template.spec field is immutable. Please create new resource instead.",
        )],
    }
}
