//! What a MachineSet's reconcile looks at.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use capi_api::{
    contract::Template,
    core::v1beta2::{Cluster, ContractVersionedObjectReference, Machine, MachineDeployment, MachineSet},
    labels,
};
use capi_runtime::{Context, Error, Key, KindId, meta};
use kube::ResourceExt;

use super::remediation;
use crate::{
    foreign::{Foreign, Found, follow},
    machines,
    propagate::Known,
    selector,
};

/// The bootstrap config and the infrastructure machine of a Machine.
#[derive(Clone, Debug, Default)]
pub struct Pair {
    /// What its bootstrap reference leads to.
    pub bootstrap: Foreign,
    /// What its infrastructure reference leads to.
    pub infrastructure: Foreign,
}

/// A MachineSet and everything that matters to it.
#[derive(Clone, Debug)]
pub struct World {
    /// The MachineSet.
    pub set: Arc<MachineSet>,
    /// Its Cluster.
    pub cluster: Arc<Cluster>,
    /// The MachineDeployment above it.
    pub deployment: Option<Arc<MachineDeployment>>,
    /// The Machines it owns, and those it may adopt.
    pub machines: Vec<Arc<Machine>>,
    /// How many remediations are under way that count against the MachineDeployment's limit.
    pub remediations_in_flight: usize,
    /// Names of all Machines of the namespace.
    pub taken: BTreeSet<String>,
    /// What its bootstrap template reference leads to.
    pub bootstrap_template: Foreign,
    /// What its infrastructure template reference leads to.
    pub infrastructure_template: Foreign,
    /// The Cluster's control plane object.
    pub control_plane: Foreign,
    /// What the Machines that stay refer to, by their names.
    pub clones: BTreeMap<String, Pair>,
    /// Clones made for Machines that do not exist.
    pub orphans: Vec<Found>,
    /// Machines it controls but no longer selects.
    pub strays: Vec<Arc<Machine>>,
    /// What was last carried to Machines and clones.
    pub known: Known,
    /// What tells this round of creation from former ones.
    pub episode: String,
}

impl World {
    /// Whether the MachineSet is being deleted.
    pub fn is_deleting(&self) -> bool {
        self.set.metadata.deletion_timestamp.is_some()
    }

    /// The uids of its Machines and their clones.
    pub fn uids(&self) -> impl Iterator<Item = String> {
        let machines = self.machines.iter().filter_map(|m| m.uid());
        let clones = self
            .clones
            .values()
            .flat_map(|p| [&p.bootstrap, &p.infrastructure]);
        machines.chain(clones.filter_map(|f| f.found()?.object.uid()))
    }

    /// Whether all references could be followed.
    pub fn is_readable(&self) -> bool {
        ![&self.bootstrap_template, &self.infrastructure_template]
            .iter()
            .any(|f| matches!(f, Foreign::Unreadable(_)))
    }
}

/// Whether a reference leads to a template.
pub fn is_template(reference: &ContractVersionedObjectReference) -> bool {
    reference.kind.ends_with("Template")
}

/// Reads the world of a MachineSet.
pub async fn observe(
    ctx: &Context,
    set: Arc<MachineSet>,
    cluster: Arc<Cluster>,
    failures: &mut Vec<Error>,
) -> World {
    let key = Key::of(&*set);
    let spec = set.spec.template.spec.clone();
    let bootstrap = spec.bootstrap.config_ref.as_ref();
    let infrastructure = Some(&spec.infrastructure_ref);
    let namespace = &key.namespace;
    let bootstrap_template = follow(ctx, namespace, bootstrap, failures).await;
    let infrastructure_template = follow(ctx, namespace, infrastructure, failures).await;
    let store = ctx.store::<Machine>();
    // A namespace can hold the Machines of a thousand clusters; those of this one are found by index.
    let mut of_cluster = store.by_cluster(&Key::of(&*cluster));
    let known: BTreeSet<Key> = of_cluster.iter().map(|machine| Key::of(&**machine)).collect();
    let owned = store.by_owner(&set.uid().unwrap_or_default());
    of_cluster.extend(
        owned
            .into_iter()
            .filter(|machine| !known.contains(&Key::of(&**machine))),
    );
    let deployment = set.labels().get(labels::DEPLOYMENT_NAME).cloned();
    let machines = machines_of(&set, &of_cluster);
    let control_plane = match set.metadata.deletion_timestamp {
        None => {
            let reference = cluster.spec.control_plane_ref.as_ref();
            follow(ctx, namespace, reference, failures).await
        }
        Some(_) => Foreign::Unset,
    };
    let mut world = World {
        remediations_in_flight: remediation::in_flight(&set, &of_cluster, &machines),
        deployment: deployment.and_then(|name| ctx.get::<MachineDeployment>(&key.sibling(name))),
        taken: store
            .keys(Some(namespace))
            .into_iter()
            .map(|key| key.name)
            .collect(),
        strays: strays(&set, &of_cluster),
        machines,
        bootstrap_template,
        infrastructure_template,
        control_plane,
        clones: BTreeMap::new(),
        orphans: Vec::new(),
        known: Known::new(),
        episode: String::new(),
        set,
        cluster,
    };
    for machine in world.machines.iter().filter(|m| !machines::is_deleting(m)) {
        let spec = &machine.spec;
        // What cannot be followed is the business of the Machine.
        let mut ignored = Vec::new();
        let pair = Pair {
            bootstrap: follow(ctx, namespace, spec.bootstrap.config_ref.as_ref(), &mut ignored).await,
            infrastructure: follow(ctx, namespace, Some(&spec.infrastructure_ref), &mut ignored).await,
        };
        world.clones.insert(machine.name_any(), pair);
    }
    for template in [bootstrap, infrastructure] {
        let clones = clones(ctx, &world, template, failures).await;
        let orphans = clones.into_iter().filter(|found| {
            let name = found.object.name_any();
            !found.is_deleting() && !world.taken.contains(&name)
        });
        let orphans: Vec<Found> = orphans.collect();
        world.orphans.extend(orphans);
    }
    world
}

/// Machines a MachineSet controls although it does not select them.
pub fn strays(set: &MachineSet, all: &[Arc<Machine>]) -> Vec<Arc<Machine>> {
    let uid = set.uid().unwrap_or_default();
    all.iter()
        .filter(|m| meta::is_controlled_by(&m.metadata, &uid))
        .filter(|m| !selector::matches(&set.spec.selector, m.metadata.labels.as_ref()))
        .cloned()
        .collect()
}

/// The Machines a MachineSet selects, without those that belong to somebody else.
pub fn machines_of(set: &MachineSet, all: &[Arc<Machine>]) -> Vec<Arc<Machine>> {
    let uid = set.uid().unwrap_or_default();
    // A selector that selects everything would adopt the Machines of others.
    if selector::is_empty(&set.spec.selector) {
        return Vec::new();
    }
    all.iter()
        .filter(|m| selector::matches(&set.spec.selector, m.metadata.labels.as_ref()))
        .filter(|m| meta::controller_of(&m.metadata).is_none_or(|owner| owner.uid == uid))
        .cloned()
        .collect()
}

/// The objects cloned from a kind of template that belong to the MachineSet itself. Other managers create clones before
/// their Machine, which then takes them over.
async fn clones(
    ctx: &Context,
    world: &World,
    template: Option<&ContractVersionedObjectReference>,
    failures: &mut Vec<Error>,
) -> Vec<Found> {
    let Some(template) = template.filter(|t| is_template(t)) else {
        return Vec::new();
    };
    let kind = KindId {
        group: template.api_group.clone(),
        kind: Template::cloned_kind(&template.kind).to_owned(),
    };
    let uid = world.set.uid().unwrap_or_default();
    match ctx.foreign_kind(&kind, &template.name).await {
        Ok(kind) => kind
            .store
            .by_owner(&uid)
            .into_iter()
            .map(|object| Found {
                contract: kind.contract,
                resource: kind.resource.clone(),
                object,
            })
            .collect(),
        Err(error) => {
            failures.push(error);
            Vec::new()
        }
    }
}
