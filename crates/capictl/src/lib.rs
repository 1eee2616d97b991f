//! The command line of capi-rs.
//!
//! - [`describe`]: why is my cluster not ready? Reads objects, builds a tree, names the root cause first.
//! - [`quickstart`]: an API server, all providers and a first cluster in one process.
//! - [`kubeconfig`]: the kubeconfig of a workload cluster.
//! - [`init`], [`generate`]: providers come and go; manifests from templates ([`envsubst`]). Releases are read by [`repository`],
//!   turned into objects by [`components`], and written by [`installation`].
//!
//! What decides (which object is the cause, what the tree looks like, which path was critical) is pure and takes an
//! [`inventory::Inventory`]; reading and printing happen at the rim. Rules of reconciliation must not be here.

pub mod cause;
pub mod cli;
pub mod components;
pub mod describe;
pub mod envsubst;
pub mod generate;
pub mod init;
pub mod installation;
pub mod inventory;
pub mod kubeconfig;
pub mod providers;
pub mod quickstart;
pub mod render;
pub mod repository;
pub mod tree;
