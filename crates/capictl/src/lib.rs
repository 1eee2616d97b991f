//! The command line of capi-rs.
//!
//! - [`describe`]: why is my cluster not ready? Reads objects, builds a tree, names the root cause first.
//! - [`quickstart`]: an API server, all providers and a first cluster in one process.
//! - [`kubeconfig`]: the kubeconfig of a workload cluster.
//!
//! What decides (which object is the cause, what the tree looks like, which path was critical) is pure and takes an
//! [`inventory::Inventory`]; reading and printing happen at the rim. Rules of reconciliation must not be here.

pub mod cause;
pub mod cli;
pub mod describe;
pub mod inventory;
pub mod kubeconfig;
pub mod providers;
pub mod quickstart;
pub mod render;
pub mod tree;
