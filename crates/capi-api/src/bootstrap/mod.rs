//! The group `bootstrap.cluster.x-k8s.io`: bootstrap data by kubeadm.

pub mod jinja;
pub mod rules;
pub mod v1beta2;
