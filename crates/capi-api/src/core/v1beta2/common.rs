//! Parts that several kinds share: references, metadata of templates, addresses, taints, old conditions.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::crd::patterns;
use crate::wire::wire_enum;

/// Refers to an object in the same namespace; its API version follows from the contract labels of its CRD.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContractVersionedObjectReference {
    /// The kind.
    #[schemars(length(min = 1, max = 63), regex(pattern = patterns::KIND))]
    pub kind: String,
    /// The name.
    #[schemars(length(min = 1, max = 253), regex(pattern = patterns::DNS_SUBDOMAIN))]
    pub name: String,
    /// The API group.
    #[schemars(length(min = 1, max = 253), regex(pattern = patterns::DNS_SUBDOMAIN))]
    pub api_group: String,
}

/// Labels and annotations for objects made from a template.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("minProperties" = 1))]
pub struct ObjectMeta {
    /// Labels to add.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations to add.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// A taint for the node of a machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MachineTaint {
    /// The key of the taint.
    #[schemars(length(min = 1, max = 317), regex(pattern = patterns::QUALIFIED_NAME))]
    pub key: String,
    /// The value of the taint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = patterns::LABEL_VALUE))]
    pub value: Option<String>,
    /// What the taint does to pods that do not tolerate it.
    pub effect: TaintEffect,
    /// Whether the taint is kept on the node or only set when the node joins.
    pub propagation: MachineTaintPropagation,
}

/// How many machines run a version.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatusVersion {
    /// The Kubernetes version, as in `v1.36.0`.
    #[schemars(length(min = 1, max = 256))]
    pub version: String,
    /// How many machines run this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub replicas: Option<i32>,
}

/// A version on the way of an upgrade.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatusUpgradePlanVersion {
    /// The Kubernetes version, as in `v1.36.0`.
    #[schemars(length(min = 1, max = 256))]
    pub version: String,
}

/// A condition as v1beta1 has it, with a severity.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct V1Beta1Condition {
    /// The aspect that this is about.
    #[serde(rename = "type")]
    #[schemars(length(min = 1, max = 256))]
    pub type_: String,
    /// True, False or Unknown.
    pub status: String,
    /// How bad a False is: Error, Warning or Info.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub severity: Option<String>,
    /// When the status last changed.
    pub last_transition_time: Time,
    /// One word in CamelCase on why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub reason: Option<String>,
    /// The details for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 10240))]
    pub message: Option<String>,
}

/// An address of a machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MachineAddress {
    /// What kind of address it is.
    #[serde(rename = "type")]
    pub type_: MachineAddressType,
    /// The address.
    #[schemars(length(min = 1, max = 256))]
    pub address: String,
}

wire_enum! {
    /// The value of a condition.
    pub enum ConditionStatus {
        /// Yes.
        True = "True",
        /// No.
        False = "False",
        /// Not known.
        #[default]
        Unknown = "Unknown",
    }
}

wire_enum! {
    /// Kinds of addresses.
    pub enum MachineAddressType {
        /// A host name.
        #[default]
        Hostname = "Hostname",
        /// An address that can be reached from outside.
        ExternalIp = "ExternalIP",
        /// An address inside of the infrastructure.
        InternalIp = "InternalIP",
        /// A DNS name for the outside.
        ExternalDns = "ExternalDNS",
        /// A DNS name inside of the infrastructure.
        InternalDns = "InternalDNS",
    }
}

wire_enum! {
    /// How long a taint is kept on a node.
    pub enum MachineTaintPropagation {
        /// It is put back whenever it is missing.
        #[default]
        Always = "Always",
        /// It is set once, when the node joins.
        OnInitialization = "OnInitialization",
    }
}

wire_enum! {
    /// What a taint does to pods that do not tolerate it.
    pub enum TaintEffect {
        /// They are not placed here.
        #[default]
        NoSchedule = "NoSchedule",
        /// They are rather placed elsewhere.
        PreferNoSchedule = "PreferNoSchedule",
        /// They are evicted.
        NoExecute = "NoExecute",
    }
}
