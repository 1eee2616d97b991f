//! The conditions of a Machine.

use std::collections::BTreeSet;

use capi_api::{
    conditions::{
        self, Draft, Part, Priority, Reasons, get, reasons, summary_with, types,
        v1beta1::{self, Severity, V1Beta1ConditionsAccess},
    },
    core::v1beta2::{ConditionPolarity, Machine},
};
use capi_runtime::Next;
use jiff::{SignedDuration, Timestamp};

use super::{
    deletion::Stage,
    observe::{Settings, World},
    plan::{is_bootstrapped, is_provisioned},
};
use crate::{
    controllers::machine_deployment::template,
    foreign::{Found, Repeated},
    machines,
    plan::{after_seconds, elapsed, look_at},
};

/// The older twin of `BootstrapConfigReady`.
pub const OLD_BOOTSTRAP_READY: &str = "BootstrapReady";
/// The older twin of `InfrastructureReady`.
pub const OLD_INFRASTRUCTURE_READY: &str = "InfrastructureReady";
/// The older twin of `NodeHealthy`.
pub const OLD_NODE_HEALTHY: &str = "NodeHealthy";
/// The older condition about draining.
pub const OLD_DRAINING_SUCCEEDED: &str = "DrainingSucceeded";

/// Sets all conditions; returns when time alone will change one.
pub fn set_all(
    world: &World,
    settings: &Settings,
    stage: Option<&Stage>,
    machine: &mut Machine,
    now: Timestamp,
) -> Next {
    crate::pause::runs(machine, now);
    conditions::set(machine, bootstrap_ready(world, machine), now);
    conditions::set(machine, infrastructure_ready(world, machine), now);
    let mut next = super::node_conditions::set(world, settings, machine, now);
    let deleting = match stage {
        None => Draft::is_false(types::DELETING, reasons::NOT_DELETING, ""),
        Some(stage) => Draft::is_true(types::DELETING, stage.reason, stage.message.clone()),
    };
    conditions::set(machine, deleting, now);
    conditions::set(machine, updating(machine), now);
    if let Some(draft) = up_to_date(world, machine, now) {
        conditions::set(machine, draft, now);
    }
    next = next.earliest(summarise(machine, now));
    if let (Some(_), Some(since)) = (stage, machine.metadata.deletion_timestamp.as_ref()) {
        // The summary says so when a deletion takes long.
        let long = since
            .0
            .checked_add(LONG_DELETION + SignedDuration::from_millis(1))
            .unwrap_or(Timestamp::MAX);
        next = next.earliest(look_at(long, now));
    }
    next
}

/// Sets what follows from the other conditions; returns when time alone will change it.
pub fn summarise(machine: &mut Machine, now: Timestamp) -> Next {
    conditions::set(machine, ready(machine, now), now);
    let (draft, at) = available(machine, now);
    conditions::set(machine, draft, now);
    at
}

fn bootstrap_ready(world: &World, machine: &Machine) -> Draft {
    let Some(reference) = &machine.spec.bootstrap.config_ref else {
        return Draft::is_true(types::BOOTSTRAP_CONFIG_READY, reasons::DATA_SECRET_PROVIDED, "");
    };
    Repeated {
        target: types::BOOTSTRAP_CONFIG_READY,
        source: types::READY,
        kind: &reference.kind,
        done: is_bootstrapped(machine),
        flag: "status.initialization.dataSecretCreated",
        reasons: (reasons::READY, reasons::NOT_READY),
        deleting: world.is_deleting(),
        lost: None,
    }
    .of(&world.bootstrap)
}

fn infrastructure_ready(world: &World, machine: &Machine) -> Draft {
    Repeated {
        target: types::INFRASTRUCTURE_READY,
        source: types::READY,
        kind: &machine.spec.infrastructure_ref.kind,
        done: is_provisioned(machine),
        flag: "status.initialization.provisioned",
        reasons: (reasons::READY, reasons::NOT_READY),
        deleting: world.is_deleting(),
        lost: Some("the Machine still exists"),
    }
    .of(&world.infrastructure)
}

fn updating(machine: &Machine) -> Draft {
    match machines::is_updating(machine) {
        true => Draft::is_true(
            types::UPDATING,
            reasons::IN_PLACE_UPDATING,
            "In-place update in progress",
        ),
        false => Draft::is_false(types::UPDATING, reasons::NOT_UPDATING, ""),
    }
}

/// `UpToDate` of Machines of a MachineDeployment; a control plane sets it on its Machines itself.
pub fn up_to_date(world: &World, machine: &Machine, now: Timestamp) -> Option<Draft> {
    let (Some(set), Some(deployment)) = (&world.set, &world.deployment) else {
        return None;
    };
    let mut lines = template::differences(&set.spec.template, &deployment.spec.template);
    if template::is_overdue(set, deployment, now) {
        lines.push("MachineDeployment spec.rolloutAfter expired".to_owned());
    }
    if !lines.is_empty() {
        let lines: Vec<String> = lines.iter().map(|l| format!("* {l}")).collect();
        return Some(Draft::is_false(
            types::UP_TO_DATE,
            reasons::NOT_UP_TO_DATE,
            lines.join("\n"),
        ));
    }
    if let Some(updating) = get(machine, types::UPDATING).filter(|c| c.status == "True") {
        return Some(Draft::is_false(
            types::UP_TO_DATE,
            reasons::UPDATING,
            format!("* {}", updating.message),
        ));
    }
    let info = machine.status.as_ref().and_then(|s| s.node_info.as_ref());
    let kubelet = info.map(|i| i.kubelet_version.as_str()).filter(|v| !v.is_empty());
    let wanted = machine.spec.version.as_deref().unwrap_or_default();
    if let Some(kubelet) = kubelet.filter(|k| *k != wanted) {
        let message = format!("* Node.status.nodeInfo.kubeletVersion {kubelet}, {wanted} required");
        return Some(Draft::is_false(types::UP_TO_DATE, reasons::UPDATING, message));
    }
    Some(Draft::is_true(types::UP_TO_DATE, reasons::UP_TO_DATE, ""))
}

/// A deletion that takes longer is called long.
const LONG_DELETION: SignedDuration = SignedDuration::from_mins(15);

fn ready(machine: &Machine, now: Timestamp) -> Draft {
    let deleting = machines::is_deleting(machine);
    let expected_loss = |type_: &'static str, expected: &[&str]| {
        let part = Part::positive(type_);
        let reason = get(machine, type_).map_or("", |c| c.reason.as_str());
        if deleting && expected.contains(&reason) {
            part.weighing(Priority::Info)
        } else {
            part
        }
    };
    let gone = [reasons::OBJECT_DELETED, reasons::OBJECT_DOES_NOT_EXIST];
    let stage = Part::negative(types::DELETING);
    let mut parts = vec![
        if deleting {
            stage.seen_as(deletion_in_summary(machine, now))
        } else {
            stage
        },
        Part::negative(types::UPDATING),
        expected_loss(types::BOOTSTRAP_CONFIG_READY, &gone),
        expected_loss(types::INFRASTRUCTURE_READY, &gone),
        expected_loss(
            types::NODE_HEALTHY,
            &[reasons::NODE_DELETED, reasons::NODE_DOES_NOT_EXIST],
        ),
        Part::positive(types::HEALTH_CHECK_SUCCEEDED).optional(),
    ];
    for gate in &machine.spec.readiness_gates {
        parts.push(match gate.polarity {
            Some(ConditionPolarity::Negative) => Part::negative(&gate.condition_type),
            _ => Part::positive(&gate.condition_type),
        });
    }
    let all = machine.status.as_ref().map_or(&[][..], |s| &s.conditions);
    summary_with(
        all,
        types::READY,
        &parts,
        &Reasons::READY,
        merge_control_plane_lines,
    )
}

fn deletion_in_summary(machine: &Machine, now: Timestamp) -> Draft {
    let stage = get(machine, types::DELETING).map_or("", |c| c.reason.as_str());
    let since = machine.metadata.deletion_timestamp.as_ref().map_or(now, |t| t.0);
    let mut message = match elapsed(since, now) > LONG_DELETION {
        false => format!("Machine deletion in progress, stage: {stage}"),
        true => format!("Machine deletion in progress since more than 15m, stage: {stage}"),
    };
    let delays = machines::drain_delays(machine, now);
    if elapsed(since, now) > LONG_DELETION && !delays.is_empty() {
        message.push_str(&format!(", delay likely due to {}", delays.join(", ")));
    }
    Draft::is_true(types::DELETING, reasons::DELETING, message)
}

/// If all components of a control plane say the same, one line says it for all.
fn merge_control_plane_lines(lines: Vec<String>) -> Vec<String> {
    let is_component = |line: &str| {
        let type_ = line.split_once(':').map_or("", |(type_, _)| type_);
        ["* APIServer", "* ControllerManager", "* Scheduler"]
            .iter()
            .any(|p| type_.starts_with(p))
            || type_ == "* EtcdPodHealthy"
    };
    let text = |line: &str| {
        line.split_once(':')
            .map(|(_, text)| text.to_owned())
            .unwrap_or_default()
    };
    let texts: BTreeSet<String> = lines
        .iter()
        .filter(|l| is_component(l))
        .map(|l| text(l))
        .collect();
    let components = lines.iter().filter(|l| is_component(l)).count();
    let (Some(common), true) = (texts.first().filter(|_| texts.len() == 1), components > 1) else {
        return lines;
    };
    let mut merged = Vec::new();
    let mut done = false;
    for line in lines {
        if !is_component(&line) {
            merged.push(line);
        } else if !std::mem::replace(&mut done, true) {
            merged.push(format!("* Control plane components:{common}"));
        }
    }
    merged
}

fn available(machine: &Machine, now: Timestamp) -> (Draft, Next) {
    let ready = get(machine, types::READY).filter(|c| c.status == "True");
    let Some(ready) = ready else {
        return (
            Draft::is_false(types::AVAILABLE, reasons::NOT_READY, ""),
            Next::Done,
        );
    };
    let at = after_seconds(
        ready.last_transition_time.0,
        i64::from(machine.spec.min_ready_seconds.unwrap_or(0)),
    );
    if at <= now {
        return (
            Draft::is_true(types::AVAILABLE, reasons::AVAILABLE, ""),
            Next::Done,
        );
    }
    (
        Draft::is_false(types::AVAILABLE, reasons::WAITING_FOR_MIN_READY_SECONDS, ""),
        look_at(at, now),
    )
}

/// The older mirror of a foreign `Ready`.
pub fn mirror_old(
    world: &World,
    found: &Found,
    done: bool,
    target: &str,
    waiting: &str,
    machine: &mut Machine,
    now: Timestamp,
) {
    let reason = if world.is_deleting() { "Deleting" } else { waiting };
    let source = v1beta1::ready_of_foreign(&found.object);
    let condition = v1beta1::mirror(source.as_ref(), target, done, || {
        v1beta1::is_false(target, reason, Severity::Info, "")
    });
    v1beta1::set(machine, condition, now);
}

/// The older `Ready`: counts steps until there is a provider ID.
pub fn old_summary(world: &World, machine: &mut Machine, now: Timestamp) {
    const STEPS: [&str; 2] = [OLD_INFRASTRUCTURE_READY, OLD_BOOTSTRAP_READY];
    let all = [
        OLD_INFRASTRUCTURE_READY,
        OLD_BOOTSTRAP_READY,
        "HealthCheckSucceeded",
        "OwnerRemediated",
        OLD_DRAINING_SUCCEEDED,
    ];
    let present: Vec<&str> = machine
        .v1beta1_conditions()
        .iter()
        .map(|c| c.type_.as_str())
        .filter(|t| all.contains(t))
        .collect();
    let counting = !world.is_deleting()
        && machine.spec.provider_id.as_deref().is_none_or(str::is_empty)
        && present.iter().all(|t| STEPS.contains(t));
    let summary = v1beta1::summary(
        machine.v1beta1_conditions(),
        &all,
        counting.then_some(STEPS.len()),
    );
    if let Some(summary) = summary {
        v1beta1::set(machine, summary, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_lines_of_control_plane_components_become_one() {
        let line = |type_: &str| format!("* {type_}: Waiting to be scheduled");
        let lines = vec![
            line("NodeHealthy"),
            line("APIServerPodHealthy"),
            line("SchedulerPodHealthy"),
            line("EtcdPodHealthy"),
        ];
        assert_eq!(
            merge_control_plane_lines(lines),
            [
                "* NodeHealthy: Waiting to be scheduled",
                "* Control plane components: Waiting to be scheduled"
            ]
        );
        let lines = vec![line("APIServerPodHealthy"), "* EtcdPodHealthy: other".to_owned()];
        assert_eq!(merge_control_plane_lines(lines.clone()), lines);
    }
}
