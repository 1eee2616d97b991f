//! Columns of storage classes, volumes and claims.

use serde_json::Value;

use super::Column;
use super::cells::{age, at, column, str_at, text, wide};

/// The class is named by a field or, in old objects, by an annotation.
const OLD_CLASS: &str = "volume.beta.kubernetes.io/storage-class";

fn class(object: &Value) -> String {
    let old = at(object, &["metadata", "annotations", OLD_CLASS]).and_then(Value::as_str);
    old.map_or_else(
        || str_at(object, &["spec", "storageClassName"]).to_string(),
        str::to_owned,
    )
}

/// `RWO,ROX`: the access modes in their short forms, in a fixed order.
fn modes(list: Option<&Value>) -> String {
    let given: Vec<&str> = list
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let known = [
        ("ReadWriteOnce", "RWO"),
        ("ReadOnlyMany", "ROX"),
        ("ReadWriteMany", "RWX"),
        ("ReadWriteOncePod", "RWOP"),
    ];
    let short: Vec<&str> = known
        .iter()
        .filter(|(long, _)| given.contains(long))
        .map(|(_, short)| *short)
        .collect();
    short.join(",")
}

fn or_unset(text: &str) -> Value {
    if text.is_empty() { "<unset>" } else { text }.into()
}

fn volume_mode(object: &Value) -> Value {
    match str_at(object, &["spec", "volumeMode"]) {
        "" => "<unset>".into(),
        mode => mode.into(),
    }
}

/// Columns of a StorageClass.
pub(super) fn class_columns() -> Vec<Column> {
    vec![
        text("Provisioner", |o, _| str_at(o, &["provisioner"]).into()),
        text("ReclaimPolicy", |o, _| str_at(o, &["reclaimPolicy"]).into()),
        text("VolumeBindingMode", |o, _| {
            str_at(o, &["volumeBindingMode"]).into()
        }),
        column("AllowVolumeExpansion", "string", 0, |o, _| {
            at(o, &["allowVolumeExpansion"])
                .and_then(Value::as_bool)
                .unwrap_or_default()
                .into()
        }),
        age("string"),
    ]
}

/// Columns of a PersistentVolume.
pub(super) fn volume_columns() -> Vec<Column> {
    vec![
        text("Capacity", |o, _| {
            str_at(o, &["spec", "capacity", "storage"]).into()
        }),
        text("Access Modes", |o, _| {
            modes(at(o, &["spec", "accessModes"])).into()
        }),
        text("Reclaim Policy", |o, _| {
            str_at(o, &["spec", "persistentVolumeReclaimPolicy"]).into()
        }),
        text("Status", |o, _| str_at(o, &["status", "phase"]).into()),
        text("Claim", |o, _| {
            let name = str_at(o, &["spec", "claimRef", "name"]);
            match name.is_empty() {
                true => "".into(),
                false => format!("{}/{name}", str_at(o, &["spec", "claimRef", "namespace"])).into(),
            }
        }),
        text("StorageClass", |o, _| class(o).into()),
        text("VolumeAttributesClass", |o, _| {
            or_unset(str_at(o, &["spec", "volumeAttributesClassName"]))
        }),
        text("Reason", |o, _| str_at(o, &["status", "reason"]).into()),
        age("string"),
        wide("VolumeMode", |o, _| volume_mode(o)),
    ]
}

fn bound(claim: &Value) -> bool {
    !str_at(claim, &["spec", "volumeName"]).is_empty()
}

/// Columns of a PersistentVolumeClaim.
pub(super) fn claim_columns() -> Vec<Column> {
    vec![
        text("Status", |o, _| str_at(o, &["status", "phase"]).into()),
        text("Volume", |o, _| str_at(o, &["spec", "volumeName"]).into()),
        text("Capacity", |o, _| match bound(o) {
            true => str_at(o, &["status", "capacity", "storage"]).into(),
            false => "".into(),
        }),
        text("Access Modes", |o, _| match bound(o) {
            true => modes(at(o, &["status", "accessModes"])).into(),
            false => "".into(),
        }),
        text("StorageClass", |o, _| class(o).into()),
        text("VolumeAttributesClass", |o, _| {
            or_unset(str_at(o, &["spec", "volumeAttributesClassName"]))
        }),
        age("string"),
        wide("VolumeMode", |o, _| volume_mode(o)),
    ]
}
