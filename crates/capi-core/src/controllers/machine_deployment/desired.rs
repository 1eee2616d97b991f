//! What the MachineSets of a MachineDeployment look like. Pure.

use std::{collections::BTreeMap, sync::Arc};

use capi_api::{
    annotations,
    core::v1beta2::{
        MachineDeployment, MachineDeploymentRolloutStrategyType, MachineSet, MachineSetDeletionSpec,
        MachineSetSpec, MachineTemplateSpec, ObjectMeta as TemplateMeta,
    },
    finalizers, labels,
    names::{derived_suffix, suffixed},
};
use capi_runtime::meta;
use jiff::Timestamp;
use kube::{ResourceExt, core::ObjectMeta};
use serde_json::{Value, json};

use super::{planner::Wanted, template};

/// Annotations that a MachineSet does not inherit.
const OWN_ANNOTATIONS: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    annotations::REVISION,
    annotations::REVISION_HISTORY,
    annotations::DESIRED_REPLICAS,
    annotations::MAX_REPLICAS,
    annotations::CONVERSION_DATA,
];

/// The paths of everything that a MachineSet takes over from its MachineDeployment.
pub const ROOTS: [&str; 9] = [
    "metadata.labels",
    "metadata.annotations",
    "spec.machineNaming",
    "spec.deletion",
    "spec.template.metadata",
    "spec.template.spec.readinessGates",
    "spec.template.spec.minReadySeconds",
    "spec.template.spec.deletion",
    "spec.template.spec.taints",
];

/// What of a MachineSet follows its MachineDeployment, to compare what is with what is wanted.
pub fn view(set: &MachineSet) -> Value {
    let all = serde_json::to_value(&set.spec).unwrap_or_default();
    let template = &all["template"];
    let part = |name: &str| template["spec"].get(name).cloned().unwrap_or_default();
    let mut annotations = set.annotations().clone();
    annotations.retain(|key, _| key != annotations::CONVERSION_DATA && key != OWN_ANNOTATIONS[0]);
    json!({
        "controller": meta::controller_of(&set.metadata).map(|o| &o.uid),
        "labels": set.labels(),
        "annotations": annotations,
        "replicas": set.spec.replicas,
        "machineNaming": all.get("machineNaming"),
        "deletion": all.get("deletion"),
        "metadata": template.get("metadata"),
        "spec": {
            "readinessGates": part("readinessGates"),
            "minReadySeconds": part("minReadySeconds"),
            "deletion": part("deletion"),
            "taints": part("taints"),
        },
    })
}

/// The whole MachineSet, to be applied: what an apply leaves out, it gives up.
pub fn intent(set: &MachineSet) -> Value {
    json!({
        "metadata": {
            "uid": set.uid(),
            "labels": set.labels(),
            "annotations": set.annotations(),
            "finalizers": set.finalizers(),
            "ownerReferences": set.owner_references(),
        },
        "spec": set.spec,
    })
}

/// The MachineSets of a MachineDeployment, sorted out.
#[derive(Clone, Debug, Default)]
pub struct Sorted {
    /// The one that matches the template.
    pub current: Option<Arc<MachineSet>>,
    /// The others.
    pub old: Vec<Arc<MachineSet>>,
    /// Why a new one is needed, if there is no current one.
    pub why_new: String,
}

/// Finds the current MachineSet: of those that match the template the largest, then the oldest; if a rollout by time was
/// asked for, one that is younger than that.
pub fn sort_out(deployment: &MachineDeployment, sets: &[Arc<MachineSet>], now: Timestamp) -> Sorted {
    let mut all: Vec<&Arc<MachineSet>> = sets.iter().collect();
    let created = |set: &MachineSet| set.metadata.creation_timestamp.as_ref().map(|t| t.0);
    all.sort_by(|a, b| {
        let size = b.spec.replicas.unwrap_or(0).cmp(&a.spec.replicas.unwrap_or(0));
        size.then_with(|| created(a).cmp(&created(b)))
            .then_with(|| a.name_any().cmp(&b.name_any()))
    });
    let mut sorted = Sorted::default();
    let mut differences = Vec::new();
    for set in all {
        let lines = template::differences(&set.spec.template, &deployment.spec.template);
        let overdue = template::is_overdue(set, deployment, now);
        let leaving = set.metadata.deletion_timestamp.is_some();
        if lines.is_empty() && !overdue && !leaving && sorted.current.is_none() {
            sorted.current = Some(set.clone());
            continue;
        }
        if !lines.is_empty() {
            differences.push(format!(
                "MachineSet {} needs rollout: {}",
                set.name_any(),
                lines.join(", ")
            ));
        } else if overdue {
            differences.push(format!(
                "MachineSet {} is older than spec.rollout.after",
                set.name_any()
            ));
        }
        sorted.old.push(set.clone());
    }
    sorted.why_new = match sets.is_empty() {
        true => "no MachineSets exist for the MachineDeployment".to_owned(),
        false => format!(
            "no MachineSet matches the MachineDeployment's template: {}",
            differences.join("; ")
        ),
    };
    sorted
}

fn revision_of(all: &BTreeMap<String, String>) -> i64 {
    all.get(annotations::REVISION)
        .and_then(|r| r.parse().ok())
        .unwrap_or(0)
}

/// The revision of the current MachineSet, and its former ones.
fn revision(current: Option<&MachineSet>, old: &[Arc<MachineSet>]) -> (String, Option<String>) {
    let next = old
        .iter()
        .map(|set| revision_of(set.annotations()))
        .max()
        .unwrap_or(0)
        + 1;
    let Some(current) = current else {
        return (next.to_string(), None);
    };
    let now = revision_of(current.annotations());
    let history = current
        .annotations()
        .get(annotations::REVISION_HISTORY)
        .filter(|h| !h.is_empty())
        .cloned();
    if now >= next {
        return (now.to_string(), history);
    }
    let history = match (history, now) {
        (history, 0) => history,
        (Some(history), now) => Some(format!("{history},{now}")),
        (None, now) => Some(now.to_string()),
    };
    (next.to_string(), history)
}

/// The current MachineSet as it should be, without its size; a new one if there is none.
pub fn current_set(deployment: &MachineDeployment, sorted: &Sorted, wanted: &Wanted) -> MachineSet {
    let mut set = match &sorted.current {
        Some(current) => (**current).clone(),
        None => new_set(deployment, &sorted.old),
    };
    follow_deployment(deployment, &mut set, wanted);
    let (revision, history) = revision(sorted.current.as_deref(), &sorted.old);
    let all = set.annotations_mut();
    all.insert(annotations::REVISION.to_owned(), revision);
    if let Some(history) = history {
        all.insert(annotations::REVISION_HISTORY.to_owned(), history);
    }
    all.insert(annotations::DISABLE_MACHINE_CREATE.to_owned(), "false".to_owned());
    set
}

/// An old MachineSet as it should be, without its size.
pub fn old_set(deployment: &MachineDeployment, old: &MachineSet, wanted: &Wanted) -> MachineSet {
    let mut set = old.clone();
    follow_deployment(deployment, &mut set, wanted);
    let frozen = strategy(deployment) == MachineDeploymentRolloutStrategyType::OnDelete;
    set.annotations_mut()
        .insert(annotations::DISABLE_MACHINE_CREATE.to_owned(), frozen.to_string());
    set
}

/// How the MachineDeployment replaces Machines.
pub fn strategy(deployment: &MachineDeployment) -> MachineDeploymentRolloutStrategyType {
    let strategy = deployment.spec.rollout.as_ref().and_then(|r| r.strategy.as_ref());
    strategy.map(|s| s.type_).unwrap_or_default()
}

fn new_set(deployment: &MachineDeployment, old: &[Arc<MachineSet>]) -> MachineSet {
    let name = deployment.name_any();
    let hash = template::hash(&deployment.spec.template);
    let uid = deployment.uid().unwrap_or_default();
    let names: Vec<String> = old.iter().map(|set| set.name_any()).collect();
    let after = deployment
        .spec
        .rollout
        .as_ref()
        .and_then(|r| r.after.as_ref())
        .map(|t| t.0.to_string());
    let mut parts: Vec<&str> = vec![&uid, &hash];
    parts.extend(after.as_deref());
    parts.extend(names.iter().map(String::as_str));
    let suffix = derived_suffix(&parts);
    let identity = format!("{hash}-{suffix}");
    let mut all_labels = template_metadata(deployment).labels;
    all_labels.insert(labels::MACHINE_TEMPLATE_HASH.to_owned(), identity.clone());
    let mut selector = deployment.spec.selector.clone();
    selector
        .match_labels
        .get_or_insert_default()
        .insert(labels::MACHINE_TEMPLATE_HASH.to_owned(), identity);
    MachineSet {
        metadata: ObjectMeta {
            name: Some(suffixed(&format!("{name}-"), &suffix)),
            namespace: deployment.namespace(),
            labels: Some(all_labels.clone()),
            owner_references: Some(vec![meta::controller_reference(deployment)]),
            // At birth: one write less than when the MachineSet controller adds it.
            finalizers: Some(vec![finalizers::MACHINE_SET.to_owned()]),
            ..ObjectMeta::default()
        },
        spec: MachineSetSpec {
            cluster_name: deployment.spec.cluster_name.clone(),
            replicas: Some(0),
            selector,
            template: MachineTemplateSpec {
                metadata: Some(TemplateMeta {
                    labels: all_labels,
                    ..TemplateMeta::default()
                }),
                spec: deployment.spec.template.spec.clone(),
            },
            machine_naming: None,
            deletion: None,
        },
        status: None,
    }
}

fn template_metadata(deployment: &MachineDeployment) -> TemplateMeta {
    deployment.spec.template.metadata.clone().unwrap_or_default()
}

/// What every MachineSet takes over from its MachineDeployment without a rollout.
fn follow_deployment(deployment: &MachineDeployment, set: &mut MachineSet, wanted: &Wanted) {
    let from_template = template_metadata(deployment);
    let cluster = (
        labels::CLUSTER_NAME.to_owned(),
        deployment.spec.cluster_name.clone(),
    );
    let identity = set.labels().get_key_value(labels::MACHINE_TEMPLATE_HASH);
    let mut shared = from_template.labels;
    shared.extend([cluster]);
    shared.extend(identity.map(|(key, value)| (key.clone(), value.clone())));
    meta::ensure_owner(&mut set.metadata, meta::controller_reference(deployment));
    let mut own = shared.clone();
    own.insert(labels::DEPLOYMENT_NAME.to_owned(), deployment.name_any());
    set.metadata.labels = Some(own);

    let history = [annotations::REVISION, annotations::REVISION_HISTORY];
    let mut all = set.annotations().clone();
    all.retain(|key, _| history.contains(&key.as_str()));
    let inherited = deployment
        .annotations()
        .iter()
        .filter(|(key, _)| !OWN_ANNOTATIONS.contains(&key.as_str()));
    all.extend(inherited.map(|(key, value)| (key.clone(), value.clone())));
    all.insert(
        annotations::DESIRED_REPLICAS.to_owned(),
        wanted.replicas.to_string(),
    );
    all.insert(
        annotations::MAX_REPLICAS.to_owned(),
        (wanted.replicas + wanted.max_surge).to_string(),
    );
    set.metadata.annotations = Some(all);

    let template = &mut set.spec.template;
    template.metadata = Some(TemplateMeta {
        labels: shared,
        annotations: from_template.annotations,
    });
    let source = &deployment.spec.template.spec;
    template.spec.min_ready_seconds = source.min_ready_seconds;
    template.spec.readiness_gates = source.readiness_gates.clone();
    template.spec.deletion = source.deletion.clone();
    template.spec.taints = source.taints.clone();
    set.spec.machine_naming = deployment.spec.machine_naming.clone();
    if let Some(order) = deployment.spec.deletion.as_ref().and_then(|d| d.order) {
        set.spec.deletion = Some(MachineSetDeletionSpec { order: Some(order) });
    }
}
