//! Networks, subnets and routers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::params::SubnetParam;

/// Settings of the network that this provider makes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{"message": "managedNetwork must not be empty if set", "rule": "self == null || has(self.mtu) || has(self.enablePortSecurity)"}]))]
pub struct ManagedNetwork {
    /// Whether security groups and address checks apply; yes if not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enable_port_security: Option<bool>,
    /// The MTU, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<i32>,
}

/// Settings of the router that this provider makes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{"message": "managedRouter must not be empty if set", "rule": "has(self.externalIPs)"}]))]
pub struct ManagedRouter {
    /// The addresses of the router in the external network.
    #[serde(rename = "externalIPs", default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1), extend("x-kubernetes-list-type" = "atomic"))]
    pub external_ips: Vec<ExternalRouterIPParam>,
}

/// An address of the router in the external network.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExternalRouterIPParam {
    /// The address; any of the subnet if not said.
    #[serde(rename = "fixedIP", default, skip_serializing_if = "Option::is_none")]
    pub fixed_ip: Option<String>,
    /// The subnet.
    pub subnet: SubnetParam,
}

/// A subnet that this provider makes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SubnetSpec {
    /// The ranges to take addresses from; all of the subnet if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub allocation_pools: Vec<AllocationPool>,
    /// The range of addresses, as in `10.0.0.0/24`.
    #[schemars(length(min = 1))]
    pub cidr: String,
    /// The name servers that servers are told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub dns_nameservers: Vec<String>,
}

/// A range of addresses, both ends included.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AllocationPool {
    /// The last address.
    #[schemars(length(min = 1))]
    pub end: String,
    /// The first address.
    #[schemars(length(min = 1))]
    pub start: String,
}

/// A network as it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NetworkStatus {
    /// The id in OpenStack.
    #[schemars(length(min = 1))]
    pub id: String,
    /// The name.
    #[schemars(length(min = 1))]
    pub name: String,
    /// Tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub tags: Vec<String>,
}

/// A network as it is, with its subnets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NetworkStatusWithSubnets {
    /// The id in OpenStack.
    #[schemars(length(min = 1))]
    pub id: String,
    /// The name.
    #[schemars(length(min = 1))]
    pub name: String,
    /// The subnets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub subnets: Vec<Subnet>,
    /// Tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub tags: Vec<String>,
}

/// A subnet as it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Subnet {
    /// The range of addresses, as in `10.0.0.0/24`.
    #[schemars(length(min = 1))]
    pub cidr: String,
    /// The id in OpenStack.
    #[schemars(length(min = 1))]
    pub id: String,
    /// The name.
    #[schemars(length(min = 1))]
    pub name: String,
    /// Tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub tags: Vec<String>,
}

/// A router as it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Router {
    /// The id in OpenStack.
    #[schemars(length(min = 1))]
    pub id: String,
    /// The addresses in the external network.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub ips: Vec<String>,
    /// The name.
    #[schemars(length(min = 1))]
    pub name: String,
    /// Tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub tags: Vec<String>,
}
