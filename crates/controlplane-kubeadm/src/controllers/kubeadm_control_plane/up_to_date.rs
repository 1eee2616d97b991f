//! Whether a Machine is what the control plane wants today, and if not, why. Pure.

use capi_api::{
    annotations,
    bootstrap::v1beta2::{Format, ImagePullPolicy, KubeadmConfigSpec},
    conditions::{Draft, get_in, reasons, types},
};
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use serde_json::Value;

use super::{
    machines::{Role, desired_config},
    world::{MachineView, World},
};

/// The reasons to replace a Machine, in the words of its `UpToDate` condition; none if it is up to date.
pub fn differences(world: &World, view: &MachineView, now: Timestamp) -> Vec<String> {
    let mut found = Vec::new();
    let spec = &world.control_plane.spec;
    let rollout = spec.rollout.as_ref();
    let status = view.machine.status.as_ref();

    let expiry = status.and_then(|status| status.certificates_expiry_date.as_ref());
    let days = rollout.and_then(|rollout| rollout.before.as_ref()?.certificates_expiry_days);
    if let (Some(expiry), Some(days)) = (expiry, days) {
        let margin = SignedDuration::from_hours(24 * i64::from(days));
        if now.checked_add(margin).is_ok_and(|limit| expiry.0 < limit) {
            found.push("Certificates will expire soon".to_owned());
        }
    }
    let after = rollout.and_then(|rollout| rollout.after.as_ref());
    let created = view.machine.metadata.creation_timestamp.as_ref();
    if let (Some(after), Some(created)) = (after, created)
        && after.0 <= now
        && created.0 < after.0
    {
        found.push("KubeadmControlPlane spec.rolloutAfter expired".to_owned());
    }
    let wanted = capi_api::versions::with_v(&spec.version);
    let current = view.machine.spec.version.clone().unwrap_or_default();
    if current != wanted {
        found.push(format!("Version {current}, {wanted} required"));
    }
    if !config_matches(world, view) {
        found.push("KubeadmConfig is not up-to-date".to_owned());
    }
    if !infrastructure_matches(world, view) {
        found.push(format!("{} is not up-to-date", world.infrastructure_kind()));
    }
    found
}

/// The condition `UpToDate` of a Machine.
pub fn condition(world: &World, view: &MachineView, now: Timestamp) -> Draft {
    let differences = differences(world, view, now);
    if !differences.is_empty() {
        let lines: Vec<String> = differences.iter().map(|line| format!("* {line}")).collect();
        return Draft::is_false(types::UP_TO_DATE, reasons::NOT_UP_TO_DATE, lines.join("\n"));
    }
    let status = view.machine.status.as_ref();
    let updating = status.and_then(|status| get_in(&status.conditions, types::UPDATING));
    if let Some(updating) = updating.filter(|condition| condition.status == "True") {
        let message = match updating.message.is_empty() {
            true => "* In-place update in progress".to_owned(),
            false => format!("* {}", updating.message),
        };
        return Draft::is_false(types::UP_TO_DATE, reasons::UPDATING, message);
    }
    Draft::is_true(types::UP_TO_DATE, reasons::UP_TO_DATE, "")
}

fn infrastructure_matches(world: &World, view: &MachineView) -> bool {
    let Some(object) = &view.infrastructure else {
        return true;
    };
    let reference = &world.control_plane.spec.machine_template.spec.infrastructure_ref;
    let annotations = object.annotations();
    let (name, kind) = (
        annotations.get(annotations::CLONED_FROM_NAME),
        annotations.get(annotations::CLONED_FROM_GROUP_KIND),
    );
    match (name, kind) {
        (Some(name), Some(kind)) => {
            *name == reference.name && *kind == format!("{}.{}", reference.kind, reference.api_group)
        }
        // An adopted machine: nobody can tell, so nobody replaces it.
        _ => true,
    }
}

fn config_matches(world: &World, view: &MachineView) -> bool {
    let Some(config) = &view.config else { return true };
    let current = comparable(&config.spec);
    [Role::Init, Role::Join]
        .into_iter()
        .any(|role| comparable(&desired_config(world, role)) == current)
}

/// A configuration without what is filled in later by others (endpoint, discovery), what is rolled out otherwise (DNS),
/// defaults, and the difference between an empty object and none.
fn comparable(spec: &KubeadmConfigSpec) -> Value {
    let mut spec = spec.clone();
    if let Some(cluster) = &mut spec.cluster_configuration {
        cluster.control_plane_endpoint = None;
        cluster.dns = None;
    }
    if let Some(join) = &mut spec.join_configuration {
        join.discovery = None;
    }
    spec.format.get_or_insert(Format::CloudConfig);
    let registrations = [
        spec.init_configuration
            .as_mut()
            .and_then(|init| init.node_registration.as_mut()),
        spec.join_configuration
            .as_mut()
            .and_then(|join| join.node_registration.as_mut()),
    ];
    for registration in registrations.into_iter().flatten() {
        registration
            .image_pull_policy
            .get_or_insert(ImagePullPolicy::IfNotPresent);
    }
    let mut value = serde_json::to_value(&spec).unwrap_or_default();
    prune(&mut value);
    value
}

/// Takes empty objects out of objects, from the leaves up. `taints: []` is a list and stays: it differs from none.
fn prune(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.values_mut().for_each(prune);
            fields.retain(|_, value| {
                !value.as_object().is_some_and(serde_json::Map::is_empty) && !value.is_null()
            });
        }
        Value::Array(items) => items.iter_mut().for_each(prune),
        _ => {}
    }
}
