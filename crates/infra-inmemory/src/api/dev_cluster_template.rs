//! DevClusterTemplate: what a ClusterClass makes DevClusters from.

use capi_api::core::v1beta2::ObjectMeta;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::dev_cluster::DevClusterSpec;

/// What a DevClusterTemplate holds.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "infrastructure.cluster.x-k8s.io",
    version = "v1beta2",
    kind = "DevClusterTemplate",
    doc = "What DevClusters are made from.",
    plural = "devclustertemplates",
    namespaced,
    derive = "Default",
    derive = "PartialEq",
    category = "cluster-api",
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", remote = "Self")]
pub struct DevClusterTemplateSpec {
    /// The DevCluster to be.
    pub template: DevClusterTemplateResource,
}

capi_api::spec_may_be_absent!(DevClusterTemplateSpec);

/// A DevCluster to be.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DevClusterTemplateResource {
    /// Its labels and annotations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<ObjectMeta>,
    /// Its spec.
    pub spec: DevClusterSpec,
}
