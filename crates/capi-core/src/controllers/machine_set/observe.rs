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
    selector,
};

/// Clones whose Machine does not exist: a creation that was interrupted.
#[derive(Clone, Debug, Default)]
pub struct Half {
    /// The bootstrap config.
    pub bootstrap: Option<Found>,
    /// The infrastructure machine.
    pub infrastructure: Option<Found>,
}

impl Half {
    /// Its objects.
    pub fn parts(&self) -> impl Iterator<Item = &Found> {
        self.bootstrap.iter().chain(&self.infrastructure)
    }
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
    /// Interrupted creations by name.
    pub halves: BTreeMap<String, Half>,
}

impl World {
    /// Whether the MachineSet is being deleted.
    pub fn is_deleting(&self) -> bool {
        self.set.metadata.deletion_timestamp.is_some()
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
    let in_namespace = ctx.store::<Machine>().list(Some(namespace));
    let deployment = set.labels().get(labels::DEPLOYMENT_NAME).cloned();
    let machines = machines_of(&set, &in_namespace);
    let mut world = World {
        remediations_in_flight: remediation::in_flight(&set, &in_namespace, &machines),
        deployment: deployment.and_then(|name| ctx.get::<MachineDeployment>(&key.sibling(name))),
        taken: in_namespace.iter().map(|m| m.name_any()).collect(),
        machines,
        bootstrap_template,
        infrastructure_template,
        halves: BTreeMap::new(),
        set,
        cluster,
    };
    let uid = world.set.uid().unwrap_or_default();
    for found in clones(ctx, &uid, bootstrap, failures).await {
        let name = found.object.name_any();
        if !world.taken.contains(&name) {
            world.halves.entry(name).or_default().bootstrap = Some(found);
        }
    }
    for found in clones(ctx, &uid, infrastructure, failures).await {
        let name = found.object.name_any();
        if !world.taken.contains(&name) {
            world.halves.entry(name).or_default().infrastructure = Some(found);
        }
    }
    world
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

/// The objects cloned from a template kind that still belong to the MachineSet itself: a Machine takes its own over.
async fn clones(
    ctx: &Context,
    uid: &str,
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
    match ctx.foreign_kind(&kind, &template.name).await {
        Ok(kind) => kind
            .store
            .by_owner(uid)
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
