//! Version v1beta2 of `ipam.cluster.x-k8s.io`. Data only; all names re-exported here.

mod ip_address;
mod ip_address_claim;

pub use ip_address::*;
pub use ip_address_claim::*;
