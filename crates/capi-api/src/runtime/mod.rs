//! The group `runtime.cluster.x-k8s.io`: runtime extensions.

pub mod v1beta2;
