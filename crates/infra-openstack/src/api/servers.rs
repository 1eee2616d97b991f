//! Parts that machines, servers and the bastion share.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ports::{PortStatus, ResolvedPortSpec};
use super::wire::wire_enum;

/// A key and a value that OpenStack keeps with the server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServerMetadata {
    /// The key.
    #[schemars(length(min = 1, max = 255))]
    pub key: String,
    /// The value.
    #[schemars(length(min = 1, max = 255))]
    pub value: String,
}

/// A further hint for the scheduler.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SchedulerHintAdditionalProperty {
    /// The name.
    #[schemars(length(min = 1))]
    pub name: String,
    /// The value.
    pub value: SchedulerHintAdditionalValue,
}

/// The value of a scheduler hint, in the field of its type.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{"message": "bool is required when type is Bool, and forbidden otherwise", "rule": "has(self.type) && self.type == 'Bool' ? has(self.bool) : !has(self.bool)"}, {"message": "number is required when type is Number, and forbidden otherwise", "rule": "has(self.type) && self.type == 'Number' ? has(self.number) : !has(self.number)"}, {"message": "string is required when type is String, and forbidden otherwise", "rule": "has(self.type) && self.type == 'String' ? has(self.string) : !has(self.string)"}]))]
pub struct SchedulerHintAdditionalValue {
    /// The value of type Bool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bool: Option<bool>,
    /// The value of type Number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<i32>,
    /// The value of type String.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub string: Option<String>,
    /// The type of the value.
    pub type_: SchedulerHintValueType,
}

wire_enum! {
    /// The type of a scheduler hint.
    pub enum SchedulerHintValueType {
        /// A truth value.
        #[default]
        Bool = "Bool",
        /// A text.
        String = "String",
        /// A number.
        Number = "Number",
    }
}

/// What a machine spec was resolved to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResolvedMachineSpec {
    /// The flavor, by id.
    #[serde(rename = "flavorID", default, skip_serializing_if = "Option::is_none")]
    pub flavor_id: Option<String>,
    /// The image, by id.
    #[serde(rename = "imageID", default, skip_serializing_if = "Option::is_none")]
    pub image_id: Option<String>,
    /// The ports; one in the network of the cluster if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub ports: Vec<ResolvedPortSpec>,
    /// The server group, by id.
    #[serde(rename = "serverGroupID", default, skip_serializing_if = "Option::is_none")]
    pub server_group_id: Option<String>,
}

/// What was made for a machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MachineResources {
    /// The ports, in the order of the spec.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub ports: Vec<PortStatus>,
}

/// What a server spec was resolved to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResolvedServerSpec {
    /// The flavor, by id.
    #[serde(rename = "flavorID", default, skip_serializing_if = "Option::is_none")]
    pub flavor_id: Option<String>,
    /// The image, by id.
    #[serde(rename = "imageID", default, skip_serializing_if = "Option::is_none")]
    pub image_id: Option<String>,
    /// The ports; one in the network of the cluster if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<ResolvedPortSpec>,
    /// The server group, by id.
    #[serde(rename = "serverGroupID", default, skip_serializing_if = "Option::is_none")]
    pub server_group_id: Option<String>,
}

/// What was made for a server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServerResources {
    /// The ports, in the order of the spec.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<PortStatus>,
}

/// The bastion as it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BastionStatus {
    /// The floating IP.
    #[serde(rename = "floatingIP", default, skip_serializing_if = "Option::is_none")]
    pub floating_ip: Option<String>,
    /// The id in OpenStack.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The address inside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// The name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What the spec was resolved to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved: Option<ResolvedMachineSpec>,
    /// What was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<MachineResources>,
    /// The key pair for SSH.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh_key_name: Option<String>,
    /// The state of the server, in the words of Nova.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
}
