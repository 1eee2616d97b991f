//! Defaults and checks of built-in kinds, as far as Cluster API, kubeadm and provider manifests touch them.
//!
//! Pure rules on JSON, one file a family of kinds. Which of them apply to a request is decided in `verbs::builtin`; what
//! every object has in common is in `verbs::meta`.

mod names;
mod path;
mod pod_rules;
mod pods;
mod policy;
mod selectors;
mod services;
#[cfg(test)]
mod tests;
mod volumes;
mod webhook_configurations;
mod workloads;

use serde_json::Value;

use crate::schema::FieldError;

pub(crate) use names::dns_label_1035;
pub(crate) use pods::quality;
pub(crate) use services::Addresses;
pub(crate) use webhook_configurations::{client, review_versions};
pub(crate) use workloads::generate_job_selector;

/// Fills in what decoding on the real server fills in.
pub(crate) fn default(group: &str, resource: &str, value: &mut Value) {
    match (group, resource) {
        ("", "pods") => pods::default_pod(value),
        ("", "services") => services::default(value),
        ("apps" | "batch", _) => workloads::default(resource, value),
        ("", "persistentvolumes" | "persistentvolumeclaims") | ("storage.k8s.io", _) => {
            volumes::default(resource, value);
        }
        ("policy" | "scheduling.k8s.io" | "networking.k8s.io", _) => policy::default(resource, value),
        ("admissionregistration.k8s.io", _) => webhook_configurations::default(resource, value),
        ("", "nodes") => {
            let status = &mut value["status"];
            if status.get("allocatable").is_none() && status.get("capacity").is_some() {
                status["allocatable"] = status["capacity"].clone();
            }
            if value["status"].is_null() {
                value["status"] = serde_json::json!({});
            }
        }
        _ => {}
    }
}

/// Checks an object; `old` is what it replaces.
pub(crate) fn validate(group: &str, resource: &str, old: Option<&Value>, new: &Value) -> Vec<FieldError> {
    match (group, resource) {
        ("", "pods") => pod_rules::validate_pod(old, new),
        ("", "services") => services::validate(old, new),
        ("apps" | "batch", _) => workloads::validate(resource, old, new),
        ("", "persistentvolumes" | "persistentvolumeclaims") | ("storage.k8s.io", _) => {
            volumes::validate(resource, old, new)
        }
        ("policy" | "scheduling.k8s.io" | "coordination.k8s.io", _) => policy::validate(resource, old, new),
        ("admissionregistration.k8s.io", _) => webhook_configurations::validate(resource, new),
        _ => Vec::new(),
    }
}
