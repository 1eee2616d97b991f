//! Version v1beta2 of `controlplane.cluster.x-k8s.io`. Data only; all names re-exported here.

mod kubeadm_control_plane;
mod kubeadm_control_plane_template;

pub use kubeadm_control_plane::*;
pub use kubeadm_control_plane_template::*;
