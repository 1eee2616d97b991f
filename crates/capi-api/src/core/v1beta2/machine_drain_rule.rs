//! The kind MachineDrainRule.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::crd::schemas;
use crate::wire::wire_enum;

/// The desired state of a MachineDrainRule.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "cluster.x-k8s.io",
    version = "v1beta2",
    kind = "MachineDrainRule",
    plural = "machinedrainrules",
    namespaced,
    doc = "Says how pods are drained from machines.",
    derive = "Default",
    derive = "PartialEq",
    category = "cluster-api",
    printcolumn(name = "Behavior", type_ = "string", json_path = ".spec.drain.behavior"),
    printcolumn(name = "Order", type_ = "string", json_path = ".spec.drain.order"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct MachineDrainRuleSpec {
    /// What happens to the pods.
    pub drain: MachineDrainRuleDrainConfig,
    /// The machines that this is about; nothing means all. One match is enough.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 32), extend("x-kubernetes-list-type" = "atomic", "x-kubernetes-validations" = [{"message": "entries in machines must be unique", "rule": "self.all(x, self.exists_one(y, x == y))"}]))]
    pub machines: Vec<MachineDrainRuleMachineSelector>,
    /// The pods that this is about; nothing means all. One match is enough.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 32), extend("x-kubernetes-list-type" = "atomic", "x-kubernetes-validations" = [{"message": "entries in pods must be unique", "rule": "self.all(x, self.exists_one(y, x == y))"}]))]
    pub pods: Vec<MachineDrainRulePodSelector>,
}

/// What happens to pods while a node is drained.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MachineDrainRuleDrainConfig {
    /// What happens to the pods.
    pub behavior: MachineDrainRuleDrainBehavior,
    /// Lower numbers are evicted first; nothing means 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<i32>,
}

/// Selects machines; all parts must match.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("minProperties" = 1))]
pub struct MachineDrainRuleMachineSelector {
    /// Labels of the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schemas::label_selector")]
    pub selector: Option<LabelSelector>,
    /// Labels of its cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schemas::label_selector")]
    pub cluster_selector: Option<LabelSelector>,
}

/// Selects pods; all parts must match.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("minProperties" = 1))]
pub struct MachineDrainRulePodSelector {
    /// Labels of the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schemas::label_selector")]
    pub selector: Option<LabelSelector>,
    /// Labels of its namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schemas::label_selector")]
    pub namespace_selector: Option<LabelSelector>,
}

wire_enum! {
    /// What happens to pods while a node is drained.
    pub enum MachineDrainRuleDrainBehavior {
        /// Evict them.
        #[default]
        Drain = "Drain",
        /// Leave them alone.
        Skip = "Skip",
        /// Wait until they have completed.
        WaitCompleted = "WaitCompleted",
    }
}
