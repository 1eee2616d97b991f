//! The conditions of a DevMachine: what each of its parts has come to.

use capi_api::conditions::{
    self, Draft, Part as SummaryPart, Reasons,
    reasons::{CHECK_LOGS, INTERNAL_ERROR},
    types::READY,
    v1beta1::{self, Severity},
};
use jiff::Timestamp;

use crate::{api::DevMachine, faults};

/// A part of a simulated machine; each has a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The virtual machine.
    Vm,
    /// The Kubernetes node on it.
    Node,
    /// The etcd member on it (control plane only).
    Etcd,
    /// The API server on it (control plane only).
    ApiServer,
}

impl Part {
    /// The parts that a machine has, in their order.
    pub fn all(control_plane: bool) -> &'static [Self] {
        const ALL: &[Part] = &[Part::Vm, Part::Node, Part::Etcd, Part::ApiServer];
        if control_plane { ALL } else { &ALL[..2] }
    }

    /// The type of its condition.
    pub fn condition(self) -> &'static str {
        match self {
            Self::Vm => "VMProvisioned",
            Self::Node => "NodeProvisioned",
            Self::Etcd => "EtcdProvisioned",
            Self::ApiServer => "APIServerProvisioned",
        }
    }
}

/// What a part has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It runs.
    Provisioned,
    /// The Cluster's infrastructure is not ready.
    WaitingForClusterInfrastructure,
    /// A worker waits for the control plane.
    WaitingForControlPlane,
    /// There is no bootstrap data yet.
    WaitingForBootstrapData,
    /// An earlier part does not run yet.
    WaitingFor(Part),
    /// It is starting.
    Starting,
    /// It does not start because of a switch; says which.
    Held(String),
    /// The machine runs, but cloud-init or kubeadm failed on it; says why.
    BootstrapFailed(String),
    /// Something is wrong with this provider or its settings; says what, if a user can change it.
    Failed(String),
}

impl State {
    /// The condition of `part`.
    pub fn draft(&self, part: Part) -> Draft {
        let type_ = part.condition();
        let waits = |reason: &str| Draft::is_false(type_, reason, "");
        match self {
            Self::Provisioned => Draft::is_true(type_, "Provisioned", ""),
            Self::WaitingForClusterInfrastructure => waits("WaitingForClusterInfrastructureReady"),
            Self::WaitingForControlPlane => waits("WaitingForControlPlaneInitialized"),
            Self::WaitingForBootstrapData => waits("WaitingForBootstrapData"),
            Self::WaitingFor(Part::Vm) => waits("WaitingForVMProvisioned"),
            Self::WaitingFor(_) => waits("WaitingForNodeProvisioned"),
            Self::Starting => waits("WaitingForStartupTimeout"),
            Self::Held(message) => Draft::is_false(type_, "WaitingForStartupTimeout", message),
            Self::BootstrapFailed(message) => Draft::is_false(type_, "BootstrapFailed", message),
            Self::Failed(message) => {
                let message = if message.is_empty() { CHECK_LOGS } else { message };
                Draft::is_false(type_, INTERNAL_ERROR, message)
            }
        }
    }

    /// The condition's old form; parts that wait for another part have none yet.
    fn old(&self, part: Part) -> Option<v1beta1::V1Beta1Condition> {
        let waits = |reason: &str| Some(v1beta1::is_false(part.condition(), reason, Severity::Info, ""));
        match self {
            Self::Provisioned => Some(v1beta1::is_true(part.condition())),
            Self::WaitingForClusterInfrastructure => waits("WaitingForClusterInfrastructure"),
            Self::WaitingForControlPlane => waits("WaitingControlPlaneInitialized"),
            Self::WaitingForBootstrapData => waits("WaitingForBootstrapData"),
            Self::Starting => waits("WaitingForStartupTimeout"),
            Self::Held(message) => Some(v1beta1::is_false(
                part.condition(),
                "WaitingForStartupTimeout",
                Severity::Info,
                message,
            )),
            Self::BootstrapFailed(message) => Some(v1beta1::is_false(
                part.condition(),
                "BootstrapFailed",
                Severity::Warning,
                message,
            )),
            Self::WaitingFor(_) | Self::Failed(_) => None,
        }
    }
}

/// Writes what the switches do; nothing is left of it once none is set.
pub fn write_faults(machine: &mut DevMachine, draft: Option<Draft>, now: Timestamp) {
    match draft {
        Some(draft) => conditions::set(machine, draft, now),
        None => conditions::remove(machine, faults::CONDITION),
    };
}

/// Writes the parts' states, and Ready as their summary, in both forms.
pub fn write(machine: &mut DevMachine, states: &[(Part, State)], now: Timestamp) {
    for (part, state) in states {
        conditions::set(machine, state.draft(*part), now);
        if let Some(old) = state.old(*part) {
            v1beta1::set(machine, old, now);
        }
    }
    let parts: Vec<_> = states
        .iter()
        .map(|(part, _)| SummaryPart::positive(part.condition()))
        .collect();
    let found = conditions::ConditionsAccess::conditions(machine);
    let ready = conditions::summary(found, READY, &parts, &Reasons::READY);
    conditions::set(machine, ready, now);

    let types: Vec<_> = states.iter().map(|(part, _)| part.condition()).collect();
    // The counter of steps helps while the machine is being made; afterwards the message of the worst part says more.
    let status = machine.status.as_ref();
    let provisioned = status
        .and_then(|status| status.initialization.as_ref())
        .and_then(|i| i.provisioned)
        == Some(true);
    let making = machine.metadata.deletion_timestamp.is_none() && !provisioned;
    let old = v1beta1::V1Beta1ConditionsAccess::v1beta1_conditions(machine);
    if let Some(ready) = v1beta1::summary(old, &types, making.then_some(types.len())) {
        v1beta1::set(machine, ready, now);
    }
}
