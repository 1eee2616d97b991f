//! A simulated etcd: its membership as a pure state machine ([`EtcdCluster`]) and the gRPC answers of one member
//! ([`SimulatedMember`]). There are no keys and values; the workload cluster's objects live in its API server.

mod calls;
mod cluster;
mod error;
mod member;
#[cfg(test)]
mod tests;

pub use cluster::EtcdCluster;
pub use error::EtcdError;
pub use member::SimulatedMember;
