//! What a plan for a DevMachine is made from, and what follows from it alone: roles, gates, delays, switches.

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
    api::{BOOTSTRAPPED_ANNOTATION, DevMachine, InMemoryComponent, InMemoryMachineBackendSpec},
    backend::{
        SimulatedMachine,
        guest::{
            BootstrapData,
            join::{Authorities, ClusterFacts},
        },
    },
    faults::{self, EtcdFault, MachineFaults, NodeFault, Switches},
};

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
    /// What the machine meets when it boots. Read only when the plan needs it, because it takes requests.
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

impl Observed {
    /// Whether the machine belongs to the control plane.
    pub fn is_control_plane(&self) -> bool {
        self.machine
            .metadata
            .labels
            .as_ref()
            .is_some_and(|labels| labels.contains_key(labels::CONTROL_PLANE))
    }

    /// Whether the machine became a node once, perhaps in an earlier process: its last part is said to run, or it ran
    /// once and its Machine is marked for that.
    pub fn was_bootstrapped(&self) -> bool {
        let last = Part::all(self.is_control_plane()).last();
        self.is_marked() || last.is_some_and(|part| conditions::is_true(&self.dev_machine, part.condition()))
    }

    /// Whether its Machine is marked as a machine that became a node once.
    pub(super) fn is_marked(&self) -> bool {
        let annotations = self.machine.metadata.annotations.as_ref();
        annotations.is_some_and(|annotations| annotations.contains_key(BOOTSTRAPPED_ANNOTATION))
    }

    /// Whether the object says something of a part.
    pub(super) fn reports(&self, part: Part) -> bool {
        conditions::get(&self.dev_machine, part.condition()).is_some()
    }

    pub(super) fn settings(&self) -> InMemoryMachineBackendSpec {
        self.dev_machine
            .spec
            .backend
            .in_memory
            .clone()
            .unwrap_or_default()
    }

    pub(super) fn uid(&self) -> &str {
        self.dev_machine.metadata.uid.as_deref().unwrap_or_default()
    }

    pub(super) fn was_provisioned(&self) -> bool {
        let status = self.dev_machine.status.as_ref();
        status
            .and_then(|status| status.initialization.as_ref())
            .and_then(|i| i.provisioned)
            == Some(true)
    }

    /// What its switches say; data that is lost stays lost.
    pub(super) fn switches(&self) -> Switches<MachineFaults> {
        let mut switches = faults::of_machine(self.dev_machine.metadata.annotations.as_ref());
        if self.lost_data_before() {
            switches.faults.etcd = Some(EtcdFault::Lost);
        }
        switches
    }

    /// Whether the object tells of switches.
    pub(super) fn reports_faults(&self) -> bool {
        conditions::get(&self.dev_machine, faults::CONDITION).is_some()
    }

    /// Whether the object is that new. Its time of creation has whole seconds.
    pub(super) fn is_younger_than(&self, age: Duration, now: Timestamp) -> bool {
        let created = self.dev_machine.metadata.creation_timestamp.as_ref();
        let passed = created.and_then(|created| Duration::try_from(now.duration_since(created.0)).ok());
        passed.is_some_and(|passed| passed < age)
    }

    /// Since when there is a control plane to join.
    pub(super) fn may_join_since(&self) -> Option<Timestamp> {
        let found = conditions::get(&self.cluster, conditions::types::CONTROL_PLANE_INITIALIZED);
        found
            .filter(|found| found.status == "True")
            .map(|found| found.last_transition_time.0)
    }

    pub(super) fn lost_data_before(&self) -> bool {
        let told = conditions::get(&self.dev_machine, faults::CONDITION);
        told.is_some_and(|told| told.reason == faults::ETCD_DATA_LOST)
    }

    /// A part's own delay and the one that a switch adds.
    pub(super) fn delay(
        &self,
        component: Option<&InMemoryComponent>,
        field: &str,
    ) -> Result<SignedDuration, String> {
        let own = startup_delay(component, self.uid(), field)
            .map_err(|error| format!("spec.backend.inMemory.{field}: {error}"))?;
        Ok(own.saturating_add(self.switches().faults.slow.unwrap_or_default()))
    }

    /// A part that runs at `due`; says so if a switch is why that takes long.
    pub(super) fn starting(&self, due: Timestamp) -> State {
        match self.switches().faults.slow {
            Some(slow) => State::Held(faults::told(
                faults::SLOW,
                &format!("{slow:#}"),
                &format!("this takes until {due:.0}"),
            )),
            None => State::Starting,
        }
    }

    /// Why a part does not start, if a switch holds it back. One that ran before is not held back, but broken.
    pub(super) fn held(&self, part: Part) -> Option<State> {
        let faults = self.switches().faults;
        let (holds, key, value, effect) = match part {
            Part::Vm => (
                faults.never_boots && !self.was_provisioned(),
                faults::VM,
                faults::NEVER_BOOTS,
                "the machine is never provisioned",
            ),
            Part::Node => (
                faults.node == Some(NodeFault::NeverJoins),
                faults::NODE,
                faults::NEVER_JOINS,
                "the machine runs, but no Node appears",
            ),
            Part::Etcd => {
                let value = match faults.etcd {
                    Some(EtcdFault::Lost) => faults::LOST,
                    _ => faults::DOWN,
                };
                let effect = "the machine's etcd member does not start";
                (faults.etcd.is_some(), faults::ETCD, value, effect)
            }
            Part::ApiServer => (
                faults.api_server_down,
                faults::API_SERVER,
                faults::DOWN,
                "the machine's API server does not start",
            ),
        };
        (holds && !self.was_bootstrapped()).then(|| State::Held(faults::told(key, value, effect)))
    }

    /// When the virtual machine runs, or ran.
    pub(super) fn boots_at(&self, now: Timestamp) -> Result<Timestamp, String> {
        let created = self.simulated.as_ref().map_or(now, |machine| machine.created_at);
        if self.was_bootstrapped() {
            return Ok(created);
        }
        let boots_at = created + self.delay(self.settings().vm.as_ref(), "vm")?;
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
    pub(super) fn node_due(&self, now: Timestamp) -> Result<Timestamp, String> {
        let boots_at = self.boots_at(now)?;
        if self.was_bootstrapped() {
            return Ok(boots_at);
        }
        Ok(boots_at + self.delay(self.settings().node.as_ref(), "node")?)
    }

    /// When etcd or the API server of a node should run.
    pub(super) fn component_due(&self, part: Part, joined_at: Timestamp) -> Result<Timestamp, String> {
        let settings = self.settings();
        let (component, field) = match part {
            Part::Etcd => (settings.etcd, "etcd"),
            _ => (settings.api_server, "apiServer"),
        };
        if self.was_bootstrapped() {
            return Ok(joined_at);
        }
        Ok(joined_at + self.delay(component.as_ref(), field)?)
    }

    /// What keeps the machine from being created, if anything.
    pub(super) fn gate(&self) -> Option<State> {
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
