//! The group `ipam.cluster.x-k8s.io`: IP addresses for machines.

pub mod v1beta2;
