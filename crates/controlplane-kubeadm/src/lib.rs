//! The control plane provider for kubeadm: the controller and the admission rules of KubeadmControlPlane.
//!
//! [`register`] adds it to a manager; installed alone it is a Deployment of its own (see `main.rs`).

pub mod controllers;
mod error;
pub mod webhooks;
pub mod workload;

use std::{sync::Arc, time::Duration};

use capi_api::{conversion::CONTROL_PLANE, crd::crds};
use capi_runtime::Manager;
use jiff::SignedDuration;

pub use error::Error;
use workload::etcd::{EtcdDialer, PortForwardTls, Timeouts};

/// What can be set about this provider.
#[derive(Clone)]
pub struct Settings {
    /// How etcd members are reached.
    pub etcd_dialer: Arc<dyn EtcdDialer>,
    /// How long to wait for etcd.
    pub etcd_timeouts: Timeouts,
    /// How long conditions that come from a workload cluster stay as they are after it was last reached.
    pub remote_conditions_grace_period: Duration,
    /// How many control planes are reconciled at the same time. Many: most of the time they wait for answers of workload
    /// clusters, and a slow one must not hold up others.
    pub concurrency: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            etcd_dialer: Arc::new(PortForwardTls),
            etcd_timeouts: Timeouts::default(),
            remote_conditions_grace_period: Duration::from_secs(300),
            concurrency: 100,
        }
    }
}

impl Settings {
    fn grace(&self) -> SignedDuration {
        SignedDuration::try_from(self.remote_conditions_grace_period).unwrap_or(SignedDuration::MAX)
    }
}

/// Adds this provider to a manager, with the usual settings.
pub fn register(manager: &mut Manager) {
    register_with(manager, Settings::default());
}

/// Adds this provider to a manager.
pub fn register_with(manager: &mut Manager, settings: Settings) {
    let concurrency = settings.concurrency;
    workload::index_nodes(manager);
    manager.register(
        controllers::kubeadm_control_plane::controller(Arc::new(settings)).concurrency(concurrency),
    );
    webhooks::register(manager);
    manager.conversion_tables(CONTROL_PLANE, crds);
}
