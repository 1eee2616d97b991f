//! The group `cluster.x-k8s.io`: clusters, machines and what keeps them.

pub mod metadata;
pub mod v1beta2;
