//! The infrastructure provider for OpenStack: networks, load balancers and servers for clusters.
//!
//! [`api`] has the kinds, [`crds()`] their definitions.

#![allow(clippy::duplicated_attributes, reason = "every print column has a `type_`")]

pub mod api;
pub mod cloud;
pub mod controllers;
mod crds;
mod error;
pub mod fake;
pub mod rules;

pub use crds::crds;
pub use error::Error;
