//! Admission rules of this provider's kinds, as pure functions.

mod jinja;
pub mod kubeadmconfig;
