//! Which machines and servers, and which changes of them, are refused. Pure.

use capi_runtime::webhook::FieldError;

use crate::api::{AdditionalBlockDevice, OpenStackMachineSpec, OpenStackServerSpec, PortOpts};

/// What is wrong with a machine, whose spec is at this path.
pub fn validate(spec: &OpenStackMachineSpec, path: &str) -> Vec<FieldError> {
    parts(
        spec.root_volume.is_some(),
        &spec.additional_block_devices,
        &spec.ports,
        path,
    )
}

/// What is wrong with a server.
pub fn validate_server(spec: &OpenStackServerSpec) -> Vec<FieldError> {
    parts(
        spec.root_volume.is_some(),
        &spec.additional_block_devices,
        &spec.ports,
        "spec",
    )
}

fn parts(
    has_root: bool,
    devices: &[AdditionalBlockDevice],
    ports: &[PortOpts],
    path: &str,
) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (index, _) in devices
        .iter()
        .enumerate()
        .filter(|(_, device)| has_root && device.name == "root")
    {
        let detail = "the name root is that of the root volume";
        errors.push(FieldError::forbidden(
            format!("{path}.additionalBlockDevices[{index}].name"),
            detail,
        ));
    }
    let unguarded =
        |port: &PortOpts| port.enable_port_security == Some(false) && !port.security_groups.is_empty();
    for (index, _) in ports.iter().enumerate().filter(|(_, port)| unguarded(port)) {
        let detail = "a port without port security has no security groups";
        errors.push(FieldError::forbidden(
            format!("{path}.ports[{index}].securityGroups"),
            detail,
        ));
    }
    errors
}

/// True if a template's spec may change like this.
pub fn template_may_follow(old: &OpenStackMachineSpec, new: &OpenStackMachineSpec) -> bool {
    let mut before = old.clone();
    if before.ports.len() == new.ports.len() {
        for (before, after) in before.ports.iter_mut().zip(&new.ports) {
            before.allowed_address_pairs = after.allowed_address_pairs.clone();
        }
    }
    before == *new
}

/// True if a machine's spec may change like this.
pub fn may_follow(old: &OpenStackMachineSpec, new: &OpenStackMachineSpec) -> bool {
    let mut before = old.clone();
    before.provider_id = new.provider_id.clone();
    before.identity_ref = new.identity_ref.clone();
    template_may_follow(&before, new)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn spec(more: Value) -> OpenStackMachineSpec {
        let mut whole =
            json!({ "flavor": { "id": "f" }, "image": { "id": "i" }, "ports": [{ "trunk": true }] });
        for (key, value) in more.as_object().unwrap() {
            whole[key] = value.clone();
        }
        serde_json::from_value(whole).unwrap()
    }

    #[test]
    fn only_identity_address_pairs_and_the_provider_id_may_change() {
        let old = spec(json!({}));
        for (new, machine, template) in [
            (json!({}), true, true),
            (json!({ "providerID": "openstack:///u" }), true, false),
            (
                json!({ "identityRef": { "name": "s", "cloudName": "c" } }),
                true,
                false,
            ),
            (
                json!({ "ports": [{ "trunk": true, "allowedAddressPairs": [{ "ipAddress": "10.0.0.9" }] }] }),
                true,
                true,
            ),
            (json!({ "ports": [{ "trunk": false }] }), false, false),
            (json!({ "ports": [] }), false, false),
            (json!({ "flavor": { "id": "g" } }), false, false),
        ] {
            let changed = spec(new.clone());
            assert_eq!(
                (may_follow(&old, &changed), template_may_follow(&old, &changed)),
                (machine, template),
                "{new}"
            );
        }
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        let wrong = spec(json!({
            "rootVolume": { "sizeGiB": 1 },
            "additionalBlockDevices": [{ "name": "root", "sizeGiB": 1, "storage": { "type": "Local" } }],
            "ports": [{ "enablePortSecurity": false, "securityGroups": [{ "id": "g" }] }],
        }));
        let fields: Vec<String> = validate(&wrong, "spec")
            .into_iter()
            .map(|error| error.field)
            .collect();
        assert_eq!(
            fields,
            [
                "spec.additionalBlockDevices[0].name",
                "spec.ports[0].securityGroups"
            ]
        );
        assert!(validate(&spec(json!({})), "spec").is_empty());
    }
}
