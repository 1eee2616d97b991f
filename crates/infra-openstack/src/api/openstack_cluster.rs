//! The kind OpenStackCluster.

use capi_api::core::v1beta2::{APIEndpoint, FailureDomain};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::api_server::{APIServer, LoadBalancer};
use super::identity::OpenStackIdentityReference;
use super::networks::{
    ManagedNetwork, ManagedRouter, NetworkStatus, NetworkStatusWithSubnets, Router, SubnetSpec,
};
use super::openstack_machine::OpenStackMachineSpec;
use super::params::{NetworkParam, RouterParam, SubnetParam};
use super::schemas;
use super::security_groups::{ManagedSecurityGroups, SecurityGroupStatus};
use super::servers::BastionStatus;

/// The desired state of an OpenStackCluster.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "infrastructure.cluster.x-k8s.io",
    version = "v1beta2",
    kind = "OpenStackCluster",
    plural = "openstackclusters",
    namespaced,
    doc = "The network, load balancer and security groups of a cluster on OpenStack.",
    status = "OpenStackClusterStatus",
    derive = "Default",
    derive = "PartialEq",
    category = "cluster-api",
    shortname = "osc",
    printcolumn(
        name = "Cluster",
        type_ = "string",
        json_path = ".metadata.labels.cluster\\.x-k8s\\.io/cluster-name"
    ),
    printcolumn(name = "Network", type_ = "string", json_path = ".status.network.id"),
    printcolumn(
        name = "Endpoint",
        type_ = "string",
        json_path = ".spec.controlPlaneEndpoint.host",
        priority = 1
    ),
    printcolumn(
        name = "Bastion IP",
        type_ = "string",
        json_path = ".status.bastion.floatingIP"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{"message": "bastion floating IP cannot be set when enableExternalNetwork is false", "rule": "has(self.enableExternalNetwork) && !self.enableExternalNetwork ? !has(self.bastion) || !has(self.bastion.floatingIP) : true"}, {"message": "apiServer.enableFloatingIP cannot be true when enableExternalNetwork is false", "rule": "has(self.enableExternalNetwork) && !self.enableExternalNetwork ? has(self.apiServer) && has(self.apiServer.enableFloatingIP) && !self.apiServer.enableFloatingIP : true"}]))]
pub struct OpenStackClusterSpec {
    /// Where the API server is reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_server: Option<APIServer>,
    /// The bastion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bastion: Option<Bastion>,
    /// The availability zones for control plane machines; all if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub control_plane_availability_zones: Vec<String>,
    /// Where the API server is reached; filled in when it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control_plane_endpoint: Option<APIEndpoint>,
    /// Whether control plane machines are left without availability zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control_plane_omit_availability_zone: Option<bool>,
    /// Whether there is a way outside; yes if not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enable_external_network: Option<bool>,
    /// The network that leads outside; the only external one if not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_network: Option<NetworkParam>,
    /// The credentials to use.
    pub identity_ref: OpenStackIdentityReference,
    /// Settings of the network to make.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed_network: Option<ManagedNetwork>,
    /// Settings of the router to make.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed_router: Option<ManagedRouter>,
    /// The security groups to make; none are made if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed_security_groups: Option<ManagedSecurityGroups>,
    /// The subnets to make; none means that existing ones are used.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1), extend("x-kubernetes-list-type" = "atomic"))]
    pub managed_subnets: Vec<SubnetSpec>,
    /// An existing network to use, when no subnets are made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkParam>,
    /// The subnet in which load balancer members and default ports have their address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary_subnet: Option<SubnetParam>,
    /// An existing router to use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub router: Option<RouterParam>,
    /// Existing subnets to use, when none are made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub subnets: Vec<SubnetParam>,
    /// Tags for everything that is made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub tags: Vec<String>,
}

/// A server to reach the others through.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{"message": "spec is required if bastion is enabled", "rule": "!self.enabled || has(self.spec)"}]))]
pub struct Bastion {
    /// The availability zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub availability_zone: Option<String>,
    /// Whether it is wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = true))]
    pub enabled: Option<bool>,
    /// A floating IP to use; it may exist already and is never deleted.
    #[serde(rename = "floatingIP", default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "ipv4"))]
    pub floating_ip: Option<String>,
    /// The machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec: Option<OpenStackMachineSpec>,
}

/// The observed state of an OpenStackCluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OpenStackClusterStatus {
    /// The load balancer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_server_managed_load_balancer: Option<LoadBalancer>,
    /// The bastion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bastion: Option<BastionStatus>,
    /// The security group of the bastion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bastion_security_group: Option<SecurityGroupStatus>,
    /// What is known about the object, one entry per aspect.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schemas::conditions")]
    pub conditions: Vec<Condition>,
    /// The security group of control plane nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control_plane_security_group: Option<SecurityGroupStatus>,
    /// The external network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_network: Option<NetworkStatus>,
    /// Where machines may be placed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-map-keys" = ["name"]), extend("x-kubernetes-list-type" = "map"))]
    pub failure_domains: Vec<FailureDomain>,
    /// What has been reached once and never goes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initialization: Option<ClusterInitialization>,
    /// The network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkStatusWithSubnets>,
    /// The router.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub router: Option<Router>,
    /// The security group of workers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker_security_group: Option<SecurityGroupStatus>,
}

/// What has been reached once.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterInitialization {
    /// True once everything was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provisioned: Option<bool>,
}
