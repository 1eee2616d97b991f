//! What a Machine's reconcile looks at.

use std::{sync::Arc, time::Duration};

use capi_api::core::v1beta2::{Cluster, Machine, MachineDeployment, MachineSet};
use capi_api::labels;
use capi_runtime::{Context, Disconnected, Error, Key, WorkloadClient, meta};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{Api, ResourceExt, api::ListParams};

use super::{deletion, drain};
use crate::{
    controllers::cluster::observe::Probe,
    foreign::{Foreign, follow},
    machines,
};

/// What an operator can set.
#[derive(Clone, Debug)]
pub struct Settings {
    /// For how long after the last good probe of the workload cluster what was last seen of a Node still counts.
    pub remote_conditions_grace: Duration,
    /// Machine labels that are copied to the Node besides those of the well-known domains: whole keys.
    pub sync_labels: Vec<String>,
    /// Machine annotations that are copied to the Node: whole keys.
    pub sync_annotations: Vec<String>,
    /// Whether `spec.taints` is carried to the Node.
    pub propagate_taints: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            remote_conditions_grace: Duration::from_secs(300),
            sync_labels: Vec::new(),
            sync_annotations: Vec::new(),
            propagate_taints: false,
        }
    }
}

/// What is known of the Node.
#[derive(Clone, Debug, Default)]
pub enum NodeView {
    /// There is no connection to the workload cluster, for this reason.
    Disconnected(String),
    /// The workload cluster has no such Node, or none was looked for yet.
    #[default]
    Absent,
    /// The Node.
    Found(Arc<Node>),
    /// Several Nodes claim to be this Machine.
    Ambiguous(Vec<String>),
}

impl NodeView {
    /// The Node, if there is exactly one.
    pub fn found(&self) -> Option<&Arc<Node>> {
        match self {
            Self::Found(node) => Some(node),
            _ => None,
        }
    }

    /// Whether the workload cluster can be reached.
    pub fn is_connected(&self) -> bool {
        !matches!(self, Self::Disconnected(_))
    }
}

/// A Machine and everything that matters to it.
#[derive(Clone, Debug)]
pub struct World {
    /// The Machine.
    pub machine: Arc<Machine>,
    /// Its Cluster.
    pub cluster: Arc<Cluster>,
    /// The MachineSet that owns it.
    pub set: Option<Arc<MachineSet>>,
    /// The MachineDeployment above that.
    pub deployment: Option<Arc<MachineDeployment>>,
    /// What its bootstrap reference leads to.
    pub bootstrap: Foreign,
    /// What its infrastructure reference leads to.
    pub infrastructure: Foreign,
    /// The Node with its provider ID.
    pub node: NodeView,
    /// The connection to the workload cluster.
    pub probe: Probe,
    /// Only while deleting: the Cluster's control plane object.
    pub control_plane: Foreign,
    /// Only while deleting: how many Machines of the control plane stay.
    pub control_plane_machines: usize,
    /// Only when a drain may run: the pods on the Node.
    pub pods: Option<Vec<Pod>>,
    /// When this was read; timeouts are measured against it.
    pub seen: Timestamp,
}

impl World {
    /// Whether the Machine is being deleted.
    pub fn is_deleting(&self) -> bool {
        machines::is_deleting(&self.machine)
    }

    /// Whether all references could be followed.
    pub fn is_readable(&self) -> bool {
        ![&self.bootstrap, &self.infrastructure]
            .iter()
            .any(|f| matches!(f, Foreign::Unreadable(_)))
    }
}

/// Reads the world of a Machine.
pub async fn observe(
    ctx: &Context,
    machine: Arc<Machine>,
    cluster: Arc<Cluster>,
    failures: &mut Vec<Error>,
) -> Result<World, Error> {
    let namespace = machine.namespace().unwrap_or_default();
    let cluster_key = Key::of(&*cluster);
    let (set, deployment) = owners(ctx, &machine);
    let spec = &machine.spec;
    let bootstrap = follow(ctx, &namespace, spec.bootstrap.config_ref.as_ref(), failures).await;
    let infrastructure = follow(ctx, &namespace, Some(&spec.infrastructure_ref), failures).await;
    let workload = ctx.workload(&cluster_key);
    let provider_id = super::plan::provider_id(&machine, &infrastructure);
    let mut world = World {
        node: node(&workload, provider_id.as_deref()),
        probe: Probe::of(ctx, &cluster_key),
        set,
        deployment,
        bootstrap,
        infrastructure,
        control_plane: Foreign::Unset,
        control_plane_machines: 0,
        pods: None,
        seen: ctx.now(),
        machine,
        cluster,
    };
    if world.is_deleting() {
        world.control_plane = follow(
            ctx,
            &namespace,
            world.cluster.spec.control_plane_ref.as_ref(),
            failures,
        )
        .await;
        let all = ctx.store::<Machine>().by_cluster(&cluster_key);
        world.control_plane_machines = all
            .iter()
            .filter(|m| machines::is_control_plane(m) && !machines::is_deleting(m))
            .count();
        if let (true, Ok(workload), Some(node)) =
            (deletion::wants_pods(&world), &workload, world.node.found())
        {
            world.pods = Some(pods_on(workload, &node.name_any()).await?);
        }
    }
    Ok(world)
}

/// The MachineSet and MachineDeployment above a Machine.
fn owners(ctx: &Context, machine: &Machine) -> (Option<Arc<MachineSet>>, Option<Arc<MachineDeployment>>) {
    let key = Key::of(machine);
    let owner = meta::owner_of_kind(&machine.metadata, "cluster.x-k8s.io", "MachineSet");
    let set = owner.and_then(|o| ctx.get::<MachineSet>(&key.sibling(o.name.clone())));
    let name = set
        .as_ref()
        .and_then(|s| s.labels().get(labels::DEPLOYMENT_NAME).cloned());
    let deployment = name.and_then(|name| ctx.get::<MachineDeployment>(&key.sibling(name)));
    (set, deployment)
}

fn node(workload: &Result<WorkloadClient, Disconnected>, provider_id: Option<&str>) -> NodeView {
    let workload = match workload {
        Ok(workload) => workload,
        Err(disconnected) => return NodeView::Disconnected(disconnected.reason.clone()),
    };
    let nodes = workload.store::<Node>().list(None);
    let Some(provider_id) = provider_id else {
        return NodeView::Absent;
    };
    let has_id = |n: &Node| n.spec.as_ref().and_then(|s| s.provider_id.as_deref()) == Some(provider_id);
    let mut matching: Vec<Arc<Node>> = nodes.into_iter().filter(|n| has_id(n)).collect();
    match matching.len() {
        0 => NodeView::Absent,
        1 => matching.pop().map_or(NodeView::Absent, NodeView::Found),
        _ => NodeView::Ambiguous(matching.iter().map(|n| n.name_any()).collect()),
    }
}

/// Pods are read live: they change all the time and matter only while a Machine is drained.
async fn pods_on(workload: &WorkloadClient, node: &str) -> Result<Vec<Pod>, Error> {
    let params = ListParams::default().fields(&format!("spec.nodeName={node}"));
    let pods = Api::<Pod>::all(workload.client()).list(&params).await;
    let mut pods = pods.map_err(|source| drain::failed("list", node, source))?.items;
    pods.sort_by_key(|p| (p.namespace(), p.name_any()));
    Ok(pods)
}
