//! What to do next with a control plane: a pure function from what was seen to a list of actions with reasons.
//!
//! At most one Machine is created or deleted by a plan, and at most one action touches the quorum of etcd.

use capi_api::{annotations, secrets::Purpose};
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use super::{
    certificates::{self, KubeconfigNeed},
    machines::{self, Role},
    preflight::{self, Findings},
    up_to_date,
    world::{MachineView, Workload, World},
};

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
    },
    /// Read from its API server until when a Machine's certificates are valid, and note it.
    NoteCertificateExpiry(String),
    /// Take the etcd member of a deleted Machine out of its cluster.
    RemoveEtcdMember(String),
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
    plan_adoption(world, &mut plan);
    if !world.orphans.is_empty() {
        return plan;
    }
    for view in world.living() {
        if machines::synced(world, &view.machine).is_some() {
            plan.actions.push(Action::SyncMachine(view.name()));
        }
    }
    plan_hooks(world, &mut plan);
    plan_replicas(world, names, now, &mut plan);
    plan_expiry_notes(world, &mut plan);
    plan.at(rollout_time(world, now));
    plan
}

fn needs_template_owner(world: &World) -> bool {
    let super::world::Template::Found { object, .. } = &world.template else {
        return false;
    };
    let uid = world.cluster.uid().unwrap_or_default();
    !capi_runtime::meta::is_owned_by(&object.metadata, &uid)
}

fn plan_adoption(world: &World, plan: &mut Plan) {
    let wanted = world.version();
    for machine in &world.orphans {
        let version = machine
            .spec
            .version
            .as_deref()
            .and_then(capi_api::versions::parse_tolerant);
        let close = match (&wanted, &version) {
            (Some(wanted), Some(version)) => {
                wanted.major == version.major && wanted.minor.abs_diff(version.minor) <= 1
            }
            (_, None) => true,
            (None, _) => false,
        };
        let name = machine.name_any();
        plan.actions.push(if close {
            Action::Adopt(name)
        } else {
            Action::RefuseAdoption(name)
        });
    }
}

/// The hook of a Machine that is deleted while the control plane stays: its etcd member goes first.
fn plan_hooks(world: &World, plan: &mut Plan) {
    let mut deleting: Vec<&MachineView> = world.machines.iter().filter(|view| view.deleting()).collect();
    deleting.sort_by_key(|view| {
        (
            view.machine
                .metadata
                .deletion_timestamp
                .as_ref()
                .map(|time| time.0),
            view.name(),
        )
    });
    // One at a time: each removal changes what the quorum is.
    let Some(view) = deleting.first() else { return };
    let all = view.machine.annotations();
    if !all.contains_key(annotations::KCP_PRE_TERMINATE_HOOK) {
        return;
    }
    let others = all.keys().any(|key| {
        key.starts_with(annotations::PRE_TERMINATE_HOOK_PREFIX) && key != annotations::KCP_PRE_TERMINATE_HOOK
    });
    if others {
        plan.waits
            .push(format!("other pre-terminate hooks of Machine {}", view.name()));
        return;
    }
    if !reached_pre_terminate(view) {
        plan.waits.push(format!("Machine {} to be drained", view.name()));
        return;
    }
    if world.etcd_is_managed()
        && world.initialized()
        && world.machines.len() > 1
        && view.node_name().is_some()
    {
        plan.actions.push(Action::ForwardLeadership {
            from: view.name(),
            to: leadership_candidates(world, view),
        });
        plan.actions.push(Action::RemoveEtcdMember(view.name()));
    }
    plan.actions.push(Action::RemoveHook(view.name()));
}

/// The Machine controller has finished draining and asks for the hooks.
fn reached_pre_terminate(view: &MachineView) -> bool {
    let conditions = view
        .machine
        .status
        .as_ref()
        .map(|status| status.conditions.as_slice())
        .unwrap_or_default();
    conditions.iter().any(|condition| {
        condition.type_ == capi_api::conditions::types::DELETING
            && condition.status == "True"
            && condition.reason == capi_api::conditions::reasons::WAITING_FOR_PRE_TERMINATE_HOOK
    })
}

/// Who may lead etcd next: provisioned Machines that stay, healthy, up to date and new ones first.
fn leadership_candidates(world: &World, from: &MachineView) -> Vec<String> {
    use capi_api::conditions::types::{ETCD_MEMBER_HEALTHY, HEALTH_CHECK_SUCCEEDED, UP_TO_DATE};
    let mut candidates: Vec<&MachineView> = world
        .living()
        .filter(|view| view.name() != from.name() && view.node_name().is_some())
        .collect();
    candidates.sort_by_key(|view| {
        (
            !view.condition_is(ETCD_MEMBER_HEALTHY, "True"),
            view.condition_is(HEALTH_CHECK_SUCCEEDED, "False"),
            !view.condition_is(UP_TO_DATE, "True"),
            std::cmp::Reverse(
                view.machine
                    .metadata
                    .creation_timestamp
                    .as_ref()
                    .map(|time| time.0),
            ),
            view.name(),
        )
    });
    candidates.into_iter().map(MachineView::name).collect()
}

fn plan_replicas(world: &World, names: &dyn NamesInUse, now: Timestamp, plan: &mut Plan) {
    let Some(desired) = world
        .desired_replicas()
        .and_then(|replicas| usize::try_from(replicas).ok())
    else {
        plan.waits.push("spec.replicas to be set".to_owned());
        return;
    };
    let current = world.machines.len();
    let outdated: Vec<&MachineView> = world
        .living()
        .filter(|view| !up_to_date::differences(world, view, now).is_empty())
        .collect();
    if current == 0 {
        if desired > 0 {
            plan.actions.push(create(world, names, Role::Init, now));
        }
        return;
    }
    if !world.initialized() {
        if !world.machines.iter().any(MachineView::deleting) {
            plan.waits
                .push("the first control plane Machine to be initialized".to_owned());
        }
        return;
    }
    // A rollout replaces one Machine at a time. With a surge (the default) the new one comes first.
    let surge = usize::from(!outdated.is_empty() && max_surge(world) > 0);
    if current < desired + surge {
        let findings = preflight::check(world, None);
        if findings.is_empty() {
            if !outdated.is_empty() {
                plan.actions
                    .extend([Action::GrantKubeadmPermissions, Action::UpdateKubeadmConfig]);
            }
            plan.actions.push(create(world, names, Role::Join, now));
        } else {
            plan.blocked = Some(findings);
        }
    } else if current > desired || !outdated.is_empty() {
        plan_scale_down(world, &outdated, plan);
    }
}

fn create(world: &World, names: &dyn NamesInUse, role: Role, now: Timestamp) -> Action {
    // A machine that was begun before a crash is finished under its name.
    let name = match world.unfinished.first() {
        Some(config) => config.name_any(),
        None => machines::next_name(world, |name| names.in_use(name)),
    };
    let failure_domain = machines::failure_domain(world, |machine| {
        world
            .machines
            .iter()
            .find(|view| view.name() == machine.name_any())
            .is_some_and(|view| up_to_date::differences(world, view, now).is_empty())
    });
    Action::CreateMachine {
        name,
        role,
        failure_domain,
    }
}

fn plan_scale_down(world: &World, outdated: &[&MachineView], plan: &mut Plan) {
    let Some(victim) = choose_victim(world, outdated) else {
        return;
    };
    let findings = preflight::check(world, Some(&victim.name()));
    if !findings.is_empty() {
        plan.blocked = Some(findings);
        return;
    }
    if world.etcd_is_managed() && victim.node_name().is_some() {
        plan.actions.push(Action::ForwardLeadership {
            from: victim.name(),
            to: leadership_candidates(world, victim),
        });
    }
    plan.actions.push(Action::DeleteMachine(victim.name()));
}

/// Marked Machines first (outdated ones before others), then outdated ones with unhealthy components, outdated ones, all;
/// among them the failure domain with the most Machines, and there the oldest.
fn choose_victim<'a>(world: &'a World, outdated: &[&MachineView]) -> Option<&'a MachineView> {
    let is_outdated = |view: &MachineView| outdated.iter().any(|other| other.name() == view.name());
    let unhealthy = |view: &MachineView| {
        super::machine_conditions::COMPONENTS
            .iter()
            .any(|(type_, _)| view.condition_is(type_, "False"))
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
    let crowd = |view: &MachineView| {
        eligible
            .iter()
            .filter(|other| other.machine.spec.failure_domain == view.machine.spec.failure_domain)
            .count()
    };
    eligible.iter().copied().min_by_key(|view| {
        let domain = view.machine.spec.failure_domain.clone();
        let age = view
            .machine
            .metadata
            .creation_timestamp
            .as_ref()
            .map(|time| time.0);
        (std::cmp::Reverse(crowd(view)), domain, age, view.name())
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
