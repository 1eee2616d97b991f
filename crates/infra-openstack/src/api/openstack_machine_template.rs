//! The kind OpenStackMachineTemplate.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::openstack_machine::OpenStackMachineSpec;
use super::schemas;

/// The content of an OpenStackMachineTemplate.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "infrastructure.cluster.x-k8s.io",
    version = "v1beta2",
    kind = "OpenStackMachineTemplate",
    plural = "openstackmachinetemplates",
    namespaced,
    doc = "What new OpenStackMachines look like.",
    status = "OpenStackMachineTemplateStatus",
    derive = "Default",
    derive = "PartialEq",
    category = "cluster-api",
    shortname = "osmt"
)]
#[serde(rename_all = "camelCase")]
pub struct OpenStackMachineTemplateSpec {
    /// What new objects look like.
    pub template: OpenStackMachineTemplateResource,
}

/// What new OpenStackMachines look like.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OpenStackMachineTemplateResource {
    /// The spec of new objects.
    pub spec: OpenStackMachineSpec,
}

/// The observed state of an OpenStackMachineTemplate.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OpenStackMachineTemplateStatus {
    /// What a node of this flavor will have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schemas::quantities")]
    pub capacity: BTreeMap<String, Quantity>,
    /// What is known about the object, one entry per aspect.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schemas::conditions")]
    pub conditions: Vec<Condition>,
    /// What nodes will run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_info: Option<NodeInfo>,
}

/// What nodes will run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("minProperties" = 1))]
pub struct NodeInfo {
    /// The operating system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operating_system: Option<String>,
}
