//! The kinds of this provider, group `infrastructure.cluster.x-k8s.io`: wire-compatible with Cluster API's development
//! provider. Field docs are in the Go API of the same names; what is said here is what this provider does with them.

mod common;
pub mod conversion;
mod dev_cluster;
mod dev_cluster_template;
mod dev_machine;
mod dev_machine_template;

pub use common::*;
pub use dev_cluster::*;
pub use dev_cluster_template::*;
pub use dev_machine::*;
pub use dev_machine_template::*;

/// The API group of all kinds here.
pub const GROUP: &str = "infrastructure.cluster.x-k8s.io";

/// The version they are stored in.
pub const VERSION: &str = "v1beta2";

/// Keeps a DevCluster until its simulated workload cluster is gone; the name is the wire format's.
pub const DEV_CLUSTER_FINALIZER: &str = "dockercluster.infrastructure.cluster.x-k8s.io";

/// Keeps a DevMachine until its simulated machine is gone; the name is the wire format's.
pub const DEV_MACHINE_FINALIZER: &str = "dockermachine.infrastructure.cluster.x-k8s.io";

/// On a DevCluster: the name of its endpoint, `<namespace>/<cluster>`.
pub const LISTENER_ANNOTATION: &str = "inmemorycluster.infrastructure.cluster.x-k8s.io/listener";

/// On a core Machine: its simulated machine became a node once, so that after a restart of the provider it is rebuilt at
/// once and without checks.
pub const BOOTSTRAPPED_ANNOTATION: &str = "machine.inmemory.infrastructure.cluster.x-k8s.io/bootstrapped";

capi_api::conditions_access!(DevCluster, DevMachine);
capi_api::v1beta1_conditions_access!(DevMachine);
