//! The outside world, simulated: virtual machines and the Kubernetes clusters that run on them.
//!
//! [`World`] plays the cloud. It outlives the controllers (a crash of them does not touch it), can be copied in the
//! middle of anything ([`World::snapshot`]) and holds
//! - machines: plain records of how far each has come;
//! - workload clusters: each an embedded API server with what kubeadm would have put there, plus an etcd membership,
//!   reachable at an endpoint while at least one of its API servers runs.
//!
//! What decides when a machine takes its next step is not here but in the DevMachine controller's plan. A machine that
//! never boots or never joins is a missing call of [`World::become_node`]; all other faults are told to the world
//! ([`World::set_faults`], [`World::set_cluster_faults`]), which brings processes and objects in line with them.

pub mod endpoints;
mod etcd;
pub mod guest;
mod images;
mod kubeadm_objects;
mod node_objects;
mod objects;
mod port_forward;
mod static_pods;
mod tls;
mod workload;
mod world;

pub use endpoints::{Endpoint, Endpoints, Listeners, Registry, RegistryConnector};
pub use etcd::{EtcdCluster, EtcdError, SimulatedMember};
pub use workload::ClusterView;
pub use world::{NodeOrder, NodeRecord, SimulatedMachine, World, WorldSettings, WorldSnapshot};
