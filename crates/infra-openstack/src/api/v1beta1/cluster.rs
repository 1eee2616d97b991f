//! Clusters and their templates between the versions.

use serde_json::{Value, json};

use super::{
    Fields, carry, carry_inverted, fields, invert,
    machine::{resolved, spec_from_hub as machine_from_hub, spec_to_hub as machine_to_hub},
    put, rename, status, take,
};

pub fn to_hub(mut object: Value) -> Result<Value, String> {
    if let Some(spec) = fields(&mut object, "spec") {
        spec_to_hub(spec);
    }
    if let Some(status) = fields(&mut object, "status") {
        status_to_hub(status);
    }
    Ok(object)
}

pub fn from_hub(mut object: Value) -> Result<Value, String> {
    if let Some(spec) = fields(&mut object, "spec") {
        spec_from_hub(spec);
    }
    if let Some(status) = fields(&mut object, "status") {
        status_from_hub(status);
    }
    Ok(object)
}

pub fn template_to_hub(mut object: Value) -> Result<Value, String> {
    if let Some(spec) = fields(&mut object, "spec.template.spec") {
        spec_to_hub(spec);
    }
    Ok(object)
}

pub fn template_from_hub(mut object: Value) -> Result<Value, String> {
    if let Some(template) = fields(&mut object, "spec.template") {
        template.remove("metadata");
    }
    if let Some(spec) = fields(&mut object, "spec.template.spec") {
        spec_from_hub(spec);
    }
    Ok(object)
}

/// Fields of the older version that moved below `apiServer`.
const API_SERVER: [(&str, &str); 4] = [
    ("apiServerLoadBalancer", "managedLoadBalancer"),
    ("apiServerFloatingIP", "floatingIP"),
    ("apiServerFixedIP", "fixedIP"),
    ("apiServerPort", "port"),
];

fn spec_to_hub(spec: &mut Fields) {
    let mut api = Fields::new();
    for (old, new) in API_SERVER {
        carry(spec, old, &mut api, new);
    }
    carry_inverted(spec, "disableAPIServerFloatingIP", &mut api, "enableFloatingIP");
    put(spec, "apiServer", api);

    let mut network = Fields::new();
    carry(spec, "networkMTU", &mut network, "mtu");
    carry_inverted(spec, "disablePortSecurity", &mut network, "enablePortSecurity");
    put(spec, "managedNetwork", network);

    let mut router = Fields::new();
    carry(spec, "externalRouterIPs", &mut router, "externalIPs");
    // The newer version has no empty list here.
    router.retain(|_, ips| ips.as_array().is_none_or(|ips| !ips.is_empty()));
    put(spec, "managedRouter", router);

    invert(spec, "disableExternalNetwork", "enableExternalNetwork");
    if let Some(groups) = spec
        .get_mut("managedSecurityGroups")
        .and_then(Value::as_object_mut)
    {
        rename(
            groups,
            "allNodesSecurityGroupRules",
            "clusterNodesSecurityGroupRules",
        );
    }
    // The older version writes an endpoint that is not known as an empty one.
    let mut endpoint = take(spec, "controlPlaneEndpoint");
    endpoint.retain(|_, value| *value != "" && *value != 0);
    put(spec, "controlPlaneEndpoint", endpoint);
    if let Some(machine) = bastion(spec) {
        machine_to_hub(machine);
    }
}

fn spec_from_hub(spec: &mut Fields) {
    let mut api = take(spec, "apiServer");
    for (old, new) in API_SERVER {
        carry(&mut api, new, spec, old);
    }
    carry_inverted(&mut api, "enableFloatingIP", spec, "disableAPIServerFloatingIP");
    let mut network = take(spec, "managedNetwork");
    carry(&mut network, "mtu", spec, "networkMTU");
    carry_inverted(&mut network, "enablePortSecurity", spec, "disablePortSecurity");
    let mut router = take(spec, "managedRouter");
    carry(&mut router, "externalIPs", spec, "externalRouterIPs");
    invert(spec, "enableExternalNetwork", "disableExternalNetwork");
    if let Some(groups) = spec
        .get_mut("managedSecurityGroups")
        .and_then(Value::as_object_mut)
    {
        rename(
            groups,
            "clusterNodesSecurityGroupRules",
            "allNodesSecurityGroupRules",
        );
    }
    if let Some(machine) = bastion(spec) {
        machine_from_hub(machine);
    }
}

fn bastion(spec: &mut Fields) -> Option<&mut Fields> {
    spec.get_mut("bastion")?.get_mut("spec")?.as_object_mut()
}

fn status_to_hub(fields: &mut Fields) {
    status::to_hub(fields);
    rename(fields, "apiServerLoadBalancer", "apiServerManagedLoadBalancer");
    if let Some(Value::Object(balancer)) = fields.get_mut("apiServerManagedLoadBalancer") {
        // Without a floating IP the older version has no address from outside; the newer one demands one.
        let inside = balancer.get("internalIP").cloned();
        if balancer.get("ip").is_some_and(|ip| ip == "")
            && let Some(inside) = inside
        {
            balancer.insert("ip".to_owned(), inside);
        }
    }
    if let Some(Value::Object(domains)) = fields.remove("failureDomains") {
        let mut domains: Vec<(String, Value)> = domains.into_iter().collect();
        domains.sort_by(|one, other| one.0.cmp(&other.0));
        let named = domains.into_iter().map(|(name, mut domain)| {
            domain["name"] = name.into();
            domain
        });
        fields.insert("failureDomains".to_owned(), named.collect());
    }
    if let Some(bastion) = fields.get_mut("bastion").and_then(Value::as_object_mut) {
        resolved(bastion, "disablePortSecurity", "enablePortSecurity");
    }
}

fn status_from_hub(fields: &mut Fields) {
    let ready = status::from_hub(fields);
    fields.insert("ready".to_owned(), ready.into());
    rename(fields, "apiServerManagedLoadBalancer", "apiServerLoadBalancer");
    if let Some(Value::Array(domains)) = fields.remove("failureDomains") {
        let mut by_name = Fields::new();
        for mut domain in domains {
            let name = domain.as_object_mut().and_then(|domain| domain.remove("name"));
            let name = name.and_then(|name| name.as_str().map(str::to_owned));
            by_name.extend(name.map(|name| (name, domain)));
        }
        fields.insert("failureDomains".to_owned(), json!(by_name));
    }
    if let Some(bastion) = fields.get_mut("bastion").and_then(Value::as_object_mut) {
        resolved(bastion, "enablePortSecurity", "disablePortSecurity");
    }
}
