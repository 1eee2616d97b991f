//! The controllers: DevCluster and DevMachine turn into calls on the simulated [`crate::backend::World`].

pub mod devcluster;
pub mod devmachine;
mod secrets;
