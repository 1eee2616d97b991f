//! The part of etcd's gRPC API that manages members (services `Cluster` and `Maintenance`), written by hand.
//!
//! - [`messages`]: the protobuf messages, with etcd's field numbers.
//! - [`Client`]: calls one member over an established byte stream (a port-forward, TLS, an in-memory pipe).
//! - [`Member`] and [`serve`]: the other side of such a stream, for imitations of etcd.
//!
//! What must not be here: dialing, TLS, and anything that knows Kubernetes. Keys and values are not covered.

mod client;
pub mod messages;
mod server;

pub use client::{Client, Error};
pub use server::{Member, serve};
pub use tonic::{Code, Status};
