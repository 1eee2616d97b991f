//! Admission rules of this provider's kinds, as pure functions.

mod jinja;
pub mod kubeadmconfig;
mod metadata;
pub mod template_defaults;
