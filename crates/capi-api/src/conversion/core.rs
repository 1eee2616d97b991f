//! The kinds of cluster.x-k8s.io.

use serde_json::{Map, Value};

use super::{Field, Kind, Rule};
use Rule::{
    Code, Dropped, Each, FailureDomains, MachinePhase, New, NodeReference, Optional, Reference, Same,
    Seconds, TemplateReference, Within,
};

/// The kinds of the core provider.
pub const CORE: &[Kind] = &[
    kind("Cluster", "clusters", &[("v1beta1", CLUSTER)]),
    kind("ClusterClass", "clusterclasses", &[("v1beta1", CLUSTER_CLASS)]),
    kind("Machine", "machines", &[("v1beta1", MACHINE)]),
    kind("MachineSet", "machinesets", &[("v1beta1", MACHINE_SET)]),
    kind(
        "MachineDeployment",
        "machinedeployments",
        &[("v1beta1", MACHINE_DEPLOYMENT)],
    ),
    kind("MachinePool", "machinepools", &[("v1beta1", MACHINE_POOL)]),
    kind(
        "MachineHealthCheck",
        "machinehealthchecks",
        &[("v1beta1", MACHINE_HEALTH_CHECK)],
    ),
    kind("MachineDrainRule", "machinedrainrules", &[("v1beta1", &[])]),
];

const fn kind(
    kind: &'static str,
    plural: &'static str,
    versions: &'static [(&'static str, &'static [Field])],
) -> Kind {
    Kind {
        group: "cluster.x-k8s.io",
        kind,
        plural,
        versions,
    }
}

/// What happened to conditions and failures in every status.
pub const OLD_STATUS: &[Field] = &[
    Field("conditions", "deprecated.v1beta1.conditions", Same),
    Field("v1beta2.conditions", "conditions", Same),
    Field("failureReason", "deprecated.v1beta1.failureReason", Same),
    Field("failureMessage", "deprecated.v1beta1.failureMessage", Same),
    Field("v1beta2", "", Dropped),
    Field("", "deprecated", New),
];

const MACHINE_SPEC: &[Field] = &[
    Field("bootstrap.configRef", "bootstrap.configRef", Reference),
    Field("infrastructureRef", "infrastructureRef", Reference),
    Field("nodeDrainTimeout", "deletion.nodeDrainTimeoutSeconds", Seconds),
    Field(
        "nodeVolumeDetachTimeout",
        "deletion.nodeVolumeDetachTimeoutSeconds",
        Seconds,
    ),
    Field(
        "nodeDeletionTimeout",
        "deletion.nodeDeletionTimeoutSeconds",
        Seconds,
    ),
    Field("", "minReadySeconds", New),
];

const TIMEOUT: &[Field] = &[Field("timeout", "timeoutSeconds", Seconds)];

const DEFINITION_FROM: &[Field] = &[Field("definitionFrom", "", Dropped)];

/// Status counters that were about Nodes and are about conditions now; what the older version called them went on.
const COUNTERS: [Field; 4] = [
    Field(
        "status.readyReplicas",
        "status.deprecated.v1beta1.readyReplicas",
        Same,
    ),
    Field(
        "status.availableReplicas",
        "status.deprecated.v1beta1.availableReplicas",
        Same,
    ),
    Field("status.v1beta2.readyReplicas", "status.readyReplicas", Same),
    Field(
        "status.v1beta2.availableReplicas",
        "status.availableReplicas",
        Same,
    ),
];

const CLUSTER: &[Field] = &[
    Field("spec.paused", "spec.paused", Optional),
    Field("spec.infrastructureRef", "spec.infrastructureRef", Reference),
    Field("spec.controlPlaneRef", "spec.controlPlaneRef", Reference),
    Field("spec.topology.class", "spec.topology.classRef.name", Same),
    Field(
        "spec.topology.classNamespace",
        "spec.topology.classRef.namespace",
        Same,
    ),
    Field("spec.topology.rolloutAfter", "", Dropped),
    Field(
        "spec.topology.variables",
        "spec.topology.variables",
        Each(DEFINITION_FROM),
    ),
    Field(
        "spec.topology.controlPlane",
        "spec.topology.controlPlane",
        Within(TOPOLOGY_MACHINES),
    ),
    Field(
        "spec.topology.workers.machineDeployments",
        "spec.topology.workers.machineDeployments",
        Each(TOPOLOGY_MACHINES),
    ),
    Field(
        "spec.topology.workers.machinePools",
        "spec.topology.workers.machinePools",
        Each(TOPOLOGY_MACHINES),
    ),
    Field(
        "status.infrastructureReady",
        "status.initialization.infrastructureProvisioned",
        Optional,
    ),
    Field(
        "status.controlPlaneReady",
        "status.initialization.controlPlaneInitialized",
        Optional,
    ),
    Field("status.failureDomains", "status.failureDomains", FailureDomains),
    Field("status.v1beta2.controlPlane", "status.controlPlane", Same),
    Field("status.v1beta2.workers", "status.workers", Same),
    Field("status", "status", Within(OLD_STATUS)),
];

/// Control plane, machine deployments and machine pools of a topology.
const TOPOLOGY_MACHINES: &[Field] = &[
    Field("nodeDrainTimeout", "deletion.nodeDrainTimeoutSeconds", Seconds),
    Field(
        "nodeVolumeDetachTimeout",
        "deletion.nodeVolumeDetachTimeoutSeconds",
        Seconds,
    ),
    Field(
        "nodeDeletionTimeout",
        "deletion.nodeDeletionTimeoutSeconds",
        Seconds,
    ),
    Field("machineHealthCheck", "healthCheck", Within(HEALTH_CHECK)),
    Field(
        "",
        "",
        Code {
            up: rolling_unless_told,
            down: nothing,
        },
    ),
    Field("strategy", "rollout.strategy", Same),
    Field("strategy.rollingUpdate.deletePolicy", "deletion.order", Same),
    Field(
        "strategy.remediation.maxInFlight",
        "healthCheck.remediation.maxInFlight",
        Same,
    ),
    Field(
        "variables.overrides",
        "variables.overrides",
        Each(DEFINITION_FROM),
    ),
];

const HEALTH_CHECK: &[Field] = &[
    Field("enable", "enabled", Same),
    Field(
        "maxUnhealthy",
        "remediation.triggerIf.unhealthyLessThanOrEqualTo",
        Same,
    ),
    Field("unhealthyRange", "remediation.triggerIf.unhealthyInRange", Same),
    Field(
        "unhealthyConditions",
        "checks.unhealthyNodeConditions",
        Each(TIMEOUT),
    ),
    Field(
        "unhealthyMachineConditions",
        "checks.unhealthyMachineConditions",
        Each(TIMEOUT),
    ),
    Field("nodeStartupTimeout", "checks.nodeStartupTimeoutSeconds", Seconds),
    Field(
        "remediationTemplate",
        "remediation.templateRef",
        TemplateReference,
    ),
];

const MACHINE_HEALTH_CHECK: &[Field] = &[
    Field("spec", "spec", Within(HEALTH_CHECK)),
    Field("status.expectedMachines", "status.expectedMachines", Optional),
    Field("status.currentHealthy", "status.currentHealthy", Optional),
    Field(
        "status.remediationsAllowed",
        "status.remediationsAllowed",
        Optional,
    ),
    Field("status", "status", Within(OLD_STATUS)),
];

const MACHINE: &[Field] = &[
    Field("spec", "spec", Within(MACHINE_SPEC)),
    Field(
        "status.bootstrapReady",
        "status.initialization.bootstrapDataSecretCreated",
        Optional,
    ),
    Field(
        "status.infrastructureReady",
        "status.initialization.infrastructureProvisioned",
        Optional,
    ),
    Field("status.nodeRef", "status.nodeRef", NodeReference),
    Field("status.phase", "status.phase", MachinePhase),
    Field("", "status.failureDomain", New),
    Field("status", "status", Within(OLD_STATUS)),
];

const MACHINE_SET: &[Field] = &[
    Field("spec.template.spec", "spec.template.spec", Within(MACHINE_SPEC)),
    Field(
        "spec.minReadySeconds",
        "spec.template.spec.minReadySeconds",
        Optional,
    ),
    Field("spec.deletePolicy", "spec.deletion.order", Optional),
    Field(
        "spec.machineNamingStrategy.template",
        "spec.machineNaming.template",
        Same,
    ),
    COUNTERS[0],
    COUNTERS[1],
    COUNTERS[2],
    COUNTERS[3],
    Field(
        "status.fullyLabeledReplicas",
        "status.deprecated.v1beta1.fullyLabeledReplicas",
        Same,
    ),
    Field("status.v1beta2.upToDateReplicas", "status.upToDateReplicas", Same),
    Field("status", "status", Within(OLD_STATUS)),
];

const MACHINE_DEPLOYMENT: &[Field] = &[
    Field("spec.template.spec", "spec.template.spec", Within(MACHINE_SPEC)),
    Field(
        "spec.minReadySeconds",
        "spec.template.spec.minReadySeconds",
        Optional,
    ),
    Field(
        "",
        "",
        Code {
            up: spec_rolling_unless_told,
            down: nothing,
        },
    ),
    Field("spec.strategy", "spec.rollout.strategy", Same),
    Field(
        "spec.strategy.rollingUpdate.deletePolicy",
        "spec.deletion.order",
        Optional,
    ),
    Field(
        "spec.strategy.remediation.maxInFlight",
        "spec.remediation.maxInFlight",
        Same,
    ),
    Field("spec.rolloutAfter", "spec.rollout.after", Same),
    Field(
        "spec.machineNamingStrategy.template",
        "spec.machineNaming.template",
        Same,
    ),
    Field("spec.progressDeadlineSeconds", "", Dropped),
    Field("spec.revisionHistoryLimit", "", Dropped),
    COUNTERS[0],
    COUNTERS[1],
    COUNTERS[2],
    COUNTERS[3],
    Field(
        "status.updatedReplicas",
        "status.deprecated.v1beta1.updatedReplicas",
        Same,
    ),
    Field(
        "status.unavailableReplicas",
        "status.deprecated.v1beta1.unavailableReplicas",
        Same,
    ),
    Field("status.v1beta2.upToDateReplicas", "status.upToDateReplicas", Same),
    Field("status", "status", Within(OLD_STATUS)),
];

const MACHINE_POOL: &[Field] = &[
    Field("spec.template.spec", "spec.template.spec", Within(MACHINE_SPEC)),
    Field(
        "spec.minReadySeconds",
        "spec.template.spec.minReadySeconds",
        Optional,
    ),
    Field("status.nodeRefs", "status.nodeRefs", Same),
    Field(
        "status.bootstrapReady",
        "status.initialization.bootstrapDataSecretCreated",
        Optional,
    ),
    Field(
        "status.infrastructureReady",
        "status.initialization.infrastructureProvisioned",
        Optional,
    ),
    COUNTERS[0],
    COUNTERS[1],
    COUNTERS[2],
    COUNTERS[3],
    Field(
        "status.unavailableReplicas",
        "status.deprecated.v1beta1.unavailableReplicas",
        Same,
    ),
    Field("status.v1beta2.upToDateReplicas", "status.upToDateReplicas", Same),
    Field("status", "status", Within(OLD_STATUS)),
];

const CLUSTER_CLASS: &[Field] = &[
    Field(
        "spec.infrastructure.ref",
        "spec.infrastructure.templateRef",
        TemplateReference,
    ),
    Field(
        "spec.infrastructureNamingStrategy",
        "spec.infrastructure.naming",
        Same,
    ),
    Field(
        "spec.controlPlane.ref",
        "spec.controlPlane.templateRef",
        TemplateReference,
    ),
    Field(
        "spec.controlPlane.machineInfrastructure.ref",
        "spec.controlPlane.machineInfrastructure.templateRef",
        TemplateReference,
    ),
    Field(
        "spec.controlPlane",
        "spec.controlPlane",
        Within(CLASS_CONTROL_PLANE),
    ),
    Field(
        "spec.workers.machineDeployments",
        "spec.workers.machineDeployments",
        Each(CLASS_WORKERS),
    ),
    Field(
        "spec.workers.machinePools",
        "spec.workers.machinePools",
        Each(CLASS_WORKERS),
    ),
    Field("spec.patches", "spec.patches", Each(CLASS_PATCH)),
    Field("spec.variables", "spec.variables", Each(VARIABLE)),
    Field("status.variables", "status.variables", Each(STATUS_VARIABLE)),
    Field("status", "status", Within(OLD_STATUS)),
];

/// The control plane of a class.
const CLASS_CONTROL_PLANE: &[Field] = &[
    CLASS_MACHINES[0],
    CLASS_MACHINES[1],
    CLASS_MACHINES[2],
    CLASS_MACHINES[3],
    CLASS_MACHINES[4],
];

/// Machine deployments and machine pools of a class.
const CLASS_WORKERS: &[Field] = &[
    Field("template.metadata", "metadata", Same),
    Field(
        "template.bootstrap.ref",
        "bootstrap.templateRef",
        TemplateReference,
    ),
    Field(
        "template.infrastructure.ref",
        "infrastructure.templateRef",
        TemplateReference,
    ),
    Field(
        "",
        "",
        Code {
            up: rolling_unless_told,
            down: nothing,
        },
    ),
    Field("strategy", "rollout.strategy", Same),
    Field("strategy.rollingUpdate.deletePolicy", "deletion.order", Same),
    Field(
        "strategy.remediation.maxInFlight",
        "healthCheck.remediation.maxInFlight",
        Same,
    ),
    CLASS_MACHINES[0],
    CLASS_MACHINES[1],
    CLASS_MACHINES[2],
    CLASS_MACHINES[3],
    CLASS_MACHINES[4],
];

/// What machines of all sorts have in a class.
const CLASS_MACHINES: [Field; 5] = [
    Field("namingStrategy", "naming", Same),
    Field("nodeDrainTimeout", "deletion.nodeDrainTimeoutSeconds", Seconds),
    Field(
        "nodeVolumeDetachTimeout",
        "deletion.nodeVolumeDetachTimeoutSeconds",
        Seconds,
    ),
    Field(
        "nodeDeletionTimeout",
        "deletion.nodeDeletionTimeoutSeconds",
        Seconds,
    ),
    Field("machineHealthCheck", "healthCheck", Within(HEALTH_CHECK)),
];

const CLASS_PATCH: &[Field] = &[
    Field(
        "external.generateExtension",
        "external.generatePatchesExtension",
        Same,
    ),
    Field(
        "external.validateExtension",
        "external.validateTopologyExtension",
        Same,
    ),
];

const VARIABLE: &[Field] = &[Field("metadata", "deprecatedV1Beta1Metadata", Same)];

const STATUS_VARIABLE: &[Field] = &[Field("definitions", "definitions", Each(VARIABLE))];

/// The older version could leave out the type of a strategy.
fn rolling_unless_told(machines: &mut Map<String, Value>) {
    let strategy = machines
        .get_mut("rollout")
        .and_then(|rollout| rollout.get_mut("strategy"))
        .and_then(Value::as_object_mut);
    if let Some(strategy) = strategy {
        strategy.entry("type").or_insert("RollingUpdate".into());
    }
}

fn spec_rolling_unless_told(deployment: &mut Map<String, Value>) {
    if let Some(spec) = deployment.get_mut("spec").and_then(Value::as_object_mut) {
        rolling_unless_told(spec);
    }
}

fn nothing(_: &mut Map<String, Value>) {}
