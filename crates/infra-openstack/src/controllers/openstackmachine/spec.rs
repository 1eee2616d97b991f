//! The server that a machine asks for. Pure.

use capi_api::core::v1beta2::Machine;

use crate::api::{
    FixedIP, NetworkParam, OpenStackCluster, OpenStackIdentityReference, OpenStackMachine,
    OpenStackMachineSpec, OpenStackServerSpec, PortOpts, SecurityGroupParam, SecurityGroupStatus,
    SubnetParam,
};

/// True if the machine carries the control plane.
pub fn is_control_plane(machine: &Machine) -> bool {
    let labels = machine.metadata.labels.as_ref();
    labels.is_some_and(|labels| labels.contains_key(capi_api::labels::CONTROL_PLANE))
}

/// The spec of the machine's server. It is computed once; the server keeps it.
pub fn server(
    object: &OpenStackMachine,
    machine: &Machine,
    cluster: &OpenStackCluster,
) -> OpenStackServerSpec {
    let status = cluster.status.clone().unwrap_or_default();
    let group = match is_control_plane(machine) {
        true => status.control_plane_security_group,
        false => status.worker_security_group,
    };
    let zone = machine.spec.failure_domain.clone();
    let user_data = machine.spec.bootstrap.data_secret_name.clone();
    of(&object.spec, cluster, group, zone, user_data)
}

/// The spec of a server for a machine spec: in this group unless its ports say otherwise, in this zone, with the user
/// data of this Secret.
pub fn of(
    spec: &OpenStackMachineSpec,
    cluster: &OpenStackCluster,
    group: Option<SecurityGroupStatus>,
    zone: Option<String>,
    user_data: Option<String>,
) -> OpenStackServerSpec {
    let mut tags = spec.tags.clone();
    for tag in &cluster.spec.tags {
        if !tags.contains(tag) {
            tags.push(tag.clone());
        }
    }
    OpenStackServerSpec {
        additional_block_devices: spec.additional_block_devices.clone(),
        availability_zone: zone,
        config_drive: spec.config_drive,
        flavor: spec.flavor.filter.as_ref().and_then(|filter| filter.name.clone()),
        flavor_id: spec.flavor.id.clone(),
        floating_ip_pool_ref: spec.floating_ip_pool_ref.clone(),
        identity_ref: identity(spec, cluster).clone(),
        image: spec.image.clone(),
        ports: ports(spec, cluster, group),
        root_volume: spec.root_volume.clone(),
        ssh_key_name: spec.ssh_key_name.clone().unwrap_or_default(),
        server_group: spec.server_group.clone(),
        server_metadata: spec.server_metadata.clone(),
        tags,
        trunk: spec.trunk,
        user_data_ref: user_data.map(|name| k8s_openapi::api::core::v1::LocalObjectReference { name }),
        scheduler_hint_additional_properties: spec.scheduler_hint_additional_properties.clone(),
        ..OpenStackServerSpec::default()
    }
}

/// The credentials of a machine: its own, or those of its cluster.
pub fn identity<'a>(
    spec: &'a OpenStackMachineSpec,
    cluster: &'a OpenStackCluster,
) -> &'a OpenStackIdentityReference {
    spec.identity_ref.as_ref().unwrap_or(&cluster.spec.identity_ref)
}

fn ports(
    spec: &OpenStackMachineSpec,
    cluster: &OpenStackCluster,
    group: Option<SecurityGroupStatus>,
) -> Vec<PortOpts> {
    let mut ports = spec.ports.clone();
    if ports.is_empty() {
        ports.push(PortOpts::default());
    }
    let network = cluster
        .status
        .as_ref()
        .and_then(|status| status.network.as_ref())
        .map(|network| network.id.clone());
    let group = group.map(|group| SecurityGroupParam {
        id: Some(group.id),
        ..SecurityGroupParam::default()
    });
    let subnets = match &cluster.spec.primary_subnet {
        Some(primary) => std::slice::from_ref(primary),
        None => &cluster.spec.subnets[..],
    };
    for port in &mut ports {
        let names_subnet = port.fixed_ips.iter().any(|ip| ip.subnet.is_some());
        if port.network.is_none() && !names_subnet {
            port.network = Some(NetworkParam {
                id: network.clone(),
                ..NetworkParam::default()
            });
            if port.fixed_ips.is_empty() {
                let ip = |subnet: &SubnetParam| FixedIP {
                    subnet: Some(subnet.clone()),
                    ..FixedIP::default()
                };
                port.fixed_ips = subnets.iter().map(ip).collect();
            }
        }
        if port.enable_port_security == Some(false) {
            continue;
        }
        if port.security_groups.is_empty() {
            port.security_groups.extend(group.clone());
        }
        port.security_groups.extend(spec.security_groups.iter().cloned());
    }
    ports
}

/// How the node of a server is called towards the cloud.
pub fn provider_id(object: &OpenStackMachine, instance: &str) -> String {
    let region = object
        .spec
        .identity_ref
        .as_ref()
        .and_then(|identity| identity.region.as_deref())
        .unwrap_or_default();
    format!("openstack://{region}/{instance}")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn cluster(more: Value) -> OpenStackCluster {
        let mut spec = json!({ "identityRef": { "name": "s", "cloudName": "c" }, "tags": ["a", "b"] });
        for (key, value) in more.as_object().unwrap() {
            spec[key] = value.clone();
        }
        serde_json::from_value(json!({ "apiVersion": "x/v1", "kind": "OpenStackCluster", "metadata": {}, "spec": spec,
            "status": { "network": { "id": "N", "name": "n" }, "controlPlaneSecurityGroup": { "id": "C", "name": "c" },
                "workerSecurityGroup": { "id": "W", "name": "w" } } }))
        .unwrap()
    }

    fn machine(control_plane: bool) -> Machine {
        let labels = if control_plane {
            json!({ "cluster.x-k8s.io/control-plane": "" })
        } else {
            json!({})
        };
        serde_json::from_value(
            json!({ "apiVersion": "x/v1", "kind": "Machine", "metadata": { "labels": labels }, "spec": {
            "clusterName": "c", "failureDomain": "az1", "bootstrap": { "dataSecretName": "data" },
            "infrastructureRef": { "apiGroup": "g", "kind": "k", "name": "m" } } }),
        )
        .unwrap()
    }

    fn object(more: Value) -> OpenStackMachine {
        let mut spec =
            json!({ "flavor": { "filter": { "name": "f" } }, "image": { "id": "i" }, "tags": ["m", "a"] });
        for (key, value) in more.as_object().unwrap() {
            spec[key] = value.clone();
        }
        serde_json::from_value(
            json!({ "apiVersion": "x/v1", "kind": "OpenStackMachine", "metadata": {}, "spec": spec }),
        )
        .unwrap()
    }

    #[test]
    fn a_plain_machine_gets_one_port_in_the_network_of_the_cluster() {
        let spec = server(&object(json!({})), &machine(true), &cluster(json!({})));
        assert_eq!(
            serde_json::to_value(&spec).unwrap(),
            json!({ "availabilityZone": "az1", "flavor": "f", "image": { "id": "i" }, "sshKeyName": "",
                "identityRef": { "name": "s", "cloudName": "c" }, "tags": ["m", "a", "b"], "userDataRef": { "name": "data" },
                "ports": [{ "network": { "id": "N" }, "securityGroups": [{ "id": "C" }] }] })
        );
    }

    #[test]
    fn ports_keep_what_they_say_and_get_what_they_do_not() {
        let object = object(json!({ "securityGroups": [{ "id": "X" }], "ports": [
            { "network": { "id": "other" }, "securityGroups": [{ "id": "own" }] },
            { "enablePortSecurity": false },
            { "fixedIPs": [{ "subnet": { "id": "s9" } }] } ] }));
        let cluster = cluster(json!({ "subnets": [{ "id": "s1" }, { "id": "s2" }] }));
        let ports = serde_json::to_value(server(&object, &machine(false), &cluster).ports).unwrap();
        assert_eq!(
            ports,
            json!([
                { "network": { "id": "other" }, "securityGroups": [{ "id": "own" }, { "id": "X" }] },
                { "network": { "id": "N" }, "enablePortSecurity": false, "fixedIPs": [{ "subnet": { "id": "s1" } }, { "subnet": { "id": "s2" } }] },
                { "fixedIPs": [{ "subnet": { "id": "s9" } }], "securityGroups": [{ "id": "W" }, { "id": "X" }] },
            ])
        );
    }

    #[test]
    fn the_region_is_in_the_provider_id_only_if_the_machine_names_it() {
        assert_eq!(provider_id(&object(json!({})), "u"), "openstack:///u");
        let named = object(json!({ "identityRef": { "name": "s", "cloudName": "c", "region": "R" } }));
        assert_eq!(provider_id(&named, "u"), "openstack://R/u");
    }
}
