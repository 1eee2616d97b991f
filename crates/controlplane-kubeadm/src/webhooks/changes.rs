//! Which fields of a control plane may change at all. Pure.
//!
//! What is not listed here is fixed once the object exists: machines that are there could not follow.

use capi_api::controlplane::v1beta2::KubeadmControlPlaneSpec;
use capi_runtime::webhook::FieldError;
use serde_json::Value;

/// Paths below `spec`; everything beneath a path may change too, and the path may be set and unset as a whole.
const CHANGEABLE: &[&str] = &[
    "kubeadmConfigSpec.bootCommands",
    "kubeadmConfigSpec.clusterConfiguration.apiServer",
    "kubeadmConfigSpec.clusterConfiguration.certificateValidityPeriodDays",
    "kubeadmConfigSpec.clusterConfiguration.controllerManager",
    "kubeadmConfigSpec.clusterConfiguration.dns",
    "kubeadmConfigSpec.clusterConfiguration.encryptionAlgorithm",
    "kubeadmConfigSpec.clusterConfiguration.etcd.external.caFile",
    "kubeadmConfigSpec.clusterConfiguration.etcd.external.certFile",
    "kubeadmConfigSpec.clusterConfiguration.etcd.external.endpoints",
    "kubeadmConfigSpec.clusterConfiguration.etcd.external.keyFile",
    "kubeadmConfigSpec.clusterConfiguration.etcd.local",
    "kubeadmConfigSpec.clusterConfiguration.featureGates",
    "kubeadmConfigSpec.clusterConfiguration.imageRepository",
    "kubeadmConfigSpec.clusterConfiguration.scheduler",
    "kubeadmConfigSpec.diskSetup",
    "kubeadmConfigSpec.files",
    "kubeadmConfigSpec.format",
    "kubeadmConfigSpec.ignition",
    "kubeadmConfigSpec.initConfiguration.bootstrapTokens",
    "kubeadmConfigSpec.initConfiguration.localAPIEndpoint",
    "kubeadmConfigSpec.initConfiguration.nodeRegistration",
    "kubeadmConfigSpec.initConfiguration.patches",
    "kubeadmConfigSpec.initConfiguration.skipPhases",
    "kubeadmConfigSpec.initConfiguration.timeouts",
    "kubeadmConfigSpec.joinConfiguration.caCertPath",
    "kubeadmConfigSpec.joinConfiguration.controlPlane",
    "kubeadmConfigSpec.joinConfiguration.discovery",
    "kubeadmConfigSpec.joinConfiguration.nodeRegistration",
    "kubeadmConfigSpec.joinConfiguration.patches",
    "kubeadmConfigSpec.joinConfiguration.skipPhases",
    "kubeadmConfigSpec.joinConfiguration.timeouts",
    "kubeadmConfigSpec.mounts",
    "kubeadmConfigSpec.ntp",
    "kubeadmConfigSpec.postKubeadmCommands",
    "kubeadmConfigSpec.preKubeadmCommands",
    "kubeadmConfigSpec.users",
    "kubeadmConfigSpec.verbosity",
    "machineNaming",
    "machineTemplate.metadata",
    "machineTemplate.spec.deletion",
    "machineTemplate.spec.infrastructureRef",
    "machineTemplate.spec.readinessGates",
    "machineTemplate.spec.taints",
    "remediation",
    "replicas",
    "rollout",
    "version",
];

/// The changes between two specs that nobody may make.
pub fn forbidden_changes(old: &KubeadmControlPlaneSpec, new: &KubeadmControlPlaneSpec) -> Vec<FieldError> {
    let value = |spec| serde_json::to_value(spec).unwrap_or_default();
    let mut changed = Vec::new();
    changed_paths(&value(old), &value(new), &mut String::new(), &mut changed);
    changed
        .into_iter()
        .filter(|path| !is_changeable(path))
        .map(|path| FieldError::forbidden(format!("spec.{path}"), "cannot be modified"))
        .collect()
}

fn is_changeable(path: &str) -> bool {
    CHANGEABLE.iter().any(|allowed| {
        path.strip_prefix(allowed)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    })
}

/// The leaves that differ. Objects are descended into, one that is missing counts as empty; lists are leaves.
fn changed_paths(old: &Value, new: &Value, path: &mut String, changed: &mut Vec<String>) {
    if old == new {
        return;
    }
    let fields = |value: &Value| match value {
        Value::Object(fields) => Some(fields.clone()),
        Value::Null => Some(serde_json::Map::new()),
        _ => None,
    };
    // An allowed path ends the search: a key below it may contain anything.
    if let (Some(before), Some(after), false) = (fields(old), fields(new), is_changeable(path)) {
        let keys: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        for key in keys {
            let length = path.len();
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(key);
            let of = |map: &serde_json::Map<String, Value>| map.get(key).cloned().unwrap_or_default();
            changed_paths(&of(&before), &of(&after), path, changed);
            path.truncate(length);
        }
        return;
    }
    changed.push(path.clone());
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn forbidden(old: Value, new: Value) -> Vec<String> {
        let mut changed = Vec::new();
        changed_paths(&old, &new, &mut String::new(), &mut changed);
        changed.retain(|path| !is_changeable(path));
        changed
    }

    fn cluster(configuration: Value) -> Value {
        json!({ "kubeadmConfigSpec": { "clusterConfiguration": configuration } })
    }

    #[test]
    fn fields_that_machines_cannot_follow_are_fixed() {
        let cases = [
            (json!({ "replicas": 1 }), json!({ "replicas": 3 }), vec![]),
            (json!({}), json!({ "rollout": { "after": "now" } }), vec![]),
            (
                json!({}),
                cluster(json!({ "apiServer": { "certSANs": ["a"] } })),
                vec![],
            ),
            (
                cluster(json!({ "featureGates": { "A.b": true } })),
                cluster(json!({})),
                vec![],
            ),
            (
                cluster(json!({})),
                cluster(json!({ "certificatesDir": "/x" })),
                vec!["kubeadmConfigSpec.clusterConfiguration.certificatesDir"],
            ),
            (
                cluster(json!({ "caCertificateValidityPeriodDays": 10 })),
                cluster(json!({})),
                vec!["kubeadmConfigSpec.clusterConfiguration.caCertificateValidityPeriodDays"],
            ),
            (
                cluster(json!({ "controlPlaneEndpoint": "a" })),
                cluster(json!({ "controlPlaneEndpoint": "b", "dns": { "imageTag": "v1.14.2" } })),
                vec!["kubeadmConfigSpec.clusterConfiguration.controlPlaneEndpoint"],
            ),
            (
                json!({ "kubeadmConfigSpec": { "joinConfiguration": { "tlsBootstrapToken": "a" } } }),
                json!({ "kubeadmConfigSpec": { "files": [{ "path": "/a" }] } }),
                vec!["kubeadmConfigSpec.joinConfiguration.tlsBootstrapToken"],
            ),
        ];
        for (old, new, expected) in cases {
            assert_eq!(forbidden(old.clone(), new.clone()), expected, "{old} to {new}");
        }
    }
}
