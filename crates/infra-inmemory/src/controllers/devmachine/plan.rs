//! What to do next for a DevMachine: a pure function of what was observed.

use std::time::Duration;

use capi_api::{conditions::Draft, labels};
use jiff::{SignedDuration, Timestamp};

use super::{
    conditions::{Part, State},
    observed::Observed,
};
use crate::{
    backend::guest::{
        BootstrapData, Mode,
        join::{check_init, check_join},
    },
    faults::{self, EtcdFault, MachineFaults, Stage},
};

/// How long a new machine may wait before its object says so.
const FIRST_REPORT: Duration = Duration::from_secs(2);

/// How near the next part of a machine must be for both to be reported at once.
const NEXT_PART: Duration = Duration::from_secs(3);

/// A machine that boots within this time is reported when it runs; meanwhile its Machine says `Provisioning`.
const QUICK_BOOT: Duration = Duration::from_secs(15);

/// How often kubeadm looks again for a cluster that it cannot join.
const JOIN_RETRY: Duration = Duration::from_secs(5);

/// How long kubeadm looks for a cluster before it gives up.
const JOIN_TIMEOUT: SignedDuration = SignedDuration::from_mins(5);

/// How often a missing Secret is looked for again.
const SECRET_RETRY: Duration = Duration::from_secs(30);

/// A call on the simulated world.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// The virtual machine is ordered.
    CreateVm,
    /// This is wrong with the machine from now on.
    SetFaults(MachineFaults),
    /// The machine becomes a Node, by kubeadm with this data; without data it is rebuilt as it was.
    BecomeNode(Option<Box<BootstrapData>>),
    /// The etcd member starts.
    StartEtcd,
    /// The API server and its companions start.
    StartApiServer,
}

impl Action {
    /// The part whose condition tells if the action fails.
    pub fn part(&self) -> Part {
        match self {
            Self::CreateVm | Self::SetFaults(_) => Part::Vm,
            Self::BecomeNode(_) => Part::Node,
            Self::StartEtcd => Part::Etcd,
            Self::StartApiServer => Part::ApiServer,
        }
    }
}

/// What to do and to report.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// Calls on the world, in order.
    pub actions: Vec<Action>,
    /// The state of each part of the machine, in order, once the actions are done.
    pub states: Vec<(Part, State)>,
    /// The machine runs: it has a provider id and the contract's flag.
    pub provisioned: bool,
    /// What the machine's switches do, if any is set.
    pub faults: Option<Draft>,
    /// When to look again, if nothing happens before.
    pub next: Option<Duration>,
}

impl Plan {
    fn wait(&mut self, duration: Duration) {
        self.next = Some(self.next.map_or(duration, |next| next.min(duration)));
    }

    /// How long to leave the object as it is, because what would be reported is about to change by itself: a machine that
    /// was just created and waits for its data, one that boots soon, and one whose next part is a few seconds away: a Node
    /// cannot be found before that, either. Saves a write each.
    pub fn worth_waiting(&self, observed: &Observed, now: Timestamp) -> Option<Duration> {
        if self.faults.is_some() || observed.reports_faults() {
            return None;
        }
        let waits = |state: &State| {
            matches!(
                state,
                State::WaitingForClusterInfrastructure
                    | State::WaitingForControlPlane
                    | State::WaitingForBootstrapData
            )
        };
        let first = self.states.first().map(|(_, state)| state);
        if first.is_some_and(waits) {
            // The data follows on the control plane.
            let soon = observed.is_younger_than(FIRST_REPORT, now)
                || observed
                    .may_join_since()
                    .is_some_and(|since| is_within(FIRST_REPORT, since, now));
            return soon.then_some(FIRST_REPORT);
        }
        let on_its_way =
            |state: &State| matches!(state, State::Provisioned | State::Starting | State::WaitingFor(_));
        let quick = match first {
            Some(State::Starting) if !observed.reports(Part::Vm) => QUICK_BOOT,
            _ => NEXT_PART,
        };
        self.next
            .filter(|next| *next <= quick)
            .filter(|_| self.states.iter().all(|(_, state)| on_its_way(state)))
    }

    fn wait_until(&mut self, time: Timestamp, now: Timestamp) {
        self.wait(Duration::try_from(time.duration_since(now)).unwrap_or_default());
    }
}

/// Whether the plan at `now` depends on what the machine meets when it boots.
pub fn needs_guest(observed: &Observed, now: Timestamp) -> bool {
    let simulated = observed.simulated.as_ref();
    if simulated.is_none() && observed.gate().is_some() {
        return false;
    }
    let is_due = |due: Result<Timestamp, String>| due.is_ok_and(|due| due <= now);
    match simulated.and_then(|machine| machine.node.as_ref()) {
        None if observed
            .held(Part::Vm)
            .or_else(|| observed.held(Part::Node))
            .is_some() =>
        {
            false
        }
        None => is_due(observed.node_due(now)),
        Some(node) => simulated
            .filter(|_| observed.is_control_plane())
            .is_some_and(|machine| {
                let missing = [(Part::Etcd, machine.etcd), (Part::ApiServer, machine.api_server)];
                missing.into_iter().any(|(part, runs)| {
                    let due = || is_due(observed.component_due(part, node.joined_at));
                    !runs && observed.held(part).is_none() && due()
                })
            }),
    }
}

/// What to do for a DevMachine at `now`.
pub fn plan(observed: &Observed, now: Timestamp) -> Plan {
    let mut plan = plan_parts(observed, now);
    let runs = |wanted: Part| plan.states.contains(&(wanted, State::Provisioned));
    let stage = Stage {
        booted: runs(Part::Vm),
        joined: runs(Part::Node),
        control_plane: observed.is_control_plane(),
    };
    let switches = observed.switches();
    let lost =
        switches.faults.etcd == Some(EtcdFault::Lost) && (runs(Part::Etcd) || observed.lost_data_before());
    plan.faults = faults::machine_condition(&switches, stage, lost);
    plan
}

fn plan_parts(observed: &Observed, now: Timestamp) -> Plan {
    let parts = Part::all(observed.is_control_plane());
    let mut plan = Plan::default();
    // A machine that exists is not put back behind the gates it once passed.
    if let Some(gate) = observed.gate().filter(|_| observed.simulated.is_none()) {
        plan.states = following(parts, Part::Vm, gate);
        return plan;
    }
    if observed.simulated.is_none() {
        plan.actions.push(Action::CreateVm);
    }
    let faults = observed.switches().faults;
    let known = observed.simulated.as_ref().map(|machine| machine.faults.clone());
    if known.unwrap_or_default() != faults {
        plan.actions.push(Action::SetFaults(faults));
    }
    if let Some(held) = observed.held(Part::Vm) {
        plan.states = following(parts, Part::Vm, held);
        return plan;
    }
    match observed.boots_at(now) {
        Ok(boots_at) if boots_at <= now => {}
        Ok(boots_at) => {
            plan.states = following(parts, Part::Vm, observed.starting(boots_at));
            plan.wait_until(boots_at, now);
            return plan;
        }
        Err(message) => {
            plan.states = following(parts, Part::Vm, State::Failed(message));
            return plan;
        }
    }
    plan.provisioned = true;
    plan.states.push((Part::Vm, State::Provisioned));
    let joined_at = match plan_node(observed, now, &mut plan) {
        Ok(joined_at) => joined_at,
        Err(state) => {
            plan.states.extend(following(parts, Part::Node, state));
            return plan;
        }
    };
    plan.states.push((Part::Node, State::Provisioned));
    if observed.is_control_plane() {
        plan_control_plane(observed, joined_at, now, &mut plan);
    }
    plan
}

/// Whether that long has not passed yet. Times of conditions have whole seconds.
fn is_within(duration: Duration, since: Timestamp, now: Timestamp) -> bool {
    Duration::try_from(now.duration_since(since)).is_ok_and(|passed| passed < duration)
}

/// `state` for `part`, and waiting for it for the parts after it.
fn following(parts: &[Part], part: Part, state: State) -> Vec<(Part, State)> {
    let later = parts
        .iter()
        .filter(|other| **other > part)
        .map(|other| (*other, State::WaitingFor(part)));
    std::iter::once((part, state)).chain(later).collect()
}

/// Plans the Node; returns since when it exists.
fn plan_node(observed: &Observed, now: Timestamp, plan: &mut Plan) -> Result<Timestamp, State> {
    if let Some(node) = observed
        .simulated
        .as_ref()
        .and_then(|machine| machine.node.as_ref())
    {
        return Ok(node.joined_at);
    }
    if observed.was_bootstrapped() {
        let data = observed
            .guest
            .as_ref()
            .and_then(|guest| guest.data.clone())
            .and_then(Result::ok);
        plan.actions.push(Action::BecomeNode(data.map(Box::new)));
        return Ok(now);
    }
    if let Some(held) = observed.held(Part::Node) {
        return Err(held);
    }
    let due = observed.node_due(now).map_err(State::Failed)?;
    if due > now {
        plan.wait_until(due, now);
        return Err(observed.starting(due));
    }
    let guest = observed.guest.clone().unwrap_or_default();
    let data = guest
        .data
        .clone()
        .unwrap_or_else(unread)
        .map_err(State::BootstrapFailed)?;
    let authorities = guest
        .authorities
        .clone()
        .unwrap_or_else(unread)
        .map_err(|message| {
            plan.wait(SECRET_RETRY);
            State::BootstrapFailed(message)
        })?;
    if data.is_control_plane() != observed.is_control_plane() {
        return Err(State::BootstrapFailed(wrong_role(observed.is_control_plane())));
    }
    let name = observed.dev_machine.metadata.name.as_deref().unwrap_or_default();
    let own = observed.machine.spec.version.as_deref();
    let checked = match data.kubeadm.mode {
        Mode::Init { .. } => check_init(name, &data, &guest.cluster, &authorities),
        Mode::Join { .. } => check_join(&data, own, &guest.cluster, &authorities, now),
    };
    match checked {
        Ok(()) => {
            plan.actions.push(Action::BecomeNode(Some(Box::new(data))));
            Ok(now)
        }
        Err(refusal) if refusal.retried && now < due + JOIN_TIMEOUT => {
            plan.wait(JOIN_RETRY);
            Err(State::BootstrapFailed(refusal.message))
        }
        Err(refusal) if refusal.retried => Err(State::BootstrapFailed(format!(
            "{}; kubeadm gave up after 5 minutes, replace the Machine",
            refusal.message
        ))),
        Err(refusal) => Err(State::BootstrapFailed(refusal.message)),
    }
}

/// Seen only if [`needs_guest`] and [`plan`] disagree.
fn unread<T>() -> Result<T, String> {
    Err("was not read".to_owned())
}

fn wrong_role(control_plane: bool) -> String {
    match control_plane {
        true => format!(
            "the Machine has the label {}, but its bootstrap data makes a worker",
            labels::CONTROL_PLANE
        ),
        false => format!(
            "the Machine lacks the label {}, but its bootstrap data makes a control-plane node",
            labels::CONTROL_PLANE
        ),
    }
}

/// Plans etcd and the API server of a control-plane machine.
fn plan_control_plane(observed: &Observed, joined_at: Timestamp, now: Timestamp, plan: &mut Plan) {
    let simulated = observed.simulated.as_ref();
    for (part, runs, action) in [
        (
            Part::Etcd,
            simulated.is_some_and(|machine| machine.etcd),
            Action::StartEtcd,
        ),
        (
            Part::ApiServer,
            simulated.is_some_and(|machine| machine.api_server),
            Action::StartApiServer,
        ),
    ] {
        let authorities = observed
            .guest
            .as_ref()
            .and_then(|guest| guest.authorities.as_ref());
        let state = match observed.component_due(part, joined_at) {
            _ if runs => State::Provisioned,
            _ if observed.held(part).is_some() => observed.held(part).unwrap_or(State::Starting),
            Err(message) => State::Failed(message),
            Ok(due) if due > now => {
                plan.wait_until(due, now);
                observed.starting(due)
            }
            Ok(_) => match authorities {
                Some(Ok(_)) => {
                    plan.actions.push(action);
                    State::Provisioned
                }
                Some(Err(message)) => {
                    plan.wait(SECRET_RETRY);
                    State::Failed(message.clone())
                }
                None => State::Failed(String::new()),
            },
        };
        plan.states.push((part, state));
    }
}
