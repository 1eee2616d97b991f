//! What became of v1beta1 in v1beta2.

use capi_api::conversion::{
    Field, Kind, OLD_STATUS,
    Rule::{FailureDomains, New, Optional, Within},
};

/// The kinds that are served in v1beta1 too.
pub const KINDS: &[Kind] = &[
    kind("DevCluster", "devclusters", &[("v1beta1", CLUSTER)]),
    kind(
        "DevClusterTemplate",
        "devclustertemplates",
        &[("v1beta1", CLUSTER_TEMPLATE)],
    ),
    kind("DevMachine", "devmachines", &[("v1beta1", MACHINE)]),
    kind(
        "DevMachineTemplate",
        "devmachinetemplates",
        &[("v1beta1", MACHINE_TEMPLATE)],
    ),
];

const fn kind(
    kind: &'static str,
    plural: &'static str,
    versions: &'static [(&'static str, &'static [Field])],
) -> Kind {
    Kind {
        group: "infrastructure.cluster.x-k8s.io",
        kind,
        plural,
        versions,
    }
}

const CLUSTER: &[Field] = &[
    Field("spec", "spec", Within(CLUSTER_SPEC)),
    Field("status.ready", "status.initialization.provisioned", Optional),
    Field("status.failureDomains", "status.failureDomains", FailureDomains),
    Field("status", "status", Within(OLD_STATUS)),
];

const CLUSTER_SPEC: &[Field] = &[Field(
    "backend.docker.failureDomains",
    "backend.docker.failureDomains",
    FailureDomains,
)];

const CLUSTER_TEMPLATE: &[Field] = &[Field(
    "spec.template.spec",
    "spec.template.spec",
    Within(CLUSTER_SPEC),
)];

const MACHINE: &[Field] = &[
    Field("status.ready", "status.initialization.provisioned", Optional),
    Field("", "status.failureDomain", New),
    Field("status", "status", Within(OLD_STATUS)),
];

const MACHINE_TEMPLATE: &[Field] = &[Field("", "status", New)];
