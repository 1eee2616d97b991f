//! The kind OpenStackFloatingIPPool.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::identity::OpenStackIdentityReference;
use super::networks::NetworkStatus;
use super::params::NetworkParam;
use super::schemas;
use super::wire::wire_enum;

/// The desired state of an OpenStackFloatingIPPool.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "infrastructure.cluster.x-k8s.io",
    version = "v1alpha1",
    kind = "OpenStackFloatingIPPool",
    plural = "openstackfloatingippools",
    namespaced,
    doc = "Hands out floating IPs.",
    status = "OpenStackFloatingIPPoolStatus",
    derive = "Default",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase")]
pub struct OpenStackFloatingIPPoolSpec {
    /// The external network.
    #[serde(
        rename = "floatingIPNetwork",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub floating_ip_network: Option<NetworkParam>,
    /// The credentials to use.
    pub identity_ref: OpenStackIdentityReference,
    /// How many floating IPs there may be; 0 or nothing is without limit.
    #[serde(rename = "maxIPs", default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schemas::integer")]
    pub max_ips: Option<i64>,
    /// Floating IPs that exist already; they are handed out first and never deleted.
    #[serde(
        rename = "preAllocatedFloatingIPs",
        default,
        skip_serializing_if = "Vec::is_empty"
    )]
    pub pre_allocated_floating_ips: Vec<String>,
    /// What happens to floating IPs that are given back.
    pub reclaim_policy: ReclaimPolicy,
}

wire_enum! {
    /// What happens to a floating IP that is given back.
    pub enum ReclaimPolicy {
        /// The pool keeps it for the next claim.
        #[default]
        Retain = "Retain",
        /// It is deleted, unless it was there before the pool.
        Delete = "Delete",
    }
}

/// The observed state of an OpenStackFloatingIPPool.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OpenStackFloatingIPPoolStatus {
    /// Floating IPs free to use.
    #[serde(rename = "availableIPs", default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("default" = []))]
    pub available_ips: Vec<String>,
    /// Floating IPs in use.
    #[serde(rename = "claimedIPs", default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("default" = []))]
    pub claimed_ips: Vec<String>,
    /// What is known about the object, one entry per aspect.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schemas::unkeyed_conditions")]
    pub conditions: Vec<Condition>,
    /// Floating IPs that were announced but do not exist.
    #[serde(rename = "failedIPs", default, skip_serializing_if = "Vec::is_empty")]
    pub failed_ips: Vec<String>,
    /// The external network.
    #[serde(
        rename = "floatingIPNetwork",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub floating_ip_network: Option<NetworkStatus>,
}
