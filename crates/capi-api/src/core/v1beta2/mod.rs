//! Version v1beta2 of `cluster.x-k8s.io`. Data only; one file per kind, and all names re-exported here.

mod cluster;
mod cluster_class;
mod cluster_class_patches;
mod cluster_class_schema;
mod cluster_class_variables;
mod cluster_class_workers;
mod cluster_topology;
mod common;
mod machine;
mod machine_deployment;
mod machine_drain_rule;
mod machine_health_check;
mod machine_pool;
mod machine_set;

pub use cluster::*;
pub use cluster_class::*;
pub use cluster_class_patches::*;
pub use cluster_class_schema::*;
pub use cluster_class_variables::*;
pub use cluster_class_workers::*;
pub use cluster_topology::*;
pub use common::*;
pub use machine::*;
pub use machine_deployment::*;
pub use machine_drain_rule::*;
pub use machine_health_check::*;
pub use machine_pool::*;
pub use machine_set::*;
