//! One folder per kind: `observe.rs` reads, `plan.rs` decides, `act.rs` writes, `conditions.rs` says why.

pub mod cluster;
pub mod cluster_resource_set;
pub mod cluster_resource_set_binding;
pub mod machine;
pub mod machine_deployment;
pub mod machine_health_check;
pub mod machine_set;
