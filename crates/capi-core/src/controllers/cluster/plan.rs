//! What to do about a Cluster, and what to say about it. Pure.

use capi_api::{
    conditions::{reasons, set, v1beta1},
    contract,
    core::v1beta2::{APIEndpoint, Cluster, ClusterPhase, ClusterStatus},
    finalizers, labels,
};
use capi_runtime::{Event, Next, meta};
use cluster_pki::PemPair;
use jiff::Timestamp;
use kube::{ResourceExt, core::DynamicObject};

use super::{
    conditions, counters, deletion,
    kubeconfig::KubeconfigView,
    observe::{Settings, World},
};
use crate::{
    foreign::{Foreign, Found, draft_of},
    plan::{Step, foresee_generation},
};

/// Something a Cluster's reconcile does.
#[derive(Clone, Debug)]
pub enum Action {
    /// Makes a foreign object the Cluster's.
    Claim(Found, Box<DynamicObject>),
    /// Makes the kubeconfig Secret with this certificate authority.
    CreateKubeconfig(PemPair),
    /// Deletes a foreign object.
    DeleteForeign(Found),
    /// Deletes a descendant.
    DeleteDescendant(deletion::Descendant),
}

/// Everything a reconcile will do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// In this order.
    pub steps: Vec<Step<Action>>,
    /// The Cluster as it should be.
    pub cluster: Cluster,
    /// Nothing is left to wait for: the finalizer goes.
    pub finish: bool,
    /// To be told once the Cluster is written.
    pub events: Vec<Event>,
    /// When to look again without an event.
    pub next: Next,
}

/// Plans a reconcile.
pub fn plan(world: &World, settings: &Settings, now: Timestamp) -> Plan {
    let mut plan = Plan {
        steps: Vec::new(),
        cluster: (*world.cluster).clone(),
        finish: false,
        events: Vec::new(),
        next: Next::Done,
    };
    infrastructure(world, &mut plan, now);
    control_plane(world, &mut plan, now);
    if let KubeconfigView::Missing(authority) = &world.kubeconfig {
        let why = format!(
            "Cluster {} has no control plane object that would make its kubeconfig",
            world.cluster.name_any()
        );
        plan.steps
            .push(Step::new(Action::CreateKubeconfig(authority.clone()), why));
    }
    let deleting = world.is_deleting().then(|| deletion::plan(world, &mut plan));
    let changed = plan.cluster.spec != world.cluster.spec;
    foresee_generation(&mut plan.cluster.metadata, changed);
    counters::set(world, &mut plan.cluster);
    plan.next = conditions::set_all(world, settings, deleting.as_ref(), &mut plan.cluster, now);
    phase(&mut plan);
    let summary = v1beta1::summary(
        v1beta1::V1Beta1ConditionsAccess::v1beta1_conditions(&plan.cluster),
        &[
            conditions::OLD_CONTROL_PLANE_READY,
            conditions::OLD_INFRASTRUCTURE_READY,
        ],
        None,
    );
    if let Some(summary) = summary {
        v1beta1::set(&mut plan.cluster, summary, now);
    }
    if world.is_readable() {
        status(&mut plan.cluster).observed_generation = plan.cluster.metadata.generation;
    }
    plan.finish = deleting.is_some_and(|stage| stage.reason == reasons::DELETION_COMPLETED)
        && meta::has_finalizer(&world.cluster.metadata, finalizers::CLUSTER);
    if plan.finish {
        let name = world.cluster.name_any();
        plan.events.push(Event::normal(
            "Deleted",
            format!("Cluster {name} has been deleted"),
        ));
    }
    plan
}

pub(super) fn status(cluster: &mut Cluster) -> &mut ClusterStatus {
    cluster.status.get_or_insert_default()
}

fn infrastructure_provisioned(cluster: &Cluster) -> bool {
    let initialization = cluster.status.as_ref().and_then(|s| s.initialization.as_ref());
    initialization.and_then(|i| i.infrastructure_provisioned) == Some(true)
}

fn control_plane_initialized(cluster: &Cluster) -> bool {
    let initialization = cluster.status.as_ref().and_then(|s| s.initialization.as_ref());
    initialization.and_then(|i| i.control_plane_initialized) == Some(true)
}

/// Whether a Cluster's endpoint is known.
pub fn has_endpoint(cluster: &Cluster) -> bool {
    let endpoint = cluster.spec.control_plane_endpoint.as_ref();
    endpoint
        .is_some_and(|e| e.host.as_deref().is_some_and(|h| !h.is_empty()) && e.port.is_some_and(|p| p != 0))
}

/// Reads the infrastructure into the Cluster.
fn infrastructure(world: &World, plan: &mut Plan, now: Timestamp) {
    let found = match &world.infrastructure {
        Foreign::Unset => {
            if !world.is_deleting() && world.cluster.spec.topology.is_none() {
                status(&mut plan.cluster)
                    .initialization
                    .get_or_insert_default()
                    .infrastructure_provisioned = Some(true);
                v1beta1::set(
                    &mut plan.cluster,
                    v1beta1::is_true(conditions::OLD_INFRASTRUCTURE_READY),
                    now,
                );
            }
            return;
        }
        Foreign::Found(found) => found,
        Foreign::Missing | Foreign::Unreadable(_) => return,
    };
    claim(world, found, plan);
    let infra = contract::InfraCluster::new(&found.object, found.contract);
    failures(
        &mut plan.cluster,
        found,
        infra.failure_reason(),
        infra.failure_message(),
    );
    let provisioned = infra.provisioned().unwrap_or(false);
    conditions::mirror_old(
        world,
        found,
        provisioned,
        conditions::OLD_INFRASTRUCTURE_READY,
        "WaitingForInfrastructure",
        &mut plan.cluster,
        now,
    );
    if found.is_deleting() || !(provisioned || infrastructure_provisioned(&plan.cluster)) {
        return;
    }
    adopt_endpoint(&mut plan.cluster, infra.control_plane_endpoint().ok().flatten());
    if let Ok(domains) = infra.failure_domains() {
        status(&mut plan.cluster).failure_domains = domains;
    }
    if !infrastructure_provisioned(&plan.cluster) {
        let name = world.cluster.name_any();
        plan.events.push(Event::normal(
            "InfrastructureReady",
            format!("Cluster {name} InfrastructureProvisioned is now True"),
        ));
        status(&mut plan.cluster)
            .initialization
            .get_or_insert_default()
            .infrastructure_provisioned = Some(true);
    }
}

/// Reads the control plane into the Cluster.
fn control_plane(world: &World, plan: &mut Plan, now: Timestamp) {
    let was = control_plane_initialized(&plan.cluster);
    let initialized = match &world.control_plane {
        Foreign::Unset => standalone_control_plane(world, plan, now),
        Foreign::Missing | Foreign::Unreadable(_) => return,
        Foreign::Found(found) => {
            claim(world, found, plan);
            let object = contract::ControlPlane::new(&found.object, found.contract);
            failures(
                &mut plan.cluster,
                found,
                object.failure_reason(),
                object.failure_message(),
            );
            let initialized = object.initialized().unwrap_or(false);
            conditions::mirror_old(
                world,
                found,
                initialized,
                conditions::OLD_CONTROL_PLANE_READY,
                "WaitingForControlPlane",
                &mut plan.cluster,
                now,
            );
            if found.is_deleting() {
                return;
            }
            conditions::old_control_plane_initialized(&mut plan.cluster, initialized, true, now);
            if initialized || was {
                adopt_endpoint(&mut plan.cluster, object.control_plane_endpoint().ok().flatten());
            }
            initialized
        }
    };
    if initialized && !was {
        let name = world.cluster.name_any();
        plan.events.push(Event::normal(
            "ControlPlaneInitialized",
            format!("Cluster {name} ControlPlaneInitialized is now True"),
        ));
        status(&mut plan.cluster)
            .initialization
            .get_or_insert_default()
            .control_plane_initialized = Some(true);
    }
}

/// Without a control plane object the first control-plane Machine with a Node counts.
fn standalone_control_plane(world: &World, plan: &mut Plan, now: Timestamp) -> bool {
    if world.cluster.spec.topology.is_some() {
        return false;
    }
    let initialized = world.control_plane_machines().any(conditions::has_node);
    conditions::old_control_plane_initialized(&mut plan.cluster, initialized, false, now);
    initialized
}

/// The Cluster's own endpoint wins; an empty one is filled.
fn adopt_endpoint(cluster: &mut Cluster, endpoint: Option<APIEndpoint>) {
    if let (false, Some(endpoint)) = (has_endpoint(cluster), endpoint) {
        cluster.spec.control_plane_endpoint = Some(endpoint);
    }
}

/// Owner reference and cluster-name label on an object the Cluster refers to.
fn claim(world: &World, found: &Found, plan: &mut Plan) {
    let cluster = &*world.cluster;
    let mut object = draft_of(found);
    let reference = meta::owner_reference(cluster);
    let reference = if cluster.spec.topology.is_some() {
        meta::as_controller(reference)
    } else {
        reference
    };
    let owned = meta::ensure_owner(&mut object.metadata, reference);
    let labelled = label_cluster(&mut object, &cluster.name_any());
    if owned || labelled {
        let why = format!(
            "{} belongs to Cluster {}",
            contract::described(&found.object),
            cluster.name_any()
        );
        plan.steps
            .push(Step::new(Action::Claim(found.clone(), Box::new(object)), why));
    }
}

/// Sets the cluster-name label; whether it was missing.
pub(crate) fn label_cluster(object: &mut impl ResourceExt, cluster: &str) -> bool {
    let all = object.labels_mut();
    all.insert(labels::CLUSTER_NAME.to_owned(), cluster.to_owned())
        .as_deref()
        != Some(cluster)
}

/// Terminal failures of the older contract are shown, and steer nothing.
fn failures(cluster: &mut Cluster, found: &Found, reason: Option<&str>, message: Option<&str>) {
    if reason.is_none() && message.is_none() {
        return;
    }
    let old = status(cluster)
        .deprecated
        .get_or_insert_default()
        .v1beta1
        .get_or_insert_default();
    if let Some(reason) = reason {
        old.failure_reason = Some(reason.to_owned());
    }
    if let Some(message) = message {
        old.failure_message = Some(failure_text(found, message));
    }
}

/// How a foreign failure is quoted.
pub(crate) fn failure_text(found: &Found, message: &str) -> String {
    let ApiKind { group, version, kind } = ApiKind::of(found);
    let name = found.object.metadata.name.as_deref().unwrap_or_default();
    format!(
        "Failure detected from referenced resource {group}/{version}, Kind={kind} with name {name:?}: {message}"
    )
}

struct ApiKind<'a> {
    group: &'a str,
    version: &'a str,
    kind: &'a str,
}

impl<'a> ApiKind<'a> {
    fn of(found: &'a Found) -> Self {
        Self {
            group: &found.resource.group,
            version: &found.resource.version,
            kind: &found.resource.kind,
        }
    }
}

fn phase(plan: &mut Plan) {
    let cluster = &mut plan.cluster;
    let before = cluster.status.as_ref().and_then(|s| s.phase);
    let mut phase = before.unwrap_or(ClusterPhase::Pending);
    if cluster.spec.infrastructure_ref.is_some() || cluster.spec.control_plane_ref.is_some() {
        phase = ClusterPhase::Provisioning;
    }
    if infrastructure_provisioned(cluster) && has_endpoint(cluster) {
        phase = ClusterPhase::Provisioned;
    }
    if cluster.metadata.deletion_timestamp.is_some() {
        phase = ClusterPhase::Deleting;
    }
    // Events tell of what the phases are made of.
    if before != Some(phase) {
        status(cluster).phase = Some(phase);
    }
}

pub(super) fn write(cluster: &mut Cluster, draft: capi_api::conditions::Draft, now: Timestamp) {
    set(cluster, draft, now);
}
