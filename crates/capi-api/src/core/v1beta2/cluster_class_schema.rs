//! The schema dialect of ClusterClass variables.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::crd::schemas;
use crate::wire::wire_enum;

/// The schema of a variable.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VariableSchema {
    /// The OpenAPI v3 schema of the value.
    #[serde(rename = "openAPIV3Schema")]
    pub open_api_v3_schema: JSONSchemaProps,
}

/// The part of OpenAPI v3 schemas that variables may use.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("minProperties" = 1))]
pub struct JSONSchemaProps {
    /// What the value is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub description: Option<String>,
    /// An example value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schemas::any")]
    pub example: Option<Value>,
    /// The JSON type.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub type_: Option<JSONSchemaType>,
    /// The schemas of the fields.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schemas::any")]
    pub properties: BTreeMap<String, JSONSchemaProps>,
    /// The schema of all other fields.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schemas::any")]
    pub additional_properties: Option<Box<JSONSchemaProps>>,
    /// At most so many fields.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_properties: Option<i64>,
    /// At least so many fields.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_properties: Option<i64>,
    /// Fields that must be there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 1000), inner(length(min = 1, max = 256)), extend("x-kubernetes-list-type" = "atomic"))]
    pub required: Vec<String>,
    /// The schema of the items.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schemas::any")]
    pub items: Option<Box<JSONSchemaProps>>,
    /// At most so many items.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_items: Option<i64>,
    /// At least so many items.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_items: Option<i64>,
    /// Whether all items must differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unique_items: Option<bool>,
    /// A named format, such as `date-time`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32))]
    pub format: Option<String>,
    /// At most so many characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_length: Option<i64>,
    /// At least so many characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_length: Option<i64>,
    /// A regular expression that the text must match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub pattern: Option<String>,
    /// The highest number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maximum: Option<i64>,
    /// Whether `maximum` itself is too high.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exclusive_maximum: Option<bool>,
    /// The lowest number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum: Option<i64>,
    /// Whether `minimum` itself is too low.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exclusive_minimum: Option<bool>,
    /// Keeps fields that the schema does not know.
    #[serde(
        rename = "x-kubernetes-preserve-unknown-fields",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub x_kubernetes_preserve_unknown_fields: Option<bool>,
    /// The only values allowed.
    #[serde(rename = "enum", default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schemas::any_list", extend("x-kubernetes-list-type" = "atomic", "maxItems" = 100))]
    pub enum_: Vec<Value>,
    /// The value when none is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schemas::any")]
    pub default: Option<Value>,
    /// Rules in CEL.
    #[serde(
        rename = "x-kubernetes-validations",
        default,
        skip_serializing_if = "Vec::is_empty"
    )]
    #[schemars(length(min = 1, max = 100), extend("x-kubernetes-list-map-keys" = ["rule"], "x-kubernetes-list-type" = "map"))]
    pub x_kubernetes_validations: Vec<ValidationRule>,
    /// Labels and annotations for tools.
    #[serde(rename = "x-metadata", default, skip_serializing_if = "Option::is_none")]
    pub x_metadata: Option<VariableSchemaMetadata>,
    /// Allows an integer or a string.
    #[serde(
        rename = "x-kubernetes-int-or-string",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub x_kubernetes_int_or_string: Option<bool>,
    /// All of these schemas must fit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schemas::any")]
    pub all_of: Vec<JSONSchemaProps>,
    /// Exactly one of these schemas must fit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schemas::any")]
    pub one_of: Vec<JSONSchemaProps>,
    /// At least one of these schemas must fit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schemas::any")]
    pub any_of: Vec<JSONSchemaProps>,
    /// This schema must not fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schemas::any")]
    pub not: Option<Box<JSONSchemaProps>>,
}

/// A rule in CEL for a value.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ValidationRule {
    /// The CEL expression; it must be true.
    #[schemars(length(min = 1, max = 4096))]
    pub rule: String,
    /// What to say when the rule fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub message: Option<String>,
    /// A CEL expression that makes the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub message_expression: Option<String>,
    /// The reason to give for the failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "FieldValueInvalid"))]
    pub reason: Option<FieldValueErrorReason>,
    /// The field to blame, relative to where the rule stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub field_path: Option<String>,
}

/// Labels and annotations of a schema.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("minProperties" = 1))]
pub struct VariableSchemaMetadata {
    /// Labels to add.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations to add.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

wire_enum! {
    /// Reasons that a failed rule may give.
    pub enum FieldValueErrorReason {
        /// The value is not valid.
        #[default]
        FieldValueInvalid = "FieldValueInvalid",
        /// The value is not allowed here.
        FieldValueForbidden = "FieldValueForbidden",
        /// A value is missing.
        FieldValueRequired = "FieldValueRequired",
        /// The value is there twice.
        FieldValueDuplicate = "FieldValueDuplicate",
    }
}

wire_enum! {
    /// JSON types that variables may have.
    pub enum JSONSchemaType {
        /// An object.
        #[default]
        Object = "object",
        /// An array.
        Array = "array",
        /// A string.
        String = "string",
        /// An integer.
        Integer = "integer",
        /// A number.
        Number = "number",
        /// A boolean.
        Boolean = "boolean",
    }
}
