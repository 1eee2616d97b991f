//! One folder per kind: `observe.rs` reads, `plan.rs` decides, `act.rs` writes, `conditions.rs` says why.

pub mod cluster;
pub mod machine;
pub mod machine_deployment;
pub mod machine_set;
