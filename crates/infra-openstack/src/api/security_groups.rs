//! Security groups and their rules.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::wire::wire_enum;

/// The security groups that this provider makes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ManagedSecurityGroups {
    /// Whether nodes may talk to each other without restriction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false))]
    pub allow_all_in_cluster_traffic: Option<bool>,
    /// Further rules for all nodes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-map-keys" = ["name"]), extend("x-kubernetes-list-type" = "map"))]
    pub cluster_nodes_security_group_rules: Vec<SecurityGroupRuleSpec>,
    /// Further rules for control plane nodes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-map-keys" = ["name"]), extend("x-kubernetes-list-type" = "map"))]
    pub control_plane_nodes_security_group_rules: Vec<SecurityGroupRuleSpec>,
    /// Further rules for workers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-map-keys" = ["name"]), extend("x-kubernetes-list-type" = "map"))]
    pub worker_nodes_security_group_rules: Vec<SecurityGroupRuleSpec>,
}

/// A rule of a security group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecurityGroupRuleSpec {
    /// The description.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The direction of the traffic.
    pub direction: RuleDirection,
    /// The address family.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ether_type: Option<EtherType>,
    /// A name for this list; OpenStack does not see it.
    #[schemars(length(min = 1))]
    pub name: String,
    /// The last port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port_range_max: Option<i32>,
    /// The first port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port_range_min: Option<i32>,
    /// The protocol, by name or number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// The other side: members of this group.
    #[serde(rename = "remoteGroupID", default, skip_serializing_if = "Option::is_none")]
    pub remote_group_id: Option<String>,
    /// The other side: these addresses.
    #[serde(rename = "remoteIPPrefix", default, skip_serializing_if = "Option::is_none")]
    pub remote_ip_prefix: Option<String>,
    /// The other side: members of these groups of this provider.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub remote_managed_groups: Vec<ManagedSecurityGroupName>,
}

wire_enum! {
    /// The direction of traffic, seen from the server.
    pub enum RuleDirection {
        /// To the server.
        #[default]
        Ingress = "ingress",
        /// From the server.
        Egress = "egress",
    }
}

wire_enum! {
    /// The address family of a rule.
    pub enum EtherType {
        /// IPv4.
        #[default]
        IPv4 = "IPv4",
        /// IPv6.
        IPv6 = "IPv6",
    }
}

wire_enum! {
    /// A security group that this provider manages.
    pub enum ManagedSecurityGroupName {
        /// That of the bastion.
        #[default]
        Bastion = "bastion",
        /// That of control plane machines.
        ControlPlane = "controlplane",
        /// That of workers.
        Worker = "worker",
    }
}

/// A security group as it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecurityGroupStatus {
    /// The id in OpenStack.
    #[schemars(length(min = 1))]
    pub id: String,
    /// The name.
    #[schemars(length(min = 1))]
    pub name: String,
}
