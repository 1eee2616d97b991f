//! The kind OpenStackMachine.

use k8s_openapi::api::core::v1::{NodeAddress, TypedLocalObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::identity::OpenStackIdentityReference;
use super::params::{FlavorParam, ImageParam, SecurityGroupParam, ServerGroupParam};
use super::ports::PortOpts;
use super::schemas;
use super::servers::{
    MachineResources, ResolvedMachineSpec, SchedulerHintAdditionalProperty, ServerMetadata,
};
use super::volumes::{AdditionalBlockDevice, RootVolume};

/// The desired state of an OpenStackMachine.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "infrastructure.cluster.x-k8s.io",
    version = "v1beta2",
    kind = "OpenStackMachine",
    plural = "openstackmachines",
    namespaced,
    doc = "A machine of a cluster on OpenStack.",
    status = "OpenStackMachineStatus",
    derive = "Default",
    derive = "PartialEq",
    category = "cluster-api",
    shortname = "osm",
    printcolumn(
        name = "Cluster",
        type_ = "string",
        json_path = ".metadata.labels.cluster\\.x-k8s\\.io/cluster-name"
    ),
    printcolumn(name = "ProviderID", type_ = "string", json_path = ".spec.providerID"),
    printcolumn(
        name = "Machine",
        type_ = "string",
        json_path = ".metadata.ownerReferences[?(@.kind==\"Machine\")].name"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct OpenStackMachineSpec {
    /// Further block devices.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-map-keys" = ["name"]), extend("x-kubernetes-list-type" = "map"))]
    pub additional_block_devices: Vec<AdditionalBlockDevice>,
    /// Whether the server gets a config drive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_drive: Option<bool>,
    /// The flavor.
    pub flavor: FlavorParam,
    /// A pool to take a floating IP from.
    #[serde(
        rename = "floatingIPPoolRef",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(extend("x-kubernetes-map-type" = "atomic"))]
    pub floating_ip_pool_ref: Option<TypedLocalObjectReference>,
    /// The credentials to use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity_ref: Option<OpenStackIdentityReference>,
    /// The image.
    pub image: ImageParam,
    /// The ports; one in the network of the cluster if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub ports: Vec<PortOpts>,
    /// What the node is called towards the cloud, as in `openstack:///<id>`.
    #[serde(rename = "providerID", default, skip_serializing_if = "Option::is_none")]
    pub provider_id: Option<String>,
    /// A volume to boot from, instead of a disk of the hypervisor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_volume: Option<RootVolume>,
    /// Further hints for the scheduler.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-map-keys" = ["name"]), extend("x-kubernetes-list-type" = "map"))]
    pub scheduler_hint_additional_properties: Vec<SchedulerHintAdditionalProperty>,
    /// The security groups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub security_groups: Vec<SecurityGroupParam>,
    /// The server group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_group: Option<ServerGroupParam>,
    /// Keys and values that OpenStack keeps with the server.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-map-keys" = ["key"]), extend("x-kubernetes-list-type" = "map"))]
    pub server_metadata: Vec<ServerMetadata>,
    /// The key pair for SSH.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh_key_name: Option<String>,
    /// Tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub tags: Vec<String>,
    /// Whether to make a trunk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trunk: Option<bool>,
}

/// The observed state of an OpenStackMachine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OpenStackMachineStatus {
    /// The addresses of the server.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub addresses: Vec<NodeAddress>,
    /// What is known about the object, one entry per aspect.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schemas::conditions")]
    pub conditions: Vec<Condition>,
    /// What has been reached once and never goes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initialization: Option<MachineInitialization>,
    /// The id of the server.
    #[serde(rename = "instanceID", default, skip_serializing_if = "Option::is_none")]
    pub instance_id: Option<String>,
    /// The state of the server, in the words of Nova.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_state: Option<String>,
    /// What the spec was resolved to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved: Option<ResolvedMachineSpec>,
    /// What was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<MachineResources>,
}

/// What has been reached once.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MachineInitialization {
    /// True once everything was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provisioned: Option<bool>,
}
