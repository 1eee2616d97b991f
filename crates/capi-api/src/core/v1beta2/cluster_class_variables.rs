//! The variables of ClusterClass.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::cluster_class_schema::VariableSchema;

/// A variable that clusters set and patches read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterClassVariable {
    /// The name.
    #[schemars(length(min = 1, max = 256))]
    pub name: String,
    /// Whether every cluster must set it.
    pub required: bool,
    /// Legacy labels and annotations of the variable; use `x-metadata` in the schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deprecated_v1_beta1_metadata: Option<ClusterClassVariableMetadata>,
    /// What values are allowed.
    pub schema: VariableSchema,
}

/// Labels and annotations of a variable.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("minProperties" = 1))]
pub struct ClusterClassVariableMetadata {
    /// Labels to add.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations to add.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// A variable and its definitions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterClassStatusVariable {
    /// The name of the variable.
    #[schemars(length(min = 1, max = 256))]
    pub name: String,
    /// Whether the definitions differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definitions_conflict: Option<bool>,
    /// The definitions.
    #[schemars(length(min = 1, max = 100), extend("x-kubernetes-list-type" = "atomic"))]
    pub definitions: Vec<ClusterClassStatusVariableDefinition>,
}

/// A definition of a variable.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterClassStatusVariableDefinition {
    /// Where the definition stands: `inline` or the name of a patch.
    #[schemars(length(min = 1, max = 256))]
    pub from: String,
    /// Whether every cluster must set it.
    pub required: bool,
    /// Legacy labels and annotations of the variable; use `x-metadata` in the schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deprecated_v1_beta1_metadata: Option<ClusterClassVariableMetadata>,
    /// What values are allowed.
    pub schema: VariableSchema,
}
