//! The in-memory infrastructure provider: machines and workload clusters that exist only in this process, wire-compatible
//! with the in-memory backend of Cluster API's development provider.
//!
//! - [`api`]: the kinds DevCluster and DevMachine and their templates.
//! - [`controllers`]: what turns them into calls on the simulated world.
//! - [`faults`]: the annotations by which users break machines and clusters.
//! - [`backend`]: that [`World`]: machines, API servers, etcd members, endpoints.
//!
//! Nothing here knows another provider: machines are judged by their bootstrap data, as real ones are.

#![allow(clippy::duplicated_attributes, reason = "every print column has a `type_`")]

pub mod api;
pub mod backend;
pub mod controllers;
mod crds;
mod error;
pub mod faults;

pub use backend::World;
pub use crds::crds;
pub use error::Error;

/// Adds the controllers of this provider to a manager; machines live in `world`.
pub fn register(manager: &mut capi_runtime::Manager, world: World) {
    manager.register(controllers::devcluster::controller(world.clone()));
    manager.register(controllers::devmachine::controller(world));
    manager.conversion_tables(api::conversion::KINDS, crds);
}
