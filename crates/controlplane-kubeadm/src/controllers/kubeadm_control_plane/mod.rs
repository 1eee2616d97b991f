//! The controller of KubeadmControlPlane.
//!
//! `observe` gathers a [`world::World`], `plan` decides, `act` writes, `status` reports. Everything that decides is pure
//! and lives in modules of its own: certificates, machines, up_to_date, health, preflight, replicas, leaving, remediation,
//! stray, availability, machine_conditions, progress, pace.

mod act;
mod addons;
mod availability;
mod certificates;
mod health;
mod leaving;
mod legacy;
mod machine_conditions;
mod machines;
mod membership;
mod observe;
mod pace;
mod plan;
mod preflight;
mod progress;
mod remediation;
mod replicas;
mod rest;
mod status;
mod stray;
mod sync;
mod up_to_date;
mod world;

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use capi_api::{
    conditions::{self, Draft, reasons, types},
    controlplane::v1beta2::KubeadmControlPlane,
    core::v1beta2::{Cluster, Machine},
    finalizers, labels,
};
use capi_runtime::{Context, Controller, Event, Failure, Key, Next, Reconciler, Stores};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Node, Pod, Secret};
use kube::ResourceExt;

use self::{
    act::Act,
    observe::Memory,
    pace::Paces,
    plan::{Action, NamesInUse, Plan},
    world::{MachineView, Workload, World},
};
use crate::{Error, Settings};

/// The API group of this kind.
const GROUP: &str = "controlplane.cluster.x-k8s.io";

/// How often a workload cluster is asked whether it is initialised, once it can be reached.
const INITIALIZING: Duration = Duration::from_secs(1);
/// How often etcd is asked while all is well: each look costs two TLS handshakes for every member, whatever it finds.
const ETCD_WELL: Duration = Duration::from_secs(60);
/// How often etcd is asked while something is wrong.
const ETCD_UNWELL: Duration = Duration::from_secs(5);
/// How often a failing preflight check or a deletion that waits is looked at, should an event be missed.
const LAST_RESORT: Duration = Duration::from_secs(15);

/// The controller, ready to be registered.
pub fn controller(settings: Arc<Settings>) -> Controller<KubeadmControlPlane> {
    let reconciler = KubeadmControlPlaneReconciler {
        settings,
        memory: Memory::default(),
        paces: Paces::default(),
    };
    Controller::<KubeadmControlPlane>::new("kubeadmcontrolplane", reconciler)
        .watches::<Cluster>(|cluster, _| control_plane_of(cluster))
        .watches_owned::<Secret>()
        .watches::<Machine>(machine_keys)
        .reads::<capi_api::bootstrap::v1beta2::KubeadmConfig>()
        .watches_workload::<Node>(|cluster, node, stores| {
            match node.labels().contains_key(labels::NODE_ROLE_CONTROL_PLANE) {
                true => keys_of_cluster(cluster, stores),
                false => Vec::new(),
            }
        })
        .watches_workload::<Pod>(|cluster, pod, stores| match crate::workload::is_static_pod(pod) {
            true => keys_of_cluster(cluster, stores),
            false => Vec::new(),
        })
}

fn control_plane_of(cluster: &Cluster) -> Vec<Key> {
    let reference = cluster.spec.control_plane_ref.as_ref();
    reference
        .filter(|reference| reference.kind == "KubeadmControlPlane" && reference.api_group == GROUP)
        .map(|reference| Key::of(cluster).sibling(reference.name.clone()))
        .into_iter()
        .collect()
}

/// The owner; for workers and for Machines that nobody controls, the control plane of the Cluster: it waits for the
/// first when it is deleted and adopts the second.
fn machine_keys(machine: &Machine, stores: &Stores) -> Vec<Key> {
    let owned = capi_runtime::owners_of_kind::<KubeadmControlPlane>(&machine.metadata);
    if !owned.is_empty() {
        return owned;
    }
    let cluster = Key::of(machine).sibling(machine.spec.cluster_name.clone());
    let controlled = capi_runtime::meta::controller_of(&machine.metadata).is_some();
    let control_plane = machine.labels().contains_key(labels::CONTROL_PLANE);
    stores
        .declare::<KubeadmControlPlane>()
        .by_cluster(&cluster)
        .iter()
        .filter(|found| found.metadata.deletion_timestamp.is_some() || (control_plane && !controlled))
        .map(|found| Key::of(&**found))
        .collect()
}

fn keys_of_cluster(cluster: &Key, stores: &Stores) -> Vec<Key> {
    stores
        .declare::<KubeadmControlPlane>()
        .by_cluster(cluster)
        .iter()
        .map(|found| Key::of(&**found))
        .collect()
}

/// Reconciles KubeadmControlPlanes.
struct KubeadmControlPlaneReconciler {
    settings: Arc<Settings>,
    memory: Memory,
    paces: Paces,
}

#[async_trait]
impl Reconciler for KubeadmControlPlaneReconciler {
    async fn reconcile(&self, ctx: &Context, key: &Key) -> Result<Next, Failure> {
        if let Some(next) = rest::look(ctx, &self.settings, &self.memory).await {
            return Ok(next);
        }
        let Some(control_plane) = ctx.store::<KubeadmControlPlane>().get(key) else {
            self.memory.forget(key);
            self.paces.forget(key);
            return Ok(Next::Done);
        };
        let Some(cluster) = cluster_of(ctx, &control_plane) else {
            tracing::debug!(control_plane = %key, "waiting for the Cluster to refer to this control plane");
            return Ok(Next::Done);
        };
        let deleting = control_plane.metadata.deletion_timestamp.is_some();
        if !deleting
            && ctx
                .ensure_finalizer(&*control_plane, finalizers::KUBEADM_CONTROL_PLANE)
                .await?
        {
            return Ok(Next::Done);
        }
        if deleting
            && !capi_runtime::meta::has_finalizer(&control_plane.metadata, finalizers::KUBEADM_CONTROL_PLANE)
        {
            return Ok(Next::Done);
        }
        let cluster_paused = cluster.spec.paused == Some(true);
        if cluster_paused || capi_runtime::meta::has_paused_annotation(&control_plane.metadata) {
            ctx.stop_if_paused(cluster_paused, &*control_plane).await?;
            return Ok(Next::Done);
        }
        Ok(self.reconcile_in_cluster(ctx, &control_plane, cluster).await?)
    }
}

impl KubeadmControlPlaneReconciler {
    async fn reconcile_in_cluster(
        &self,
        ctx: &Context,
        control_plane: &KubeadmControlPlane,
        cluster: Arc<Cluster>,
    ) -> Result<Next, Error> {
        let mut world = observe::observe(ctx, &self.settings, &self.memory, control_plane, cluster).await?;
        let mut plan = plan::plan(&world, &Leftovers { ctx, world: &world }, ctx.now());
        if !plan.actions.is_empty() {
            tracing::info!(control_plane = %ctx.key(), actions = ?plan.actions, "acting");
        }
        for reason in &plan.waits {
            tracing::debug!(control_plane = %ctx.key(), reason, "waiting");
        }
        if let Workload::Disconnected { reason, .. } = &world.workload {
            tracing::debug!(control_plane = %ctx.key(), reason, "the workload cluster is not connected");
        }
        self.warn_when_blocked(ctx, &world, &plan);
        for (reason, message) in &plan.warnings {
            ctx.event(&world.control_plane, Event::warning(*reason, message));
        }
        let acting = Act {
            ctx,
            settings: &self.settings,
            memory: &self.memory,
        };
        let acted = acting.carry_out(&mut world, &plan).await;
        if acted.is_ok() && world.has_addons() {
            self.memory.note_addons(ctx.key(), addons::fingerprint(&world));
        }
        if acted.is_ok() && plan.actions.contains(&Action::RemoveFinalizer) {
            self.memory.forget(ctx.key());
            return Ok(Next::Done);
        }
        if let Err(error) = &acted
            && error.is_refusal()
        {
            // Trying again does not help before somebody does something, so the conditions say it.
            let findings = plan.blocked.get_or_insert_default();
            findings.lines.push(error.to_string());
        }
        let mut report = status::report(&world, &plan, ctx.now(), self.settings.grace());
        if acted.is_err()
            && let Some(status) = &mut report.control_plane.status
        {
            // What the spec asks for has not been seen through.
            let before = world.control_plane.status.as_ref();
            status.observed_generation = before.and_then(|status| status.observed_generation);
        }
        // Written together with the rest: a write of its own would say nothing more.
        let runs = Draft::is_false(types::PAUSED, reasons::NOT_PAUSED, "");
        conditions::set(&mut report.control_plane, runs, ctx.now());
        // What is to be deleted changes by that, which brings it back here.
        report
            .machines
            .retain(|machine| acted.is_err() || !plan.deletes(&machine.name_any()));
        let held = self.write(ctx, &world, &report).await?;
        acted?;
        if let Some(until) = rest::until(ctx, &self.memory, &world, &plan, &report) {
            self.memory.rest_until(ctx.key(), until);
        }
        Ok(self.next(ctx, &world, &plan, report.look_again).earliest(held))
    }

    /// Writes what is reported, but for what is held back; returns when that is due.
    async fn write(&self, ctx: &Context, world: &World, report: &status::Report) -> Result<Next, Error> {
        let (key, now) = (ctx.key(), ctx.now());
        let views: BTreeMap<String, &MachineView> =
            world.machines.iter().map(|view| (view.name(), view)).collect();
        let changed: Vec<(&MachineView, &Machine)> = report
            .machines
            .iter()
            .filter_map(|machine| Some((*views.get(&machine.name_any())?, machine)))
            .collect();
        let urgencies = changed
            .iter()
            .map(|(view, machine)| (Key::of(*machine), pace::of_machine(&view.machine, machine)));
        let held = self.paces.hold_machines(key, now, urgencies.collect());
        let mut next = held
            .values()
            .fold(Next::Done, |next, hold| next.earliest(Next::After(*hold)));
        for (view, machine) in changed {
            if held.contains_key(&Key::of(machine)) {
                continue;
            }
            match ctx.patch(&*view.machine, machine).await {
                Err(error) if error.is_not_found() => {}
                result => drop(result?),
            }
        }
        let (before, after) = (&world.control_plane, &report.control_plane);
        if before.status == after.status {
            self.paces.settled(key);
            return Ok(next);
        }
        match self.paces.hold(key, now, pace::of_control_plane(before, after)) {
            Some(hold) => next = next.earliest(Next::After(hold)),
            None => drop(ctx.patch(before, after).await?),
        }
        Ok(next)
    }

    fn warn_when_blocked(&self, ctx: &Context, world: &World, plan: &Plan) {
        let Some(findings) = plan.blocked.as_ref().filter(|findings| findings.alarming) else {
            return;
        };
        let message = format!(
            "Waiting for control plane to pass preflight checks to continue reconciliation: [{}]",
            findings.details.join(", ")
        );
        ctx.event(
            &world.control_plane,
            Event::warning("ControlPlaneUnhealthy", message),
        );
    }

    fn next(&self, ctx: &Context, world: &World, plan: &Plan, look_again: Option<Timestamp>) -> Next {
        let jittered = |duration| Next::After(seams::jittered(ctx.randomness(), duration, 0.2));
        let at = |time: Option<Timestamp>| match time {
            Some(time) => {
                let wait = time.duration_since(ctx.now()).max(SignedDuration::ZERO);
                let wait = Duration::try_from(wait).unwrap_or_default();
                // A timer further away than a day is set again by then.
                Next::After((wait + Duration::from_millis(500)).min(Duration::from_secs(24 * 3600)))
            }
            None => Next::Done,
        };
        let mut next = at(plan.look_again).earliest(at(look_again));
        if plan.blocked.is_some()
            || plan.remediation.is_some()
            || (world.deleting() && !world.workers.is_empty())
        {
            next = next.earliest(jittered(LAST_RESORT));
        }
        if let Workload::Connected(view) = &world.workload {
            if !view.initialized {
                next = next.earliest(jittered(INITIALIZING));
            } else if let Some(etcd) = &view.etcd {
                let well = observe::is_good(etcd) && plan.etcd_notes.is_empty();
                next = next.earliest(jittered(if well { ETCD_WELL } else { ETCD_UNWELL }));
            }
        }
        if let Workload::Disconnected {
            since, last_success, ..
        } = &world.workload
            && world.initialized()
        {
            // When the grace period ends, the conditions say so.
            let lost = last_success.unwrap_or(*since);
            let end = lost
                .checked_add(self.settings.grace())
                .ok()
                .filter(|end| *end > ctx.now());
            next = next.earliest(at(end));
        }
        next
    }
}

fn cluster_of(ctx: &Context, control_plane: &KubeadmControlPlane) -> Option<Arc<Cluster>> {
    let key = Key::of(control_plane);
    let owner = capi_runtime::meta::owner_of_kind(&control_plane.metadata, "cluster.x-k8s.io", "Cluster")?;
    ctx.store::<Cluster>().get(&key.sibling(owner.name.clone()))
}

/// Names that earlier Machines may still occupy.
struct Leftovers<'a> {
    ctx: &'a Context,
    world: &'a World,
}

impl NamesInUse for Leftovers<'_> {
    fn in_use(&self, name: &str) -> bool {
        let key = self.ctx.key().sibling(name);
        let node = match &self.world.workload {
            Workload::Connected(view) => view.nodes.contains_key(name),
            _ => false,
        };
        let member = self.world.etcd().is_some_and(|etcd| etcd.member(name).is_some());
        node || member
            || self.ctx.store::<Machine>().get(&key).is_some()
            || self.ctx.store::<Secret>().get(&key).is_some()
    }
}
