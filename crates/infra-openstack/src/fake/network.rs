//! Neutron: networks, subnets, routers, ports, trunks, floating IPs, security groups.

use std::net::IpAddr;

use ::http::StatusCode;
use serde_json::{Value, json};

use super::{
    http::{Reply, fits},
    world::{Change, World},
};

/// Collections, what one of them is called, and what Neutron calls it in its errors.
const COLLECTIONS: &[(&str, &str, &str)] = &[
    ("networks", "network", "Network"),
    ("subnets", "subnet", "Subnet"),
    ("routers", "router", "Router"),
    ("ports", "port", "Port"),
    ("trunks", "trunk", "Trunk"),
    ("floatingips", "floatingip", "Floating IP"),
    ("security-groups", "security_group", "Security group"),
];

pub(super) fn not_found(what: &str, id: &str) -> Reply {
    let kind = format!("{}NotFound", what.replace(' ', ""));
    Reply::neutron(
        StatusCode::NOT_FOUND,
        &kind,
        &format!("{what} {id} could not be found."),
    )
}

pub(super) fn conflict(kind: &str, message: &str) -> Reply {
    Reply::neutron(StatusCode::CONFLICT, kind, message)
}

impl World {
    pub(super) fn network(
        &mut self,
        method: &str,
        path: &[&str],
        query: &[(String, String)],
        body: &Value,
    ) -> Result<Reply, Reply> {
        let Some(path) = path.strip_prefix(&["v2.0"]) else {
            return Err(Reply::empty(StatusCode::NOT_FOUND));
        };
        match (method, path) {
            ("GET", ["extensions"]) => {
                let aliases = [
                    "trunk",
                    "standard-attr-tag",
                    "security-group",
                    "router",
                    "port-security",
                ];
                let known: Vec<Value> = aliases.iter().map(|alias| json!({ "alias": alias })).collect();
                return Reply::ok(json!({ "extensions": known }));
            }
            ("POST", ["security-group-rules"]) => return self.create_rules(body),
            ("DELETE", ["security-group-rules", id]) => return self.delete_rule(id),
            _ => {}
        }
        let Some((collection, rest)) = path.split_first() else {
            return Err(Reply::empty(StatusCode::NOT_FOUND));
        };
        let Some((_, one, what)) = COLLECTIONS.iter().find(|(known, ..)| known == collection) else {
            return Err(Reply::empty(StatusCode::NOT_FOUND));
        };
        let plural = collection.replace('-', "_");
        if let Some(id) = rest.first()
            && self.get(collection, id).is_none()
        {
            return Err(not_found(what, id));
        }
        match (method, rest) {
            ("GET", []) => {
                let found: Vec<&Value> = self
                    .list(collection)
                    .filter(|resource| fits(resource, query))
                    .collect();
                Reply::ok(json!({ plural: found }))
            }
            ("GET", [id]) => Reply::ok(json!({ *one: self.get(collection, id) })),
            ("POST", []) => {
                let id = self.create_network_resource(collection, &body[*one])?;
                Reply::created(json!({ *one: self.get(collection, &id) }))
            }
            ("PUT", [id, "tags"]) => {
                self.change(collection, id, |resource| resource["tags"] = body["tags"].clone());
                Reply::ok(body.clone())
            }
            ("PUT", [id, "add_router_interface"]) => self.add_interface(id, &body["subnet_id"]),
            ("PUT", [id, "remove_router_interface"]) => self.remove_interface(id, &body["subnet_id"]),
            ("PUT", [id, "remove_subports"]) => {
                let removed = body["sub_ports"].clone();
                self.change(collection, id, |trunk| {
                    if let Some(ports) = trunk["sub_ports"].as_array_mut() {
                        let is_removed = |port: &Value| {
                            removed
                                .as_array()
                                .into_iter()
                                .flatten()
                                .any(|r| r["port_id"] == port["port_id"])
                        };
                        ports.retain(|port| !is_removed(port));
                    }
                });
                Reply::ok(json!({ "sub_ports": [] }))
            }
            ("PUT", [id]) => {
                self.update(collection, id, &body[*one])?;
                Reply::ok(json!({ *one: self.get(collection, id) }))
            }
            ("DELETE", [id]) => self.delete_network_resource(collection, id),
            _ => Err(Reply::empty(StatusCode::METHOD_NOT_ALLOWED)),
        }
    }

    fn create_network_resource(&mut self, collection: &str, request: &Value) -> Result<String, Reply> {
        if self.is_full(collection) {
            let message = format!(
                "Quota exceeded for resources: ['{}'].",
                collection.trim_end_matches('s')
            );
            return Err(conflict("OverQuota", &message));
        }
        let mut resource = request.clone();
        if !resource["tags"].is_array() {
            resource["tags"] = json!([]);
        }
        resource["project_id"] = "demo-project".into();
        match collection {
            "networks" => {
                resource["status"] = "ACTIVE".into();
                resource["subnets"] = json!([]);
                resource["router:external"] = false.into();
            }
            "subnets" => return self.create_subnet(resource),
            "routers" => self.give_gateway(&mut resource)?,
            "ports" => return self.create_port(resource),
            "floatingips" => return self.create_floating_ip(resource),
            "security-groups" => {
                let rules: Vec<Value> = ["IPv4", "IPv6"]
                    .iter()
                    .map(|family| json!({ "id": self.id(), "direction": "egress", "ethertype": family }))
                    .collect();
                resource["security_group_rules"] = rules.into();
            }
            _ => {}
        }
        Ok(self.insert(collection, resource))
    }

    fn create_subnet(&mut self, mut subnet: Value) -> Result<String, Reply> {
        let network = subnet["network_id"].as_str().unwrap_or_default().to_owned();
        if self.get("networks", &network).is_none() {
            return Err(not_found("Network", &network));
        }
        if !subnet["gateway_ip"].is_string() {
            subnet["gateway_ip"] = host(subnet["cidr"].as_str().unwrap_or_default(), 1)
                .unwrap_or_default()
                .into();
        }
        if !subnet["dns_nameservers"].is_array() {
            subnet["dns_nameservers"] = json!([]);
        }
        let id = self.insert("subnets", subnet);
        self.change("networks", &network, |network| {
            if let Some(subnets) = network["subnets"].as_array_mut() {
                subnets.push(id.as_str().into());
            }
        });
        Ok(id)
    }

    /// An address of a subnet that nobody has.
    fn free_address(&self, subnet: &str) -> Result<String, Reply> {
        let found = self
            .get("subnets", subnet)
            .ok_or_else(|| not_found("Subnet", subnet))?;
        let cidr = found["cidr"].as_str().unwrap_or_default();
        let taken = |address: &str| {
            let of_ports = self
                .list("ports")
                .flat_map(|port| port["fixed_ips"].as_array().into_iter().flatten());
            let gateways = self.list("routers").flat_map(|router| {
                router["external_gateway_info"]["external_fixed_ips"]
                    .as_array()
                    .into_iter()
                    .flatten()
            });
            of_ports.chain(gateways).any(|ip| ip["ip_address"] == address)
                || self
                    .list("floatingips")
                    .any(|floating| floating["floating_ip_address"] == address)
                || found["gateway_ip"] == address
        };
        (10..250)
            .filter_map(|index| host(cidr, index))
            .find(|address| !taken(address))
            .ok_or_else(|| {
                conflict(
                    "IpAddressGenerationFailure",
                    "No more IP addresses available on network.",
                )
            })
    }

    fn first_subnet(&self, network: &str) -> Result<String, Reply> {
        let found = self
            .get("networks", network)
            .ok_or_else(|| not_found("Network", network))?;
        found["subnets"][0].as_str().map(str::to_owned).ok_or_else(|| {
            let message = format!("Network {network} has no subnets");
            Reply::neutron(StatusCode::BAD_REQUEST, "BadRequest", &message)
        })
    }

    fn give_gateway(&mut self, router: &mut Value) -> Result<(), Reply> {
        let Some(network) = router["external_gateway_info"]["network_id"]
            .as_str()
            .map(str::to_owned)
        else {
            return Ok(());
        };
        let wished = router["external_gateway_info"]["external_fixed_ips"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let mut ips = Vec::new();
        for wish in wished.iter().chain(wished.is_empty().then_some(&Value::Null)) {
            let subnet = match wish["subnet_id"].as_str() {
                Some(subnet) => subnet.to_owned(),
                None => self.first_subnet(&network)?,
            };
            let address = match wish["ip_address"].as_str() {
                Some(address) => address.to_owned(),
                None => self.free_address(&subnet)?,
            };
            ips.push(json!({ "subnet_id": subnet, "ip_address": address }));
        }
        router["external_gateway_info"] = json!({ "network_id": network, "external_fixed_ips": ips });
        Ok(())
    }

    fn create_port(&mut self, mut port: Value) -> Result<String, Reply> {
        let network = port["network_id"].as_str().unwrap_or_default().to_owned();
        if self.get("networks", &network).is_none() {
            return Err(not_found("Network", &network));
        }
        for group in port["security_groups"].as_array().into_iter().flatten() {
            let group = group.as_str().unwrap_or_default();
            if self.get("security-groups", group).is_none() {
                return Err(not_found("Security group", group));
            }
        }
        let wished = port["fixed_ips"].as_array().cloned().unwrap_or_default();
        let mut ips = Vec::new();
        for wish in wished.iter().chain(wished.is_empty().then_some(&Value::Null)) {
            let subnet = match wish["subnet_id"].as_str() {
                Some(subnet) => subnet.to_owned(),
                None => self.first_subnet(&network)?,
            };
            let address = match wish["ip_address"].as_str() {
                Some(address) => address.to_owned(),
                None => self.free_address(&subnet)?,
            };
            let used = self.list("ports").any(|other| {
                other["network_id"] == network.as_str()
                    && other["fixed_ips"]
                        .as_array()
                        .into_iter()
                        .flatten()
                        .any(|ip| ip["ip_address"] == address.as_str())
            });
            if used {
                let message = format!("IP address {address} already allocated in subnet {subnet}");
                return Err(conflict("IpAddressAlreadyAllocated", &message));
            }
            ips.push(json!({ "subnet_id": subnet, "ip_address": address }));
        }
        port["fixed_ips"] = ips.into();
        if !port["security_groups"].is_array() {
            port["security_groups"] = json!([]);
        }
        if !port["port_security_enabled"].is_boolean() {
            port["port_security_enabled"] = true.into();
        }
        for (key, usual) in [
            ("device_id", ""),
            ("device_owner", ""),
            ("status", "DOWN"),
            ("name", ""),
        ] {
            if !port[key].is_string() {
                port[key] = usual.into();
            }
        }
        Ok(self.insert("ports", port))
    }

    fn create_floating_ip(&mut self, mut floating: Value) -> Result<String, Reply> {
        let network = floating["floating_network_id"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let subnet = self.first_subnet(&network)?;
        let address = match floating["floating_ip_address"]
            .as_str()
            .filter(|address| !address.is_empty())
        {
            Some(address)
                if self
                    .list("floatingips")
                    .any(|other| other["floating_ip_address"] == address) =>
            {
                let message = format!("IP address {address} already allocated in subnet {subnet}");
                return Err(conflict("IpAddressAlreadyAllocated", &message));
            }
            Some(address) => address.to_owned(),
            None => self.free_address(&subnet)?,
        };
        floating["floating_ip_address"] = address.into();
        floating["status"] = if floating["port_id"].is_string() {
            "ACTIVE"
        } else {
            "DOWN"
        }
        .into();
        let id = self.insert("floatingips", floating);
        self.announce(&id);
        Ok(id)
    }

    /// Neutron tells Nova about a floating IP; that takes a while.
    fn announce(&mut self, floating: &str) {
        self.change("floatingips", floating, |floating| {
            floating["shown"] = false.into()
        });
        let delay = self.delays.address;
        self.later(delay, Change::AddressShown(floating.to_owned()));
    }

    fn update(&mut self, collection: &str, id: &str, request: &Value) -> Result<(), Reply> {
        let mut request = request.clone();
        if collection == "routers" {
            self.give_gateway(&mut request)?;
        }
        if collection == "floatingips"
            && let Some(port) = request["port_id"].as_str()
            && self.get("ports", port).is_none()
        {
            return Err(not_found("Port", port));
        }
        if collection == "floatingips" {
            self.announce(id);
        }
        self.change(collection, id, |resource| {
            for (key, value) in request.as_object().into_iter().flatten() {
                resource[key] = value.clone();
            }
            if collection == "floatingips" {
                resource["status"] = if resource["port_id"].is_string() {
                    "ACTIVE"
                } else {
                    "DOWN"
                }
                .into();
            }
        });
        Ok(())
    }

    fn interfaces(&self, router: &str, subnet: &Value) -> Vec<String> {
        self.ids("ports", |port| {
            port["device_id"] == router
                && port["device_owner"] == "network:router_interface"
                && (subnet.is_null()
                    || port["fixed_ips"]
                        .as_array()
                        .into_iter()
                        .flatten()
                        .any(|ip| ip["subnet_id"] == *subnet))
        })
    }

    fn add_interface(&mut self, router: &str, subnet: &Value) -> Result<Reply, Reply> {
        let id = subnet.as_str().unwrap_or_default();
        let found = self
            .get("subnets", id)
            .ok_or_else(|| not_found("Subnet", id))?
            .clone();
        if !self.interfaces(router, subnet).is_empty() {
            let message = format!("Router already has a port on subnet {id}");
            return Err(Reply::neutron(StatusCode::BAD_REQUEST, "BadRequest", &message));
        }
        let port = json!({ "name": "", "network_id": found["network_id"], "device_id": router, "status": "ACTIVE", "tags": [],
            "device_owner": "network:router_interface",
            "fixed_ips": [{ "subnet_id": id, "ip_address": found["gateway_ip"] }] });
        let port = self.insert("ports", port);
        Reply::ok(json!({ "port_id": port, "subnet_id": id }))
    }

    fn remove_interface(&mut self, router: &str, subnet: &Value) -> Result<Reply, Reply> {
        let found = self.interfaces(router, subnet);
        let Some(port) = found.first().filter(|_| subnet.is_string()) else {
            return Err(not_found("Router interface", router));
        };
        self.remove("ports", port);
        Reply::ok(json!({ "port_id": port }))
    }

    fn delete_network_resource(&mut self, collection: &str, id: &str) -> Result<Reply, Reply> {
        match collection {
            "routers" if !self.interfaces(id, &Value::Null).is_empty() => {
                return Err(conflict("RouterInUse", &format!("Router {id} still has ports")));
            }
            "networks" => {
                if self.list("ports").any(|port| port["network_id"] == id) {
                    let message = format!(
                        "Unable to complete operation on network {id}. There are one or more ports still in use on the network."
                    );
                    return Err(conflict("NetworkInUse", &message));
                }
                for subnet in self.ids("subnets", |subnet| subnet["network_id"] == id) {
                    self.remove("subnets", &subnet);
                }
            }
            "security-groups" => {
                let used = self.list("ports").any(|port| {
                    port["security_groups"]
                        .as_array()
                        .into_iter()
                        .flatten()
                        .any(|group| group == id)
                });
                if used {
                    return Err(conflict(
                        "SecurityGroupInUse",
                        &format!("Security Group {id} in use."),
                    ));
                }
            }
            "ports" => {
                let owner = self
                    .get("ports", id)
                    .map(|port| port["device_owner"].clone())
                    .unwrap_or_default();
                if owner == "network:router_interface" {
                    let message = format!(
                        "Port {id} cannot be deleted directly via the port API: has device owner network:router_interface."
                    );
                    return Err(conflict("ServicePortInUse", &message));
                }
                if self.list("trunks").any(|trunk| trunk["port_id"] == id) {
                    return Err(conflict(
                        "PortInUseAsTrunkParent",
                        &format!("Port {id} is in use by a trunk."),
                    ));
                }
                for floating in self.ids("floatingips", |floating| floating["port_id"] == id) {
                    self.change("floatingips", &floating, |floating| {
                        floating["port_id"] = Value::Null;
                        floating["status"] = "DOWN".into();
                    });
                }
            }
            _ => {}
        }
        self.remove(collection, id);
        Reply::gone()
    }
}

/// The host number `index` of a range.
fn host(cidr: &str, index: u8) -> Option<String> {
    let (base, _) = cidr.split_once('/')?;
    match base.parse::<IpAddr>().ok()? {
        IpAddr::V4(base) => Some(std::net::Ipv4Addr::from(u32::from(base) + u32::from(index)).to_string()),
        IpAddr::V6(base) => Some(std::net::Ipv6Addr::from(u128::from(base) + u128::from(index)).to_string()),
    }
}
