//! The group `controlplane.cluster.x-k8s.io`: control planes by kubeadm.

pub mod v1beta2;
