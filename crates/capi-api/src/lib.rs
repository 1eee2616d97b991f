//! The kinds of Cluster API as Rust types, and the pure rules that everybody who touches them shares.
//!
//! Each API group is a module with one submodule per version; `capi_api::core::v1beta2::Machine` is what its Go twin is
//! called. [`crd`] turns the types into custom resource definitions.
//!
//! What must not be here: I/O, clients, controllers, clocks. Data in, data out.

#![allow(clippy::duplicated_attributes, reason = "every print column has a `type_`")]

pub mod addons;
pub mod bootstrap;
pub mod clusterctl;
pub mod controlplane;
pub mod core;
pub mod crd;
pub mod ipam;
pub mod runtime;
mod wire;

pub mod annotations;
pub mod conditions;
pub mod contract;
pub mod conversion;
pub mod field;
pub mod finalizers;
pub mod labels;
pub mod names;
pub mod secrets;
pub mod versions;
