//! The kind ClusterResourceSet.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::core::v1beta2::V1Beta1Condition;
use crate::crd::schemas;
use crate::wire::wire_enum;

/// The desired state of a ClusterResourceSet.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "addons.cluster.x-k8s.io",
    version = "v1beta2",
    kind = "ClusterResourceSet",
    plural = "clusterresourcesets",
    namespaced,
    doc = "Resources to apply to the clusters that it selects.",
    status = "ClusterResourceSetStatus",
    derive = "Default",
    derive = "PartialEq",
    category = "cluster-api",
    printcolumn(
        name = "Applied",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"ResourcesApplied\")].status"
    ),
    printcolumn(
        name = "Paused",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Paused\")].status",
        priority = 10
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct ClusterResourceSetSpec {
    /// The clusters that get the resources. It cannot be changed.
    #[schemars(schema_with = "schemas::label_selector")]
    pub cluster_selector: LabelSelector,
    /// Secrets and ConfigMaps whose content is applied to the clusters.
    #[schemars(length(min = 1, max = 100), extend("x-kubernetes-list-type" = "atomic"))]
    pub resources: Vec<ResourceRef>,
    /// Whether resources are applied once or kept as they are here. It cannot be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<ClusterResourceSetStrategy>,
}

/// A Secret or ConfigMap with resources.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResourceRef {
    /// The name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The kind.
    pub kind: ClusterResourceSetResourceKind,
}

/// The observed state of a ClusterResourceSet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("minProperties" = 1))]
pub struct ClusterResourceSetStatus {
    /// What is known about the object, one entry per aspect.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schemas::conditions")]
    pub conditions: Vec<Condition>,
    /// The generation of the spec that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub observed_generation: Option<i64>,
    /// What only the v1beta1 API still shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deprecated: Option<ClusterResourceSetDeprecatedStatus>,
}

/// What only old API versions show of a ClusterResourceSet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterResourceSetDeprecatedStatus {
    /// Fields that readers of v1beta1 get to see.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub v1beta1: Option<ClusterResourceSetV1Beta1DeprecatedStatus>,
}

/// The v1beta1 part of the status of a ClusterResourceSet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterResourceSetV1Beta1DeprecatedStatus {
    /// What is known about the object, one entry per aspect.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<V1Beta1Condition>,
}

wire_enum! {
    /// The kinds that may hold resources.
    pub enum ClusterResourceSetResourceKind {
        /// A Secret.
        #[default]
        Secret = "Secret",
        /// A ConfigMap.
        ConfigMap = "ConfigMap",
    }
}

wire_enum! {
    /// How often resources are applied.
    pub enum ClusterResourceSetStrategy {
        /// Once, never again.
        #[default]
        ApplyOnce = "ApplyOnce",
        /// Whenever they change here.
        Reconcile = "Reconcile",
    }
}
