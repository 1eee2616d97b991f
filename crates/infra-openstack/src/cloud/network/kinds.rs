//! What Neutron has, as far as the controllers read it.

use serde::Deserialize;

/// A network.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Network {
    /// The id.
    pub id: String,
    /// Grows with each change.
    #[serde(default)]
    pub revision_number: Option<i64>,
    /// The name.
    #[serde(default)]
    pub name: String,
    /// The tags.
    #[serde(default)]
    pub tags: Vec<String>,
    /// The subnets, by id.
    #[serde(default)]
    pub subnets: Vec<String>,
}

/// A subnet.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Subnet {
    /// The id.
    pub id: String,
    /// The name.
    #[serde(default)]
    pub name: String,
    /// The network it belongs to.
    #[serde(default)]
    pub network_id: String,
    /// The range of addresses.
    #[serde(default)]
    pub cidr: String,
    /// The name servers.
    #[serde(default)]
    pub dns_nameservers: Vec<String>,
    /// The gateway.
    #[serde(default)]
    pub gateway_ip: Option<String>,
    /// The tags.
    #[serde(default)]
    pub tags: Vec<String>,
}

/// A router.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Router {
    /// The id.
    pub id: String,
    /// Grows with each change.
    #[serde(default)]
    pub revision_number: Option<i64>,
    /// The name.
    #[serde(default)]
    pub name: String,
    /// The tags.
    #[serde(default)]
    pub tags: Vec<String>,
    /// The way outside.
    #[serde(default)]
    pub external_gateway_info: Option<Gateway>,
}

/// The way outside of a router.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Gateway {
    /// The external network.
    pub network_id: String,
    /// The addresses there.
    #[serde(default)]
    pub external_fixed_ips: Vec<PortIp>,
}

/// An address of a port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct PortIp {
    /// The subnet.
    #[serde(default)]
    pub subnet_id: String,
    /// The address.
    #[serde(default)]
    pub ip_address: String,
}

/// A port.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Port {
    /// The id.
    pub id: String,
    /// The name.
    #[serde(default)]
    pub name: String,
    /// The network.
    #[serde(default)]
    pub network_id: String,
    /// The server or router it belongs to.
    #[serde(default)]
    pub device_id: String,
    /// What kind of device that is.
    #[serde(default)]
    pub device_owner: String,
    /// The state.
    #[serde(default)]
    pub status: String,
    /// The addresses.
    #[serde(default)]
    pub fixed_ips: Vec<PortIp>,
    /// The tags.
    #[serde(default)]
    pub tags: Vec<String>,
}

/// A trunk.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Trunk {
    /// The id.
    pub id: String,
    /// The name.
    #[serde(default)]
    pub name: String,
    /// The parent port.
    #[serde(default)]
    pub port_id: String,
    /// The subports.
    #[serde(default)]
    pub sub_ports: Vec<SubPort>,
    /// The tags.
    #[serde(default)]
    pub tags: Vec<String>,
}

/// A subport of a trunk.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct SubPort {
    /// The port.
    pub port_id: String,
}

/// A floating IP.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct FloatingIp {
    /// The id.
    pub id: String,
    /// Grows with each change.
    #[serde(default)]
    pub revision_number: Option<i64>,
    /// The address.
    #[serde(default)]
    pub floating_ip_address: String,
    /// The external network.
    #[serde(default)]
    pub floating_network_id: String,
    /// The port it leads to.
    #[serde(default)]
    pub port_id: Option<String>,
    /// The state.
    #[serde(default)]
    pub status: String,
    /// The description.
    #[serde(default)]
    pub description: String,
    /// The tags.
    #[serde(default)]
    pub tags: Vec<String>,
}

/// A security group.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct SecurityGroup {
    /// The id.
    pub id: String,
    /// Grows with each change.
    #[serde(default)]
    pub revision_number: Option<i64>,
    /// The name.
    #[serde(default)]
    pub name: String,
    /// The tags.
    #[serde(default)]
    pub tags: Vec<String>,
    /// The rules.
    #[serde(default)]
    pub security_group_rules: Vec<SecurityGroupRule>,
}

/// A rule of a security group.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct SecurityGroupRule {
    /// The id.
    pub id: String,
    /// `ingress` or `egress`.
    #[serde(default)]
    pub direction: String,
    /// `IPv4` or `IPv6`.
    #[serde(default)]
    pub ethertype: String,
    /// The protocol, if not all.
    #[serde(default)]
    pub protocol: Option<String>,
    /// The first port, if not all.
    #[serde(default)]
    pub port_range_min: Option<i32>,
    /// The last port, if not all.
    #[serde(default)]
    pub port_range_max: Option<i32>,
    /// The group on the other side.
    #[serde(default)]
    pub remote_group_id: Option<String>,
    /// The addresses on the other side.
    #[serde(default)]
    pub remote_ip_prefix: Option<String>,
}
