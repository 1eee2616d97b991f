//! The kind OpenStackServer: one Nova server, its ports and volumes.

use k8s_openapi::api::core::v1::{LocalObjectReference, NodeAddress, TypedLocalObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::identity::OpenStackIdentityReference;
use super::params::{ImageParam, SecurityGroupParam, ServerGroupParam};
use super::ports::PortOpts;
use super::schemas;
use super::servers::{ResolvedServerSpec, SchedulerHintAdditionalProperty, ServerMetadata, ServerResources};
use super::volumes::{AdditionalBlockDevice, RootVolume};

/// The desired state of an OpenStackServer.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "infrastructure.cluster.x-k8s.io",
    version = "v1alpha1",
    kind = "OpenStackServer",
    plural = "openstackservers",
    namespaced,
    doc = "A server with its ports and volumes.",
    status = "OpenStackServerStatus",
    derive = "Default",
    derive = "PartialEq",
    category = "cluster-api",
    shortname = "oss",
    printcolumn(name = "InstanceState", type_ = "string", json_path = ".status.instanceState"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.ready"),
    printcolumn(name = "InstanceID", type_ = "string", json_path = ".status.instanceID"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{"message": "at least one of flavor or flavorID must be set", "rule": "(has(self.flavor) || has(self.flavorID))"}]))]
pub struct OpenStackServerSpec {
    /// Further block devices.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-map-keys" = ["name"]), extend("x-kubernetes-list-type" = "map"))]
    pub additional_block_devices: Vec<AdditionalBlockDevice>,
    /// The availability zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub availability_zone: Option<String>,
    /// Whether the server gets a config drive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_drive: Option<bool>,
    /// The flavor, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub flavor: Option<String>,
    /// The flavor, by id.
    #[serde(rename = "flavorID", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub flavor_id: Option<String>,
    /// A pool to take a floating IP from.
    #[serde(
        rename = "floatingIPPoolRef",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(extend("x-kubernetes-map-type" = "atomic"))]
    pub floating_ip_pool_ref: Option<TypedLocalObjectReference>,
    /// The credentials to use.
    pub identity_ref: OpenStackIdentityReference,
    /// The image.
    pub image: ImageParam,
    /// The ports; one in the network of the cluster if empty.
    pub ports: Vec<PortOpts>,
    /// A volume to boot from, instead of a disk of the hypervisor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_volume: Option<RootVolume>,
    /// Further hints for the scheduler.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-map-keys" = ["name"]), extend("x-kubernetes-list-type" = "map"))]
    pub scheduler_hint_additional_properties: Vec<SchedulerHintAdditionalProperty>,
    /// The security groups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub security_groups: Vec<SecurityGroupParam>,
    /// The server group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_group: Option<ServerGroupParam>,
    /// Keys and values that OpenStack keeps with the server.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-map-keys" = ["key"]), extend("x-kubernetes-list-type" = "map"))]
    pub server_metadata: Vec<ServerMetadata>,
    /// The key pair for SSH.
    pub ssh_key_name: String,
    /// Tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub tags: Vec<String>,
    /// Whether to make a trunk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trunk: Option<bool>,
    /// The Secret with the user data, under the key `value`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schemas::local_object_reference")]
    pub user_data_ref: Option<LocalObjectReference>,
}

/// The observed state of an OpenStackServer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("required" = ["ready"]))]
pub struct OpenStackServerStatus {
    /// The addresses of the server.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<NodeAddress>,
    /// What is known about the object, one entry per aspect.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schemas::unkeyed_conditions")]
    pub conditions: Vec<Condition>,
    /// The id of the server.
    #[serde(rename = "instanceID", default, skip_serializing_if = "Option::is_none")]
    pub instance_id: Option<String>,
    /// The state of the server, in the words of Nova.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_state: Option<String>,
    /// True while the server runs.
    #[serde(default)]
    #[schemars(extend("default" = false))]
    pub ready: bool,
    /// What the spec was resolved to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved: Option<ResolvedServerSpec>,
    /// What was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ServerResources>,
}
