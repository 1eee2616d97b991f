//! Version v1beta2 of `bootstrap.cluster.x-k8s.io`. Data only; all names re-exported here.

mod cluster_configuration;
mod disk;
mod files_and_users;
mod kubeadm_config;
mod kubeadm_config_template;
mod kubeadm_init;
mod kubeadm_join;

pub use cluster_configuration::*;
pub use disk::*;
pub use files_and_users::*;
pub use kubeadm_config::*;
pub use kubeadm_config_template::*;
pub use kubeadm_init::*;
pub use kubeadm_join::*;
