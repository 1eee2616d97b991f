//! The condition types of the wire format.

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident = $word:literal;)*) => { $($(#[$doc])* pub const $name: &str = $word;)* };
}

words! {
    /// The object does what it is for.
    AVAILABLE = "Available";
    /// The object is in working order.
    READY = "Ready";
    /// The machine matches what its owner wants.
    UP_TO_DATE = "UpToDate";
    /// The workload cluster answers probes.
    REMOTE_CONNECTION_PROBE = "RemoteConnectionProbe";
    /// Mirror of the bootstrap config's Ready.
    BOOTSTRAP_CONFIG_READY = "BootstrapConfigReady";
    /// Mirror of the infrastructure object's Ready.
    INFRASTRUCTURE_READY = "InfrastructureReady";
    /// The control plane has been reachable once.
    CONTROL_PLANE_INITIALIZED = "ControlPlaneInitialized";
    /// Mirror of the control plane's Available.
    CONTROL_PLANE_AVAILABLE = "ControlPlaneAvailable";
    /// Aggregate over the Cluster's MachineDeployments and MachinePools.
    WORKERS_AVAILABLE = "WorkersAvailable";
    /// The cluster certificates exist.
    CERTIFICATES_AVAILABLE = "CertificatesAvailable";
    /// The control plane is initialised (on the control plane object).
    INITIALIZED = "Initialized";
    /// etcd has a quorum and no complaints.
    ETCD_CLUSTER_HEALTHY = "EtcdClusterHealthy";
    /// The static pods of the control plane run.
    CONTROL_PLANE_COMPONENTS_HEALTHY = "ControlPlaneComponentsHealthy";
    /// The node is ready and reports no pressure.
    NODE_HEALTHY = "NodeHealthy";
    /// The node is ready.
    NODE_READY = "NodeReady";
    /// The node has kubeadm's control-plane label and taint.
    NODE_KUBEADM_LABELS_AND_TAINTS_SET = "NodeKubeadmLabelsAndTaintsSet";
    /// The etcd pod of the machine runs.
    ETCD_POD_HEALTHY = "EtcdPodHealthy";
    /// The etcd member of the machine is healthy.
    ETCD_MEMBER_HEALTHY = "EtcdMemberHealthy";
    /// The kube-apiserver pod of the machine runs.
    API_SERVER_POD_HEALTHY = "APIServerPodHealthy";
    /// The kube-controller-manager pod of the machine runs.
    CONTROLLER_MANAGER_POD_HEALTHY = "ControllerManagerPodHealthy";
    /// The kube-scheduler pod of the machine runs.
    SCHEDULER_POD_HEALTHY = "SchedulerPodHealthy";
    /// A MachineHealthCheck finds the machine healthy.
    HEALTH_CHECK_SUCCEEDED = "HealthCheckSucceeded";
    /// The owner has been asked to replace the machine.
    OWNER_REMEDIATED = "OwnerRemediated";
    /// Something outside has been asked to repair the machine.
    EXTERNALLY_REMEDIATED = "ExternallyRemediated";
    /// The topology has been carried out.
    TOPOLOGY_RECONCILED = "TopologyReconciled";
    /// An in-place update runs.
    UPDATING = "Updating";
    /// Some machines are being replaced.
    ROLLING_OUT = "RollingOut";
    /// Some machines are being repaired.
    REMEDIATING = "Remediating";
    /// There are more replicas than wanted.
    SCALING_DOWN = "ScalingDown";
    /// There are fewer replicas than wanted.
    SCALING_UP = "ScalingUp";
    /// Aggregate of the machines' Ready.
    MACHINES_READY = "MachinesReady";
    /// Aggregate of the control-plane machines' Ready.
    CONTROL_PLANE_MACHINES_READY = "ControlPlaneMachinesReady";
    /// Aggregate of the worker machines' Ready.
    WORKER_MACHINES_READY = "WorkerMachinesReady";
    /// Aggregate of the machines' UpToDate.
    MACHINES_UP_TO_DATE = "MachinesUpToDate";
    /// Aggregate of the control-plane machines' UpToDate.
    CONTROL_PLANE_MACHINES_UP_TO_DATE = "ControlPlaneMachinesUpToDate";
    /// Aggregate of the worker machines' UpToDate.
    WORKER_MACHINES_UP_TO_DATE = "WorkerMachinesUpToDate";
    /// Nobody touches the object.
    PAUSED = "Paused";
    /// The object is on its way out.
    DELETING = "Deleting";
    /// The bootstrap data exists (KubeadmConfig).
    DATA_SECRET_AVAILABLE = "DataSecretAvailable";
    /// Remediation by a MachineHealthCheck is allowed.
    REMEDIATION_ALLOWED = "RemediationAllowed";
    /// The resources of a ClusterResourceSet are applied.
    RESOURCES_APPLIED = "ResourcesApplied";
    /// The variables of a ClusterClass are known.
    VARIABLES_READY = "VariablesReady";
    /// The templates of a ClusterClass are of their contract's newest version.
    REF_VERSIONS_UP_TO_DATE = "RefVersionsUpToDate";
    /// The handlers of a runtime extension are known.
    DISCOVERED = "Discovered";
}
