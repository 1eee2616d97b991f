//! Whether a control plane is available, and how etcd and the components are as a whole. Pure.

use std::collections::BTreeMap;

use capi_api::conditions::{Draft, get_in, name_list, reasons, types};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::{
    machine_conditions::{NOT_INITIALIZED, words},
    world::{MachineView, Workload, World},
};
use crate::workload::quorum;

/// Nothing can be told.
pub const HEALTH_UNKNOWN: &str = "HealthUnknown";

/// A new fault of an available control plane is shown only after this time: a restart is not worth a word.
const SETTLING: SignedDuration = SignedDuration::from_secs(10);
/// How long etcd may take after initialisation until its silence is a finding.
const FIRST_MEMBERS: SignedDuration = SignedDuration::from_mins(2);

/// The conditions of each Machine as they will be once this reconcile has written them, by name.
pub type MachineConditions = BTreeMap<String, Vec<Condition>>;

fn holds(conditions: &MachineConditions, view: &MachineView, type_: &str) -> bool {
    let conditions = conditions
        .get(&view.name())
        .map(Vec::as_slice)
        .unwrap_or_default();
    get_in(conditions, type_).is_some_and(|condition| condition.status == "True")
}

/// True, or not true for so short a time that it does not count yet.
fn holds_or_settling(
    conditions: &MachineConditions,
    view: &MachineView,
    type_: &str,
    now: Timestamp,
) -> bool {
    let conditions = conditions
        .get(&view.name())
        .map(Vec::as_slice)
        .unwrap_or_default();
    get_in(conditions, type_).is_some_and(|condition| {
        let since = condition.last_transition_time.0;
        condition.status == "True" || since.checked_add(SETTLING).is_ok_and(|until| now < until)
    })
}

/// When faults that do not count yet will count; none if there are none.
pub fn settles_at(world: &World, conditions: &MachineConditions, now: Timestamp) -> Option<Timestamp> {
    let kinds = [
        types::ETCD_MEMBER_HEALTHY,
        types::API_SERVER_POD_HEALTHY,
        types::CONTROLLER_MANAGER_POD_HEALTHY,
        types::SCHEDULER_POD_HEALTHY,
    ];
    let machines = world
        .machines
        .iter()
        .filter_map(|view| conditions.get(&view.name()));
    machines
        .flatten()
        .filter(|condition| kinds.contains(&condition.type_.as_str()) && condition.status != "True")
        .filter_map(|condition| condition.last_transition_time.0.checked_add(SETTLING).ok())
        .filter(|until| *until > now)
        .min()
}

/// The condition `Available`.
pub fn available(
    world: &World,
    conditions: &MachineConditions,
    certificates_available: bool,
    initialized_since: Option<Timestamp>,
    now: Timestamp,
) -> Draft {
    let no = |message: &str| Draft::is_false(types::AVAILABLE, reasons::NOT_AVAILABLE, message);
    if !world.initialized() {
        return no("Control plane not yet initialized");
    }
    let mut etcd = None;
    if world.etcd_is_managed() {
        match etcd_state(world, conditions) {
            Etcd::Unknown => {
                let since = initialized_since.unwrap_or(now);
                return match since.checked_add(FIRST_MEMBERS).is_ok_and(|until| now < until) {
                    true => no("Waiting for etcd to report the list of members"),
                    false => Draft::is_unknown(
                        types::AVAILABLE,
                        reasons::INSPECTION_FAILED,
                        "Failed to get etcd members",
                    ),
                };
            }
            Etcd::Mismatch => {
                return no("The list of etcd members does not match the list of Machines and Nodes");
            }
            Etcd::Known(known) => etcd = Some(known),
        }
    }
    let healthy_machine = |view: &&MachineView, ok: &dyn Fn(&str) -> bool| {
        [
            types::API_SERVER_POD_HEALTHY,
            types::CONTROLLER_MANAGER_POD_HEALTHY,
            types::SCHEDULER_POD_HEALTHY,
        ]
        .iter()
        .all(|type_| ok(type_))
            && (!world.etcd_is_managed() || ok(types::ETCD_MEMBER_HEALTHY))
            && !view.deleting()
    };
    let healthy = world
        .machines
        .iter()
        .filter(|view| healthy_machine(view, &|type_| holds(conditions, view, type_)))
        .count();
    let settled = world
        .machines
        .iter()
        .filter(|view| healthy_machine(view, &|type_| holds_or_settling(conditions, view, type_, now)))
        .count();

    let mut lines = Vec::new();
    if world.deleting() {
        lines.push("* Control plane metadata.deletionTimestamp is set".to_owned());
    }
    if !certificates_available {
        lines.push("* Control plane certificates are not available".to_owned());
    }
    if let Some(etcd) = etcd.filter(|etcd| etcd.healthy < etcd.quorum()) {
        lines.push(etcd.line(etcd.healthy));
    }
    if healthy == 0 {
        lines.push(
            "* There are no Machines with healthy control plane components, at least 1 required".to_owned(),
        );
    }
    if !lines.is_empty() {
        return no(&lines.join("\n"));
    }
    if let Some(etcd) = etcd {
        let settled = etcd_settled(world, conditions, now);
        if settled < etcd.voting {
            lines.push(etcd.line(settled));
        }
    }
    let all = world.machines.len();
    if settled < all {
        lines.push(match settled {
            1 => format!("* 1 of {all} Machines has healthy control plane components, at least 1 required"),
            _ => format!(
                "* {settled} of {all} Machines have healthy control plane components, at least 1 required"
            ),
        });
    }
    Draft::is_true(types::AVAILABLE, reasons::AVAILABLE, lines.join("\n"))
}

#[derive(Clone, Copy)]
struct EtcdCount {
    voting: usize,
    learners: usize,
    healthy: usize,
}

impl EtcdCount {
    fn quorum(&self) -> usize {
        quorum::needed(self.voting)
    }

    fn line(&self, healthy: usize) -> String {
        let learners = match self.learners {
            0 => String::new(),
            count => format!(" {count} learner etcd member,"),
        };
        let (all, needed) = (self.voting, self.quorum());
        match healthy {
            0 => format!(
                "* There are no healthy etcd member,{learners} at least {needed} healthy member required for etcd quorum"
            ),
            1 => format!(
                "* 1 of {all} etcd members is healthy,{learners} at least {needed} healthy member required for etcd quorum"
            ),
            _ => format!(
                "* {healthy} of {all} etcd members are healthy,{learners} at least {needed} healthy member required for etcd quorum"
            ),
        }
    }
}

enum Etcd {
    Unknown,
    Mismatch,
    Known(EtcdCount),
}

fn etcd_state(world: &World, conditions: &MachineConditions) -> Etcd {
    let Some(members) = world.etcd().and_then(|etcd| etcd.members.as_ref().ok()) else {
        return Etcd::Unknown;
    };
    let machine_of = |name: &str| world.machines.iter().find(|view| view.node_name() == Some(name));
    let provisioning = world
        .machines
        .iter()
        .filter(|view| view.node_name().is_none())
        .count();
    let strangers = members
        .iter()
        .filter(|member| machine_of(&member.name).is_none())
        .count();
    let without_member = world.living().any(|view| {
        view.node_name()
            .is_some_and(|node| !members.iter().any(|member| member.name == node))
    });
    if strangers > provisioning || without_member {
        return Etcd::Mismatch;
    }
    let healthy = members
        .iter()
        .filter(|member| !member.learner && !member.name.is_empty())
        .filter(|member| {
            // A member whose Machine is still being provisioned has the benefit of the doubt.
            machine_of(&member.name).is_none_or(|view| holds(conditions, view, types::ETCD_MEMBER_HEALTHY))
        });
    let learner = |name: &str, learner: bool| learner || name.is_empty();
    let learners = members
        .iter()
        .filter(|member| learner(&member.name, member.learner))
        .count();
    Etcd::Known(EtcdCount {
        voting: members.len() - learners,
        learners,
        healthy: healthy.count(),
    })
}

fn etcd_settled(world: &World, conditions: &MachineConditions, now: Timestamp) -> usize {
    let members = world
        .etcd()
        .and_then(|etcd| etcd.members.as_ref().ok())
        .map(Vec::as_slice)
        .unwrap_or_default();
    members
        .iter()
        .filter(|member| !member.learner && !member.name.is_empty())
        .filter(|member| {
            let machine = world
                .machines
                .iter()
                .find(|view| view.node_name() == Some(member.name.as_str()));
            machine.is_none_or(|view| holds_or_settling(conditions, view, types::ETCD_MEMBER_HEALTHY, now))
        })
        .count()
}

/// The condition `EtcdClusterHealthy`.
pub fn etcd_cluster(world: &World, conditions: &MachineConditions, notes: &[String]) -> Option<Draft> {
    if !world.etcd_is_managed() {
        return None;
    }
    let parts = [types::ETCD_POD_HEALTHY, types::ETCD_MEMBER_HEALTHY];
    let target = types::ETCD_CLUSTER_HEALTHY;
    Some(waits(world, target).unwrap_or_else(|| {
        let mut extra = Vec::new();
        if let Some(Ok(members)) = world.etcd().map(|etcd| &etcd.members) {
            let provisioning = world.machines.iter().any(|view| view.node_name().is_none());
            for member in members.iter().filter(|_| !provisioning) {
                let known = world
                    .machines
                    .iter()
                    .any(|view| view.node_name() == Some(member.name.as_str()));
                if !known {
                    let name = match member.name.is_empty() {
                        true => format!("{} (Name not yet assigned)", member.id),
                        false => member.name.clone(),
                    };
                    extra.push(format!(
                        "* Etcd member {name} does not have a corresponding Machine"
                    ));
                }
            }
        }
        extra.extend(notes.iter().map(|note| format!("* {note}")));
        total(
            world,
            conditions,
            target,
            &parts,
            extra,
            "No Machines reporting etcd member status",
        )
    }))
}

/// The condition `ControlPlaneComponentsHealthy`.
pub fn components(world: &World, conditions: &MachineConditions) -> Draft {
    let target = types::CONTROL_PLANE_COMPONENTS_HEALTHY;
    let mut parts = vec![
        types::API_SERVER_POD_HEALTHY,
        types::CONTROLLER_MANAGER_POD_HEALTHY,
        types::SCHEDULER_POD_HEALTHY,
    ];
    if world.etcd_is_managed() {
        parts.push(types::ETCD_POD_HEALTHY);
    }
    waits(world, target).unwrap_or_else(|| {
        let mut extra = Vec::new();
        if let Workload::Connected(workload) = &world.workload {
            let provisioning = world.machines.iter().any(|view| view.node_name().is_none());
            for name in workload.nodes.keys().filter(|_| !provisioning) {
                if !world.machines.iter().any(|view| view.node_name() == Some(name)) {
                    extra.push(format!(
                        "* Control plane Node {name} does not have a corresponding Machine"
                    ));
                }
            }
        }
        total(
            world,
            conditions,
            target,
            &parts,
            extra,
            "No Machines reporting control plane status",
        )
    })
}

fn waits(world: &World, target: &str) -> Option<Draft> {
    let unknown = |message: &str| Some(Draft::is_unknown(target, reasons::INSPECTION_FAILED, message));
    if !world.infrastructure_provisioned() {
        return unknown("Waiting for Cluster status.infrastructureReady to be true");
    }
    if world.endpoint().is_none() {
        return unknown("Waiting for Cluster spec.controlPlaneEndpoint to be set");
    }
    if !world.initialized() {
        return unknown(NOT_INITIALIZED);
    }
    None
}

/// Sums conditions of the Machines up: what is False or unknown in blocks of Machines with the same lines.
fn total(
    world: &World,
    conditions: &MachineConditions,
    target: &str,
    parts: &[&str],
    extra: Vec<String>,
    nobody: &str,
) -> Draft {
    let mut blocks: BTreeMap<Vec<String>, Vec<String>> = BTreeMap::new();
    let (mut any_false, mut any_unknown, mut reporting) = (!extra.is_empty(), false, 0);
    for view in &world.machines {
        let own = conditions
            .get(&view.name())
            .map(Vec::as_slice)
            .unwrap_or_default();
        let mut lines = Vec::new();
        for type_ in parts {
            let Some(condition) = get_in(own, type_) else {
                continue;
            };
            reporting += 1;
            let provisioned = view
                .machine
                .spec
                .provider_id
                .as_deref()
                .is_some_and(|id| !id.is_empty());
            match condition.status.as_str() {
                "True" => continue,
                "False" => any_false = true,
                // A machine that has not even started is no reason for worry.
                _ if !provisioned => continue,
                _ => any_unknown = true,
            }
            let message = match condition.message.is_empty() {
                true => format!("condition is {}", condition.status),
                false => condition.message.clone(),
            };
            lines.push((*type_, message));
        }
        if !lines.is_empty() {
            blocks
                .entry(block_lines(&lines, target))
                .or_default()
                .push(view.name());
        }
    }
    let mut ordered: Vec<(Vec<String>, Vec<String>)> = blocks.into_iter().collect();
    ordered.sort_by(|(_, a), (_, b)| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
    let mut message: Vec<String> = Vec::new();
    for (lines, names) in ordered {
        let noun = if names.len() == 1 { "Machine" } else { "Machines" };
        message.push(format!("* {noun} {}:", name_list(&names, 3)));
        message.extend(lines);
    }
    message.extend(extra);
    let message = message.join("\n");
    match (any_false, any_unknown, reporting) {
        (true, _, _) => Draft::is_false(target, words::NOT_HEALTHY, message),
        (false, true, _) => Draft::is_unknown(target, HEALTH_UNKNOWN, message),
        (false, false, 0) => Draft::is_unknown(target, HEALTH_UNKNOWN, nobody),
        (false, false, _) => Draft::is_true(target, words::HEALTHY, message),
    }
}

fn block_lines(lines: &[(&str, String)], target: &str) -> Vec<String> {
    let same = lines.len() > 1 && lines.iter().all(|(_, message)| *message == lines[0].1);
    if same && target == types::CONTROL_PLANE_COMPONENTS_HEALTHY {
        return vec![format!("  * Control plane components: {}", lines[0].1)];
    }
    lines
        .iter()
        .map(|(type_, message)| format!("  * {type_}: {message}"))
        .collect()
}
