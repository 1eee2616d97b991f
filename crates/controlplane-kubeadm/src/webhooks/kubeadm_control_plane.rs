//! Defaults and validation of KubeadmControlPlane. Pure.

use capi_api::{
    bootstrap::v1beta2::KubeadmConfigSpec,
    controlplane::v1beta2::{KubeadmControlPlaneRolloutSpec, KubeadmControlPlaneSpec, MachineNamingSpec},
    names, versions,
};
use capi_runtime::webhook::FieldError;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// kubeadm's lifetime of certificates, in days.
const CERTIFICATE_DAYS: i32 = 365;
/// kubeadm's lifetime of certificate authorities, in days.
const CA_DAYS: i32 = 3650;

/// Fills in replicas, the `v` of the version, and the rollout strategy.
pub fn set_defaults(spec: &mut KubeadmControlPlaneSpec) {
    spec.replicas.get_or_insert(1);
    spec.version = versions::with_v(&spec.version);
    set_rollout_defaults(&mut spec.rollout);
}

/// The rollout strategy is RollingUpdate with a surge of one.
pub(super) fn set_rollout_defaults(rollout: &mut Option<KubeadmControlPlaneRolloutSpec>) {
    let strategy = rollout.get_or_insert_default().strategy.get_or_insert_default();
    strategy
        .rolling_update
        .get_or_insert_default()
        .max_surge
        .get_or_insert(IntOrString::Int(1));
}

/// What is wrong with a spec.
pub fn validate(spec: &KubeadmControlPlaneSpec) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let external = spec.kubeadm_config_spec.as_ref().is_some_and(has_external_etcd);
    match spec.replicas {
        None => errors.push(FieldError::required("spec.replicas", "is required")),
        Some(replicas) if replicas <= 0 => {
            errors.push(FieldError::forbidden(
                "spec.replicas",
                "cannot be less than or equal to 0",
            ));
        }
        Some(replicas) if replicas % 2 == 0 && !external => {
            errors.push(FieldError::forbidden(
                "spec.replicas",
                "cannot be an even number when etcd is stacked",
            ));
        }
        Some(_) => {}
    }
    if versions::parse_strict(&spec.version).is_none() {
        errors.push(FieldError::invalid(
            "spec.version",
            &spec.version,
            "must be a valid semantic version",
        ));
    }
    errors.extend(validate_rollout(spec.rollout.as_ref(), spec.replicas, "spec"));
    errors.extend(validate_naming(spec.machine_naming.as_ref(), "spec"));
    if let Some(config) = &spec.kubeadm_config_spec {
        errors.extend(validate_config(config, "spec.kubeadmConfigSpec"));
    }
    errors
}

fn has_external_etcd(config: &KubeadmConfigSpec) -> bool {
    let etcd = config
        .cluster_configuration
        .as_ref()
        .and_then(|cluster| cluster.etcd.as_ref());
    etcd.is_some_and(|etcd| etcd.external.is_some())
}

pub(super) fn validate_rollout(
    rollout: Option<&KubeadmControlPlaneRolloutSpec>,
    replicas: Option<i32>,
    path: &str,
) -> Vec<FieldError> {
    let update = rollout.and_then(|rollout| rollout.strategy.as_ref()?.rolling_update.as_ref());
    let Some(surge) = update.and_then(|update| update.max_surge.as_ref()) else {
        return Vec::new();
    };
    let field = format!("{path}.rollout.strategy.rollingUpdate.maxSurge");
    let number = match surge {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(text) => text.parse().ok(),
    };
    match number {
        Some(1) => Vec::new(),
        Some(0) if replicas.is_none_or(|replicas| replicas >= 3) => Vec::new(),
        Some(0) => vec![FieldError::forbidden(
            field,
            "when KubeadmControlPlane is configured to scale-in, replica count needs to be at least 3",
        )],
        _ => vec![FieldError::invalid(field, surge, "value must be 1 or 0")],
    }
}

pub(super) fn validate_naming(naming: Option<&MachineNamingSpec>, path: &str) -> Vec<FieldError> {
    let Some(template) = naming.and_then(|naming| naming.template.as_deref()) else {
        return Vec::new();
    };
    let field = format!("{path}.machineNaming.template");
    let compact: String = template
        .chars()
        .filter(|letter| !letter.is_whitespace())
        .collect();
    if !compact.contains("{{.random}}") {
        return vec![FieldError::invalid(
            field,
            template,
            "template must contain {{ .random }}",
        )];
    }
    let rendered = compact
        .replace("{{.random}}", "bcdfg")
        .replace("{{.cluster.name}}", "cluster")
        .replace("{{.kubeadmControlPlane.name}}", "control-plane");
    match names::is_dns_label(&rendered) {
        true => Vec::new(),
        false => vec![FieldError::invalid(
            field,
            template,
            "must render to a DNS label; variables are .cluster.name, .kubeadmControlPlane.name and .random",
        )],
    }
}

pub(super) fn validate_config(config: &KubeadmConfigSpec, path: &str) -> Vec<FieldError> {
    let Some(cluster) = &config.cluster_configuration else {
        return Vec::new();
    };
    let path = format!("{path}.clusterConfiguration");
    let mut errors = Vec::new();
    if let Some(etcd) = &cluster.etcd
        && etcd.local.is_some()
        && etcd.external.is_some()
    {
        errors.push(FieldError::forbidden(
            format!("{path}.etcd.local"),
            "cannot have both external and local etcd",
        ));
    }
    let days = cluster
        .certificate_validity_period_days
        .unwrap_or(CERTIFICATE_DAYS);
    let authority = cluster.ca_certificate_validity_period_days.unwrap_or(CA_DAYS);
    if days > authority {
        errors.push(FieldError::invalid(
            format!("{path}.certificateValidityPeriodDays"),
            days,
            format!("must be less than or equal to caCertificateValidityPeriodDays ({authority})"),
        ));
    }
    errors
}

/// What is wrong with a change.
pub fn validate_change(old: &KubeadmControlPlaneSpec, new: &KubeadmControlPlaneSpec) -> Vec<FieldError> {
    let mut errors = Vec::new();
    errors.extend(validate_version_change(&old.version, &new.version));
    let (before, after) = (
        old.kubeadm_config_spec
            .clone()
            .unwrap_or_default()
            .cluster_configuration
            .unwrap_or_default(),
        new.kubeadm_config_spec
            .clone()
            .unwrap_or_default()
            .cluster_configuration
            .unwrap_or_default(),
    );
    let path = "spec.kubeadmConfigSpec.clusterConfiguration";
    let is_external = |etcd: &Option<capi_api::bootstrap::v1beta2::Etcd>| {
        etcd.as_ref().is_some_and(|etcd| etcd.external.is_some())
    };
    if is_external(&before.etcd) != is_external(&after.etcd) {
        errors.push(FieldError::forbidden(
            format!("{path}.etcd"),
            "cannot change between external and local etcd",
        ));
    }
    let fixed = [
        (
            "certificatesDir",
            before.certificates_dir != after.certificates_dir,
        ),
        (
            "controlPlaneEndpoint",
            before.control_plane_endpoint != after.control_plane_endpoint,
        ),
        (
            "caCertificateValidityPeriodDays",
            before.ca_certificate_validity_period_days != after.ca_certificate_validity_period_days,
        ),
    ];
    let changed = fixed.into_iter().filter(|(_, changed)| *changed);
    errors.extend(
        changed.map(|(field, _)| FieldError::forbidden(format!("{path}.{field}"), "cannot be modified")),
    );
    errors
}

fn validate_version_change(old: &str, new: &str) -> Option<FieldError> {
    let (from, to) = (versions::parse_tolerant(old)?, versions::parse_strict(new)?);
    let allowed = from.major == to.major && to.minor >= from.minor && to.minor <= from.minor + 1;
    (!allowed).then(|| {
        FieldError::forbidden(
            "spec.version",
            format!("cannot update Kubernetes version from {old} to {new}"),
        )
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn spec(changes: Value) -> KubeadmControlPlaneSpec {
        let mut base = json!({
            "replicas": 3,
            "version": "v1.35.0",
            "machineTemplate": { "spec": { "infrastructureRef": { "apiGroup": "g", "kind": "K", "name": "n" } } },
        });
        json_patch_merge(&mut base, changes);
        serde_json::from_value(base).unwrap()
    }

    fn json_patch_merge(target: &mut Value, changes: Value) {
        match changes {
            Value::Object(fields) => fields.into_iter().for_each(|(field, value)| {
                json_patch_merge(&mut target[field], value);
            }),
            other => *target = other,
        }
    }

    #[test]
    fn replicas_version_and_strategy_have_defaults() {
        let mut spec = spec(json!({ "replicas": null, "version": "1.35.0" }));
        set_defaults(&mut spec);
        let value = serde_json::to_value(&spec).unwrap();
        assert_eq!(
            (&value["replicas"], &value["version"]),
            (&json!(1), &json!("v1.35.0"))
        );
        assert_eq!(
            value["rollout"]["strategy"],
            json!({ "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 1 } })
        );
        let again = spec.clone();
        set_defaults(&mut spec);
        assert_eq!(spec, again);
    }

    #[test]
    fn specs_are_judged() {
        let external = json!({ "etcd": { "external": {
            "endpoints": ["https://e:2379"], "caFile": "a", "certFile": "b", "keyFile": "c" } } });
        let cases = [
            (json!({}), None),
            (
                json!({ "replicas": 2 }),
                Some("cannot be an even number when etcd is stacked"),
            ),
            (
                json!({ "replicas": 2, "kubeadmConfigSpec": { "clusterConfiguration": external } }),
                None,
            ),
            (
                json!({ "replicas": 0 }),
                Some("cannot be less than or equal to 0"),
            ),
            (
                json!({ "version": "1.35.0" }),
                Some("must be a valid semantic version"),
            ),
            (
                json!({ "version": "v1.35" }),
                Some("must be a valid semantic version"),
            ),
            (rollout(json!(2)), Some("value must be 1 or 0")),
            (rollout(json!(0)), None),
            (
                json!({ "replicas": 1, "rollout": rollout(json!(0))["rollout"] }),
                Some("at least 3"),
            ),
            (
                json!({ "machineNaming": { "template": "{{ .cluster.name }}" } }),
                Some("must contain {{ .random }}"),
            ),
            (
                json!({ "machineNaming": { "template": "{{ .kubeadmControlPlane.name }}-{{ .random }}" } }),
                None,
            ),
            (
                json!({ "machineNaming": { "template": "{{ .foo }}-{{ .random }}" } }),
                Some("DNS label"),
            ),
            (
                json!({ "kubeadmConfigSpec": { "clusterConfiguration": {
                    "certificateValidityPeriodDays": 400, "caCertificateValidityPeriodDays": 100 } } }),
                Some("caCertificateValidityPeriodDays (100)"),
            ),
        ];
        for (changes, expected) in cases {
            let errors: Vec<String> = validate(&spec(changes.clone()))
                .iter()
                .map(ToString::to_string)
                .collect();
            match expected {
                None => assert!(errors.is_empty(), "{changes}: {errors:?}"),
                Some(text) => assert!(
                    errors.len() == 1 && errors[0].contains(text),
                    "{changes}: {errors:?}"
                ),
            }
        }
    }

    fn rollout(surge: Value) -> Value {
        json!({ "rollout": { "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": surge } } } })
    }

    #[test]
    fn versions_go_up_by_one_minor_at_most() {
        for (old, new, allowed) in [
            ("v1.35.0", "v1.35.0", true),
            ("v1.35.0", "v1.36.2", true),
            ("v1.35.3", "v1.35.1", true),
            ("v1.35.0", "v1.37.0", false),
            ("v1.35.0", "v1.34.0", false),
            ("v1.35.0", "v2.0.0", false),
        ] {
            assert_eq!(
                validate_version_change(old, new).is_none(),
                allowed,
                "{old} to {new}"
            );
        }
    }

    #[test]
    fn some_fields_are_fixed_for_good() {
        let old = spec(json!({}));
        let new =
            spec(json!({ "kubeadmConfigSpec": { "clusterConfiguration": { "certificatesDir": "/x" } } }));
        assert_eq!(validate_change(&old, &new).len(), 1);
        let new =
            spec(json!({ "kubeadmConfigSpec": { "clusterConfiguration": { "imageRepository": "r" } } }));
        assert!(validate_change(&old, &new).is_empty());
    }
}
