//! Finalizers of the wire format.

macro_rules! keys {
    ($($(#[$doc:meta])* $name:ident = $word:literal;)*) => { $($(#[$doc])* pub const $name: &str = $word;)* };
}

keys! {
    /// On Clusters.
    CLUSTER = "cluster.cluster.x-k8s.io";
    /// On Machines.
    MACHINE = "machine.cluster.x-k8s.io";
    /// On MachineSets.
    MACHINE_SET = "cluster.x-k8s.io/machineset";
    /// On MachineDeployments.
    MACHINE_DEPLOYMENT = "cluster.x-k8s.io/machinedeployment";
    /// On MachinePools.
    MACHINE_POOL = "machinepool.cluster.x-k8s.io";
    /// On MachineSets of a topology.
    MACHINE_SET_TOPOLOGY = "machineset.topology.cluster.x-k8s.io";
    /// On MachineDeployments of a topology.
    MACHINE_DEPLOYMENT_TOPOLOGY = "machinedeployment.topology.cluster.x-k8s.io";
    /// On KubeadmControlPlanes.
    KUBEADM_CONTROL_PLANE = "kubeadm.controlplane.cluster.x-k8s.io";
    /// On ClusterResourceSets.
    CLUSTER_RESOURCE_SET = "addons.cluster.x-k8s.io";
    /// Kubernetes' own, set by a foreground deletion.
    FOREGROUND_DELETION = "foregroundDeletion";
}
