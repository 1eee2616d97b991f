//! Version v1alpha3 of `clusterctl.cluster.x-k8s.io`: the inventory of providers, and the file that describes releases.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::wire::wire_enum;

/// The fields of a Provider, which stand at the top of the object.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "clusterctl.cluster.x-k8s.io",
    version = "v1alpha3",
    kind = "Provider",
    plural = "providers",
    namespaced,
    no_spec,
    doc = "A provider that is installed in this management cluster.",
    derive = "Default",
    derive = "PartialEq",
    category = "cluster-api",
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Type", type_ = "string", json_path = ".type"),
    printcolumn(name = "Provider", type_ = "string", json_path = ".providerName"),
    printcolumn(name = "Version", type_ = "string", json_path = ".version")
)]
#[serde(rename_all = "camelCase")]
pub struct ProviderSpec {
    /// The name of the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_name: Option<String>,
    /// What the provider provides, as in `CoreProvider`.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub type_: Option<String>,
    /// The version of the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Legacy: the only namespace that the provider watches; nothing means all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watched_namespace: Option<String>,
}

impl ProviderSpec {
    /// What the provider provides, if it is one of the known types.
    pub fn provider_type(&self) -> Option<ProviderType> {
        self.type_.as_deref().and_then(ProviderType::parse)
    }
}

wire_enum! {
    /// What a provider provides, in the order of installation.
    pub enum ProviderType {
        /// Clusters, machines and what keeps them.
        #[default]
        Core = "CoreProvider",
        /// Bootstrap data.
        Bootstrap = "BootstrapProvider",
        /// Control planes.
        ControlPlane = "ControlPlaneProvider",
        /// Infrastructure.
        Infrastructure = "InfrastructureProvider",
        /// IP addresses.
        Ipam = "IPAMProvider",
        /// Runtime extensions.
        RuntimeExtension = "RuntimeExtensionProvider",
        /// Add-ons.
        Addon = "AddonProvider",
    }
}

/// The content of a Metadata file, beside its `apiVersion` and `kind`.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "clusterctl.cluster.x-k8s.io",
    version = "v1alpha3",
    kind = "Metadata",
    plural = "metadata",
    namespaced,
    no_spec,
    doc = "A file of a provider's release that tells the contract of each release series.",
    derive = "Default",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase")]
pub struct MetadataSpec {
    /// The release series of the provider.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub release_series: Vec<ReleaseSeries>,
}

/// A release series and the contract that it follows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseSeries {
    /// The major version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub major: Option<i32>,
    /// The minor version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minor: Option<i32>,
    /// The contract, as in `v1beta2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contract: Option<String>,
}
