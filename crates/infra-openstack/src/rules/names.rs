//! What resources in OpenStack are called and described as.

use crate::api::ManagedSecurityGroupName;

/// The names of what belongs to a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterNames {
    namespace: String,
    name: String,
}

impl ClusterNames {
    /// The names for the Cluster of this namespace and name.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// Namespace and name.
    pub fn base(&self) -> String {
        format!("{}-{}", self.namespace, self.name)
    }

    /// The network, its subnet and its router.
    pub fn network(&self) -> String {
        format!("k8s-clusterapi-cluster-{}", self.base())
    }

    /// The load balancer of the API server.
    pub fn load_balancer(&self) -> String {
        format!("k8s-clusterapi-cluster-{}-kubeapi", self.base())
    }

    /// Listener, pool and monitor of a port of the load balancer.
    pub fn load_balancer_port(&self, port: i32) -> String {
        format!("{}-{port}", self.load_balancer())
    }

    /// The member of a machine in the pool of a port.
    pub fn member(&self, port: i32, machine: &str) -> String {
        format!("{}-{machine}", self.load_balancer_port(port))
    }

    /// A security group.
    pub fn security_group(&self, role: ManagedSecurityGroupName) -> String {
        format!("k8s-cluster-{}-secgroup-{role}", self.base())
    }

    /// The server of the bastion.
    pub fn bastion(&self) -> String {
        format!("{}-bastion", self.name)
    }

    /// The description of routers, subnets, load balancers and floating IPs.
    pub fn description(&self) -> String {
        describe(&self.base())
    }

    /// What names of ports of the cluster begin with.
    pub fn owns_port(&self, port: &str) -> bool {
        port.starts_with(&format!("{}-", self.name)) || port.starts_with(&format!("{}-", self.base()))
    }
}

/// The description of security groups.
pub const SECURITY_GROUP_DESCRIPTION: &str = "Cluster API managed group";

/// The description of what belongs to a cluster of this name.
pub fn describe(cluster: &str) -> String {
    format!("Created by cluster-api-provider-openstack cluster {cluster}")
}

/// The description of the floating IPs of a pool.
pub fn describe_pool(pool: &str) -> String {
    format!("Created by cluster-api-provider-openstack OpenStackFloatingIPPool {pool}")
}

/// The tag of the floating IPs of a pool.
pub fn pool_tag(pool: &str) -> String {
    format!("cluster-api-provider-openstack-fip-pool-{pool}")
}

/// A port of a server.
pub fn port(server: &str, index: usize, suffix: Option<&str>) -> String {
    match suffix {
        Some(suffix) if !suffix.is_empty() => format!("{server}-{suffix}"),
        _ => format!("{server}-{index}"),
    }
}

/// The volume that a server boots from.
pub fn root_volume(server: &str) -> String {
    format!("{server}-root")
}

/// A further volume of a server.
pub fn volume(server: &str, device: &str) -> String {
    format!("{server}-{device}")
}

/// The claim of a server's floating IP.
pub fn floating_ip_claim(server: &str) -> String {
    format!("{server}-floating-ip-address")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_under_which_upstream_finds_its_resources() {
        let names = ClusterNames::new("ns", "c");
        for (ours, theirs) in [
            (names.network(), "k8s-clusterapi-cluster-ns-c"),
            (names.load_balancer(), "k8s-clusterapi-cluster-ns-c-kubeapi"),
            (
                names.load_balancer_port(6443),
                "k8s-clusterapi-cluster-ns-c-kubeapi-6443",
            ),
            (
                names.member(6443, "m"),
                "k8s-clusterapi-cluster-ns-c-kubeapi-6443-m",
            ),
            (
                names.security_group(ManagedSecurityGroupName::ControlPlane),
                "k8s-cluster-ns-c-secgroup-controlplane",
            ),
            (names.bastion(), "c-bastion"),
            (
                names.description(),
                "Created by cluster-api-provider-openstack cluster ns-c",
            ),
            (port("m", 0, None), "m-0"),
            (port("m", 0, Some("mgmt")), "m-mgmt"),
            (root_volume("m"), "m-root"),
            (volume("m", "etcd"), "m-etcd"),
            (floating_ip_claim("m"), "m-floating-ip-address"),
        ] {
            assert_eq!(ours, theirs);
        }
        assert!(names.owns_port("c-md-0-abc-0") && !names.owns_port("cc-md-0"));
    }
}
