//! The kinds of cluster.x-k8s.io.

use serde_json::{Map, Value};

use super::{Field, Kind, Rule, cluster_class::CLUSTER_CLASS};
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

/// The same where machines are counted. The counters of the older version were about Nodes, those of v1beta2 are about
/// conditions; the former live on for a while.
pub(super) const COUNTING_STATUS: &[Field] = &[
    OLD_STATUS[0],
    OLD_STATUS[1],
    OLD_STATUS[2],
    OLD_STATUS[3],
    OLD_STATUS[4],
    OLD_STATUS[5],
    Field("readyReplicas", "deprecated.v1beta1.readyReplicas", Same),
    Field("availableReplicas", "deprecated.v1beta1.availableReplicas", Same),
    Field(
        "unavailableReplicas",
        "deprecated.v1beta1.unavailableReplicas",
        Same,
    ),
    Field("updatedReplicas", "deprecated.v1beta1.updatedReplicas", Same),
    Field(
        "fullyLabeledReplicas",
        "deprecated.v1beta1.fullyLabeledReplicas",
        Same,
    ),
    Field("v1beta2.readyReplicas", "readyReplicas", Same),
    Field("v1beta2.availableReplicas", "availableReplicas", Same),
    Field("v1beta2.upToDateReplicas", "upToDateReplicas", Same),
];

/// How long the deletion of a machine may take.
pub(super) const DELETION: [Field; 3] = [
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
];

const MACHINE_SPEC: &[Field] = &[
    Field("bootstrap.configRef", "bootstrap.configRef", Reference),
    Field("infrastructureRef", "infrastructureRef", Reference),
    DELETION[0],
    DELETION[1],
    DELETION[2],
    Field("", "minReadySeconds", New),
];

const TIMEOUT: &[Field] = &[Field("timeout", "timeoutSeconds", Seconds)];

const DEFINITION_FROM: &[Field] = &[Field("definitionFrom", "", Dropped)];

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
    DELETION[0],
    DELETION[1],
    DELETION[2],
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

pub(super) const HEALTH_CHECK: &[Field] = &[
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
    Field("status", "status", Within(COUNTING_STATUS)),
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
    Field("status", "status", Within(COUNTING_STATUS)),
];

const MACHINE_POOL: &[Field] = &[
    Field("spec.template.spec", "spec.template.spec", Within(MACHINE_SPEC)),
    Field(
        "spec.minReadySeconds",
        "spec.template.spec.minReadySeconds",
        Optional,
    ),
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
    Field("status", "status", Within(COUNTING_STATUS)),
];

/// The older version could leave out the type of a strategy.
pub(super) fn rolling_unless_told(machines: &mut Map<String, Value>) {
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

pub(super) fn nothing(_: &mut Map<String, Value>) {}
