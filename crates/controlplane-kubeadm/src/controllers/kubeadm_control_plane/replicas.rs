//! How many Machines there are to be: growing, shrinking, rolling out. One Machine at a time. Pure.

use capi_api::conditions::types;
use jiff::Timestamp;
use kube::ResourceExt;

use super::{
    health::Health,
    leaving::forward_leadership,
    machines::{self, Role},
    plan::{Action, NamesInUse, Plan},
    preflight::{self, Change, Findings},
    remediation, up_to_date,
    world::{MachineView, World},
};

/// With fewer Machines than this none can be spared, whatever the strategy says.
const FEWEST_TO_SPARE_ONE: usize = 3;

/// Adds or takes away a Machine if need be; true if there is nothing (left) to do.
pub fn plan_replicas(
    world: &World,
    health: &Health<'_>,
    names: &dyn NamesInUse,
    now: Timestamp,
    plan: &mut Plan,
) -> bool {
    let desired = world.desired_replicas();
    let Some(desired) = desired.and_then(|replicas| usize::try_from(replicas).ok()) else {
        plan.waits.push("spec.replicas to be set".to_owned());
        return false;
    };
    let current = world.machines.len();
    if current == 0 {
        if desired > 0 {
            create(world, names, Role::Init, now, plan);
        }
        return false;
    }
    if !world.initialized() {
        if !world.machines.iter().any(MachineView::deleting) {
            plan.waits
                .push("the first control plane Machine to be initialized".to_owned());
        }
        return false;
    }
    let outdated: Vec<&MachineView> = world
        .living()
        .filter(|view| !up_to_date::differences(world, view, now).is_empty())
        .collect();
    // A rollout replaces one Machine at a time. With a surge (the default) the new one comes first.
    let spares_one = max_surge(world) == 0 && desired >= FEWEST_TO_SPARE_ONE;
    let surge = usize::from(!outdated.is_empty() && !spares_one);
    if current < desired + surge {
        let findings = preflight::check(world, health, Change::Add);
        if !findings.is_empty() {
            plan.blocked = Some(findings);
            return false;
        }
        prepare_rollout(&outdated, plan);
        create(world, names, Role::Join, now, plan);
        return false;
    }
    if current > desired || !outdated.is_empty() {
        let needed = desired - usize::from(spares_one);
        shrink(world, health, &outdated, needed, plan);
        return false;
    }
    true
}

/// What machines of the new kind find in the workload cluster must be right before the first of them joins.
fn prepare_rollout(outdated: &[&MachineView], plan: &mut Plan) {
    if !outdated.is_empty() {
        plan.actions
            .extend([Action::GrantKubeadmPermissions, Action::UpdateKubeadmConfig]);
    }
}

fn create(world: &World, names: &dyn NamesInUse, role: Role, now: Timestamp, plan: &mut Plan) {
    // A machine that was begun before a crash is finished under its name.
    let name = match world.unfinished.first() {
        Some(config) => config.name_any(),
        None => machines::next_name(world, |name| names.in_use(name)),
    };
    let failure_domain = machines::failure_domain(world, |machine| {
        world
            .machine(&machine.name_any())
            .is_some_and(|view| up_to_date::differences(world, view, now).is_empty())
    });
    plan.actions.push(Action::CreateMachine {
        name,
        role,
        failure_domain,
    });
    if remediation::in_progress(world).is_some() && !remediation::is_over(world) {
        plan.actions.push(Action::EndRemediation);
    }
}

/// Takes a Machine away. A rollout leaves `needed` of them Available.
fn shrink(world: &World, health: &Health<'_>, outdated: &[&MachineView], needed: usize, plan: &mut Plan) {
    let Some(mut victim) = choose_victim(world, health, outdated) else {
        return;
    };
    let dear = !outdated.is_empty() && is_available(victim) && available(world) <= needed;
    // One that is not Available has to go as well, and costs nothing.
    let cheap = outdated.iter().copied().find(|view| !is_available(view));
    if let Some(cheap) = cheap.filter(|_| dear) {
        victim = cheap;
    }
    let name = victim.name();
    let mut findings = preflight::check(world, health, Change::Remove(&name));
    if findings.is_empty() && dear && cheap.is_none() {
        findings = unavailable(world);
    }
    if !findings.is_empty() {
        plan.blocked = Some(findings);
        return;
    }
    prepare_rollout(outdated, plan);
    if world.etcd_is_managed() && victim.node_name().is_some() {
        plan.actions.push(forward_leadership(world, victim));
    }
    plan.actions.push(Action::DeleteMachine(name));
}

fn is_available(view: &MachineView) -> bool {
    view.condition_is(types::AVAILABLE, "True")
}

fn available(world: &World) -> usize {
    world.living().filter(|view| is_available(view)).count()
}

/// What a rollout waits for before it takes away a Machine that is Available. Components can be well on a Machine before
/// its Node is: only when others can use it, it stands in for an old one.
fn unavailable(world: &World) -> Findings {
    let names = world.living().filter(|view| !is_available(view));
    let details = names.map(|view| format!("Machine {} is not Available yet", view.name()));
    Findings {
        lines: vec!["waiting for control plane Machines to become Available".to_owned()],
        details: details.collect(),
        alarming: false,
    }
}

/// Marked Machines first (outdated ones before others), then outdated ones with unhealthy components, outdated ones, all;
/// among them the failure domain with the most Machines, and there the oldest.
fn choose_victim<'a>(
    world: &'a World,
    health: &Health<'_>,
    outdated: &[&MachineView],
) -> Option<&'a MachineView> {
    let is_outdated = |view: &MachineView| outdated.iter().any(|other| other.name() == view.name());
    let unhealthy = |view: &MachineView| {
        super::machine_conditions::COMPONENTS
            .iter()
            .any(|(type_, _)| view.condition_is(type_, "False") && !health.holds(view, type_))
    };
    let rank = |view: &MachineView| match (view.marked_for_deletion(), is_outdated(view), unhealthy(view)) {
        (true, true, _) => 0,
        (true, false, _) => 1,
        (false, true, true) => 2,
        (false, true, false) => 3,
        _ => 4,
    };
    let best = world.living().map(rank).min()?;
    let eligible: Vec<&MachineView> = world.living().filter(|view| rank(view) == best).collect();
    // How crowded a failure domain is depends on all Machines in it, not only on those that may go.
    let crowd = |view: &MachineView| {
        world
            .living()
            .filter(|other| other.machine.spec.failure_domain == view.machine.spec.failure_domain)
            .count()
    };
    // A failure domain that the Cluster does not know (any more) is left first.
    let known = |view: &MachineView| {
        let domains = world
            .cluster
            .status
            .as_ref()
            .map(|status| &status.failure_domains);
        domains.is_some_and(|domains| {
            domains.iter().any(|domain| {
                domain.control_plane == Some(true)
                    && view.machine.spec.failure_domain.as_deref() == Some(domain.name.as_str())
            })
        })
    };
    eligible.iter().copied().min_by_key(|view| {
        let domain = view.machine.spec.failure_domain.clone();
        let created = view.machine.metadata.creation_timestamp.as_ref();
        (
            known(view),
            std::cmp::Reverse(crowd(view)),
            domain,
            created.map(|time| time.0),
            view.name(),
        )
    })
}

fn max_surge(world: &World) -> i32 {
    use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
    let rollout = world.control_plane.spec.rollout.as_ref();
    let update = rollout.and_then(|rollout| rollout.strategy.as_ref()?.rolling_update.as_ref());
    match update.and_then(|update| update.max_surge.as_ref()) {
        Some(IntOrString::Int(surge)) => *surge,
        Some(IntOrString::String(text)) => text.parse().unwrap_or(1),
        None => 1,
    }
}
