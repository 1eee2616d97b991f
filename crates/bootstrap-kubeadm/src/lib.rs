//! The kubeadm bootstrap provider: makes the user data with which a machine becomes a Kubernetes node.
//!
//! A [`KubeadmConfig`](capi_api::bootstrap::v1beta2::KubeadmConfig) says how a machine is to be set up. This crate renders
//! [`kubeadm`]'s configuration from it, wraps that with files, users, disks and commands into [`cloudinit`] user data, and
//! leaves the result in a Secret whose name it reports. `controllers` does so for the objects of a management cluster.
//!
//! User data holds private keys and tokens: nothing in this crate logs it or puts it into a condition.
//! What must not be here: how a machine gets its user data (infrastructure providers), and the life of control planes.

pub mod cloudinit;
pub mod kubeadm;
pub mod machine_setup;
pub mod yaml;
