//! The kind OpenStackClusterTemplate.

use capi_api::core::v1beta2::ObjectMeta;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::openstack_cluster::OpenStackClusterSpec;

/// The content of an OpenStackClusterTemplate.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "infrastructure.cluster.x-k8s.io",
    version = "v1beta2",
    kind = "OpenStackClusterTemplate",
    plural = "openstackclustertemplates",
    namespaced,
    doc = "What new OpenStackClusters look like.",
    derive = "Default",
    derive = "PartialEq",
    category = "cluster-api",
    shortname = "osct"
)]
#[serde(rename_all = "camelCase")]
pub struct OpenStackClusterTemplateSpec {
    /// What new objects look like.
    pub template: OpenStackClusterTemplateResource,
}

/// What new OpenStackClusters look like.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OpenStackClusterTemplateResource {
    /// Labels and annotations of new objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<ObjectMeta>,
    /// The spec of new objects.
    pub spec: OpenStackClusterSpec,
}
