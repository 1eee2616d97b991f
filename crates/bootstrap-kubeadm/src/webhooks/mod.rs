//! Admission rules of this provider's kinds, as pure functions.

pub mod kubeadmconfig;
pub mod template_defaults;
