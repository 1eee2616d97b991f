//! Where the API server of a workload cluster is reached, and its load balancer.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::networks::NetworkStatusWithSubnets;
use super::params::{NetworkParam, SubnetParam};
use super::schemas;

/// Where the API server of the workload cluster is reached.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct APIServer {
    /// Whether the API server gets a floating IP; yes if not said.
    #[serde(rename = "enableFloatingIP", default, skip_serializing_if = "Option::is_none")]
    pub enable_floating_ip: Option<bool>,
    /// The address of the load balancer, or of the API server without one.
    #[serde(rename = "fixedIP", default, skip_serializing_if = "Option::is_none")]
    pub fixed_ip: Option<String>,
    /// A floating IP to use; it may exist already and is never deleted.
    #[serde(rename = "floatingIP", default, skip_serializing_if = "Option::is_none")]
    pub floating_ip: Option<String>,
    /// The load balancer; without it the endpoint is a floating IP, a fixed one or somebody else's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed_load_balancer: Option<APIServerLoadBalancer>,
    /// The port of the API server; 6443 if not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schemas::port")]
    pub port: Option<i64>,
}

/// The load balancer in front of the API servers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct APIServerLoadBalancer {
    /// Further ports that the load balancer forwards.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub additional_ports: Vec<i32>,
    /// From where the load balancer may be used; everywhere if empty.
    #[serde(rename = "allowedCIDRs", default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub allowed_cidrs: Vec<String>,
    /// The availability zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub availability_zone: Option<String>,
    /// Whether it is wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = true))]
    pub enabled: Option<bool>,
    /// The Octavia flavor, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flavor: Option<String>,
    /// How the members are checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitor: Option<APIServerLoadBalancerMonitor>,
    /// The network of the virtual address; that of the cluster if not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkParam>,
    /// The Octavia provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// The subnets of the virtual address; the first one counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub subnets: Vec<SubnetParam>,
}

/// How the load balancer checks the API servers; what is 0 or absent has a usual value.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct APIServerLoadBalancerMonitor {
    /// Time between checks, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub delay: Option<i32>,
    /// Successful checks until a member counts as up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10))]
    pub max_retries: Option<i32>,
    /// Failed checks until a member counts as down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10))]
    pub max_retries_down: Option<i32>,
    /// How long an answer may take, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub timeout: Option<i32>,
}

/// The load balancer as it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LoadBalancer {
    /// From where the load balancer may be used; everywhere if empty.
    #[serde(rename = "allowedCIDRs", default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub allowed_cidrs: Vec<String>,
    /// The id in OpenStack.
    #[schemars(length(min = 1))]
    pub id: String,
    /// The virtual address.
    #[serde(rename = "internalIP")]
    #[schemars(length(min = 1))]
    pub internal_ip: String,
    /// The address from outside.
    #[schemars(length(min = 1))]
    pub ip: String,
    /// The network of the virtual address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_balancer_network: Option<NetworkStatusWithSubnets>,
    /// The name.
    #[schemars(length(min = 1))]
    pub name: String,
    /// Tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub tags: Vec<String>,
}
