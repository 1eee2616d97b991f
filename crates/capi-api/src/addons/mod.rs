//! The group `addons.cluster.x-k8s.io`: resources applied to clusters.

pub mod v1beta2;
