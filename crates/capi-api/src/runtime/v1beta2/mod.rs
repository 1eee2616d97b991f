//! Version v1beta2 of `runtime.cluster.x-k8s.io`. Data only; all names re-exported here.

mod extension_config;

pub use extension_config::*;
