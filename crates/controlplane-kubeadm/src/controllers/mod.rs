//! The controllers of this provider, one folder a kind.

pub mod kubeadm_control_plane;
