//! Label keys of the wire format.

macro_rules! keys {
    ($($(#[$doc:meta])* $name:ident = $word:literal;)*) => { $($(#[$doc])* pub const $name: &str = $word;)* };
}

keys! {
    /// The Cluster an object belongs to.
    CLUSTER_NAME = "cluster.x-k8s.io/cluster-name";
    /// The provider a component or CRD belongs to.
    PROVIDER = "cluster.x-k8s.io/provider";
    /// Chooses the manager instance that handles an object.
    WATCH_FILTER = "cluster.x-k8s.io/watch-filter";
    /// On nodes that can be taken away at short notice.
    INTERRUPTIBLE = "cluster.x-k8s.io/interruptible";
    /// On Machines of the control plane; value empty.
    CONTROL_PLANE = "cluster.x-k8s.io/control-plane";
    /// The control plane object a Machine belongs to.
    CONTROL_PLANE_NAME = "cluster.x-k8s.io/control-plane-name";
    /// The MachineSet a Machine belongs to.
    SET_NAME = "cluster.x-k8s.io/set-name";
    /// The MachineDeployment an object belongs to.
    DEPLOYMENT_NAME = "cluster.x-k8s.io/deployment-name";
    /// The MachinePool an object belongs to.
    POOL_NAME = "cluster.x-k8s.io/pool-name";
    /// On pods: `skip` or `wait-completed` when a node is drained.
    DRAIN = "cluster.x-k8s.io/drain";
    /// On ClusterRoles that widen the manager's rights.
    AGGREGATE_TO_MANAGER = "cluster.x-k8s.io/aggregate-to-manager";
    /// On objects that a cluster's topology created.
    TOPOLOGY_OWNED = "topology.cluster.x-k8s.io/owned";
    /// The MachineDeployment's name in the topology.
    TOPOLOGY_DEPLOYMENT_NAME = "topology.cluster.x-k8s.io/deployment-name";
    /// The MachinePool's name in the topology.
    TOPOLOGY_POOL_NAME = "topology.cluster.x-k8s.io/pool-name";
    /// Tells MachineSets of one MachineDeployment apart.
    MACHINE_TEMPLATE_HASH = "machine-template-hash";
    /// On everything clusterctl installs.
    CLUSTERCTL = "clusterctl.cluster.x-k8s.io";
    /// `inventory` or `cert-manager`: what clusterctl itself keeps in the cluster.
    CLUSTERCTL_CORE = "clusterctl.cluster.x-k8s.io/core";
    /// The object moves with its cluster.
    MOVE = "clusterctl.cluster.x-k8s.io/move";
    /// The object and all it owns moves.
    MOVE_HIERARCHY = "clusterctl.cluster.x-k8s.io/move-hierarchy";
    /// Kubernetes' label of control-plane nodes.
    NODE_ROLE_CONTROL_PLANE = "node-role.kubernetes.io/control-plane";
}

/// The group of all contracts; `cluster.x-k8s.io/<contract>` is the label on CRDs that lists versions.
pub const CONTRACT_GROUP: &str = "cluster.x-k8s.io";
