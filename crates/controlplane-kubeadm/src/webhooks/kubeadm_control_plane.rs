//! Defaults and validation of KubeadmControlPlane. Pure.

use capi_api::{
    bootstrap::rules::IgnitionGate,
    controlplane::v1beta2::{KubeadmControlPlaneRolloutSpec, KubeadmControlPlaneSpec, MachineNamingSpec},
    core::{metadata, v1beta2::ObjectMeta},
    names, versions,
};
use capi_runtime::webhook::FieldError;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{
    changes::forbidden_changes,
    kubeadm_config::{has_external_etcd, validate_config, validate_dns_change},
};

/// A rollout before certificates expire needs some time.
const FEWEST_DAYS: i32 = 7;

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
pub fn validate(spec: &KubeadmControlPlaneSpec, gate: IgnitionGate) -> Vec<FieldError> {
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
    errors.extend(validate_metadata(
        spec.machine_template.metadata.as_ref(),
        "spec.machineTemplate.metadata",
    ));
    errors.extend(validate_naming(spec.machine_naming.as_ref(), "spec"));
    if let Some(config) = &spec.kubeadm_config_spec {
        errors.extend(validate_config(config, "spec.kubeadmConfigSpec", gate));
    }
    errors
}

pub(super) fn validate_rollout(
    rollout: Option<&KubeadmControlPlaneRolloutSpec>,
    replicas: Option<i32>,
    path: &str,
) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let before = rollout.and_then(|rollout| rollout.before.as_ref());
    if let Some(days) = before.and_then(|before| before.certificates_expiry_days)
        && days < FEWEST_DAYS
    {
        errors.push(FieldError::invalid(
            format!("{path}.rollout.before.certificatesExpiryDays"),
            days,
            format!("must be greater than or equal to {FEWEST_DAYS}"),
        ));
    }
    let update = rollout.and_then(|rollout| rollout.strategy.as_ref()?.rolling_update.as_ref());
    if let Some(surge) = update.and_then(|update| update.max_surge.as_ref()) {
        errors.extend(validate_surge(surge, replicas, path));
    }
    errors
}

fn validate_surge(surge: &IntOrString, replicas: Option<i32>, path: &str) -> Option<FieldError> {
    let field = format!("{path}.rollout.strategy.rollingUpdate.maxSurge");
    let number = match surge {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(text) => text.parse().ok(),
    };
    match number {
        Some(1) => None,
        Some(0) if replicas.is_none_or(|replicas| replicas >= 3) => None,
        Some(0) => Some(FieldError::forbidden(
            field,
            "when KubeadmControlPlane is configured to scale-in, replica count needs to be at least 3",
        )),
        _ => Some(FieldError::invalid(field, surge, "value must be 1 or 0")),
    }
}

/// Labels and annotations that API servers would refuse on every Machine.
pub(super) fn validate_metadata(metadata: Option<&ObjectMeta>, path: &str) -> Vec<FieldError> {
    metadata.map_or_else(Vec::new, |metadata| metadata::validate(metadata, path))
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

/// What is wrong with a change. `skips_dns`: CoreDNS is somebody else's business.
pub fn validate_change(
    old: &KubeadmControlPlaneSpec,
    new: &KubeadmControlPlaneSpec,
    skips_dns: bool,
    gate: IgnitionGate,
) -> Vec<FieldError> {
    // What was wrong before need not be put right by whoever changes something else.
    let before = validate(old, gate);
    let mut errors: Vec<FieldError> = validate(new, gate)
        .into_iter()
        .filter(|error| !before.contains(error))
        .collect();
    errors.extend(forbidden_changes(old, new));
    errors.extend(validate_version_change(&old.version, &new.version));
    let external =
        |spec: &KubeadmControlPlaneSpec| spec.kubeadm_config_spec.as_ref().is_some_and(has_external_etcd);
    if external(old) != external(new) {
        errors.push(FieldError::forbidden(
            "spec.kubeadmConfigSpec.clusterConfiguration.etcd.external",
            "cannot change between external and local etcd",
        ));
    }
    if !skips_dns {
        errors.extend(validate_dns_change(
            old.kubeadm_config_spec.as_ref(),
            new.kubeadm_config_spec.as_ref(),
        ));
    }
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
            Value::Object(fields) => {
                if target.is_null() {
                    *target = json!({});
                }
                for (field, value) in fields {
                    json_patch_merge(&mut target[field], value);
                }
            }
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
            (
                json!({ "rollout": { "before": { "certificatesExpiryDays": 6 } } }),
                Some("must be greater than or equal to 7"),
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
            let errors: Vec<String> = validate(&spec(changes.clone()), IgnitionGate::Off)
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
        assert_eq!(validate_change(&old, &new, false, IgnitionGate::Off).len(), 1);
        let new =
            spec(json!({ "kubeadmConfigSpec": { "clusterConfiguration": { "imageRepository": "r" } } }));
        assert_eq!(validate_change(&old, &new, false, IgnitionGate::Off), []);
    }

    #[test]
    fn what_was_wrong_before_may_stay_so() {
        let old = spec(json!({ "replicas": 2 }));
        let elsewhere = spec(json!({ "replicas": 2, "version": "v1.35.1" }));
        assert_eq!(validate_change(&old, &elsewhere, false, IgnitionGate::Off), []);
        let worse = spec(json!({ "replicas": 4, "rollout": rollout(json!(5))["rollout"] }));
        assert_eq!(
            validate_change(&old, &worse, false, IgnitionGate::Off).len(),
            1,
            "{worse:?}"
        );
    }

    #[test]
    fn etcd_neither_moves_out_nor_in() {
        let external = json!({ "kubeadmConfigSpec": { "clusterConfiguration": { "etcd": { "external": {
            "endpoints": ["https://e:2379"], "caFile": "a", "certFile": "b", "keyFile": "c" } } } } });
        let (inside, outside) = (spec(json!({})), spec(external));
        for (old, new) in [(&inside, &outside), (&outside, &inside)] {
            let errors: Vec<String> = validate_change(old, new, false, IgnitionGate::Off)
                .iter()
                .map(ToString::to_string)
                .collect();
            assert!(
                errors
                    .iter()
                    .any(|error| error.contains("cannot change between external and local etcd")),
                "{errors:?}"
            );
        }
    }

    #[test]
    fn coredns_only_goes_where_its_configuration_can_follow() {
        let dns = |tag: &str| {
            spec(json!({ "kubeadmConfigSpec": { "clusterConfiguration": { "dns": { "imageTag": tag } } } }))
        };
        for (old, new, allowed) in [
            ("v1.13.1", "v1.14.2", true),
            ("v1.13.1", "v1.13.1-vendor.1", true),
            ("v1.14.2", "v1.13.1", false),
            ("v1.13.1", "v1.99.0", false),
            ("v1.2.3", "v1.14.2", false),
        ] {
            let errors = validate_change(&dns(old), &dns(new), false, IgnitionGate::Off);
            assert_eq!(errors.is_empty(), allowed, "{old} to {new}: {errors:?}");
            assert_eq!(
                validate_change(&dns(old), &dns(new), true, IgnitionGate::Off),
                [],
                "{old} to {new}"
            );
        }
        assert_eq!(validate(&dns("latest"), IgnitionGate::Off).len(), 1);
        assert_eq!(validate(&dns("no tag!"), IgnitionGate::Off).len(), 1);
    }

    #[test]
    fn metadata_must_fit_on_machines() {
        let metadata = |labels: Value, annotations: Value| {
            spec(
                json!({ "machineTemplate": { "metadata": { "labels": labels, "annotations": annotations } } }),
            )
        };
        assert_eq!(
            validate(
                &metadata(json!({ "a.b/c": "d" }), json!({ "e": "any thing" })),
                IgnitionGate::Off
            ),
            []
        );
        assert_eq!(
            validate(&metadata(json!({ "a b": "c" }), json!({})), IgnitionGate::Off).len(),
            1
        );
        assert_eq!(
            validate(&metadata(json!({ "a": "b c" }), json!({})), IgnitionGate::Off).len(),
            1
        );
        assert_eq!(
            validate(&metadata(json!({}), json!({ "-": "" })), IgnitionGate::Off).len(),
            1
        );
    }
}
