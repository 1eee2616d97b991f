//! What must hold before a Machine is added or taken away. Pure.

use capi_api::conditions::{Status, get_in, types};

use super::{
    certificates,
    health::Health,
    remediation,
    world::{MachineView, World},
};

/// What is to be done if nothing stands in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    /// A Machine is added.
    Add,
    /// This Machine is taken away; it may be unhealthy.
    Remove(&'a str),
}

/// What stands in the way, as lines for conditions, and in detail for the event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Lines without bullets, in a fixed order.
    pub lines: Vec<String>,
    /// Single observations.
    pub details: Vec<String>,
    /// Something is wrong; otherwise a Machine is merely on its way, up or out.
    pub alarming: bool,
}

impl Findings {
    /// Nothing stands in the way.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }
}

/// Checks everything that must hold before a change.
pub fn check(world: &World, health: &Health<'_>, change: Change<'_>) -> Findings {
    let mut findings = Findings::default();
    if let Some(version) = world.topology_version_ahead() {
        let line =
            format!("waiting for a version upgrade to {version} to be propagated from Cluster.spec.topology");
        findings.details.push(line.clone());
        findings.lines.push(line);
        return findings;
    }
    if change == Change::Add && certificates::problem(world).is_some() {
        findings
            .lines
            .push("cluster certificates are missing or unknown".to_owned());
        findings
            .details
            .push("Cluster certificates are missing or incomplete".to_owned());
        findings.alarming = true;
    }
    if world.machines.iter().any(MachineView::deleting) {
        findings
            .lines
            .push("waiting for a control plane Machine to complete deletion".to_owned());
        let names: Vec<String> = world
            .machines
            .iter()
            .filter(|view| view.deleting())
            .map(MachineView::name)
            .collect();
        findings
            .details
            .push(format!("Machine deletion in progress: {}", names.join(", ")));
        return findings;
    }
    let replacing =
        change == Change::Add && remediation::in_progress(world).is_some() && !remediation::is_over(world);
    let mut unhealthy = everybody_is_well(world, health, change);
    if replacing && !unhealthy.is_empty() {
        unhealthy = enough_are_well(world, health);
    }
    findings.lines.append(&mut unhealthy.lines);
    findings.details.append(&mut unhealthy.details);
    findings.alarming |= unhealthy.alarming;
    findings
}

const COMPONENTS: &str = "waiting for control plane components to become healthy";
const ETCD: &str = "waiting for etcd cluster to become healthy";

/// In ordinary times a change needs a control plane without any fault.
fn everybody_is_well(world: &World, health: &Health<'_>, change: Change<'_>) -> Findings {
    let mut findings = Findings::default();
    let mut components = vec![
        types::API_SERVER_POD_HEALTHY,
        types::CONTROLLER_MANAGER_POD_HEALTHY,
        types::SCHEDULER_POD_HEALTHY,
    ];
    if world.etcd_is_managed() {
        components.push(types::ETCD_POD_HEALTHY);
    }
    let (mut failing, mut etcd_failing, mut provisioning) = (Vec::new(), Vec::new(), 0);
    for view in &world.machines {
        let name = view.name();
        if change == Change::Remove(&name) {
            continue;
        }
        if view.node_name().is_none() {
            provisioning += 1;
            failing.push(format!(
                "Machine {name} does not have a corresponding Node yet (Machine.status.nodeRef not set)"
            ));
            continue;
        }
        failing.extend(components.iter().filter_map(|type_| finding(health, view, type_)));
        if world.etcd_is_managed() {
            etcd_failing.extend(finding(health, view, types::ETCD_MEMBER_HEALTHY));
        }
    }
    if etcd_failing.is_empty() && failing.is_empty() {
        etcd_failing.extend(etcd_after(world, health, change));
    }
    findings.alarming = failing.len() + etcd_failing.len() > provisioning;
    if !failing.is_empty() {
        findings.lines.push(COMPONENTS.to_owned());
        findings.details.append(&mut failing);
    }
    if !etcd_failing.is_empty() {
        findings.lines.push(ETCD.to_owned());
        findings.details.append(&mut etcd_failing);
    }
    findings
}

/// Members of no Machine count too: what is wrong with etcd once the change is made.
fn etcd_after(world: &World, health: &Health<'_>, change: Change<'_>) -> Option<String> {
    if !world.etcd_is_managed() {
        return None;
    }
    let (removed, added) = match change {
        Change::Add => (None, true),
        Change::Remove(name) => (
            world.machine(name).and_then(|view| world.member_name(view)),
            false,
        ),
    };
    let after = health.etcd_after(removed.as_deref(), added)?;
    (!after.is_safe()).then(|| {
        format!(
            "etcd would have {} healthy of {} voting members and {} learners",
            after.healthy, after.voting, after.learners
        )
    })
}

/// The successor of a Machine that was given up may join although others are unwell too, as long as there is a working
/// control plane to join and etcd keeps its quorum whatever becomes of the new member.
fn enough_are_well(world: &World, health: &Health<'_>) -> Findings {
    let mut findings = Findings::default();
    if !health.components_without(None) {
        findings.lines.push(COMPONENTS.to_owned());
        findings.details.push(
            "cannot add a new control plane Machine when there are no control plane Machines with all Kubernetes control plane components in healthy state. Please check Kubernetes control plane component status"
                .to_owned(),
        );
    }
    if world.etcd_is_managed() {
        let problem = match health.etcd_after(None, true) {
            None => Some("cannot check etcd cluster health before scale up, etcd member list is empty"),
            Some(after) if !after.is_safe() => Some(
                "adding a new control plane Machine can lead to etcd quorum loss. Please check the etcd status",
            ),
            Some(_) => None,
        };
        if let Some(problem) = problem {
            findings.lines.push(ETCD.to_owned());
            findings.details.push(problem.to_owned());
        }
    }
    findings.alarming = !findings.is_empty();
    findings
}

fn finding(health: &Health<'_>, view: &MachineView, type_: &str) -> Option<String> {
    if health.holds(view, type_) {
        return None;
    }
    let name = view.name();
    let conditions = view
        .machine
        .status
        .as_ref()
        .map(|status| status.conditions.as_slice())
        .unwrap_or_default();
    // What was just seen is the better explanation, but only if it explains anything.
    let seen = health
        .seen(view, type_)
        .filter(|draft| draft.status != Status::True)
        .map(|draft| (draft.status.as_str().to_owned(), draft.message.clone()));
    let known = get_in(conditions, type_)
        .filter(|condition| condition.status != "True")
        .map(|condition| (condition.status.clone(), condition.message.clone()));
    let Some((status, message)) = known.or(seen) else {
        return Some(format!("Machine {name} does not have {type_} condition"));
    };
    let word = if status == "False" { "false" } else { "unknown" };
    Some(format!(
        "Machine {name} reports {type_} condition is {word} ({message})"
    ))
}
