//! How a Cluster goes: workers first, then the control plane, then the infrastructure.

use std::sync::Arc;

use capi_api::{
    conditions::{name_list, reasons},
    contract,
    core::v1beta2::{Machine, MachineDeployment, MachinePool, MachineSet},
};
use capi_runtime::meta;
use kube::ResourceExt;

use super::{
    observe::World,
    plan::{Action, Plan},
};
use crate::{foreign::Foreign, machines, plan::Step};

/// How many names of a kind are listed.
const NAMES: usize = 5;

/// Where a deletion stands: the `Deleting` condition.
#[derive(Clone, Debug, PartialEq)]
pub struct Stage {
    /// The reason of the condition.
    pub reason: &'static str,
    /// Its message.
    pub message: String,
}

/// An object that belongs to a Cluster directly.
#[derive(Clone, Debug)]
pub enum Descendant {
    /// A MachinePool.
    Pool(Arc<MachinePool>),
    /// A MachineDeployment.
    Deployment(Arc<MachineDeployment>),
    /// A MachineSet without a MachineDeployment.
    Set(Arc<MachineSet>),
    /// A Machine without a MachineSet.
    Machine(Arc<Machine>),
}

/// Adds what is to be deleted next; returns where the deletion stands.
pub fn plan(world: &World, plan: &mut Plan) -> Stage {
    let lines = remaining(world);
    if !lines.is_empty() {
        delete_descendants(world, plan);
        return Stage {
            reason: reasons::WAITING_FOR_WORKERS_DELETION,
            message: lines.join("\n"),
        };
    }
    for (foreign, reason) in [
        (&world.control_plane, reasons::WAITING_FOR_CONTROL_PLANE_DELETION),
        (
            &world.infrastructure,
            reasons::WAITING_FOR_INFRASTRUCTURE_DELETION,
        ),
    ] {
        match foreign {
            Foreign::Unset | Foreign::Missing => {}
            Foreign::Unreadable(why) => {
                return Stage {
                    reason: reasons::INTERNAL_ERROR,
                    message: why.clone(),
                };
            }
            Foreign::Found(found) => {
                if !found.is_deleting() {
                    let why = format!("Cluster {} is being deleted", world.cluster.name_any());
                    let why = format!("{} goes: {why}", contract::described(&found.object));
                    plan.steps
                        .push(Step::new(Action::DeleteForeign(found.clone()), why));
                }
                let message = format!("Waiting for {} to be deleted", found.resource.kind);
                return Stage { reason, message };
            }
        }
    }
    Stage {
        reason: reasons::DELETION_COMPLETED,
        message: "Deletion completed".to_owned(),
    }
}

/// A line per kind of descendant that still exists.
fn remaining(world: &World) -> Vec<String> {
    let line = |kind: &str, names: Vec<String>| {
        (!names.is_empty()).then(|| format!("* {kind}: {}", name_list(&names, NAMES)))
    };
    let has_object = world.cluster.spec.control_plane_ref.is_some();
    let control_plane = world
        .control_plane_machines()
        .filter(|_| !has_object)
        .map(ResourceExt::name_any)
        .collect();
    [
        line("Control plane Machines", control_plane),
        line(
            "MachineDeployments",
            world.deployments.iter().map(|o| o.name_any()).collect(),
        ),
        line("MachineSets", world.sets.iter().map(|o| o.name_any()).collect()),
        line("MachinePools", world.pools.iter().map(|o| o.name_any()).collect()),
        line(
            "Worker Machines",
            world.worker_machines().map(ResourceExt::name_any).collect(),
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Deletes what the Cluster owns directly; the rest goes with its owners.
fn delete_descendants(world: &World, plan: &mut Plan) {
    let uid = world.cluster.uid().unwrap_or_default();
    let has_object = world.cluster.spec.control_plane_ref.is_some();
    let mut all = Vec::new();
    all.extend(world.pools.iter().cloned().map(Descendant::Pool));
    all.extend(world.deployments.iter().cloned().map(Descendant::Deployment));
    all.extend(world.sets.iter().cloned().map(Descendant::Set));
    all.extend(
        world
            .machines
            .iter()
            .filter(|m| !(has_object && machines::is_control_plane(m)))
            .cloned()
            .map(Descendant::Machine),
    );
    for descendant in all {
        let (kind, meta) = match &descendant {
            Descendant::Pool(o) => ("MachinePool", &o.metadata),
            Descendant::Deployment(o) => ("MachineDeployment", &o.metadata),
            Descendant::Set(o) => ("MachineSet", &o.metadata),
            Descendant::Machine(o) => ("Machine", &o.metadata),
        };
        if !meta::is_owned_by(meta, &uid) || meta::is_deleting(meta) {
            continue;
        }
        let name = meta.name.as_deref().unwrap_or_default();
        let why = format!(
            "{kind} {name} goes: Cluster {} is being deleted",
            world.cluster.name_any()
        );
        plan.steps
            .push(Step::new(Action::DeleteDescendant(descendant), why));
    }
}
