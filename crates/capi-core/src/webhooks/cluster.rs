//! Clusters.

use capi_api::{
    core::v1beta2::{Cluster, ContractVersionedObjectReference, NetworkRanges},
    names::is_label_value,
    versions,
};
use capi_runtime::webhook::FieldError;
use kube::ResourceExt;

/// Fills in what the user left open.
pub fn default(cluster: &mut Cluster, _old: Option<&Cluster>) {
    if let Some(topology) = &mut cluster.spec.topology {
        topology.version = versions::with_v(&topology.version);
    }
}

/// What is wrong with a Cluster.
pub fn validate(new: &Cluster, old: Option<&Cluster>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let name = new.name_any();
    if !is_label_value(&name) {
        let detail = "must be a valid label value: at most 63 letters, digits, '-', '_' or '.'";
        errors.push(FieldError::invalid("metadata.name", &name, detail));
    }
    let spec = &new.spec;
    if spec.topology.is_none() && spec.infrastructure_ref.is_none() && spec.control_plane_ref.is_none() {
        let detail = "at least one of controlPlaneRef, infrastructureRef, topology must be set";
        errors.push(FieldError::required("spec", detail));
    }
    let had_topology = old.is_some_and(|o| o.spec.topology.is_some());
    if spec.topology.is_some() && !had_topology {
        let detail = "can be set only if the ClusterTopology feature flag is enabled, which this version does not have: \
                      refer to infrastructure and control plane instead";
        errors.push(FieldError::forbidden("spec.topology", detail));
    }
    if let Some(old) = old {
        let lost =
            |old: &Option<ContractVersionedObjectReference>, new: &Option<_>| old.is_some() && new.is_none();
        for (was, is, field) in [
            (
                &old.spec.infrastructure_ref,
                &spec.infrastructure_ref,
                "spec.infrastructureRef",
            ),
            (
                &old.spec.control_plane_ref,
                &spec.control_plane_ref,
                "spec.controlPlaneRef",
            ),
        ] {
            if lost(was, is) {
                errors.push(FieldError::forbidden(field, "cannot be removed"));
            }
        }
        if old.spec.control_plane_endpoint.is_some() && spec.control_plane_endpoint.is_none() {
            errors.push(FieldError::forbidden(
                "spec.controlPlaneEndpoint",
                "cannot be removed",
            ));
        }
    }
    if let Some(network) = &spec.cluster_network {
        check_ranges(
            network.services.as_ref(),
            "spec.clusterNetwork.services.cidrBlocks",
            &mut errors,
        );
        check_ranges(
            network.pods.as_ref(),
            "spec.clusterNetwork.pods.cidrBlocks",
            &mut errors,
        );
    }
    errors
}

fn check_ranges(ranges: Option<&NetworkRanges>, field: &str, errors: &mut Vec<FieldError>) {
    for (index, block) in ranges.iter().flat_map(|r| &r.cidr_blocks).enumerate() {
        if !is_cidr(block) {
            errors.push(FieldError::invalid(
                format!("{field}[{index}]"),
                block,
                "is not a valid CIDR",
            ));
        }
    }
}

/// An address, a slash and a length that fits the address.
fn is_cidr(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else {
        return false;
    };
    let Ok(length) = length.parse::<u8>() else {
        return false;
    };
    match address.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V4(_)) => length <= 32,
        Ok(std::net::IpAddr::V6(_)) => length <= 128,
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn cluster(spec: Value) -> Cluster {
        serde_json::from_value(json!({"metadata": {"name": "c"}, "spec": spec})).unwrap()
    }

    fn fields(new: Value, old: Option<Value>) -> Vec<String> {
        let old = old.map(cluster);
        validate(&cluster(new), old.as_ref())
            .into_iter()
            .map(|e| e.field)
            .collect()
    }

    #[test]
    fn references_are_needed_and_stay() {
        let reference = json!({"apiGroup": "g", "kind": "K", "name": "n"});
        let both = json!({"infrastructureRef": reference, "controlPlaneRef": reference});
        assert!(fields(both.clone(), None).is_empty());
        assert_eq!(fields(json!({"paused": true}), None), ["spec"]);
        assert_eq!(
            fields(json!({"infrastructureRef": reference}), Some(both)),
            ["spec.controlPlaneRef"]
        );
    }

    #[test]
    fn topologies_are_refused_but_those_there_are_can_be_changed() {
        let topology = json!({"topology": {"classRef": {"name": "class"}, "version": "v1.35.0"}});
        assert_eq!(fields(topology.clone(), None), ["spec.topology"]);
        assert!(fields(topology.clone(), Some(topology)).is_empty());
    }

    #[test]
    fn address_ranges_must_be_ranges() {
        let spec = json!({"infrastructureRef": {"apiGroup": "g", "kind": "K", "name": "n"},
            "clusterNetwork": {"pods": {"cidrBlocks": ["10.0.0.0/8", "10.0.0.0", "fd00::/200"]}}});
        assert_eq!(
            fields(spec, None),
            [
                "spec.clusterNetwork.pods.cidrBlocks[1]",
                "spec.clusterNetwork.pods.cidrBlocks[2]"
            ]
        );
    }
}
