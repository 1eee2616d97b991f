//! Validation of the kubeadm part of a control plane. Pure.

use std::collections::BTreeSet;

use capi_api::{
    bootstrap::v1beta2::{ClusterConfiguration, KubeadmConfigSpec},
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
pub fn validate_config(config: &KubeadmConfigSpec, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if let Some(cluster) = &config.cluster_configuration {
        errors.extend(validate_cluster(cluster, &format!("{path}.clusterConfiguration")));
    }
    let mut paths = BTreeSet::new();
    for (i, file) in config.files.iter().enumerate() {
        if !paths.insert(&file.path) {
            errors.push(FieldError::invalid(
                format!("{path}.files[{i}].path"),
                &file.path,
                "path property must be unique among all files",
            ));
        }
    }
    let patience = |timeouts: Option<&capi_api::bootstrap::v1beta2::Timeouts>| {
        timeouts.and_then(|timeouts| timeouts.control_plane_component_health_check_seconds)
    };
    let init = config.init_configuration.as_ref();
    let join = config.join_configuration.as_ref();
    let init = patience(init.and_then(|init| init.timeouts.as_ref()));
    let join = patience(join.and_then(|join| join.timeouts.as_ref()));
    if init != join {
        let field = "timeouts.controlPlaneComponentHealthCheckSeconds";
        errors.push(FieldError::invalid(
            format!("{path}.initConfiguration.{field}"),
            init,
            format!("must be set to the same value both in initConfiguration.{field} and in joinConfiguration.{field}"),
        ));
    }
    errors
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
