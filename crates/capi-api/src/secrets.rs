//! The Secrets of a cluster: their names, type and keys.

use std::fmt;

/// The type of the Secrets that belong to a cluster.
pub const CLUSTER_SECRET_TYPE: &str = "cluster.x-k8s.io/secret";
/// The type of the Secrets that a ClusterResourceSet may apply.
pub const RESOURCE_SET_SECRET_TYPE: &str = "addons.cluster.x-k8s.io/resource-set";
/// The key of a kubeconfig and of bootstrap data.
pub const VALUE_KEY: &str = "value";
/// The key that names the format of bootstrap data.
pub const FORMAT_KEY: &str = "format";
/// The key of a certificate.
pub const CERTIFICATE_KEY: &str = "tls.crt";
/// The key of a private key.
pub const PRIVATE_KEY_KEY: &str = "tls.key";

/// What a cluster's Secret is for; its name is `<cluster>-<purpose>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// How to reach the workload cluster as an administrator.
    Kubeconfig,
    /// The cluster's certificate authority.
    ClusterCa,
    /// etcd's certificate authority.
    EtcdCa,
    /// The aggregation layer's certificate authority.
    FrontProxyCa,
    /// The key pair that signs service account tokens.
    ServiceAccount,
    /// The user's client certificate for an external etcd.
    ApiServerEtcdClient,
}

impl Purpose {
    /// The last part of the Secret's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Kubeconfig => "kubeconfig",
            Self::ClusterCa => "ca",
            Self::EtcdCa => "etcd",
            Self::FrontProxyCa => "proxy",
            Self::ServiceAccount => "sa",
            Self::ApiServerEtcdClient => "apiserver-etcd-client",
        }
    }

    /// The name of `cluster`'s Secret for this.
    pub fn name_for(self, cluster: &str) -> String {
        format!("{cluster}-{}", self.as_str())
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_named_after_the_cluster() {
        assert_eq!(Purpose::Kubeconfig.name_for("c1"), "c1-kubeconfig");
        assert_eq!(Purpose::FrontProxyCa.name_for("c1"), "c1-proxy");
    }
}
