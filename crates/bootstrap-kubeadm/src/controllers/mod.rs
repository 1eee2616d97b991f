//! The controllers of this provider.

pub mod kubeadmconfig;
