//! The kind OpenStackClusterIdentity.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The credentials and who may use them.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "infrastructure.cluster.x-k8s.io",
    version = "v1alpha1",
    kind = "OpenStackClusterIdentity",
    plural = "openstackclusteridentities",
    doc = "Credentials that several namespaces may use.",
    derive = "Default",
    derive = "PartialEq",
    category = "cluster-api",
    shortname = "osci"
)]
#[serde(rename_all = "camelCase")]
pub struct OpenStackClusterIdentitySpec {
    /// The namespaces whose objects may use the credentials; all if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "capi_api::crd::schemas::label_selector")]
    pub namespace_selector: Option<LabelSelector>,
    /// The Secret.
    pub secret_ref: OpenStackCredentialSecretReference,
}

/// The Secret with the credentials.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OpenStackCredentialSecretReference {
    /// The name.
    pub name: String,
    /// The namespace.
    pub namespace: String,
}
