//! What a MachineSet carries to its Machines and their clones without replacing them: labels, annotations, timeouts,
//! readiness gates, taints. Pure.

use std::{collections::BTreeMap, sync::Arc};

use capi_api::{
    annotations,
    core::v1beta2::{Machine, MachineSet, MachineSpec},
    finalizers,
};
use capi_runtime::{Key, meta};
use kube::{
    Resource, ResourceExt,
    core::{ApiResource, ObjectMeta},
};
use serde_json::{Map, Value, json};

use super::{
    observe::{Pair, World},
    plan::{Action, machine_labels},
};
use crate::{
    foreign::{Foreign, Found},
    machines,
    plan::Step,
    propagate::{Known, MACHINE_SET, MACHINE_SET_METADATA, judge},
    webhooks::machine::NODE_DELETION_TIMEOUT,
};

/// Fields of a Machine's spec that follow the template.
const FIELDS: [&str; 4] = ["readinessGates", "minReadySeconds", "deletion", "taints"];
/// The paths of everything that follows on a Machine.
pub const MACHINE_ROOTS: [&str; 6] = [
    "metadata.labels",
    "metadata.annotations",
    "spec.readinessGates",
    "spec.minReadySeconds",
    "spec.deletion",
    "spec.taints",
];
/// The same for clones.
pub const CLONE_ROOTS: [&str; 2] = ["metadata.labels", "metadata.annotations"];
/// Annotations of clones that tell where they come from.
pub const ORIGIN: [&str; 2] = [annotations::CLONED_FROM_NAME, annotations::CLONED_FROM_GROUP_KIND];
/// Annotations that users and controllers put on Machines, and hardly ever templates.
const OWN_ANNOTATIONS: [&str; 13] = [
    annotations::CERTIFICATES_EXPIRY,
    annotations::DELETE_MACHINE,
    annotations::PAUSED,
    annotations::SKIP_REMEDIATION,
    annotations::REMEDIATE_MACHINE,
    annotations::EXCLUDE_NODE_DRAINING,
    annotations::EXCLUDE_WAIT_FOR_VOLUME_DETACH,
    annotations::KCP_PRE_TERMINATE_HOOK,
    annotations::PENDING_HOOKS,
    annotations::UPDATE_IN_PROGRESS,
    annotations::PENDING_ACKNOWLEDGE_MOVE,
    annotations::CONVERSION_DATA,
    "kubectl.kubernetes.io/last-applied-configuration",
];

/// A server-side apply to an object of the MachineSet.
#[derive(Clone, Debug)]
pub struct Apply {
    /// The object's kind; nothing for a Machine.
    pub resource: Option<ApiResource>,
    /// The object.
    pub key: Key,
    /// What is applied.
    pub intent: Value,
    /// As whom.
    pub manager: &'static str,
    /// To be remembered: uid and hash.
    pub settles: (String, String),
}

/// What all Machines of a MachineSet, and all their clones, have in common.
#[derive(Clone, Debug, PartialEq)]
pub struct Common {
    machine: Value,
    clone: Value,
}

impl Common {
    /// By the MachineSet's template.
    pub fn of(set: &MachineSet) -> Self {
        let metadata = json!({
            "labels": machine_labels(set),
            "annotations": set.spec.template.metadata.clone().unwrap_or_default().annotations,
        });
        let mut machine = metadata.clone();
        machine["spec"] = following(&set.spec.template.spec);
        Self {
            machine,
            clone: metadata,
        }
    }

    /// What is to be remembered of a new Machine.
    pub fn machine_hash(&self) -> String {
        capi_api::names::hash_of(&self.machine)
    }

    /// What is to be remembered of a new clone.
    pub fn clone_hash(&self) -> String {
        capi_api::names::hash_of(&self.clone)
    }
}

/// The fields of a Machine's spec that follow the template.
fn following(spec: &MachineSpec) -> Value {
    let all = serde_json::to_value(spec).unwrap_or_default();
    let fields = FIELDS.iter().filter_map(|name| {
        let value = all.get(*name).filter(|v| !v.is_null())?;
        Some(((*name).to_owned(), value.clone()))
    });
    Value::Object(fields.collect::<Map<_, _>>())
}

fn without(all: Option<&BTreeMap<String, String>>, ignore: impl Fn(&str) -> bool) -> Value {
    let kept = all.into_iter().flatten().filter(|(key, _)| !ignore(key));
    kept.map(|(key, value)| (key.clone(), Value::from(value.as_str())))
        .collect()
}

fn machine_view(machine: &Machine, common: &Common) -> Value {
    let wanted = |key: &str| common.machine["annotations"].get(key).is_some();
    let own = |key: &str| {
        !wanted(key)
            && (OWN_ANNOTATIONS.contains(&key)
                || key.starts_with(annotations::PRE_DRAIN_HOOK_PREFIX)
                || key.starts_with(annotations::PRE_TERMINATE_HOOK_PREFIX))
    };
    let mut spec = following(&machine.spec);
    // The default of Machines, which templates do not have.
    let timeout = "nodeDeletionTimeoutSeconds";
    if common.machine["spec"]["deletion"].get(timeout).is_none()
        && spec["deletion"][timeout] == NODE_DELETION_TIMEOUT
        && let Some(deletion) = spec["deletion"].as_object_mut()
    {
        deletion.remove(timeout);
    }
    json!({
        "labels": without(machine.metadata.labels.as_ref(), |_| false),
        "annotations": without(machine.metadata.annotations.as_ref(), own),
        "spec": spec,
    })
}

/// `template` is where the clone may have further labels and annotations from.
fn clone_view(clone: &ObjectMeta, template: &Foreign, common: &Common) -> Value {
    let from_template = |section: &str, key: &str| {
        let object = template.found().map(|f| &f.object.data);
        let all = object.map(|data| &data["spec"]["template"]["metadata"][section]);
        all.is_some_and(|all| all.get(key).is_some())
    };
    let ignored = |section: &'static str| {
        move |key: &str| {
            common.clone[section].get(key).is_none() && (ORIGIN.contains(&key) || from_template(section, key))
        }
    };
    json!({
        "labels": without(clone.labels.as_ref(), ignored("labels")),
        "annotations": without(clone.annotations.as_ref(), ignored("annotations")),
    })
}

/// The whole Machine as its MachineSet wants it. All of it has to be applied: what an apply leaves out, it gives up.
fn machine_intent(set: &MachineSet, machine: &Machine) -> Value {
    let mut spec = set.spec.template.spec.clone();
    spec.cluster_name = set.spec.cluster_name.clone();
    spec.bootstrap.config_ref = machine.spec.bootstrap.config_ref.clone();
    spec.infrastructure_ref = machine.spec.infrastructure_ref.clone();
    spec.version = machine.spec.version.clone();
    spec.failure_domain = machine.spec.failure_domain.clone();
    let mut finalizers = machine.finalizers().to_vec();
    if !finalizers.iter().any(|f| f == finalizers::MACHINE) {
        finalizers.push(finalizers::MACHINE.to_owned());
    }
    let mut metadata = metadata(set, &machine.metadata);
    metadata["finalizers"] = json!(finalizers);
    metadata["ownerReferences"] = json!([meta::controller_reference(set)]);
    json!({ "metadata": metadata, "spec": spec })
}

/// Labels and annotations, and the uid: an apply without it would create what is gone.
fn metadata(set: &MachineSet, of: &ObjectMeta) -> Value {
    let annotations = set.spec.template.metadata.clone().unwrap_or_default().annotations;
    let mut metadata = json!({ "uid": of.uid, "labels": machine_labels(set) });
    if !annotations.is_empty() {
        metadata["annotations"] = json!(annotations);
    }
    metadata
}

/// The steps that bring Machines and clones up to date; what is up to date already goes to `settled`.
pub fn plan(world: &World, set: &MachineSet, settled: &mut Known) -> Vec<Step<Action>> {
    let common = Common::of(set);
    let mut steps = Vec::new();
    let owned = world
        .machines
        .iter()
        .filter(|m| meta::controller_of(&m.metadata).is_some());
    for machine in owned {
        let name = machine.name_any();
        if machines::is_deleting(machine) {
            steps.extend(teardown(machine, set));
            continue;
        }
        let uid = machine.uid().unwrap_or_default();
        let judged = judge(
            &machine_view(machine, &common),
            &common.machine,
            world.known.get(&uid),
        );
        if judged.due {
            let why = format!(
                "Machine {name} follows the template of MachineSet {}",
                set.name_any()
            );
            let apply = Apply {
                resource: None,
                key: Key::of(&**machine),
                intent: machine_intent(set, machine),
                manager: MACHINE_SET,
                settles: (uid, judged.hash),
            };
            steps.push(Step::new(Action::Apply(Box::new(apply)), why));
        } else {
            settled.insert(uid, judged.hash);
        }
        if let Some(pair) = world.clones.get(&name) {
            clones(world, set, pair, &common, settled, &mut steps);
        }
    }
    steps
}

fn clones(
    world: &World,
    set: &MachineSet,
    pair: &Pair,
    common: &Common,
    settled: &mut Known,
    steps: &mut Vec<Step<Action>>,
) {
    for (clone, template) in [
        (&pair.bootstrap, &world.bootstrap_template),
        (&pair.infrastructure, &world.infrastructure_template),
    ] {
        let Some(found) = clone.found().filter(|f| !f.is_deleting()) else {
            continue;
        };
        let metadata = found.object.meta();
        let uid = metadata.uid.clone().unwrap_or_default();
        let view = clone_view(metadata, template, common);
        let judged = judge(&view, &common.clone, world.known.get(&uid));
        if !judged.due {
            settled.insert(uid, judged.hash);
            continue;
        }
        steps.push(clone_step(set, found, (uid, judged.hash)));
    }
}

fn clone_step(set: &MachineSet, found: &Found, settles: (String, String)) -> Step<Action> {
    let what = capi_api::contract::described(&found.object);
    let apply = Apply {
        resource: Some(found.resource.clone()),
        key: Key::of_meta(&found.object.metadata),
        intent: json!({ "metadata": metadata(set, &found.object.metadata) }),
        manager: MACHINE_SET_METADATA,
        settles,
    };
    let why = format!("{what} follows the template of MachineSet {}", set.name_any());
    Step::new(Action::Apply(Box::new(apply)), why)
}

/// What still matters to a Machine that goes.
fn teardown(machine: &Arc<Machine>, set: &MachineSet) -> Option<Step<Action>> {
    let wanted = &set.spec.template.spec;
    let mut after = (**machine).clone();
    let spec = &mut after.spec;
    spec.readiness_gates = wanted.readiness_gates.clone();
    spec.min_ready_seconds = wanted.min_ready_seconds;
    if let Some(deletion) = &wanted.deletion {
        let own = spec.deletion.get_or_insert_default();
        own.node_drain_timeout_seconds = deletion.node_drain_timeout_seconds;
        own.node_volume_detach_timeout_seconds = deletion.node_volume_detach_timeout_seconds;
        // Machines have a default of their own here.
        let default = own.node_deletion_timeout_seconds;
        own.node_deletion_timeout_seconds = deletion.node_deletion_timeout_seconds.or(default);
    }
    (after != **machine).then(|| {
        let why = format!(
            "Machine {} goes by the template of MachineSet {}",
            machine.name_any(),
            set.name_any()
        );
        Step::new(Action::Change(machine.clone(), Box::new(after)), why)
    })
}
