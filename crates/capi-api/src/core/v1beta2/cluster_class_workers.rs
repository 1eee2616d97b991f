//! The worker classes of ClusterClass.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::cluster_class::ClusterClassTemplateReference;
use super::common::{MachineTaint, ObjectMeta};
use super::machine::MachineReadinessGate;
use super::machine_deployment::MachineDeploymentRolloutStrategyType;
use super::machine_health_check::{
    MachineHealthCheckRemediationTemplateReference, UnhealthyMachineCondition, UnhealthyNodeCondition,
};
use super::machine_set::MachineSetDeletionOrder;
use crate::crd::patterns;

/// The kinds of workers that a class offers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("minProperties" = 1))]
pub struct WorkersClass {
    /// Classes of MachineDeployments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 100), extend("x-kubernetes-list-map-keys" = ["class"], "x-kubernetes-list-type" = "map"))]
    pub machine_deployments: Vec<MachineDeploymentClass>,
    /// Classes of MachinePools.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 100), extend("x-kubernetes-list-map-keys" = ["class"], "x-kubernetes-list-type" = "map"))]
    pub machine_pools: Vec<MachinePoolClass>,
}

/// A kind of MachineDeployment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MachineDeploymentClass {
    /// Labels and annotations that the objects made from this get.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<ObjectMeta>,
    /// The name of the class.
    #[schemars(length(min = 1, max = 256))]
    pub class: String,
    /// Where the bootstrap data of machines come from.
    pub bootstrap: MachineDeploymentClassBootstrapTemplate,
    /// Where the infrastructure of machines comes from.
    pub infrastructure: MachineDeploymentClassInfrastructureTemplate,
    /// When machines count as unhealthy and what is done then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_check: Option<MachineDeploymentClassHealthCheck>,
    /// The failure domain to place machines in; nothing leaves the choice to others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub failure_domain: Option<String>,
    /// How made objects are named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub naming: Option<MachineDeploymentClassNamingSpec>,
    /// How machines are deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion: Option<MachineDeploymentClassMachineDeletionSpec>,
    /// Taints that the nodes of these machines get.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 64), extend("x-kubernetes-list-map-keys" = ["key", "effect"], "x-kubernetes-list-type" = "map"))]
    pub taints: Vec<MachineTaint>,
    /// How long a machine must be ready before it counts as available, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub min_ready_seconds: Option<i32>,
    /// Further conditions that must be met before a machine counts as ready.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 32), extend("x-kubernetes-list-map-keys" = ["conditionType"], "x-kubernetes-list-type" = "map"))]
    pub readiness_gates: Vec<MachineReadinessGate>,
    /// How changes reach the machines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<MachineDeploymentClassRolloutSpec>,
}

/// Where bootstrap data of a kind of MachineDeployment come from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MachineDeploymentClassBootstrapTemplate {
    /// The template that objects are made from.
    pub template_ref: ClusterClassTemplateReference,
}

/// Where the infrastructure of a kind of MachineDeployment comes from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MachineDeploymentClassInfrastructureTemplate {
    /// The template that objects are made from.
    pub template_ref: ClusterClassTemplateReference,
}

/// The health check of a kind of MachineDeployment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("minProperties" = 1))]
pub struct MachineDeploymentClassHealthCheck {
    /// What makes a machine unhealthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checks: Option<MachineDeploymentClassHealthCheckChecks>,
    /// What is done about unhealthy machines, and when not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remediation: Option<MachineDeploymentClassHealthCheckRemediation>,
}

/// What makes machines of a kind of MachineDeployment unhealthy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("minProperties" = 1))]
pub struct MachineDeploymentClassHealthCheckChecks {
    /// How long a machine may take to get its node, in seconds; 0 switches the check off, nothing means 600.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub node_startup_timeout_seconds: Option<i32>,
    /// Conditions of the Node that make its machine unhealthy; one is enough.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 100), extend("x-kubernetes-list-type" = "atomic"))]
    pub unhealthy_node_conditions: Vec<UnhealthyNodeCondition>,
    /// Conditions of the Machine that make it unhealthy; one is enough.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 100), extend("x-kubernetes-list-type" = "atomic"))]
    pub unhealthy_machine_conditions: Vec<UnhealthyMachineCondition>,
}

/// What is done about unhealthy machines of a kind of MachineDeployment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("minProperties" = 1))]
pub struct MachineDeploymentClassHealthCheckRemediation {
    /// How many machines may be remediated at the same time: a count or a percentage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_in_flight: Option<IntOrString>,
    /// When remediation is allowed; outside of it nothing is remediated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger_if: Option<MachineDeploymentClassHealthCheckRemediationTriggerIf>,
    /// The template that objects are made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template_ref: Option<MachineHealthCheckRemediationTemplateReference>,
}

/// When a kind of MachineDeployment is remediated.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("minProperties" = 1))]
pub struct MachineDeploymentClassHealthCheckRemediationTriggerIf {
    /// Remediate only while at most so many machines are unhealthy: a count or a percentage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unhealthy_less_than_or_equal_to: Option<IntOrString>,
    /// Remediate only while the number of unhealthy machines is in this range, as in `[1-3]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), regex(pattern = patterns::INTEGER_RANGE))]
    pub unhealthy_in_range: Option<String>,
}

/// How objects of a kind of MachineDeployment are named.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("minProperties" = 1))]
pub struct MachineDeploymentClassNamingSpec {
    /// A Go template for the name; it sees `.cluster.name`, `.machineDeployment.topologyName` and `.random`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub template: Option<String>,
}

/// How machines of a kind of MachineDeployment are deleted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("minProperties" = 1))]
pub struct MachineDeploymentClassMachineDeletionSpec {
    /// Which machines go first when there are too many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<MachineSetDeletionOrder>,
    /// Longest time for draining the node, in seconds; 0 or nothing waits without limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub node_drain_timeout_seconds: Option<i32>,
    /// Longest wait for volumes to detach, in seconds; 0 or nothing waits without limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub node_volume_detach_timeout_seconds: Option<i32>,
    /// Longest time for deleting the Node, in seconds; 0 retries without limit, nothing means 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub node_deletion_timeout_seconds: Option<i32>,
}

/// How changes of a kind of MachineDeployment are rolled out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("minProperties" = 1))]
pub struct MachineDeploymentClassRolloutSpec {
    /// The way in which machines are replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<MachineDeploymentClassRolloutStrategy>,
}

/// The rollout strategy of a kind of MachineDeployment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("minProperties" = 1))]
pub struct MachineDeploymentClassRolloutStrategy {
    /// The name of the strategy.
    #[serde(rename = "type")]
    pub type_: MachineDeploymentRolloutStrategyType,
    /// Limits of a rolling update.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolling_update: Option<MachineDeploymentClassRolloutStrategyRollingUpdate>,
}

/// Limits of rolling updates of a kind of MachineDeployment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("minProperties" = 1))]
pub struct MachineDeploymentClassRolloutStrategyRollingUpdate {
    /// How many machines may be unavailable during the update: a count or a percentage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_unavailable: Option<IntOrString>,
    /// How many machines there may be above the wanted number: a count or a percentage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_surge: Option<IntOrString>,
}

/// A kind of MachinePool.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MachinePoolClass {
    /// Labels and annotations that the objects made from this get.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<ObjectMeta>,
    /// The name of the class.
    #[schemars(length(min = 1, max = 256))]
    pub class: String,
    /// Where the bootstrap data of machines come from.
    pub bootstrap: MachinePoolClassBootstrapTemplate,
    /// Where the infrastructure of machines comes from.
    pub infrastructure: MachinePoolClassInfrastructureTemplate,
    /// The failure domains to spread machines over.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(min = 1, max = 256)), extend("x-kubernetes-list-type" = "atomic"))]
    pub failure_domains: Vec<String>,
    /// How made objects are named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub naming: Option<MachinePoolClassNamingSpec>,
    /// How machines are deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion: Option<MachinePoolClassMachineDeletionSpec>,
    /// Taints that the nodes of these machines get.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 64), extend("x-kubernetes-list-map-keys" = ["key", "effect"], "x-kubernetes-list-type" = "map"))]
    pub taints: Vec<MachineTaint>,
    /// How long a machine must be ready before it counts as available, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub min_ready_seconds: Option<i32>,
}

/// Where bootstrap data of a kind of MachinePool come from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MachinePoolClassBootstrapTemplate {
    /// The template that objects are made from.
    pub template_ref: ClusterClassTemplateReference,
}

/// Where the infrastructure of a kind of MachinePool comes from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MachinePoolClassInfrastructureTemplate {
    /// The template that objects are made from.
    pub template_ref: ClusterClassTemplateReference,
}

/// How objects of a kind of MachinePool are named.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("minProperties" = 1))]
pub struct MachinePoolClassNamingSpec {
    /// A Go template for the name; it sees `.cluster.name`, `.machinePool.topologyName` and `.random`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub template: Option<String>,
}

/// How machines of a kind of MachinePool are deleted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("minProperties" = 1))]
pub struct MachinePoolClassMachineDeletionSpec {
    /// Longest time for draining the node, in seconds; 0 or nothing waits without limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub node_drain_timeout_seconds: Option<i32>,
    /// Longest wait for volumes to detach, in seconds; 0 or nothing waits without limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub node_volume_detach_timeout_seconds: Option<i32>,
    /// Longest time for deleting the Node, in seconds; 0 retries without limit, nothing means 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub node_deletion_timeout_seconds: Option<i32>,
}
