//! What is going on with a control plane: rolling out, scaling, remediating, deleting. Pure.

use std::collections::BTreeSet;

use capi_api::conditions::{Child, Draft, Reasons, aggregate, get_in, name_list, reasons, types};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::{
    availability::MachineConditions,
    plan::Plan,
    preflight,
    world::{MachineView, Template, World},
};

/// A Machine that is deleted for longer than this is worth a word.
const STALE_DELETION: SignedDuration = SignedDuration::from_mins(15);

/// The condition `RollingOut`.
pub fn rolling_out(world: &World, conditions: &MachineConditions) -> Draft {
    let outdated: Vec<&Condition> = world
        .machines
        .iter()
        .filter_map(|view| get_in(conditions.get(&view.name())?, types::UP_TO_DATE))
        .filter(|condition| condition.status == "False" && condition.reason != reasons::UPDATING)
        .collect();
    if outdated.is_empty() {
        return Draft::is_false(types::ROLLING_OUT, reasons::NOT_ROLLING_OUT, "");
    }
    let lines: BTreeSet<&str> = outdated
        .iter()
        .flat_map(|condition| condition.message.lines())
        .collect();
    let mut lines: Vec<&str> = lines.into_iter().filter(|line| !line.is_empty()).collect();
    lines.sort_by_key(|line| (!line.starts_with("* Version"), *line));
    let mut message = format!("Rolling out {} not up-to-date replicas", outdated.len());
    for line in lines {
        message.push('\n');
        message.push_str(line);
    }
    Draft::is_true(types::ROLLING_OUT, reasons::ROLLING_OUT, message)
}

fn template_is_missing(world: &World) -> Option<String> {
    let kind = &world
        .control_plane
        .spec
        .machine_template
        .spec
        .infrastructure_ref
        .kind;
    match &world.template {
        Template::Found { .. } => None,
        Template::Missing => Some(format!("{kind} does not exist")),
        Template::Unresolved(reason) => Some(reason.clone()),
    }
}

fn unset_replicas(type_: &str) -> Draft {
    Draft::is_unknown(
        type_,
        reasons::WAITING_FOR_REPLICAS_SET,
        "Waiting for spec.replicas set",
    )
}

/// The condition `ScalingUp`.
pub fn scaling_up(world: &World, plan: &Plan) -> Draft {
    let type_ = types::SCALING_UP;
    let Some(desired) = world.desired_replicas() else {
        return unset_replicas(type_);
    };
    let current = i32::try_from(world.machines.len()).unwrap_or(i32::MAX);
    let missing = template_is_missing(world);
    if current >= desired {
        return match missing.filter(|_| !world.deleting()) {
            Some(missing) => Draft::is_false(
                type_,
                reasons::NOT_SCALING_UP,
                format!("Scaling up would be blocked because {missing}"),
            ),
            None => Draft::is_false(type_, reasons::NOT_SCALING_UP, ""),
        };
    }
    let mut blockers: Vec<String> = findings(plan);
    blockers.extend(missing);
    Draft::is_true(
        type_,
        reasons::SCALING_UP,
        scaling_message("up", current, desired, &blockers),
    )
}

/// The condition `ScalingDown`.
pub fn scaling_down(world: &World, plan: &Plan, now: Timestamp) -> Draft {
    let type_ = types::SCALING_DOWN;
    let Some(desired) = world.desired_replicas() else {
        return unset_replicas(type_);
    };
    let current = i32::try_from(world.machines.len()).unwrap_or(i32::MAX);
    if current <= desired {
        return Draft::is_false(type_, reasons::NOT_SCALING_DOWN, "");
    }
    let mut blockers: Vec<String> = findings(plan);
    blockers.extend(stale_deletions(world, now));
    Draft::is_true(
        type_,
        reasons::SCALING_DOWN,
        scaling_message("down", current, desired, &blockers),
    )
}

fn findings(plan: &Plan) -> Vec<String> {
    plan.blocked
        .iter()
        .flat_map(|findings: &preflight::Findings| findings.lines.iter().cloned())
        .collect()
}

fn scaling_message(direction: &str, current: i32, desired: i32, blockers: &[String]) -> String {
    let head = format!("Scaling {direction} from {current} to {desired} replicas");
    if blockers.is_empty() {
        return head;
    }
    let lines: Vec<String> = blockers.iter().map(|blocker| format!("* {blocker}")).collect();
    format!("{head} is blocked because:\n{}", lines.join("\n"))
}

fn stale_deletions(world: &World, now: Timestamp) -> Option<String> {
    let stale: Vec<String> = world
        .machines
        .iter()
        .filter(|view| {
            let deleted = view.machine.metadata.deletion_timestamp.as_ref();
            deleted.is_some_and(|time| time.0.checked_add(STALE_DELETION).is_ok_and(|until| now >= until))
        })
        .map(MachineView::name)
        .collect();
    match stale.as_slice() {
        [] => None,
        [one] => Some(format!("Machine {one} is in deletion since more than 15m")),
        many => Some(format!(
            "Machines {} are in deletion since more than 15m",
            name_list(many, 3)
        )),
    }
}

/// The condition `Remediating`.
pub fn remediating(world: &World, conditions: &MachineConditions) -> Draft {
    let own = |view: &MachineView| conditions.get(&view.name()).cloned().unwrap_or_default();
    let unhealthy: Vec<String> = world
        .machines
        .iter()
        .filter(|view| {
            get_in(&own(view), types::HEALTH_CHECK_SUCCEEDED)
                .is_some_and(|condition| condition.status == "False")
        })
        .map(MachineView::name)
        .collect();
    let to_remediate: Vec<&MachineView> = world
        .machines
        .iter()
        .filter(|view| {
            let is_false = |type_| get_in(&own(view), type_).is_some_and(|found| found.status == "False");
            is_false(types::HEALTH_CHECK_SUCCEEDED) && is_false(types::OWNER_REMEDIATED)
        })
        .collect();
    if !to_remediate.is_empty() {
        let names: Vec<String> = to_remediate.iter().map(|view| view.name()).collect();
        let children: Vec<Child<'_>> = names
            .iter()
            .map(|name| Child {
                kind: "Machine",
                name,
                control_plane_machine: true,
                conditions: conditions.get(name).map(Vec::as_slice).unwrap_or_default(),
            })
            .collect();
        let words = Reasons::new(reasons::REMEDIATING, reasons::REMEDIATING, reasons::REMEDIATING);
        let sum = aggregate(
            &children,
            types::OWNER_REMEDIATED,
            types::REMEDIATING,
            false,
            &words,
        );
        return Draft::is_true(types::REMEDIATING, reasons::REMEDIATING, sum.message);
    }
    let message = match unhealthy.as_slice() {
        [] => String::new(),
        [one] => format!("Machine {one} is not healthy (not to be remediated by KubeadmControlPlane)"),
        many => {
            format!(
                "Machines {} are not healthy (not to be remediated by KubeadmControlPlane)",
                name_list(many, 3)
            )
        }
    };
    Draft::is_false(types::REMEDIATING, reasons::NOT_REMEDIATING, message)
}

/// The condition `Deleting`.
pub fn deleting(world: &World, now: Timestamp) -> Draft {
    let type_ = types::DELETING;
    if !world.deleting() {
        return Draft::is_false(type_, reasons::NOT_DELETING, "");
    }
    if !world.workers.is_empty() {
        let lines: Vec<String> = world
            .workers
            .iter()
            .map(|(kind, names)| format!("* {kind}: {}", name_list(names, 5)))
            .collect();
        let message = format!(
            "KubeadmControlPlane deletion blocked because following objects still exist:\n{}",
            lines.join("\n")
        );
        return Draft::is_true(type_, reasons::WAITING_FOR_WORKERS_DELETION, message);
    }
    let message = match world.machines.len() {
        0 => return Draft::is_true(type_, reasons::DELETION_COMPLETED, "Deletion completed"),
        1 => "Deleting 1 Machine".to_owned(),
        count => format!("Deleting {count} Machines"),
    };
    let message = match stale_deletions(world, now) {
        Some(stale) => format!("{message} and {stale}"),
        None => message,
    };
    Draft::is_true(type_, reasons::WAITING_FOR_MACHINE_DELETION, message)
}
