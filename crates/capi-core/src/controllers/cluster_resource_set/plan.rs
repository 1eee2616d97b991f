//! What is applied to which Cluster, and what is said about it. Pure.
//!
//! Applying can fail object by object, so a plan has two halves: what to try, and [`conclude`] what follows from how it
//! went.

use capi_api::{
    addons::v1beta2::{
        ClusterResourceSet, ClusterResourceSetBinding, ClusterResourceSetResourceKind,
        ClusterResourceSetStrategy, ResourceBinding, ResourceRef, ResourceSetBinding,
    },
    conditions::{
        self, Draft, get, reasons, types,
        v1beta1::{self, Severity},
    },
};
use capi_runtime::{Key, meta};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{
    ResourceExt,
    core::{DynamicObject, ObjectMeta},
};

use super::observe::{ClusterView, Source, World, strategy};

const OLD_APPLY_FAILED: &str = "ApplyFailed";
const OLD_RETRIEVING_FAILED: &str = "RetrievingResourceFailed";
const OLD_CLIENT_FAILED: &str = "RemoteClusterClientFailed";
/// How many lines the condition has at most.
const LONGEST: usize = 5;

/// One ConfigMap or Secret to be applied to a Cluster.
#[derive(Clone, Debug)]
pub struct Application {
    /// Which one.
    pub reference: ResourceRef,
    /// The hash of its content.
    pub hash: String,
    /// The objects in it, or why they cannot be read.
    pub objects: Result<Vec<DynamicObject>, String>,
}

/// How applying a ConfigMap or Secret went.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Which one.
    pub reference: ResourceRef,
    /// The hash of its content.
    pub hash: String,
    /// What went wrong, one line an object.
    pub errors: Vec<String>,
}

/// What a ClusterResourceSet's reconcile does, apart from what follows from its outcome.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// ConfigMaps and Secrets that come to belong to the ClusterResourceSet: metadata before and after.
    pub claims: Vec<(ClusterResourceSetResourceKind, ObjectMeta, ObjectMeta)>,
    /// What to apply, by Cluster, the Clusters in their order.
    pub applications: Vec<Vec<Application>>,
}

/// Whether a resource has to be applied to a Cluster, as far as can be told without its content.
pub fn is_due(
    set: &ClusterResourceSet,
    cluster: &ClusterView,
    reference: &ResourceRef,
    source: &Source,
) -> bool {
    match (strategy(set), applied(set, cluster, reference), source) {
        (_, _, Source::Missing | Source::WrongType(_) | Source::Unreadable(_)) => false,
        (_, None, _) => true,
        (ClusterResourceSetStrategy::ApplyOnce, Some(_), _) => false,
        (ClusterResourceSetStrategy::Reconcile, Some(_), Source::Unread) => true,
        (ClusterResourceSetStrategy::Reconcile, Some(entry), Source::Hash(hash)) => {
            entry.hash.as_ref() != Some(hash)
        }
        (ClusterResourceSetStrategy::Reconcile, Some(entry), Source::Content(content)) => {
            entry.hash.as_ref() != Some(&content.hash)
        }
    }
}

/// The entry of a resource that has been applied to a Cluster.
fn applied<'a>(
    set: &ClusterResourceSet,
    cluster: &'a ClusterView,
    reference: &ResourceRef,
) -> Option<&'a ResourceBinding> {
    let binding = binding_of(cluster.binding.as_deref()?, &set.name_any())?;
    entry_of(binding, reference).filter(|entry| entry.applied)
}

fn binding_of<'a>(binding: &'a ClusterResourceSetBinding, set: &str) -> Option<&'a ResourceSetBinding> {
    let mut all = binding.spec.bindings.iter();
    all.find(|b| b.cluster_resource_set_name == set)
}

fn entry_of<'a>(binding: &'a ResourceSetBinding, reference: &ResourceRef) -> Option<&'a ResourceBinding> {
    let mut all = binding.resources.iter();
    all.find(|r| r.name == reference.name && r.kind == reference.kind)
}

/// Plans what to try.
pub fn plan(world: &World) -> Plan {
    let owner = meta::owner_reference(&*world.set);
    let claim = |view: &super::observe::ResourceView| {
        let before = view.metadata.clone()?;
        if matches!(view.source, Source::WrongType(_)) {
            return None;
        }
        let mut after = before.clone();
        meta::ensure_owner(&mut after, owner.clone()).then_some((view.reference.kind, before, after))
    };
    let of_cluster = |cluster: &ClusterView| -> Vec<Application> {
        if cluster.connection.is_err() {
            return Vec::new();
        }
        let due = world
            .resources
            .iter()
            .filter(|view| is_due(&world.set, cluster, &view.reference, &view.source));
        due.filter_map(|view| match &view.source {
            Source::Content(content) => Some(Application {
                reference: view.reference.clone(),
                hash: content.hash.clone(),
                objects: content.objects.clone(),
            }),
            _ => None,
        })
        .collect()
    };
    Plan {
        claims: world.resources.iter().filter_map(claim).collect(),
        applications: world.clusters.iter().map(of_cluster).collect(),
    }
}

/// The binding of a Cluster after what was tried.
pub fn binding_after(
    set: &ClusterResourceSet,
    cluster: &Key,
    before: Option<&ClusterResourceSetBinding>,
    outcomes: &[Outcome],
    now: Timestamp,
) -> ClusterResourceSetBinding {
    let mut binding = before.cloned().unwrap_or_else(|| {
        let mut new = ClusterResourceSetBinding::new(&cluster.name, Default::default());
        new.metadata.namespace = Some(cluster.namespace.clone());
        new.spec.cluster_name = cluster.name.clone();
        new
    });
    meta::ensure_owner(&mut binding.metadata, meta::owner_reference(set));
    let name = set.name_any();
    let all = &mut binding.spec.bindings;
    let place = all.iter().position(|b| b.cluster_resource_set_name == name);
    let place = place.unwrap_or_else(|| {
        all.push(ResourceSetBinding {
            cluster_resource_set_name: name,
            resources: Vec::new(),
        });
        all.len() - 1
    });
    let entries = &mut all[place].resources;
    for outcome in outcomes {
        let entry = ResourceBinding {
            name: outcome.reference.name.clone(),
            kind: outcome.reference.kind,
            hash: Some(outcome.hash.clone()),
            last_applied_time: Timestamp::from_second(now.as_second()).ok().map(Time),
            applied: outcome.errors.is_empty(),
        };
        let existing = entries
            .iter_mut()
            .find(|e| e.name == entry.name && e.kind == entry.kind);
        match existing {
            // The same failure again is no news; otherwise every try would be a write.
            Some(existing) if !entry.applied && !existing.applied && existing.hash == entry.hash => {}
            Some(existing) => *existing = entry,
            None => entries.push(entry),
        }
    }
    binding
}

/// What a ClusterResourceSet that is being deleted leaves of a binding: nothing if it was the last.
pub fn binding_without(
    set: &ClusterResourceSet,
    binding: &ClusterResourceSetBinding,
) -> Option<ClusterResourceSetBinding> {
    let mut after = binding.clone();
    let name = set.name_any();
    after
        .spec
        .bindings
        .retain(|b| b.cluster_resource_set_name != name);
    meta::remove_owner(&mut after.metadata, &meta::owner_reference(set));
    (!after.spec.bindings.is_empty()).then_some(after)
}

/// One reason for which resources are not applied.
struct Trouble {
    reason: &'static str,
    old_reason: &'static str,
    severity: Severity,
    line: String,
}

/// The ClusterResourceSet after what was tried; `outcomes` by Cluster as in [`Plan::applications`].
pub fn conclude(world: &World, outcomes: &[Vec<Outcome>], now: Timestamp) -> ClusterResourceSet {
    let mut set = (*world.set).clone();
    crate::pause::runs(&mut set, now);
    let generation = set.metadata.generation;
    set.status.get_or_insert_default().observed_generation = generation;
    if world.clusters.is_empty() {
        // Nothing is to be applied. That it was applied to Clusters of former days stays true.
        if get(&set, types::RESOURCES_APPLIED).is_some_and(|c| c.status != "True") {
            conditions::remove(&mut set, types::RESOURCES_APPLIED);
            v1beta1::remove(&mut set, types::RESOURCES_APPLIED);
        }
        return set;
    }
    let troubles = troubles(world, outcomes);
    let (draft, old) = match troubles.first() {
        None => (
            Draft::is_true(types::RESOURCES_APPLIED, reasons::APPLIED, ""),
            v1beta1::is_true(types::RESOURCES_APPLIED),
        ),
        Some(first) => {
            let text = message(&troubles);
            let old = v1beta1::is_false(
                types::RESOURCES_APPLIED,
                first.old_reason,
                first.severity,
                text.clone(),
            );
            (Draft::is_false(types::RESOURCES_APPLIED, first.reason, text), old)
        }
    };
    conditions::set(&mut set, draft, now);
    v1beta1::set(&mut set, old, now);
    set
}

fn message(troubles: &[Trouble]) -> String {
    if let [one] = troubles {
        return one.line.clone();
    }
    let mut lines: Vec<String> = troubles
        .iter()
        .take(LONGEST)
        .map(|t| format!("* {}", t.line))
        .collect();
    if troubles.len() > LONGEST {
        lines.push(format!("* ... and {} more", troubles.len() - LONGEST));
    }
    lines.join("\n")
}

/// Everything that is not applied: first what the user has to correct in the resources, then Cluster by Cluster.
fn troubles(world: &World, outcomes: &[Vec<Outcome>]) -> Vec<Trouble> {
    let mut all = Vec::new();
    for view in &world.resources {
        let what = format!("{} {}", view.reference.kind, view.reference.name);
        let (reason, old_reason, line) = match &view.source {
            Source::WrongType(found) => (
                reasons::WRONG_SECRET_TYPE,
                reasons::WRONG_SECRET_TYPE,
                format!(
                    "Secret type of resource {} is not supported: it is {found:?}, must be {:?}",
                    view.reference.name,
                    super::observe::SECRET_TYPE
                ),
            ),
            Source::Missing => (
                reasons::NOT_APPLIED,
                OLD_RETRIEVING_FAILED,
                format!("{what} does not exist"),
            ),
            Source::Unreadable(why) => (
                reasons::NOT_APPLIED,
                OLD_RETRIEVING_FAILED,
                format!("{what} cannot be read: {why}"),
            ),
            Source::Content(_) | Source::Hash(_) | Source::Unread => continue,
        };
        all.push(Trouble {
            reason,
            old_reason,
            severity: Severity::Warning,
            line,
        });
    }
    all.sort_by_key(|t| t.reason != reasons::WRONG_SECRET_TYPE);
    for (cluster, outcomes) in world.clusters.iter().zip(outcomes) {
        of_cluster(world, cluster, outcomes, &mut all);
    }
    all
}

fn of_cluster(world: &World, cluster: &ClusterView, outcomes: &[Outcome], all: &mut Vec<Trouble>) {
    let name = &cluster.key.name;
    if let Err(why) = &cluster.connection {
        let waits = world.resources.iter().any(|view| match view.source {
            // Nobody looks at changes for a Cluster that cannot be reached.
            Source::Unread => applied(&world.set, cluster, &view.reference).is_none(),
            _ => is_due(&world.set, cluster, &view.reference, &view.source),
        });
        if waits {
            all.push(Trouble {
                reason: reasons::NOT_APPLIED,
                old_reason: OLD_CLIENT_FAILED,
                severity: Severity::Error,
                line: format!("Cluster {name}: {why}"),
            });
        }
        return;
    }
    for outcome in outcomes.iter().filter(|o| !o.errors.is_empty()) {
        all.push(Trouble {
            reason: reasons::NOT_APPLIED,
            old_reason: OLD_APPLY_FAILED,
            severity: Severity::Warning,
            line: format!(
                "Failed to apply {} {} to Cluster {name}: {}",
                outcome.reference.kind,
                outcome.reference.name,
                outcome.errors.join("; ")
            ),
        });
    }
}
