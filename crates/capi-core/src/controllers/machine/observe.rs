//! What a Machine's reconcile looks at.

use std::{sync::Arc, time::Duration};

use capi_api::{
    core::v1beta2::{Cluster, Machine, MachineDeployment, MachineDrainRule, MachineSet},
    labels,
};
use capi_runtime::{Context, Disconnected, Error, Key, Manager, WorkloadClient, meta};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;

use super::{BY_PROVIDER_ID, deletion, drain, remote};
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
    /// Machine labels that are copied to the Node besides those of the well-known domains.
    pub sync_labels: KeyPatterns,
    /// Machine annotations that are copied to the Node.
    pub sync_annotations: KeyPatterns,
    /// Whether `spec.taints` is carried to the Node.
    pub propagate_taints: bool,
}

/// Regular expressions for keys of labels or annotations; one that matches is enough, and as upstream it matches anywhere
/// in the key unless it says otherwise.
#[derive(Clone, Debug, Default)]
pub struct KeyPatterns(Vec<regex::Regex>);

impl KeyPatterns {
    /// Compiles the expressions; empty ones are left out.
    pub fn compile<S: AsRef<str>>(expressions: &[S]) -> Result<Self, regex::Error> {
        let texts = expressions.iter().map(AsRef::as_ref).filter(|t| !t.is_empty());
        texts.map(regex::Regex::new).collect::<Result<_, _>>().map(Self)
    }

    /// Whether a key is meant.
    pub fn matches(&self, key: &str) -> bool {
        self.0.iter().any(|pattern| pattern.is_match(key))
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            remote_conditions_grace: Duration::from_secs(300),
            sync_labels: KeyPatterns::default(),
            sync_annotations: KeyPatterns::default(),
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
    /// Only while deleting: the MachineDrainRules of the namespace.
    pub rules: Vec<Arc<MachineDrainRule>>,
    /// Only when a drain may run, or volumes are waited for: the pods on the Node.
    pub drain: Option<drain::rules::View>,
    /// Only once the Node is drained: the volumes.
    pub volumes: Option<drain::volumes::View>,
    /// Why pods or volumes could not be read.
    pub trouble: Option<String>,
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
) -> World {
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
        rules: Vec::new(),
        drain: None,
        volumes: None,
        trouble: None,
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
        world.rules = ctx.store::<MachineDrainRule>().list(Some(&namespace));
        if let Ok(workload) = &workload
            && let Err(error) = remote_parts(workload, &mut world).await
        {
            world.trouble = Some(error.to_string());
            failures.push(error);
        }
    }
    world
}

/// Reads what the stage that a deletion has reached needs of the workload cluster.
async fn remote_parts(workload: &WorkloadClient, world: &mut World) -> Result<(), Error> {
    let Some(node) = world.node.found().cloned() else {
        return Ok(());
    };
    if !deletion::may_touch_node(world) {
        return Ok(());
    }
    let rules = drain::rules::rules_for(&world.rules, &world.machine, &world.cluster).unwrap_or_default();
    let namespaces = drain::rules::ask_for_namespaces(&rules);
    let drains = drain::is_allowed(world);
    if drains {
        world.drain = Some(remote::pods(workload, &node.name_any(), namespaces).await?);
    }
    let drained = !drains || matches!(drain::round(world), Ok(None));
    if drained && drain::may_wait_for_volumes(world) {
        let volumes = remote::volumes(workload, &node).await?;
        if world.drain.is_none() && !volumes.volumes.is_empty() {
            world.drain = Some(remote::pods(workload, &node.name_any(), namespaces).await?);
        }
        world.volumes = Some(volumes);
    }
    Ok(())
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

/// Files the Nodes of workload clusters under their providerID.
pub fn index_nodes(manager: &mut Manager) {
    manager.index_workload::<Node>(BY_PROVIDER_ID, |node| {
        let id = node.spec.as_ref().and_then(|spec| spec.provider_id.clone());
        id.into_iter().collect()
    });
}

fn node(workload: &Result<WorkloadClient, Disconnected>, provider_id: Option<&str>) -> NodeView {
    let workload = match workload {
        Ok(workload) => workload,
        Err(disconnected) => return NodeView::Disconnected(disconnected.reason.clone()),
    };
    let nodes = workload.store::<Node>();
    let Some(provider_id) = provider_id else {
        return NodeView::Absent;
    };
    let mut matching = nodes.by_index(BY_PROVIDER_ID, provider_id);
    match matching.len() {
        0 => NodeView::Absent,
        1 => matching.pop().map_or(NodeView::Absent, NodeView::Found),
        _ => NodeView::Ambiguous(matching.iter().map(|n| n.name_any()).collect()),
    }
}
