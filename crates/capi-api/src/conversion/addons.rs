//! The kinds of addons.cluster.x-k8s.io, ipam.cluster.x-k8s.io and runtime.cluster.x-k8s.io.

use super::{Field, Kind, OLD_STATUS, Rule};
use Rule::Within;

/// Cluster resource sets.
pub const ADDONS: &[Kind] = &[
    Kind {
        group: "addons.cluster.x-k8s.io",
        kind: "ClusterResourceSet",
        plural: "clusterresourcesets",
        versions: &[("v1beta1", STATUS)],
    },
    Kind {
        group: "addons.cluster.x-k8s.io",
        kind: "ClusterResourceSetBinding",
        plural: "clusterresourcesetbindings",
        versions: &[("v1beta1", &[])],
    },
];

/// Addresses and their claims.
pub const IPAM: &[Kind] = &[
    Kind {
        group: "ipam.cluster.x-k8s.io",
        kind: "IPAddress",
        plural: "ipaddresses",
        versions: &[("v1beta1", &[]), ("v1alpha1", &[])],
    },
    Kind {
        group: "ipam.cluster.x-k8s.io",
        kind: "IPAddressClaim",
        plural: "ipaddressclaims",
        versions: &[("v1beta1", STATUS), ("v1alpha1", STATUS)],
    },
];

/// Runtime extensions.
pub const RUNTIME: &[Kind] = &[Kind {
    group: "runtime.cluster.x-k8s.io",
    kind: "ExtensionConfig",
    plural: "extensionconfigs",
    versions: &[("v1alpha1", STATUS)],
}];

const STATUS: &[Field] = &[Field("status", "status", Within(OLD_STATUS))];
