//! A simulated etcd: its membership as a pure state machine ([`EtcdCluster`]) and the gRPC answers of one member
//! ([`SimulatedMember`]). There are no keys and values; the workload cluster's objects live in its API server.

mod cluster;
mod member;

pub use cluster::{EtcdCluster, EtcdError};
pub use member::SimulatedMember;
