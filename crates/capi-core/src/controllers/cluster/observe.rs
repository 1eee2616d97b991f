//! What a Cluster's reconcile looks at.

use std::{sync::Arc, time::Duration};

use capi_api::core::v1beta2::{Cluster, Machine, MachineDeployment, MachinePool, MachineSet};
use capi_runtime::{Context, Key};
use jiff::Timestamp;

use super::kubeconfig::{self, KubeconfigView};
use crate::{
    foreign::{Foreign, follow},
    machines,
};

/// What an operator can set.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// For how long after the last good probe a workload cluster still counts as reachable.
    pub remote_connection_grace: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            remote_connection_grace: Duration::from_secs(50),
        }
    }
}

/// What is known of the connection to a workload cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Probe {
    /// The last time it answered.
    pub last_success: Option<Timestamp>,
    /// How often in a row it did not.
    pub failures: u32,
    /// What the last failure said.
    pub error: Option<String>,
}

impl Probe {
    /// What the runtime knows.
    pub fn of(ctx: &Context, cluster: &Key) -> Self {
        let probe = ctx.workload_probe(cluster);
        probe.map_or_else(Self::default, |p| Self {
            last_success: p.last_success,
            failures: p.consecutive_failures,
            error: p.last_error,
        })
    }

    /// Too early to say anything: it never answered, and was not asked often.
    pub fn is_undecided(&self) -> bool {
        self.last_success.is_none() && self.failures < 5
    }
}

/// A Cluster and everything that matters to it.
#[derive(Clone, Debug)]
pub struct World {
    /// The Cluster.
    pub cluster: Arc<Cluster>,
    /// What its infrastructure reference leads to.
    pub infrastructure: Foreign,
    /// What its control plane reference leads to.
    pub control_plane: Foreign,
    /// Its MachinePools.
    pub pools: Vec<Arc<MachinePool>>,
    /// Its MachineDeployments.
    pub deployments: Vec<Arc<MachineDeployment>>,
    /// Its MachineSets, those of MachineDeployments included.
    pub sets: Vec<Arc<MachineSet>>,
    /// Its Machines.
    pub machines: Vec<Arc<Machine>>,
    /// The connection to the workload cluster.
    pub probe: Probe,
    /// The kubeconfig, where it is this controller's business.
    pub kubeconfig: KubeconfigView,
}

impl World {
    /// Whether the Cluster is being deleted.
    pub fn is_deleting(&self) -> bool {
        self.cluster.metadata.deletion_timestamp.is_some()
    }

    /// Whether all references could be followed.
    pub fn is_readable(&self) -> bool {
        ![&self.infrastructure, &self.control_plane]
            .iter()
            .any(|f| matches!(f, Foreign::Unreadable(_)))
    }

    /// The Machines of the control plane.
    pub fn control_plane_machines(&self) -> impl Iterator<Item = &Machine> {
        self.machines
            .iter()
            .map(|m| &**m)
            .filter(|m| machines::is_control_plane(m))
    }

    /// The other Machines, those of MachinePools included.
    pub fn worker_machines(&self) -> impl Iterator<Item = &Machine> {
        self.machines
            .iter()
            .map(|m| &**m)
            .filter(|m| !machines::is_control_plane(m))
    }
}

/// Reads the world of a Cluster.
pub async fn observe(ctx: &Context, cluster: Arc<Cluster>, failures: &mut Vec<capi_runtime::Error>) -> World {
    let key = Key::of(&*cluster);
    let namespace = &key.namespace;
    World {
        infrastructure: follow(ctx, namespace, cluster.spec.infrastructure_ref.as_ref(), failures).await,
        control_plane: follow(ctx, namespace, cluster.spec.control_plane_ref.as_ref(), failures).await,
        pools: ctx.store::<MachinePool>().by_cluster(&key),
        deployments: ctx.store::<MachineDeployment>().by_cluster(&key),
        sets: ctx.store::<MachineSet>().by_cluster(&key),
        machines: ctx.store::<Machine>().by_cluster(&key),
        probe: Probe::of(ctx, &key),
        kubeconfig: match kubeconfig::observe(ctx, &cluster).await {
            Ok(view) => view,
            Err(error) => {
                failures.push(error);
                KubeconfigView::Settled
            }
        },
        cluster,
    }
}
