//! What to do next with a control plane: a pure function from what was seen to a list of actions with reasons.
//!
//! At most one Machine is created or deleted by a plan, and at most one action touches the quorum of etcd.

use std::sync::Arc;

use capi_api::{annotations, conditions::types, core::v1beta2::Machine, secrets::Purpose};
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use super::{
    addons,
    certificates::{self, KubeconfigNeed},
    health::Health,
    leaving,
    machines::{self, Role},
    preflight::Findings,
    remediation::{self, Decision, Outcome, Record},
    replicas,
    stray::{self, Stray},
    world::{MachineView, Workload, World},
};

use crate::workload::addons::CoreDnsUpdate;

/// A write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// The Secret becomes ours.
    OwnSecret(Purpose),
    /// Generate a certificate authority or key pair.
    CreateCertificate(Purpose),
    /// Create the kubeconfig.
    CreateKubeconfig,
    /// Give the kubeconfig a new client certificate.
    RotateKubeconfig,
    /// The Cluster owns the infrastructure template.
    OwnTemplate,
    /// A Machine that nobody controls becomes ours.
    Adopt(String),
    /// A Machine outside the supported versions cannot be adopted.
    RefuseAdoption(String),
    /// Metadata, gates, timeouts and taints of a Machine follow the control plane.
    SyncMachine(String),
    /// Create a Machine.
    CreateMachine {
        /// Its name.
        name: String,
        /// Starts or joins.
        role: Role,
        /// Where.
        failure_domain: Option<String>,
    },
    /// Give kube-proxy another image.
    UpdateKubeProxy(String),
    /// Bring CoreDNS to another version.
    UpdateCoreDns(CoreDnsUpdate),
    /// The kubeadm permissions that newer versions expect.
    GrantKubeadmPermissions,
    /// kubeadm's stored configuration follows the control plane.
    UpdateKubeadmConfig,
    /// Hand etcd's leadership from this Machine to another.
    ForwardLeadership {
        /// The Machine that must not lead any more.
        from: String,
        /// The Machines to try, best first.
        to: Vec<String>,
        /// Nothing else happens before it has succeeded.
        insist: bool,
    },
    /// Read from its API server until when a Machine's certificates are valid, and note it.
    NoteCertificateExpiry(String),
    /// Take the etcd member of a deleted Machine out of its cluster.
    RemoveEtcdMember(String),
    /// Take an etcd member that belongs to no Machine out of its cluster.
    RemoveStrayMember {
        /// Its identifier.
        id: u64,
        /// Its name; empty if it never started.
        name: String,
    },
    /// Note on the control plane that a Machine is given up.
    BeginRemediation(Record),
    /// The Machine that was given up has its successor.
    EndRemediation,
    /// Let the deletion of a Machine go on.
    RemoveHook(String),
    /// Delete a Machine.
    DeleteMachine(String),
    /// Let the control plane go.
    RemoveFinalizer,
}

/// What a reconcile will do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The writes, in order.
    pub actions: Vec<Action>,
    /// What the plan waits for, for logs and for people.
    pub waits: Vec<String>,
    /// What keeps a Machine from being added or taken away.
    pub blocked: Option<Findings>,
    /// What is decided about an unhealthy Machine.
    pub remediation: Option<Decision>,
    /// Changes of etcd that cannot be made now, for its condition.
    pub etcd_notes: Vec<String>,
    /// What nobody can do anything about but the user: reason and message of events.
    pub warnings: Vec<(&'static str, String)>,
    /// When to look again at the latest.
    pub look_again: Option<Timestamp>,
}

impl Plan {
    fn wait(mut self, reason: impl Into<String>) -> Self {
        self.waits.push(reason.into());
        self
    }

    fn at(&mut self, time: Option<Timestamp>) {
        self.look_again = self.look_again.into_iter().chain(time).min();
    }

    /// There is nothing to do and nothing to wait for but, perhaps, a time.
    pub fn is_content(&self) -> bool {
        let nothing = Self {
            look_again: self.look_again,
            ..Self::default()
        };
        *self == nothing
    }

    /// It deletes this Machine.
    pub fn deletes(&self, machine: &str) -> bool {
        let deletes = |action: &Action| matches!(action, Action::DeleteMachine(name) if name == machine);
        self.actions.iter().any(deletes)
    }
}

/// What can be in use under a name besides Machines: bootstrap Secrets of earlier Machines, Nodes that are still there.
pub trait NamesInUse {
    /// Whether something of that name is left over.
    fn in_use(&self, name: &str) -> bool;
}

/// The plan for what was seen at `now`.
pub fn plan(world: &World, names: &dyn NamesInUse, now: Timestamp) -> Plan {
    if world.deleting() {
        return plan_deletion(world);
    }
    let mut plan = Plan::default();
    if needs_template_owner(world) {
        plan.actions.push(Action::OwnTemplate);
    }
    if !world.infrastructure_provisioned() {
        return plan.wait("Cluster status.initialization.infrastructureProvisioned to be true");
    }
    for (purpose, secret) in &world.secrets {
        if certificates::needs_owner(world, secret) {
            plan.actions.push(Action::OwnSecret(*purpose));
        }
    }
    let missing = certificates::to_generate(world);
    plan.actions
        .extend(missing.iter().copied().map(Action::CreateCertificate));
    if world.endpoint().is_none() {
        return plan.wait("Cluster spec.controlPlaneEndpoint to be set");
    }
    match certificates::kubeconfig_need(world, now) {
        KubeconfigNeed::Create => plan.actions.push(Action::CreateKubeconfig),
        KubeconfigNeed::Rotate => plan.actions.push(Action::RotateKubeconfig),
        KubeconfigNeed::Keep(due) => plan.at(due),
        KubeconfigNeed::Unreadable => plan.waits.push("a kubeconfig Secret that can be read".to_owned()),
    }
    if !plan_ownership(world, &mut plan) {
        return plan;
    }
    for view in &world.machines {
        if machines::needs_sync(world, view) {
            plan.actions.push(Action::SyncMachine(view.name()));
        }
    }
    plan_machines(world, names, now, &mut plan);
    plan_expiry_notes(world, &mut plan);
    plan.at(rollout_time(world, now));
    plan
}

/// What concerns the set of Machines, the most urgent first. Each step may change the quorum of etcd, so that the later
/// ones wait for another look.
fn plan_machines(world: &World, names: &dyn NamesInUse, now: Timestamp, plan: &mut Plan) {
    let health = Health::of(world, now);
    if remediation::is_over(world) {
        plan.actions.push(Action::EndRemediation);
    }
    match stray::find(world) {
        Stray::Remove { id, name } => {
            plan.actions.push(Action::RemoveStrayMember { id, name });
            plan.at(Some(now));
            return;
        }
        Stray::Keep(why) => plan.etcd_notes.push(why),
        Stray::None => {}
    }
    leaving::plan_hooks(world, plan);
    plan.remediation = remediation::decide(world, &health, now);
    match plan.remediation.as_ref().map(|decision| &decision.outcome) {
        Some(Outcome::Remediate(record)) => {
            let record = record.clone();
            plan_remediation(world, record, plan);
            return;
        }
        Some(Outcome::Wait { until, .. }) => plan.at(*until),
        None => {}
    }
    if replicas::plan_replicas(world, &health, names, now, plan) {
        addons::plan_addons(world, plan);
    }
}

/// Gives a Machine up. First it is noted: a crash in between must not forget how often that was tried.
fn plan_remediation(world: &World, record: Record, plan: &mut Plan) {
    let Some(view) = world.machine(&record.machine) else {
        return;
    };
    if world.initialized() && world.etcd_is_managed() && world.member_name(view).is_some() {
        plan.actions.push(leaving::forward_leadership(world, view));
    }
    if remediation::in_progress(world).as_ref() != Some(&record) {
        plan.actions.push(Action::BeginRemediation(record));
    }
    plan.actions.push(Action::DeleteMachine(view.name()));
}

/// Who may lead etcd next: provisioned Machines that stay, healthy, up to date and new ones first.
pub fn leadership_candidates(world: &World, from: &MachineView) -> Vec<String> {
    let mut candidates: Vec<&MachineView> = world
        .living()
        .filter(|view| view.name() != from.name() && view.node_name().is_some())
        .collect();
    candidates.sort_by_key(|view| {
        let created = view.machine.metadata.creation_timestamp.as_ref();
        (
            !view.condition_is(types::ETCD_MEMBER_HEALTHY, "True"),
            view.condition_is(types::HEALTH_CHECK_SUCCEEDED, "False"),
            !view.condition_is(types::UP_TO_DATE, "True"),
            std::cmp::Reverse(created.map(|time| time.0)),
            view.name(),
        )
    });
    candidates.into_iter().map(MachineView::name).collect()
}

fn needs_template_owner(world: &World) -> bool {
    let super::world::Template::Found { object, .. } = &world.template else {
        return false;
    };
    let uid = world.cluster.uid().unwrap_or_default();
    !capi_runtime::meta::is_owned_by(&object.metadata, &uid)
}

/// Whether a Machine is bootstrapped in the way of this control plane.
pub fn has_kubeadm_config(machine: &Machine) -> bool {
    let config = machine.spec.bootstrap.config_ref.as_ref();
    config.is_some_and(|config| config.kind == "KubeadmConfig")
}

/// All control plane Machines of a Cluster belong to its control plane, or it does nothing: true if they do. Machines that
/// nobody controls are adopted, all or none.
fn plan_ownership(world: &World, plan: &mut Plan) -> bool {
    let wanted = world.version();
    let is_close = |machine: &Machine| {
        if !has_kubeadm_config(machine) {
            return false;
        }
        let Some(version) = &machine.spec.version else {
            // Whoever leaves it out knows what it is.
            return true;
        };
        match (&wanted, capi_api::versions::parse_tolerant(version)) {
            (Some(wanted), Some(version)) => {
                wanted.major == version.major && wanted.minor.abs_diff(version.minor) <= 1
            }
            _ => false,
        }
    };
    let (close, far): (Vec<_>, Vec<_>) = world.orphans.iter().partition(|machine| is_close(machine));
    let names = |machines: Vec<&Arc<Machine>>| {
        machines
            .into_iter()
            .map(|machine| machine.name_any())
            .collect::<Vec<_>>()
    };
    match far.is_empty() {
        true => plan.actions.extend(names(close).into_iter().map(Action::Adopt)),
        false => plan
            .actions
            .extend(names(far).into_iter().map(Action::RefuseAdoption)),
    }
    if !world.foreign.is_empty() {
        plan.waits.push(format!(
            "not all control plane machines are owned by this KubeadmControlPlane, refusing to operate in mixed management mode: {}",
            world.foreign.join(", ")
        ));
    }
    world.orphans.is_empty() && world.foreign.is_empty()
}

/// The expiry is noted once, as soon as the API server of a Machine runs.
fn plan_expiry_notes(world: &World, plan: &mut Plan) {
    use capi_api::conditions::types::API_SERVER_POD_HEALTHY;
    for view in world
        .living()
        .filter(|view| view.condition_is(API_SERVER_POD_HEALTHY, "True"))
    {
        let noted = view.config.as_ref().is_none_or(|config| {
            config
                .annotations()
                .contains_key(annotations::CERTIFICATES_EXPIRY)
        });
        if view.node_name().is_some() && !noted && matches!(world.workload, Workload::Connected(_)) {
            plan.actions.push(Action::NoteCertificateExpiry(view.name()));
        }
    }
}

/// When `rollout.after`, or the expiry of a Machine's certificates, asks for a rollout.
fn rollout_time(world: &World, now: Timestamp) -> Option<Timestamp> {
    let rollout = world.control_plane.spec.rollout.as_ref()?;
    let days = rollout
        .before
        .as_ref()
        .and_then(|before| before.certificates_expiry_days);
    let expiries = world.machines.iter().filter_map(|view| {
        let expiry = view.machine.status.as_ref()?.certificates_expiry_date.as_ref()?.0;
        expiry
            .checked_sub(SignedDuration::from_hours(24 * i64::from(days?)))
            .ok()
    });
    rollout
        .after
        .as_ref()
        .map(|after| after.0)
        .into_iter()
        .chain(expiries)
        .filter(|time| *time > now)
        .min()
}

fn plan_deletion(world: &World) -> Plan {
    let mut plan = Plan::default();
    if !world.workers.is_empty() {
        for (kind, names) in &world.workers {
            plan.waits
                .push(format!("{kind} {} to be deleted", names.join(", ")));
        }
        return plan;
    }
    if world.machines.is_empty() {
        plan.actions.push(Action::RemoveFinalizer);
        return plan;
    }
    for view in &world.machines {
        // The whole cluster goes: nobody cares for etcd any more.
        if view
            .machine
            .annotations()
            .contains_key(annotations::KCP_PRE_TERMINATE_HOOK)
        {
            plan.actions.push(Action::RemoveHook(view.name()));
        }
        if !view.deleting() {
            plan.actions.push(Action::DeleteMachine(view.name()));
        }
    }
    plan.wait("control plane Machines to be deleted")
}
