//! Annotation keys of the wire format, and the taints.

macro_rules! keys {
    ($($(#[$doc:meta])* $name:ident = $word:literal;)*) => { $($(#[$doc])* pub const $name: &str = $word;)* };
}

keys! {
    /// On any object: nobody touches it. The value does not matter.
    PAUSED = "cluster.x-k8s.io/paused";
    /// On a MachineSet: it must not create Machines.
    DISABLE_MACHINE_CREATE = "cluster.x-k8s.io/disable-machine-create";
    /// On a Machine: deleted first when its owner scales down.
    DELETE_MACHINE = "cluster.x-k8s.io/delete-machine";
    /// On a Machine: never remediated.
    SKIP_REMEDIATION = "cluster.x-k8s.io/skip-remediation";
    /// On a Machine: to be remediated now.
    REMEDIATE_MACHINE = "cluster.x-k8s.io/remediate-machine";
    /// On an infrastructure cluster: its provider leaves it alone.
    MANAGED_BY = "cluster.x-k8s.io/managed-by";
    /// Replicas are set by something else.
    REPLICAS_MANAGED_BY = "cluster.x-k8s.io/replicas-managed-by";
    /// On clones: the template's name.
    CLONED_FROM_NAME = "cluster.x-k8s.io/cloned-from-name";
    /// On clones: the template's `Kind.group`.
    CLONED_FROM_GROUP_KIND = "cluster.x-k8s.io/cloned-from-groupkind";
    /// The autoscaler's lower limit.
    AUTOSCALER_MIN_SIZE = "cluster.x-k8s.io/cluster-api-autoscaler-node-group-min-size";
    /// The autoscaler's upper limit.
    AUTOSCALER_MAX_SIZE = "cluster.x-k8s.io/cluster-api-autoscaler-node-group-max-size";
    /// What an older version cannot express, as JSON.
    CONVERSION_DATA = "cluster.x-k8s.io/conversion-data";
    /// On Nodes: the Cluster.
    CLUSTER_NAME = "cluster.x-k8s.io/cluster-name";
    /// On Nodes: the Cluster's namespace.
    CLUSTER_NAMESPACE = "cluster.x-k8s.io/cluster-namespace";
    /// On Nodes: the Machine.
    MACHINE = "cluster.x-k8s.io/machine";
    /// On Nodes: the kind of the Machine's owner.
    OWNER_KIND = "cluster.x-k8s.io/owner-kind";
    /// On Nodes: the name of the Machine's owner.
    OWNER_NAME = "cluster.x-k8s.io/owner-name";
    /// On Nodes: the labels that come from the Machine.
    LABELS_FROM_MACHINE = "cluster.x-k8s.io/labels-from-machine";
    /// On Nodes: the annotations that come from the Machine.
    ANNOTATIONS_FROM_MACHINE = "cluster.x-k8s.io/annotations-from-machine";
    /// On Nodes: the taints that come from the Machine.
    TAINTS_FROM_MACHINE = "cluster.x-k8s.io/taints-from-machine";
    /// On MachineSets and MachineDeployments: preflight checks to leave out.
    SKIP_PREFLIGHT_CHECKS = "machineset.cluster.x-k8s.io/skip-preflight-checks";
    /// On Machines: no drain.
    EXCLUDE_NODE_DRAINING = "machine.cluster.x-k8s.io/exclude-node-draining";
    /// On Machines: no wait for volumes.
    EXCLUDE_WAIT_FOR_VOLUME_DETACH = "machine.cluster.x-k8s.io/exclude-wait-for-node-volume-detach";
    /// On KubeadmConfigs and Machines: when the API server's certificate expires.
    CERTIFICATES_EXPIRY = "machine.cluster.x-k8s.io/certificates-expiry";
    /// On Machines: prefix of the hooks before draining.
    PRE_DRAIN_HOOK_PREFIX = "pre-drain.delete.hook.machine.cluster.x-k8s.io";
    /// On Machines: prefix of the hooks before the infrastructure goes.
    PRE_TERMINATE_HOOK_PREFIX = "pre-terminate.delete.hook.machine.cluster.x-k8s.io";
    /// On Machines: the kubeadm control plane's hook before the infrastructure goes.
    KCP_PRE_TERMINATE_HOOK = "pre-terminate.delete.hook.machine.cluster.x-k8s.io/kcp-cleanup";
    /// Hooks that have to be called, a sorted list.
    PENDING_HOOKS = "runtime.cluster.x-k8s.io/pending-hooks";
    /// On Clusters: hooks agree to the deletion.
    OK_TO_DELETE = "runtime.cluster.x-k8s.io/ok-to-delete";
    /// An in-place update runs.
    UPDATE_IN_PROGRESS = "in-place-updates.internal.cluster.x-k8s.io/update-in-progress";
    /// A Machine moved to another MachineSet that has not counted it yet.
    PENDING_ACKNOWLEDGE_MOVE = "in-place-updates.internal.cluster.x-k8s.io/pending-acknowledge-move";
    /// Machines whose move has been counted.
    ACKNOWLEDGED_MOVE = "in-place-updates.internal.cluster.x-k8s.io/acknowledged-move";
    /// On a MachineSet: hand Machines over to this one.
    MOVE_MACHINES_TO_MACHINESET = "in-place-updates.internal.cluster.x-k8s.io/move-machines-to-machineset";
    /// On a MachineSet: Machines come from these.
    RECEIVE_MACHINES_FROM_MACHINESETS = "in-place-updates.internal.cluster.x-k8s.io/receive-machines-from-machinesets";
    /// On MachineSets: the revision; the plural in the group is part of the wire format.
    REVISION = "machinedeployment.clusters.x-k8s.io/revision";
    /// On MachineSets: earlier revisions.
    REVISION_HISTORY = "machinedeployment.clusters.x-k8s.io/revision-history";
    /// On MachineSets: replicas of the whole MachineDeployment.
    DESIRED_REPLICAS = "machinedeployment.clusters.x-k8s.io/desired-replicas";
    /// On MachineSets: the most replicas the MachineDeployment may have meanwhile.
    MAX_REPLICAS = "machinedeployment.clusters.x-k8s.io/max-replicas";
    /// The kubeadm control plane leaves CoreDNS alone.
    SKIP_CORE_DNS = "controlplane.cluster.x-k8s.io/skip-coredns";
    /// The kubeadm control plane leaves kube-proxy alone.
    SKIP_KUBE_PROXY = "controlplane.cluster.x-k8s.io/skip-kube-proxy";
    /// On a kubeadm control plane: the remediation that runs.
    REMEDIATION_IN_PROGRESS = "controlplane.cluster.x-k8s.io/remediation-in-progress";
    /// On a Machine: what it replaces.
    REMEDIATION_FOR = "controlplane.cluster.x-k8s.io/remediation-for";
    /// On CRDs: the generation whose stored objects have been migrated.
    CRD_MIGRATION_OBSERVED_GENERATION = "crd-migration.cluster.x-k8s.io/observed-generation";
    /// On a Cluster: the version that a topology's upgrade in several steps has come to.
    TOPOLOGY_UPGRADE_STEP = "topology.internal.cluster.x-k8s.io/upgrade-step";
    /// A topology dry run.
    TOPOLOGY_DRY_RUN = "topology.cluster.x-k8s.io/dry-run";
    /// The object must not be moved now.
    BLOCK_MOVE = "clusterctl.cluster.x-k8s.io/block-move";
    /// The object is deleted because its cluster moved away.
    DELETE_FOR_MOVE = "clusterctl.cluster.x-k8s.io/delete-for-move";
}

/// The taint of a worker before its labels are synchronised (effect `NoSchedule`).
pub const UNINITIALIZED_TAINT: &str = "node.cluster.x-k8s.io/uninitialized";
/// The taint of a node whose Machine is not of the newest revision (effect `PreferNoSchedule`).
pub const OUTDATED_REVISION_TAINT: &str = "node.cluster.x-k8s.io/outdated-revision";
