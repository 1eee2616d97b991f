//! What is known about a configuration and its surroundings when a plan is made.

use std::collections::BTreeMap;
use std::sync::Arc;

use capi_api::bootstrap::v1beta2::KubeadmConfig;
use capi_api::conditions;
use capi_api::core::v1beta2::{Cluster, Machine, MachinePool, MachineSpec};
use capi_api::labels;
use capi_api::secrets::Purpose;
use cluster_pki::BootstrapToken;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;

use super::contents::{Contents, ControlPlaneVersion};

/// Who uses a configuration.
#[derive(Clone, Debug)]
pub(super) enum Owner {
    /// Nobody yet.
    Nobody,
    /// Somebody the stores do not know.
    Unknown {
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
    },
    /// A Machine.
    Machine(Arc<Machine>),
    /// A MachinePool, whose machines share one configuration.
    MachinePool(Arc<MachinePool>),
}

impl Owner {
    fn machine_spec(&self) -> Option<&MachineSpec> {
        match self {
            Self::Machine(machine) => Some(&machine.spec),
            Self::MachinePool(pool) => Some(&pool.spec.template.spec),
            Self::Nobody | Self::Unknown { .. } => None,
        }
    }

    /// Kind and name, for messages.
    pub fn describe(&self) -> String {
        match self {
            Self::Nobody => "nobody".to_owned(),
            Self::Unknown { kind, name } => format!("{kind} {name}"),
            Self::Machine(machine) => format!("Machine {}", machine.name_any()),
            Self::MachinePool(pool) => format!("MachinePool {}", pool.name_any()),
        }
    }

    /// The name of the Cluster.
    pub fn cluster_name(&self) -> Option<&str> {
        match self {
            Self::Machine(machine) => Some(&machine.spec.cluster_name),
            Self::MachinePool(pool) => Some(&pool.spec.cluster_name),
            Self::Nobody | Self::Unknown { .. } => None,
        }
    }

    /// The Kubernetes version.
    pub fn version(&self) -> Option<&str> {
        self.machine_spec()?
            .version
            .as_deref()
            .filter(|version| !version.is_empty())
    }

    /// The Secret that the owner takes its bootstrap data from.
    pub fn data_secret_name(&self) -> Option<&str> {
        self.machine_spec()?
            .bootstrap
            .data_secret_name
            .as_deref()
            .filter(|name| !name.is_empty())
    }

    /// Whether it is a control-plane machine.
    pub fn is_control_plane(&self) -> bool {
        matches!(self, Self::Machine(machine) if machine.labels().contains_key(labels::CONTROL_PLANE))
    }

    /// Whether a node has come of it.
    pub fn has_nodes(&self) -> bool {
        match self {
            Self::Machine(machine) => machine
                .status
                .as_ref()
                .is_some_and(|status| status.node_ref.is_some()),
            Self::MachinePool(pool) => pool
                .status
                .as_ref()
                .is_some_and(|status| !status.node_refs.is_empty()),
            Self::Nobody | Self::Unknown { .. } => false,
        }
    }

    /// Whether it is a MachinePool.
    pub fn is_pool(&self) -> bool {
        matches!(self, Self::MachinePool(_))
    }
}

/// What the stores tell.
#[derive(Clone, Debug)]
pub(super) struct World {
    /// The configuration.
    pub config: Arc<KubeadmConfig>,
    /// Who uses it.
    pub owner: Owner,
    /// The owner's Cluster.
    pub cluster: Option<Arc<Cluster>>,
}

/// What is to be done with a configuration, as far as the stores tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nobody uses it.
    Unused,
    /// Its Cluster does not exist.
    NoCluster,
    /// The cluster's infrastructure is not there.
    WaitForInfrastructure,
    /// The owner has its data from somewhere, only the status does not say so.
    Adopt(String),
    /// All is done.
    Done,
    /// The data is there and its token has to live until the machine has joined.
    KeepToken,
    /// The data is there and its token has to be replaced now and then, because further machines will use it.
    RotateToken,
    /// It can only join, and there is nothing yet to join.
    WaitForControlPlane,
    /// The first machine of a control plane.
    Init,
    /// A machine joins.
    Join,
}

impl World {
    /// The stage, from nothing but the stores.
    pub fn stage(&self) -> Stage {
        if matches!(self.owner, Owner::Nobody | Owner::Unknown { .. }) {
            return Stage::Unused;
        }
        let Some(cluster) = &self.cluster else {
            return Stage::NoCluster;
        };
        if !infrastructure_provisioned(cluster) {
            return Stage::WaitForInfrastructure;
        }
        let created = self.data_created();
        let reported = self
            .config
            .status
            .as_ref()
            .and_then(|status| status.data_secret_name.as_ref());
        match self.owner.data_secret_name() {
            Some(name) if !created || reported.is_none() => return Stage::Adopt(name.to_owned()),
            _ => {}
        }
        if created {
            return self.stage_of_token();
        }
        match control_plane_initialized(cluster) {
            true => Stage::Join,
            false if self.may_initialize() => Stage::Init,
            false => Stage::WaitForControlPlane,
        }
    }

    /// Whether the status says that the data is there.
    pub fn data_created(&self) -> bool {
        let initialization = self
            .config
            .status
            .as_ref()
            .and_then(|status| status.initialization.as_ref());
        initialization.and_then(|i| i.data_secret_created) == Some(true)
    }

    fn stage_of_token(&self) -> Stage {
        match (self.token(), self.owner.has_nodes(), self.owner.is_pool()) {
            (None, ..) | (Some(_), true, false) => Stage::Done,
            (Some(_), false, _) => Stage::KeepToken,
            (Some(_), true, true) => Stage::RotateToken,
        }
    }

    /// The token in the configuration.
    pub fn token(&self) -> Option<&str> {
        let discovery = self.config.spec.join_configuration.as_ref()?.discovery.as_ref()?;
        discovery
            .bootstrap_token
            .as_ref()?
            .token
            .as_deref()
            .filter(|token| !token.is_empty())
    }

    /// Whether the first control-plane machine can be made of this: one that says how to init, or that says nothing at
    /// all. Machines that are to join say so.
    fn may_initialize(&self) -> bool {
        let spec = &self.config.spec;
        let init = spec
            .cluster_configuration
            .as_ref()
            .is_some_and(|c| *c != Default::default())
            || spec
                .init_configuration
                .as_ref()
                .is_some_and(|c| *c != Default::default());
        let joins = spec
            .join_configuration
            .as_ref()
            .is_some_and(|join| join.control_plane.is_some());
        self.owner.is_control_plane() && (init || !joins)
    }
}

/// Whether there is something that machines can be placed on.
pub(super) fn infrastructure_provisioned(cluster: &Cluster) -> bool {
    let initialization = cluster
        .status
        .as_ref()
        .and_then(|status| status.initialization.as_ref());
    initialization.and_then(|i| i.infrastructure_provisioned) == Some(true)
}

/// Whether there is a control plane to join.
pub(super) fn control_plane_initialized(cluster: &Cluster) -> bool {
    let initialization = cluster
        .status
        .as_ref()
        .and_then(|status| status.initialization.as_ref());
    let conditions = cluster
        .status
        .as_ref()
        .map_or(&[][..], |status| &status.conditions);
    let condition = conditions::get_in(conditions, conditions::types::CONTROL_PLANE_INITIALIZED);
    initialization.and_then(|i| i.control_plane_initialized) == Some(true)
        || condition.is_some_and(|c| c.status == "True")
}

/// What had to be read for the stage at hand.
#[derive(Clone, Default)]
pub(super) struct Facts {
    /// Certificate Secrets by purpose; none for those that do not exist.
    pub certificates: BTreeMap<Purpose, Option<Secret>>,
    /// Secrets that files and users refer to.
    pub contents: Contents,
    /// The version of the control plane, for templates in files; only read if there are some.
    pub control_plane_version: ControlPlaneVersion,
    /// Who holds the init lock.
    pub lock: Option<Lock>,
    /// The Secret of the configuration's name.
    pub data: Option<Secret>,
    /// The workload cluster; an error says why it cannot be reached.
    pub workload: Option<Result<TokenFact, String>>,
    /// A token that nobody knows yet.
    pub fresh_token: Option<BootstrapToken>,
}

/// What the workload cluster knows of the configuration's token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TokenFact {
    /// Nothing; or the configuration has none.
    Missing,
    /// It expires then, if its Secret says so.
    Expires(Option<Timestamp>),
}

/// The ConfigMap that keeps two machines from initialising one cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lock {
    /// The Machine that holds it.
    pub holder: String,
    /// Whether that Machine lives and is not being deleted.
    pub holder_lives: bool,
    /// The ConfigMap's uid.
    pub uid: Option<String>,
}
