//! The core provider: Clusters, Machines, MachineSets and MachineDeployments, the MachineHealthChecks that watch over
//! them, and the ClusterResourceSets that furnish new clusters.
//!
//! | room | what is in it |
//! |---|---|
//! | [`controllers`] | one folder per kind: `observe` reads, `plan` decides (pure), `act` writes, `conditions` says why |
//! | [`webhooks`] | defaults and validation of the same kinds, pure, called by the admission server or in process |
//! | [`foreign`] | infrastructure, bootstrap and control plane objects of any provider, as a reconcile sees them |
//! | [`machines`] | what is said about a group of Machines: counters, versions, aggregates |
//! | [`propagate`] | carrying fields to owned objects by server-side apply, only when it is due |
//! | [`selector`], [`pause`], [`mod@plan`] | small rules that all controllers share |
//!
//! A reconcile never decides while it writes: `plan` turns what was observed into data (steps with their reasons, the
//! wanted object with its whole status, events, the time of the next look), and `act` carries it out. The plan is what
//! tests, `describe` and simulations look at.
//!
//! What must not be here: anything that knows a certain provider, and conditions or names that other crates need too
//! (those live in `capi-api`).

pub mod controllers;
pub mod foreign;
pub mod machines;
pub mod pause;
pub mod plan;
pub mod propagate;
pub mod selector;
pub mod webhooks;

use capi_api::{
    conversion::{ADDONS, CORE, IPAM, RUNTIME},
    crd::crds,
};
use capi_runtime::Manager;

/// What an operator can set.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Of the Cluster controller.
    pub cluster: controllers::cluster::Settings,
    /// Of the Machine controller.
    pub machine: controllers::machine::Settings,
    /// Of the MachineSet controller.
    pub machine_set: controllers::machine_set::Settings,
}

/// Registers the provider's controllers and webhooks with the usual settings.
pub fn register(manager: &mut Manager) {
    register_with(manager, Settings::default());
}

/// Registers the provider's controllers and webhooks.
pub fn register_with(manager: &mut Manager, settings: Settings) {
    controllers::cluster::register(manager, settings.cluster);
    controllers::machine::register(manager, settings.machine);
    controllers::machine_set::register(manager, settings.machine_set);
    controllers::machine_deployment::register(manager);
    controllers::machine_health_check::register(manager);
    controllers::cluster_resource_set::register(manager);
    controllers::cluster_resource_set_binding::register(manager);
    webhooks::register(manager);
    for kinds in [CORE, ADDONS, IPAM, RUNTIME] {
        manager.conversion_tables(kinds, crds);
    }
}
