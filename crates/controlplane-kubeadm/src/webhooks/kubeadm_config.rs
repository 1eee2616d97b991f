//! Validation of the kubeadm part of a control plane: the rules of every KubeadmConfig, and those that only control
//! planes have. Pure.

use capi_api::{
    bootstrap::{
        rules::{self, IgnitionGate},
        v1beta2::{ClusterConfiguration, KubeadmConfigSpec},
    },
    versions,
};
use capi_runtime::webhook::FieldError;
use semver::Version;

use crate::workload::corefile;

/// kubeadm's lifetime of certificates, in days.
const CERTIFICATE_DAYS: i32 = 365;
/// kubeadm's lifetime of certificate authorities, in days.
const CA_DAYS: i32 = 3650;

/// etcd runs outside of the control plane's machines.
pub fn has_external_etcd(config: &KubeadmConfigSpec) -> bool {
    let etcd = config
        .cluster_configuration
        .as_ref()
        .and_then(|cluster| cluster.etcd.as_ref());
    etcd.is_some_and(|etcd| etcd.external.is_some())
}

/// What is wrong with a configuration.
pub fn validate_config(config: &KubeadmConfigSpec, path: &str, gate: IgnitionGate) -> Vec<FieldError> {
    let mut errors = rules::validate(config, path, gate);
    if let Some(cluster) = &config.cluster_configuration {
        errors.extend(validate_cluster(cluster, &format!("{path}.clusterConfiguration")));
    }
    errors.extend(validate_patience(config, path));
    errors
}

/// Machines that init and machines that join wait equally long: the first of them may be either, later.
fn validate_patience(config: &KubeadmConfigSpec, path: &str) -> Vec<FieldError> {
    const FIELD: &str = "timeouts.controlPlaneComponentHealthCheckSeconds";
    let patience = |timeouts: Option<&capi_api::bootstrap::v1beta2::Timeouts>| {
        timeouts.and_then(|timeouts| timeouts.control_plane_component_health_check_seconds)
    };
    let init = config.init_configuration.as_ref();
    let join = config.join_configuration.as_ref();
    let init = patience(init.and_then(|init| init.timeouts.as_ref()));
    let join = patience(join.and_then(|join| join.timeouts.as_ref()));
    if init == join {
        return Vec::new();
    }
    let detail = format!(
        "must be set to the same value both in initConfiguration.{FIELD} and in joinConfiguration.{FIELD}"
    );
    [("initConfiguration", init), ("joinConfiguration", join)]
        .into_iter()
        .map(|(part, value)| FieldError::invalid(format!("{path}.{part}.{FIELD}"), value, detail.clone()))
        .collect()
}

fn validate_cluster(cluster: &ClusterConfiguration, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let local = cluster.etcd.as_ref().and_then(|etcd| etcd.local.as_ref());
    if local.is_some() && cluster.etcd.as_ref().is_some_and(|etcd| etcd.external.is_some()) {
        errors.push(FieldError::forbidden(
            format!("{path}.etcd.local"),
            "cannot have both external and local etcd",
        ));
    }
    let dns = dns_tag(cluster);
    let tags = [
        ("dns.imageTag", dns),
        (
            "etcd.local.imageTag",
            local.and_then(|local| local.image_tag.as_deref()),
        ),
    ];
    for (field, tag) in tags {
        if let Some(tag) = tag.filter(|tag| !is_tag(tag)) {
            errors.push(FieldError::forbidden(
                format!("{path}.{field}"),
                format!("tag {tag} is invalid"),
            ));
        }
    }
    if let Some(tag) = dns.filter(|tag| is_tag(tag) && versions::parse_tolerant(tag).is_none()) {
        errors.push(FieldError::invalid(
            format!("{path}.dns.imageTag"),
            tag,
            "failed to parse CoreDNS version",
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

/// The tag of CoreDNS, if one is set.
fn dns_tag(cluster: &ClusterConfiguration) -> Option<&str> {
    let tag = cluster.dns.as_ref()?.image_tag.as_deref()?;
    Some(tag).filter(|tag| !tag.is_empty())
}

/// What image registries accept.
fn is_tag(tag: &str) -> bool {
    let first = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    tag.len() <= 128
        && tag.starts_with(first)
        && tag
            .chars()
            .all(|letter| first(letter) || letter == '.' || letter == '-')
}

/// Whether CoreDNS can be brought from one version to the other.
pub fn validate_dns_change(
    old: Option<&KubeadmConfigSpec>,
    new: Option<&KubeadmConfigSpec>,
) -> Option<FieldError> {
    let tag = |config: Option<&KubeadmConfigSpec>| {
        let tag = dns_tag(config?.cluster_configuration.as_ref()?)?;
        versions::parse_tolerant(tag)
    };
    let plain = |version: &Version| format!("{}.{}.{}", version.major, version.minor, version.patch);
    let (from, to) = (plain(&tag(old)?), plain(&tag(new)?));
    let problem = corefile::check(&from, &to).err()?;
    Some(FieldError::forbidden(
        "spec.kubeadmConfigSpec.clusterConfiguration.dns.imageTag",
        format!("cannot migrate CoreDNS up to '{to}' from '{from}': {problem}"),
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn fields(config: Value, gate: IgnitionGate) -> Vec<String> {
        let spec: KubeadmConfigSpec = serde_json::from_value(config).unwrap();
        let errors = validate_config(&spec, "c", gate);
        errors.into_iter().map(|error| error.field).collect()
    }

    #[test]
    fn a_control_plane_obeys_the_rules_of_every_configuration() {
        let gates = [IgnitionGate::Off, IgnitionGate::On];
        for (config, refused) in [
            (json!({}), [vec![], vec![]]),
            (
                json!({"files": [{"path": "/a", "content": "x"}, {"path": "/a", "content": "y"}]}),
                [vec!["c.files[1].path"], vec!["c.files[1].path"]],
            ),
            (
                json!({"users": [{"name": "u", "passwd": "x", "passwdFrom": {"secret": {"name": "s", "key": "k"}}}]}),
                [vec!["c.users[0]"], vec!["c.users[0]"]],
            ),
            (
                json!({"diskSetup": {"partitions": [{"device": "/d", "diskLayout": [{"percentage": 101}]}]}}),
                [
                    vec!["c.diskSetup.partitions[0].diskLayout"],
                    vec!["c.diskSetup.partitions[0].diskLayout"],
                ],
            ),
            (json!({"format": "ignition"}), [vec!["c.format"], vec![]]),
            (
                json!({"format": "ignition", "bootCommands": ["x"]}),
                [vec!["c.format"], vec!["c.bootCommands"]],
            ),
        ] {
            assert_eq!(
                gates.map(|gate| fields(config.clone(), gate)),
                refused,
                "{config}"
            );
        }
    }

    #[test]
    fn a_control_plane_has_rules_of_its_own() {
        let timeouts = json!({"timeouts": {"controlPlaneComponentHealthCheckSeconds": 60}});
        let patience = "timeouts.controlPlaneComponentHealthCheckSeconds";
        for (config, refused) in [
            (
                json!({"initConfiguration": timeouts, "joinConfiguration": timeouts}),
                vec![],
            ),
            (
                json!({"initConfiguration": timeouts}),
                vec![
                    format!("c.initConfiguration.{patience}"),
                    format!("c.joinConfiguration.{patience}"),
                ],
            ),
            (
                json!({"clusterConfiguration": {"dns": {"imageTag": "v1.14.2"}, "etcd": {"local": {"imageTag": "3.6.1-0"}}}}),
                vec![],
            ),
            (
                json!({"clusterConfiguration": {"dns": {"imageTag": "a tag"}, "etcd": {"local": {"imageTag": "-x"}}}}),
                vec![
                    "c.clusterConfiguration.dns.imageTag".to_owned(),
                    "c.clusterConfiguration.etcd.local.imageTag".to_owned(),
                ],
            ),
            (
                json!({"clusterConfiguration": {"dns": {"imageTag": "latest"}}}),
                vec!["c.clusterConfiguration.dns.imageTag".to_owned()],
            ),
            (
                json!({"clusterConfiguration": {"etcd": {"local": {"imageTag": "3"}, "external": {
                    "endpoints": ["https://e:2379"], "caFile": "a", "certFile": "b", "keyFile": "c"}}}}),
                vec!["c.clusterConfiguration.etcd.local".to_owned()],
            ),
            (
                json!({"clusterConfiguration": {"certificateValidityPeriodDays": 4000}}),
                vec!["c.clusterConfiguration.certificateValidityPeriodDays".to_owned()],
            ),
        ] {
            assert_eq!(fields(config.clone(), IgnitionGate::Off), refused, "{config}");
        }
    }
}
