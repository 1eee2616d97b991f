//! Credentials.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::wire::wire_enum;

/// The credentials to use.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{"message": "region is immutable", "rule": "(!has(self.region) && !has(oldSelf.region)) || self.region == oldSelf.region"}]))]
pub struct OpenStackIdentityReference {
    /// The entry of clouds.yaml.
    #[schemars(length(min = 1))]
    pub cloud_name: String,
    /// The name of the Secret or OpenStackClusterIdentity.
    #[schemars(length(min = 1))]
    pub name: String,
    /// The region; that of clouds.yaml if not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Where the credentials are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "Secret"))]
    pub type_: Option<IdentityType>,
}

wire_enum! {
    /// Where credentials are kept.
    pub enum IdentityType {
        /// A Secret of the object's namespace.
        #[default]
        Secret = "Secret",
        /// An OpenStackClusterIdentity.
        ClusterIdentity = "ClusterIdentity",
    }
}
