//! What to do next for a DevMachine: a pure function of what was observed.

use std::time::Duration;

use capi_api::{
    conditions,
    core::v1beta2::{Cluster, Machine},
    labels,
};
use jiff::{SignedDuration, Timestamp};

use super::{
    conditions::{Part, State},
    timing::startup_delay,
};
use crate::{
    api::{BOOTSTRAPPED_ANNOTATION, DevMachine, InMemoryMachineBackendSpec},
    backend::{
        SimulatedMachine,
        guest::{
            BootstrapData, Mode,
            join::{Authorities, ClusterFacts, check_init, check_join},
        },
    },
};

/// How often kubeadm looks again for a cluster that it cannot join.
const JOIN_RETRY: Duration = Duration::from_secs(5);

/// How long kubeadm looks for a cluster before it gives up.
const JOIN_TIMEOUT: SignedDuration = SignedDuration::from_mins(5);

/// How often a missing Secret is looked for again.
const SECRET_RETRY: Duration = Duration::from_secs(30);

/// A DevMachine and everything around it.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    /// The object itself; its backend is inMemory.
    pub dev_machine: DevMachine,
    /// Its owner.
    pub machine: Machine,
    /// The Cluster of both.
    pub cluster: Cluster,
    /// The simulated machine, once there is one.
    pub simulated: Option<SimulatedMachine>,
    /// What the machine meets when it boots. Read only when [`needs_guest`] says so, because it takes requests.
    pub guest: Option<Guest>,
}

/// What a booting machine meets.
#[derive(Debug, Clone, Default)]
pub struct Guest {
    /// Its bootstrap data, or why it cannot be used.
    pub data: Option<Result<BootstrapData, String>>,
    /// The cluster's certificate authorities, or why they cannot be used.
    pub authorities: Option<Result<Authorities, String>>,
    /// The cluster it is to start or join.
    pub cluster: ClusterFacts,
}

/// A call on the simulated world.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// The virtual machine is ordered.
    CreateVm,
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
            Self::CreateVm => Part::Vm,
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
    /// The owner is told that the machine became a node once.
    pub mark_bootstrapped: bool,
    /// When to look again, if nothing happens before.
    pub next: Option<Duration>,
}

impl Plan {
    fn wait(&mut self, duration: Duration) {
        self.next = Some(self.next.map_or(duration, |next| next.min(duration)));
    }

    fn wait_until(&mut self, time: Timestamp, now: Timestamp) {
        self.wait(Duration::try_from(time.duration_since(now)).unwrap_or_default());
    }
}

impl Observed {
    /// Whether the machine belongs to the control plane.
    pub fn is_control_plane(&self) -> bool {
        self.machine
            .metadata
            .labels
            .as_ref()
            .is_some_and(|labels| labels.contains_key(labels::CONTROL_PLANE))
    }

    /// Whether the machine became a node once, perhaps in an earlier process.
    pub fn was_bootstrapped(&self) -> bool {
        let annotations = self.machine.metadata.annotations.as_ref();
        annotations.is_some_and(|annotations| annotations.contains_key(BOOTSTRAPPED_ANNOTATION))
    }

    fn settings(&self) -> InMemoryMachineBackendSpec {
        self.dev_machine
            .spec
            .backend
            .in_memory
            .clone()
            .unwrap_or_default()
    }

    fn uid(&self) -> &str {
        self.dev_machine.metadata.uid.as_deref().unwrap_or_default()
    }

    fn was_provisioned(&self) -> bool {
        let status = self.dev_machine.status.as_ref();
        status
            .and_then(|status| status.initialization.as_ref())
            .and_then(|i| i.provisioned)
            == Some(true)
    }

    /// When the virtual machine runs, or ran.
    fn boots_at(&self, now: Timestamp) -> Result<Timestamp, String> {
        let created = self.simulated.as_ref().map_or(now, |machine| machine.created_at);
        if self.was_bootstrapped() {
            return Ok(created);
        }
        let delay = startup_delay(self.settings().vm.as_ref(), self.uid(), "vm")
            .map_err(|e| format!("spec.backend.inMemory.vm: {e}"))?;
        let boots_at = created + delay;
        // The world was lost after the machine had been reported as running: it does not stop running for that.
        if self.was_provisioned() && boots_at > now {
            let condition = conditions::get(&self.dev_machine, Part::Vm.condition());
            return Ok(condition
                .map_or(now, |condition| condition.last_transition_time.0)
                .min(now));
        }
        Ok(boots_at)
    }

    /// When the machine should be a node.
    fn node_due(&self, now: Timestamp) -> Result<Timestamp, String> {
        let boots_at = self.boots_at(now)?;
        if self.was_bootstrapped() {
            return Ok(boots_at);
        }
        let delay = startup_delay(self.settings().node.as_ref(), self.uid(), "node");
        Ok(boots_at + delay.map_err(|error| format!("spec.backend.inMemory.node: {error}"))?)
    }

    /// When etcd or the API server of a node should run.
    fn component_due(&self, part: Part, joined_at: Timestamp) -> Result<Timestamp, String> {
        let settings = self.settings();
        let (component, field) = match part {
            Part::Etcd => (settings.etcd, "etcd"),
            _ => (settings.api_server, "apiServer"),
        };
        if self.was_bootstrapped() {
            return Ok(joined_at);
        }
        let delay = startup_delay(component.as_ref(), self.uid(), field);
        Ok(joined_at + delay.map_err(|error| format!("spec.backend.inMemory.{field}: {error}"))?)
    }

    /// What keeps the machine from being created, if anything.
    fn gate(&self) -> Option<State> {
        let initialized = self
            .cluster
            .status
            .as_ref()
            .and_then(|status| status.initialization.as_ref());
        if initialized.and_then(|i| i.infrastructure_provisioned) != Some(true) {
            return Some(State::WaitingForClusterInfrastructure);
        }
        if self.machine.spec.bootstrap.data_secret_name.is_some() {
            return None;
        }
        let control_plane_initialized =
            conditions::is_true(&self.cluster, conditions::types::CONTROL_PLANE_INITIALIZED);
        Some(match self.is_control_plane() || control_plane_initialized {
            true => State::WaitingForBootstrapData,
            false => State::WaitingForControlPlane,
        })
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
        None => is_due(observed.node_due(now)),
        Some(node) => simulated
            .filter(|_| observed.is_control_plane())
            .is_some_and(|machine| {
                (!machine.etcd && is_due(observed.component_due(Part::Etcd, node.joined_at)))
                    || (!machine.api_server
                        && is_due(observed.component_due(Part::ApiServer, node.joined_at)))
            }),
    }
}

/// What to do for a DevMachine at `now`.
pub fn plan(observed: &Observed, now: Timestamp) -> Plan {
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
    match observed.boots_at(now) {
        Ok(boots_at) if boots_at <= now => {}
        Ok(boots_at) => {
            plan.states = following(parts, Part::Vm, State::Starting);
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
    let done = plan.states.iter().all(|(_, state)| *state == State::Provisioned);
    plan.mark_bootstrapped = done && !observed.was_bootstrapped();
    plan
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
    let due = observed.node_due(now).map_err(State::Failed)?;
    if due > now {
        plan.wait_until(due, now);
        return Err(State::Starting);
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
    let checked = match data.kubeadm.mode {
        Mode::Init { .. } => check_init(name, &data, &guest.cluster, &authorities),
        Mode::Join { .. } => check_join(&data, &guest.cluster, &authorities, now),
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
            Err(message) => State::Failed(message),
            Ok(due) if due > now => {
                plan.wait_until(due, now);
                State::Starting
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
