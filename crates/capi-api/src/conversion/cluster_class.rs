//! ClusterClass.

use super::{
    Field, OLD_STATUS, Rule,
    core::{DELETION, HEALTH_CHECK, nothing, rolling_unless_told},
};
use Rule::{Code, Each, Same, TemplateReference, Within};

pub(super) const CLUSTER_CLASS: &[Field] = &[
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
    DELETION[0],
    DELETION[1],
    DELETION[2],
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
