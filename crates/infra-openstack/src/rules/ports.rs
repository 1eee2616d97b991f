//! Ports of servers: what is asked of Neutron.

use serde_json::{Value, json};

use crate::api::{PortOpts, ResolvedPortSpec};

/// The body that makes a port. `trusted_attribute`: Neutron takes the trust of virtual functions as an attribute.
pub fn body(port: &ResolvedPortSpec, trusted_attribute: bool) -> Value {
    let mut body = json!({
        "network_id": port.network_id,
        "name": port.name,
        "description": port.description.clone().unwrap_or_default(),
    });
    let mut set = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            body[key] = value;
        }
    };
    set("admin_state_up", port.admin_state_up.map(Value::from));
    set("mac_address", port.mac_address.clone().map(Value::from));
    set(
        "propagate_uplink_status",
        port.propagate_uplink_status.map(Value::from),
    );
    set(
        "port_security_enabled",
        port.enable_port_security
            .filter(|enabled| !enabled)
            .map(Value::from),
    );
    set("binding:host_id", port.host_id.clone().map(Value::from));
    set("binding:vnic_type", port.vnic_type.clone().map(Value::from));
    if !port.fixed_ips.is_empty() {
        let ip = |ip: &crate::api::ResolvedFixedIP| {
            let mut entry = json!({});
            if let Some(subnet) = &ip.subnet {
                entry["subnet_id"] = subnet.as_str().into();
            }
            if let Some(address) = &ip.ip_address {
                entry["ip_address"] = address.as_str().into();
            }
            entry
        };
        set("fixed_ips", Some(port.fixed_ips.iter().map(ip).collect()));
    }
    // Without port security there are neither groups nor pairs.
    let guarded = port.enable_port_security != Some(false);
    if guarded && !port.security_groups.is_empty() {
        set("security_groups", Some(port.security_groups.clone().into()));
    }
    if guarded && !port.allowed_address_pairs.is_empty() {
        set("allowed_address_pairs", Some(pairs(port)));
    }
    if let Some(profile) = &port.profile {
        let trusted = profile.trusted_vf == Some(true);
        let mut binding = json!({});
        if profile.ovs_hw_offload == Some(true) {
            binding["capabilities"] = json!(["switchdev"]);
        }
        if trusted && !trusted_attribute {
            binding["trusted"] = true.into();
        }
        set("trusted", (trusted && trusted_attribute).then_some(true.into()));
        set(
            "binding:profile",
            binding
                .as_object()
                .is_some_and(|fields| !fields.is_empty())
                .then_some(binding),
        );
    }
    for spec in &port.value_specs {
        body[&spec.key] = spec.value.as_str().into();
    }
    body
}

/// The further addresses of a port.
pub fn pairs(port: &ResolvedPortSpec) -> Value {
    let pair = |pair: &crate::api::AddressPair| match &pair.mac_address {
        Some(mac) => json!({ "ip_address": pair.ip_address, "mac_address": mac }),
        None => json!({ "ip_address": pair.ip_address }),
    };
    port.allowed_address_pairs.iter().map(pair).collect()
}

/// The parts of a port that need no looking up.
pub fn unresolved(
    port: &PortOpts,
    name: String,
    description: String,
    tags: Vec<String>,
    trunk: bool,
) -> ResolvedPortSpec {
    ResolvedPortSpec {
        name,
        description: Some(
            port.description
                .clone()
                .filter(|text| !text.is_empty())
                .unwrap_or(description),
        ),
        tags,
        trunk: trunk.then_some(true),
        admin_state_up: port.admin_state_up,
        mac_address: port.mac_address.clone(),
        allowed_address_pairs: port.allowed_address_pairs.clone(),
        host_id: port.host_id.clone(),
        vnic_type: port.vnic_type.clone(),
        profile: port.profile.clone(),
        enable_port_security: port.enable_port_security,
        propagate_uplink_status: port.propagate_uplink_status,
        value_specs: port.value_specs.clone(),
        ..ResolvedPortSpec::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{AddressPair, BindingProfile, ResolvedFixedIP, ValueSpec};

    #[test]
    fn a_port_is_asked_for_with_everything_it_needs_and_nothing_else() {
        let mut port = ResolvedPortSpec {
            name: "s-0".into(),
            network_id: "n".into(),
            fixed_ips: vec![ResolvedFixedIP {
                subnet: Some("sub".into()),
                ip_address: None,
            }],
            security_groups: vec!["g".into()],
            allowed_address_pairs: vec![AddressPair {
                ip_address: "10.0.0.9".into(),
                mac_address: None,
            }],
            profile: Some(BindingProfile {
                ovs_hw_offload: Some(true),
                trusted_vf: Some(true),
            }),
            value_specs: vec![ValueSpec {
                name: "x".into(),
                key: "k".into(),
                value: "v".into(),
            }],
            ..ResolvedPortSpec::default()
        };
        assert_eq!(
            body(&port, false),
            json!({ "network_id": "n", "name": "s-0", "description": "", "fixed_ips": [{ "subnet_id": "sub" }],
                "security_groups": ["g"], "allowed_address_pairs": [{ "ip_address": "10.0.0.9" }], "k": "v",
                "binding:profile": { "capabilities": ["switchdev"], "trusted": true } })
        );
        port.enable_port_security = Some(false);
        port.value_specs.clear();
        assert_eq!(
            body(&port, true),
            json!({ "network_id": "n", "name": "s-0", "description": "", "fixed_ips": [{ "subnet_id": "sub" }],
                "port_security_enabled": false, "trusted": true, "binding:profile": { "capabilities": ["switchdev"] } })
        );
    }
}
