//! The group `clusterctl.cluster.x-k8s.io`: what is installed in a management cluster.

pub mod v1alpha3;
