//! The infrastructure provider for OpenStack: networks, load balancers and servers for clusters.
//!
//! [`api`] has the kinds, [`crds()`] their definitions, [`cloud`] the requests, [`rules`] what needs no cloud to be true,
//! [`controllers`] the work, and [`fake`] an OpenStack within the process to try it all on.

#![allow(clippy::duplicated_attributes, reason = "every print column has a `type_`")]

pub mod api;
pub mod cloud;
pub mod controllers;
mod crds;
mod error;
pub mod fake;
pub mod rules;
mod webhooks;

use std::sync::Arc;

use capi_runtime::Manager;
use seams::{SystemClock, SystemRandomness};

pub use crds::crds;
pub use error::Error;

use cloud::{RequestMetrics, ReqwestTransports, Sessions, Tools};

/// Adds this provider to a manager, for OpenStack over the network.
pub fn register(manager: &mut Manager) {
    let user_agent = concat!("cluster-api-provider-openstack/", env!("CARGO_PKG_VERSION"));
    let transports = Arc::new(ReqwestTransports::new(user_agent));
    register_with(
        manager,
        Tools::new(transports, Arc::new(SystemClock), Arc::new(SystemRandomness)),
    );
}

/// Adds this provider to a manager, with tools of its own choice.
pub fn register_with(manager: &mut Manager, mut tools: Tools) {
    match RequestMetrics::new(manager.metrics().registry()) {
        Ok(metrics) => tools.metrics = Some(metrics),
        Err(error) => tracing::warn!(%error, "requests to OpenStack are not counted"),
    }
    let sessions = Arc::new(Sessions::new(tools));
    manager.register(controllers::openstackcluster::controller(sessions.clone()));
    manager.register(controllers::openstackmachine::controller(sessions.clone()));
    if manager.feature("AutoScaleFromZero", true) {
        manager.register(controllers::openstackmachinetemplate::controller(
            sessions.clone(),
        ));
    }
    manager.register(controllers::openstackserver::controller(sessions.clone()));
    manager.register(controllers::floatingippool::controller(sessions.clone()));
    manager.background("openstack-lists", |_| sessions.follow());
    webhooks::register(manager);
}
