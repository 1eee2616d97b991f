//! StorageClasses, volumes, claims, CSI drivers and attachments.

use serde_json::{Value, json};

use super::path::{set, set_text, text};
use super::selectors;
use crate::schema::FieldError;

/// Fills in defaults.
pub(super) fn default(resource: &str, value: &mut Value) {
    match resource {
        "storageclasses" => {
            set(value, "reclaimPolicy", "Delete");
            set(value, "volumeBindingMode", "Immediate");
        }
        "persistentvolumes" => {
            set_text(&mut value["spec"], "persistentVolumeReclaimPolicy", "Retain");
            set(&mut value["spec"], "volumeMode", "Filesystem");
            set(&mut value["status"], "phase", "Pending");
        }
        "persistentvolumeclaims" => {
            set(&mut value["spec"], "volumeMode", "Filesystem");
            set(&mut value["status"], "phase", "Pending");
        }
        "csidrivers" => {
            let spec = &mut value["spec"];
            set(spec, "attachRequired", true);
            set(spec, "podInfoOnMount", false);
            set(spec, "storageCapacity", false);
            set(spec, "fsGroupPolicy", "ReadWriteOnceWithFSType");
            set(spec, "volumeLifecycleModes", json!(["Persistent"]));
            set(spec, "requiresRepublish", false);
            set(spec, "seLinuxMount", false);
        }
        _ => {}
    }
}

/// Checks an object.
pub(super) fn validate(resource: &str, old: Option<&Value>, new: &Value) -> Vec<FieldError> {
    match resource {
        "storageclasses" => class(old, new),
        "persistentvolumes" => volume(new),
        "persistentvolumeclaims" => claim(old, new),
        "volumeattachments" => attachment(old, new),
        _ => Vec::new(),
    }
}

fn class(old: Option<&Value>, new: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if text(new, "provisioner").is_empty() {
        errors.push(FieldError::required("provisioner", ""));
    }
    choice(
        new,
        "reclaimPolicy",
        "reclaimPolicy",
        &["Delete", "Retain"],
        &mut errors,
    );
    choice(
        new,
        "volumeBindingMode",
        "volumeBindingMode",
        &["Immediate", "WaitForFirstConsumer"],
        &mut errors,
    );
    let Some(old) = old else { return errors };
    if old["parameters"] != new["parameters"] {
        errors.push(FieldError::forbidden(
            "parameters",
            "updates to parameters are forbidden.",
        ));
    }
    if old["provisioner"] != new["provisioner"] {
        errors.push(FieldError::forbidden(
            "provisioner",
            "updates to provisioner are forbidden.",
        ));
    }
    if old["reclaimPolicy"] != new["reclaimPolicy"] {
        errors.push(FieldError::forbidden(
            "reclaimPolicy",
            "updates to reclaimPolicy are forbidden.",
        ));
    }
    if old["volumeBindingMode"] != new["volumeBindingMode"] {
        let value = new["volumeBindingMode"].clone();
        errors.push(FieldError::invalid(
            "volumeBindingMode",
            value,
            "field is immutable",
        ));
    }
    errors
}

fn choice(value: &Value, field: &str, path: &str, allowed: &[&str], errors: &mut Vec<FieldError>) {
    let given = text(value, field);
    if !given.is_empty() && !allowed.contains(&given) {
        errors.push(FieldError::not_supported(path, given, allowed));
    }
}

const MODES: [&str; 4] = [
    "ReadOnlyMany",
    "ReadWriteMany",
    "ReadWriteOnce",
    "ReadWriteOncePod",
];

fn modes(spec: &Value, errors: &mut Vec<FieldError>) {
    for mode in spec["accessModes"].as_array().into_iter().flatten() {
        let mode = mode.as_str().unwrap_or_default();
        if !MODES.contains(&mode) {
            errors.push(FieldError::not_supported("spec.accessModes", mode, &MODES));
        }
    }
}

fn volume(new: &Value) -> Vec<FieldError> {
    let (mut errors, spec) = (Vec::new(), &new["spec"]);
    if spec["accessModes"].as_array().is_none_or(Vec::is_empty) {
        errors.push(FieldError::required("spec.accessModes", ""));
    }
    modes(spec, &mut errors);
    if spec["capacity"].as_object().is_none_or(serde_json::Map::is_empty) {
        errors.push(FieldError::required("spec.capacity", ""));
    }
    choice(
        spec,
        "persistentVolumeReclaimPolicy",
        "spec.persistentVolumeReclaimPolicy",
        &["Delete", "Recycle", "Retain"],
        &mut errors,
    );
    errors
}

fn claim(old: Option<&Value>, new: &Value) -> Vec<FieldError> {
    let (mut errors, spec) = (Vec::new(), &new["spec"]);
    if spec["accessModes"].as_array().is_none_or(Vec::is_empty) {
        errors.push(FieldError::required(
            "spec.accessModes",
            "at least 1 access mode is required",
        ));
    }
    errors.extend(selectors::validate(&spec["selector"], "spec.selector"));
    modes(spec, &mut errors);
    if spec["resources"]["requests"].get("storage").is_none() {
        errors.push(FieldError::required("spec.resources[storage]", ""));
    }
    if let Some(old) = old {
        let fixed = |value: &Value| {
            let mut spec = value["spec"].clone();
            if let Some(map) = spec.as_object_mut() {
                for field in ["resources", "volumeName", "volumeAttributesClassName"] {
                    map.remove(field);
                }
            }
            spec
        };
        let bound = !text(&old["spec"], "volumeName").is_empty();
        let moved = bound && old["spec"]["volumeName"] != spec["volumeName"];
        if fixed(old) != fixed(new) || moved {
            let detail = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims\n";
            errors.push(FieldError::forbidden("spec", detail));
        }
    }
    errors
}

fn attachment(old: Option<&Value>, new: &Value) -> Vec<FieldError> {
    let (mut errors, spec) = (Vec::new(), &new["spec"]);
    for field in ["attacher", "nodeName"] {
        if text(spec, field).is_empty() {
            errors.push(FieldError::required(format!("spec.{field}"), ""));
        }
    }
    if spec["source"].as_object().is_none_or(serde_json::Map::is_empty) {
        errors.push(FieldError::required(
            "spec.source",
            "must specify exactly one of inlineVolumeSpec and persistentVolumeName",
        ));
    }
    if old.is_some_and(|old| old["spec"] != *spec) {
        errors.push(FieldError::invalid("spec", spec.clone(), "field is immutable"));
    }
    errors
}
