//! The kind ExtensionConfig.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::core::v1beta2::V1Beta1Condition;
use crate::crd::schemas;
use crate::wire::wire_enum;

/// The desired state of an ExtensionConfig.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "runtime.cluster.x-k8s.io",
    version = "v1beta2",
    kind = "ExtensionConfig",
    plural = "extensionconfigs",
    doc = "A runtime extension server and what it offers.",
    status = "ExtensionConfigStatus",
    derive = "Default",
    derive = "PartialEq",
    category = "cluster-api",
    shortname = "ext",
    printcolumn(
        name = "Paused",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Paused\")].status",
        priority = 10
    ),
    printcolumn(
        name = "Discovered",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Discovered\")].status"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct ExtensionConfigSpec {
    /// How the extension server is reached.
    pub client_config: ClientConfig,
    /// Call the extension only for objects in these namespaces; nothing means all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schemas::label_selector")]
    pub namespace_selector: Option<LabelSelector>,
    /// Settings for all calls.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: BTreeMap<String, String>,
}

/// How a server is reached.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("minProperties" = 1))]
pub struct ClientConfig {
    /// The URL of the server; either this or `service`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub url: Option<String>,
    /// The Service of the server; either this or `url`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceReference>,
    /// Certificates of the authority, in PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schemas::bytes", length(min = 1, max = 51200))]
    pub ca_bundle: Option<ByteString>,
}

/// Refers to a Service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceReference {
    /// The namespace.
    #[schemars(length(min = 1, max = 63))]
    pub namespace: String,
    /// The name.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// The path of the URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub path: Option<String>,
    /// The port; nothing means 443.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<i32>,
}

/// The observed state of an ExtensionConfig.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("minProperties" = 1))]
pub struct ExtensionConfigStatus {
    /// What is known about the object, one entry per aspect.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schemas::conditions")]
    pub conditions: Vec<Condition>,
    /// The handlers that discovery found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 512), extend("x-kubernetes-list-map-keys" = ["name"], "x-kubernetes-list-type" = "map"))]
    pub handlers: Vec<ExtensionHandler>,
    /// What only the v1beta1 API still shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deprecated: Option<ExtensionConfigDeprecatedStatus>,
}

/// A handler of an extension.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExtensionHandler {
    /// The name of the handler, with that of the ExtensionConfig.
    #[schemars(length(min = 1, max = 512))]
    pub name: String,
    /// The hook that it answers.
    pub request_hook: GroupVersionHook,
    /// How long a call may take, in seconds; nothing means 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub timeout_seconds: Option<i32>,
    /// What happens when a call fails; nothing means Fail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_policy: Option<FailurePolicy>,
}

/// A hook with its API version.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GroupVersionHook {
    /// API group and version.
    #[schemars(length(min = 1, max = 512))]
    pub api_version: String,
    /// The name of the hook.
    #[schemars(length(min = 1, max = 256))]
    pub hook: String,
}

/// What only old API versions show of an ExtensionConfig.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExtensionConfigDeprecatedStatus {
    /// Fields that readers of v1beta1 get to see.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub v1beta1: Option<ExtensionConfigV1Beta1DeprecatedStatus>,
}

/// The v1beta1 part of the status of an ExtensionConfig.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExtensionConfigV1Beta1DeprecatedStatus {
    /// What is known about the object, one entry per aspect.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<V1Beta1Condition>,
}

wire_enum! {
    /// What happens when a call of an extension fails.
    pub enum FailurePolicy {
        /// Go on as if it had succeeded.
        #[default]
        Ignore = "Ignore",
        /// Stop.
        Fail = "Fail",
    }
}
