//! Ports of servers: what is asked for and what it was resolved to.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::params::{NetworkParam, SecurityGroupParam, SubnetParam};

/// A port of a server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PortOpts {
    /// Whether the port is up; yes if not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin_state_up: Option<bool>,
    /// Further addresses from which it may send.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub allowed_address_pairs: Vec<AddressPair>,
    /// The description.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Whether security groups and address checks apply; yes if not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enable_port_security: Option<bool>,
    /// The addresses; one of the network if empty.
    #[serde(rename = "fixedIPs", default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub fixed_ips: Vec<FixedIP>,
    /// The host to bind to.
    #[serde(rename = "hostID", default, skip_serializing_if = "Option::is_none")]
    pub host_id: Option<String>,
    /// The MAC address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac_address: Option<String>,
    /// What the name ends with; the index of the port if not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name_suffix: Option<String>,
    /// The network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkParam>,
    /// What the hypervisor is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<BindingProfile>,
    /// Whether the state of the uplink is passed on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub propagate_uplink_status: Option<bool>,
    /// The security groups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub security_groups: Vec<SecurityGroupParam>,
    /// Tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub tags: Vec<String>,
    /// Whether to make a trunk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trunk: Option<bool>,
    /// Further attributes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-map-keys" = ["name"]), extend("x-kubernetes-list-type" = "map"))]
    pub value_specs: Vec<ValueSpec>,
    /// The kind of virtual interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vnic_type: Option<String>,
}

/// An address, and perhaps a MAC address, from which a port may send.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AddressPair {
    /// The address.
    #[schemars(length(min = 1))]
    pub ip_address: String,
    /// The MAC address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac_address: Option<String>,
}

/// An address that a port gets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FixedIP {
    /// The address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_address: Option<String>,
    /// The subnet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subnet: Option<SubnetParam>,
}

/// What the hypervisor is told about a port.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BindingProfile {
    /// Offload to hardware by Open vSwitch.
    #[serde(rename = "ovsHWOffload", default, skip_serializing_if = "Option::is_none")]
    pub ovs_hw_offload: Option<bool>,
    /// Whether the virtual function is trusted.
    #[serde(rename = "trustedVF", default, skip_serializing_if = "Option::is_none")]
    pub trusted_vf: Option<bool>,
}

/// A further attribute of a port.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ValueSpec {
    /// The key.
    #[schemars(length(min = 1))]
    pub key: String,
    /// A name for this list; OpenStack does not see it.
    #[schemars(length(min = 1))]
    pub name: String,
    /// The value.
    #[schemars(length(min = 1))]
    pub value: String,
}

/// A port with everything looked up.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResolvedPortSpec {
    /// Whether the port is up; yes if not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin_state_up: Option<bool>,
    /// Further addresses from which it may send.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub allowed_address_pairs: Vec<AddressPair>,
    /// The description.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Whether security groups and address checks apply; yes if not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enable_port_security: Option<bool>,
    /// The addresses; one of the network if empty.
    #[serde(rename = "fixedIPs", default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub fixed_ips: Vec<ResolvedFixedIP>,
    /// The host to bind to.
    #[serde(rename = "hostID", default, skip_serializing_if = "Option::is_none")]
    pub host_id: Option<String>,
    /// The MAC address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac_address: Option<String>,
    /// The name.
    #[schemars(length(min = 1))]
    pub name: String,
    /// The network, by id.
    #[serde(rename = "networkID")]
    #[schemars(length(min = 1))]
    pub network_id: String,
    /// What the hypervisor is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<BindingProfile>,
    /// Whether the state of the uplink is passed on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub propagate_uplink_status: Option<bool>,
    /// The security groups, by id.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub security_groups: Vec<String>,
    /// Tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub tags: Vec<String>,
    /// Whether to make a trunk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trunk: Option<bool>,
    /// Further attributes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-map-keys" = ["name"]), extend("x-kubernetes-list-type" = "map"))]
    pub value_specs: Vec<ValueSpec>,
    /// The kind of virtual interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vnic_type: Option<String>,
}

/// An address that a port gets, with its subnet looked up.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResolvedFixedIP {
    /// The address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_address: Option<String>,
    /// The subnet, by id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subnet: Option<String>,
}

/// A port that exists.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PortStatus {
    /// The id in OpenStack.
    #[schemars(length(min = 1))]
    pub id: String,
}
