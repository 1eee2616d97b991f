//! What a machine is to do at its first boot, before a format (cloud-init, Ignition) is chosen.
//!
//! These values hold private keys and tokens: they have no `Debug` that would print them, and nothing here logs.

use std::fmt;

use capi_api::bootstrap::v1beta2::{ContainerLinuxConfig, DiskSetup, Encoding, NTP, User};

/// Where a machine tells that kubeadm succeeded; infrastructure providers look for it.
pub const SENTINEL_FILE: &str = "/run/cluster-api/bootstrap-success.complete";

/// A file on the machine with its final content.
#[derive(Clone, Default, PartialEq)]
pub struct NodeFile {
    /// Absolute path.
    pub path: String,
    /// `user:group`; empty leaves it to the format's default (root).
    pub owner: String,
    /// Octal digits such as `0640`; empty leaves it to the format's default.
    pub permissions: String,
    /// How `content` is encoded; none for text.
    pub encoding: Option<Encoding>,
    /// Whether `content` is added to an existing file.
    pub append: Option<bool>,
    /// The text, encoded as `encoding` says.
    pub content: String,
}

impl NodeFile {
    /// A file of root.
    pub fn of_root(path: impl Into<String>, permissions: &str, content: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            owner: "root:root".to_owned(),
            permissions: permissions.to_owned(),
            content: content.into(),
            ..Self::default()
        }
    }
}

impl fmt::Debug for NodeFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeFile")
            .field("path", &self.path)
            .field("permissions", &self.permissions)
            .finish_non_exhaustive()
    }
}

/// What kubeadm is to do, with its rendered configuration documents.
#[derive(Clone, PartialEq)]
pub enum Action {
    /// Make the first machine of a control plane.
    Init {
        /// The document ClusterConfiguration.
        cluster_configuration: String,
        /// The document InitConfiguration.
        init_configuration: String,
    },
    /// Join a control plane as another member.
    JoinControlPlane {
        /// The document JoinConfiguration.
        join_configuration: String,
    },
    /// Join as a worker.
    JoinWorker {
        /// The document JoinConfiguration.
        join_configuration: String,
    },
}

/// Everything that a machine does at its first boot.
#[derive(Clone, PartialEq)]
pub struct MachineSetup {
    /// What kubeadm does.
    pub action: Action,
    /// Certificates and keys of the cluster; empty for workers.
    pub certificates: Vec<NodeFile>,
    /// The user's files.
    pub files: Vec<NodeFile>,
    /// Accounts; passwords are resolved.
    pub users: Vec<User>,
    /// Time servers.
    pub ntp: Option<NTP>,
    /// Partitions and file systems.
    pub disk_setup: Option<DiskSetup>,
    /// Mounts in the order of fstab's columns.
    pub mounts: Vec<Vec<String>>,
    /// Commands of the early boot, at every boot.
    pub boot_commands: Vec<String>,
    /// Commands before kubeadm.
    pub pre_kubeadm_commands: Vec<String>,
    /// Commands after kubeadm.
    pub post_kubeadm_commands: Vec<String>,
    /// kubeadm's log level.
    pub verbosity: Option<i32>,
    /// What the user adds to an Ignition configuration; other formats do not know it.
    pub container_linux_config: Option<ContainerLinuxConfig>,
}

impl MachineSetup {
    /// A machine that does `action` and nothing else.
    pub fn new(action: Action) -> Self {
        Self {
            action,
            certificates: Vec::new(),
            files: Vec::new(),
            users: Vec::new(),
            ntp: None,
            disk_setup: None,
            mounts: Vec::new(),
            boot_commands: Vec::new(),
            pre_kubeadm_commands: Vec::new(),
            post_kubeadm_commands: Vec::new(),
            verbosity: None,
            container_linux_config: None,
        }
    }
}
