//! Version v1beta2 of `addons.cluster.x-k8s.io`. Data only; all names re-exported here.

mod cluster_resource_set;
mod cluster_resource_set_binding;

pub use cluster_resource_set::*;
pub use cluster_resource_set_binding::*;
