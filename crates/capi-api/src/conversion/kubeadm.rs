//! The kinds of bootstrap.cluster.x-k8s.io and controlplane.cluster.x-k8s.io.

use serde_json::{Map, Value};

use super::{Field, Kind, OLD_STATUS, Rule, carry::put, core::COUNTING_STATUS};
use Rule::{Arguments, Code, Dropped, Each, New, Optional, Reference, Same, Seconds, Within};

/// The kinds of the kubeadm bootstrap provider.
pub const BOOTSTRAP: &[Kind] = &[
    Kind {
        group: "bootstrap.cluster.x-k8s.io",
        kind: "KubeadmConfig",
        plural: "kubeadmconfigs",
        versions: &[("v1beta1", CONFIG)],
    },
    Kind {
        group: "bootstrap.cluster.x-k8s.io",
        kind: "KubeadmConfigTemplate",
        plural: "kubeadmconfigtemplates",
        versions: &[("v1beta1", CONFIG_TEMPLATE)],
    },
];

/// The kinds of the kubeadm control plane provider.
pub const CONTROL_PLANE: &[Kind] = &[
    Kind {
        group: "controlplane.cluster.x-k8s.io",
        kind: "KubeadmControlPlane",
        plural: "kubeadmcontrolplanes",
        versions: &[("v1beta1", PLANE)],
    },
    Kind {
        group: "controlplane.cluster.x-k8s.io",
        kind: "KubeadmControlPlaneTemplate",
        plural: "kubeadmcontrolplanetemplates",
        versions: &[("v1beta1", PLANE_TEMPLATE)],
    },
];

const CONFIG: &[Field] = &[
    Field("spec", "spec", Within(CONFIG_SPEC)),
    Field(
        "status.ready",
        "status.initialization.dataSecretCreated",
        Optional,
    ),
    Field("status", "status", Within(OLD_STATUS)),
];

const CONFIG_TEMPLATE: &[Field] = &[Field(
    "spec.template.spec",
    "spec.template.spec",
    Within(CONFIG_SPEC),
)];

const CONFIG_SPEC: &[Field] = &[
    Field("clusterConfiguration", "clusterConfiguration", Within(CLUSTER)),
    Field("initConfiguration", "initConfiguration", Within(INIT)),
    Field("joinConfiguration", "joinConfiguration", Within(JOIN)),
    Field("files", "files", Each(&[Field("append", "append", Optional)])),
    Field(
        "ignition.containerLinuxConfig.strict",
        "ignition.containerLinuxConfig.strict",
        Optional,
    ),
    Field("useExperimentalRetryJoin", "", Dropped),
    Field(
        "clusterConfiguration.apiServer.timeoutForControlPlane",
        "initConfiguration.timeouts.controlPlaneComponentHealthCheckSeconds",
        Seconds,
    ),
    Field(
        "",
        "",
        Code {
            up: timeout_also_for_joining,
            down: timeout_of_joining,
        },
    ),
];

const CLUSTER: &[Field] = &[
    Field("apiVersion", "", Dropped),
    Field("kind", "", Dropped),
    Field("clusterName", "", Dropped),
    Field("kubernetesVersion", "", Dropped),
    Field("networking", "", Dropped),
    Field("apiServer", "apiServer", Within(COMPONENT)),
    Field("controllerManager", "controllerManager", Within(COMPONENT)),
    Field("scheduler", "scheduler", Within(COMPONENT)),
    Field("etcd.local.extraArgs", "etcd.local.extraArgs", Arguments),
];

const COMPONENT: &[Field] = &[
    Field("extraArgs", "extraArgs", Arguments),
    Field("extraVolumes", "extraVolumes", Each(READ_ONLY)),
];

const READ_ONLY: &[Field] = &[Field("readOnly", "readOnly", Optional)];

const INIT: &[Field] = &[
    Field("apiVersion", "", Dropped),
    Field("kind", "", Dropped),
    Field(
        "bootstrapTokens",
        "bootstrapTokens",
        Each(&[Field("ttl", "ttlSeconds", Seconds)]),
    ),
    Field(
        "nodeRegistration.kubeletExtraArgs",
        "nodeRegistration.kubeletExtraArgs",
        Arguments,
    ),
    Field("", "timeouts", New),
];

const JOIN: &[Field] = &[
    Field("apiVersion", "", Dropped),
    Field("kind", "", Dropped),
    Field(
        "nodeRegistration.kubeletExtraArgs",
        "nodeRegistration.kubeletExtraArgs",
        Arguments,
    ),
    Field("discovery.timeout", "timeouts.tlsBootstrapSeconds", Seconds),
    Field(
        "discovery.bootstrapToken.unsafeSkipCAVerification",
        "discovery.bootstrapToken.unsafeSkipCAVerification",
        Optional,
    ),
    Field(
        "discovery.file.kubeConfig.cluster.insecureSkipTLSVerify",
        "discovery.file.kubeConfig.cluster.insecureSkipTLSVerify",
        Optional,
    ),
    Field(
        "discovery.file.kubeConfig.user.exec.provideClusterInfo",
        "discovery.file.kubeConfig.user.exec.provideClusterInfo",
        Optional,
    ),
    Field("", "timeouts", New),
];

const HEALTH_CHECK_TIMEOUT: &str = "timeouts.controlPlaneComponentHealthCheckSeconds";

/// The one timeout of the older version holds for joining too.
fn timeout_also_for_joining(spec: &mut Map<String, Value>) {
    if let Some(timeout) = health_check_timeout(spec, "initConfiguration") {
        put(
            spec,
            &format!("joinConfiguration.{HEALTH_CHECK_TIMEOUT}"),
            timeout,
        );
    }
}

/// Where only joining has the timeout, it is the one that the older version shows.
fn timeout_of_joining(spec: &mut Map<String, Value>) {
    if health_check_timeout(spec, "initConfiguration").is_none()
        && let Some(timeout) = health_check_timeout(spec, "joinConfiguration")
    {
        put(
            spec,
            &format!("initConfiguration.{HEALTH_CHECK_TIMEOUT}"),
            timeout,
        );
    }
}

fn health_check_timeout(spec: &Map<String, Value>, of: &str) -> Option<Value> {
    let part = spec.get(of)?;
    let timeout = &part["timeouts"]["controlPlaneComponentHealthCheckSeconds"];
    (!timeout.is_null()).then(|| timeout.clone())
}

const PLANE: &[Field] = &[
    Field("spec", "spec", Within(PLANE_SPEC)),
    Field(
        "status.initialized",
        "status.initialization.controlPlaneInitialized",
        Optional,
    ),
    Field(
        "status.lastRemediation.timestamp",
        "status.lastRemediation.time",
        Same,
    ),
    Field("status", "status", Within(COUNTING_STATUS)),
    Field(
        "",
        "",
        Code {
            up: forget_ready,
            down: tell_ready,
        },
    ),
];

/// The older version called a control plane ready that had a ready machine.
fn tell_ready(plane: &mut Map<String, Value>) {
    let ready = |status: &Value| status["deprecated"]["v1beta1"]["readyReplicas"].as_i64() > Some(0);
    if plane.get("status").is_some_and(ready) {
        put(plane, "status.ready", true.into());
    }
}

fn forget_ready(plane: &mut Map<String, Value>) {
    if let Some(Value::Object(status)) = plane.get_mut("status") {
        status.remove("ready");
    }
}

const PLANE_TEMPLATE: &[Field] = &[Field(
    "spec.template.spec",
    "spec.template.spec",
    Within(PLANE_SPEC),
)];

const PLANE_SPEC: &[Field] = &[
    Field("kubeadmConfigSpec", "kubeadmConfigSpec", Within(CONFIG_SPEC)),
    Field(
        "machineTemplate.infrastructureRef",
        "machineTemplate.spec.infrastructureRef",
        Reference,
    ),
    Field(
        "machineTemplate.readinessGates",
        "machineTemplate.spec.readinessGates",
        Same,
    ),
    Field("machineTemplate.taints", "machineTemplate.spec.taints", Same),
    Field(
        "machineTemplate.nodeDrainTimeout",
        "machineTemplate.spec.deletion.nodeDrainTimeoutSeconds",
        Seconds,
    ),
    Field(
        "machineTemplate.nodeVolumeDetachTimeout",
        "machineTemplate.spec.deletion.nodeVolumeDetachTimeoutSeconds",
        Seconds,
    ),
    Field(
        "machineTemplate.nodeDeletionTimeout",
        "machineTemplate.spec.deletion.nodeDeletionTimeoutSeconds",
        Seconds,
    ),
    Field("", "machineTemplate.spec", New),
    Field("rolloutBefore", "rollout.before", Same),
    Field("rolloutAfter", "rollout.after", Same),
    Field("rolloutStrategy", "rollout.strategy", Same),
    Field("remediationStrategy.maxRetry", "remediation.maxRetry", Same),
    Field(
        "remediationStrategy.retryPeriod",
        "remediation.retryPeriodSeconds",
        Seconds,
    ),
    Field(
        "remediationStrategy.minHealthyPeriod",
        "remediation.minHealthyPeriodSeconds",
        Seconds,
    ),
    Field("machineNamingStrategy", "machineNaming", Same),
];
