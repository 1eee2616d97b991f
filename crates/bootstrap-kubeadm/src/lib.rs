//! The kubeadm bootstrap provider: makes the user data with which a machine becomes a Kubernetes node.
//!
//! A [`KubeadmConfig`] says how a machine is to be set up. This crate renders
//! [`kubeadm`]'s configuration from it, wraps that with files, users, disks and commands into [`cloudinit`] user data, and
//! leaves the result in a Secret whose name it reports. Machines without cloud-init get [`ignition`]. [`controllers`] does so for the objects of a management cluster.
//!
//! User data holds private keys and tokens: nothing in this crate logs it or puts it into a condition.
//! What must not be here: how a machine gets its user data (infrastructure providers), and the life of control planes.

pub mod cloudinit;
pub mod controllers;
pub mod ignition;
pub mod kubeadm;
pub mod machine_setup;
pub mod webhooks;
pub mod yaml;

use capi_api::bootstrap::rules::IgnitionGate;
use capi_api::bootstrap::v1beta2::{KubeadmConfig, KubeadmConfigTemplate};
use capi_api::{conversion::BOOTSTRAP, crd::crds};
use capi_runtime::Manager;

pub use controllers::kubeadmconfig::Options;

use webhooks::kubeadmconfig::Rules;
use webhooks::template_defaults::TemplateDefaults;

pub use capi_api::bootstrap::rules::IGNITION_FEATURE;

/// Adds this provider to a manager, with its usual options.
pub fn register(manager: &mut Manager) {
    register_with(manager, Options::default());
}

/// Adds this provider to a manager.
pub fn register_with(manager: &mut Manager, options: Options) {
    let ignition = IgnitionGate::of(manager.feature(IGNITION_FEATURE, false));
    let rules = Rules { ignition };
    manager.validator::<KubeadmConfig>(rules);
    manager.webhook::<KubeadmConfigTemplate>(TemplateDefaults, rules);
    manager.conversion_tables(BOOTSTRAP, crds);
    controllers::kubeadmconfig::register(manager, options);
}
