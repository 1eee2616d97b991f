//! OpenStack as this provider sees it: credentials, sessions, and the requests of each service.
//!
//! [`clouds_yaml`] reads what users give, [`keystone`] turns it into tokens and endpoints, [`Session`] sends requests with
//! time limits and repetitions, [`watch`] wakes those who depend on what changed, and [`compute`], [`network`], [`load_balancer`], [`volume`] and [`image`] know the requests
//! of their service: only those that the controllers need, and only the fields that they read.
//!
//! Everything goes through a [`Transport`], so that the same code runs against a real cloud and against [`crate::fake`].
//! What must not be here: anything that knows Kubernetes.

mod call;
pub mod clouds_yaml;
pub mod compute;
mod error;
pub mod image;
pub mod keystone;
pub mod load_balancer;
mod metrics;
mod microversion;
pub mod network;
mod retry;
mod server_list;
mod session;
mod sessions;
mod tools;
mod transport;
pub mod volume;
pub mod watch;

#[cfg(test)]
mod tests;

pub use call::{Call, Service};
pub use error::{CloudError, Operation};
pub use metrics::RequestMetrics;
pub use microversion::Microversion;
pub use retry::{RetryPolicy, Verdict};
pub use session::Session;
pub use sessions::{Identity, IdentityKey, Sessions};
pub use tools::{ClockHandle, RandomnessHandle, Tools};
pub use transport::{
    Fault, FaultKind, HttpRequest, HttpResponse, ReqwestTransports, Tls, Transport, Transports,
};
