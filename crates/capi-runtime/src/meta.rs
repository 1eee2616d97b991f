//! Finalizers, owner references and pausing: rules on object metadata, without I/O.

use capi_api::{annotations::PAUSED, conditions::Draft};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{ApiResource, ObjectMeta};

use crate::key::Kind;

/// True if the object has this finalizer.
pub fn has_finalizer(meta: &ObjectMeta, finalizer: &str) -> bool {
    meta.finalizers.iter().flatten().any(|found| found == finalizer)
}

/// Adds a finalizer; false if it was there.
pub fn add_finalizer(meta: &mut ObjectMeta, finalizer: &str) -> bool {
    let missing = !has_finalizer(meta, finalizer);
    if missing {
        meta.finalizers.get_or_insert_default().push(finalizer.to_owned());
    }
    missing
}

/// Removes a finalizer; false if it was not there.
pub fn remove_finalizer(meta: &mut ObjectMeta, finalizer: &str) -> bool {
    let found = has_finalizer(meta, finalizer);
    if let Some(finalizers) = &mut meta.finalizers {
        finalizers.retain(|other| other != finalizer);
        if finalizers.is_empty() {
            meta.finalizers = None;
        }
    }
    found
}

/// True if the object is being deleted.
pub fn is_deleting(meta: &ObjectMeta) -> bool {
    meta.deletion_timestamp.is_some()
}

/// An owner reference to a typed object; not a controller reference.
pub fn owner_reference<K: Kind>(owner: &K) -> OwnerReference {
    reference(
        K::api_version(&()).into_owned(),
        K::kind(&()).into_owned(),
        owner.meta(),
    )
}

/// A controller reference (with blockOwnerDeletion) to a typed object.
pub fn controller_reference<K: Kind>(owner: &K) -> OwnerReference {
    as_controller(owner_reference(owner))
}

/// An owner reference to an object of a kind known at run time; not a controller reference.
pub fn owner_reference_dynamic(resource: &ApiResource, owner: &ObjectMeta) -> OwnerReference {
    reference(resource.api_version.clone(), resource.kind.clone(), owner)
}

/// The same reference, as controller that blocks the owner's deletion.
pub fn as_controller(reference: OwnerReference) -> OwnerReference {
    OwnerReference {
        controller: Some(true),
        block_owner_deletion: Some(true),
        ..reference
    }
}

fn reference(api_version: String, kind: String, owner: &ObjectMeta) -> OwnerReference {
    OwnerReference {
        api_version,
        kind,
        name: owner.name.clone().unwrap_or_default(),
        uid: owner.uid.clone().unwrap_or_default(),
        controller: None,
        block_owner_deletion: None,
    }
}

/// The group of an owner reference.
pub fn group_of(reference: &OwnerReference) -> &str {
    reference
        .api_version
        .split_once('/')
        .map_or("", |(group, _)| group)
}

/// True if both references name the same object, whatever the version (the uid is not compared: an object that was
/// deleted and created again takes the place of the old one).
pub fn same_owner(a: &OwnerReference, b: &OwnerReference) -> bool {
    group_of(a) == group_of(b) && a.kind == b.kind && a.name == b.name
}

/// The reference to the controlling owner.
pub fn controller_of(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references
        .iter()
        .flatten()
        .find(|owner| owner.controller == Some(true))
}

/// True if the object with this uid is the controlling owner.
pub fn is_controlled_by(meta: &ObjectMeta, uid: &str) -> bool {
    controller_of(meta).is_some_and(|owner| owner.uid == uid)
}

/// True if an owner reference names this uid.
pub fn is_owned_by(meta: &ObjectMeta, uid: &str) -> bool {
    meta.owner_references
        .iter()
        .flatten()
        .any(|owner| owner.uid == uid)
}

/// The first owner of a kind, whatever its version.
pub fn owner_of_kind<'a>(meta: &'a ObjectMeta, group: &str, kind: &str) -> Option<&'a OwnerReference> {
    meta.owner_references
        .iter()
        .flatten()
        .find(|owner| owner.kind == kind && group_of(owner) == group)
}

/// Adds an owner reference, or brings the one to the same owner up to date; false if nothing changed.
pub fn ensure_owner(meta: &mut ObjectMeta, reference: OwnerReference) -> bool {
    let owners = meta.owner_references.get_or_insert_default();
    match owners.iter_mut().find(|owner| same_owner(owner, &reference)) {
        Some(owner) if *owner == reference => false,
        Some(owner) => {
            *owner = reference;
            true
        }
        None => {
            owners.push(reference);
            true
        }
    }
}

/// Another object controls this one already.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("already controlled by {kind} {name}")]
pub struct AlreadyControlled {
    /// Kind of the controlling owner.
    pub kind: String,
    /// Name of the controlling owner.
    pub name: String,
}

/// Makes an object the controlling owner; fails if another one is. False if nothing changed.
pub fn ensure_controller(
    meta: &mut ObjectMeta,
    reference: OwnerReference,
) -> Result<bool, AlreadyControlled> {
    match controller_of(meta) {
        Some(other) if !same_owner(other, &reference) => Err(AlreadyControlled {
            kind: other.kind.clone(),
            name: other.name.clone(),
        }),
        _ => Ok(ensure_owner(meta, as_controller(reference))),
    }
}

/// Removes the references to an owner; false if there was none.
pub fn remove_owner(meta: &mut ObjectMeta, reference: &OwnerReference) -> bool {
    let Some(owners) = &mut meta.owner_references else {
        return false;
    };
    let before = owners.len();
    owners.retain(|owner| !same_owner(owner, reference));
    let removed = owners.len() < before;
    if owners.is_empty() {
        meta.owner_references = None;
    }
    removed
}

/// True if the object carries the annotation that pauses it.
pub fn has_paused_annotation(meta: &ObjectMeta) -> bool {
    meta.annotations
        .as_ref()
        .is_some_and(|annotations| annotations.contains_key(PAUSED))
}

/// The Paused condition of an object, and whether it is paused.
pub fn paused_condition(kind: &str, cluster_paused: bool, meta: &ObjectMeta) -> (bool, Draft) {
    let mut causes = Vec::new();
    if cluster_paused {
        causes.push("Cluster spec.paused is set to true".to_owned());
    }
    if has_paused_annotation(meta) {
        causes.push(format!("{kind} has the {PAUSED} annotation"));
    }
    if causes.is_empty() {
        (false, Draft::is_false("Paused", "NotPaused", ""))
    } else {
        (true, Draft::is_true("Paused", "Paused", causes.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(name: &str, uid: &str, version: &str) -> OwnerReference {
        OwnerReference {
            api_version: format!("cluster.x-k8s.io/{version}"),
            kind: "Cluster".into(),
            name: name.into(),
            uid: uid.into(),
            ..OwnerReference::default()
        }
    }

    #[test]
    fn finalizers_come_once_and_leave_no_empty_list() {
        let mut meta = ObjectMeta::default();
        assert!(add_finalizer(&mut meta, "f"));
        assert!(!add_finalizer(&mut meta, "f"));
        assert_eq!(meta.finalizers, Some(vec!["f".to_owned()]));
        assert!(remove_finalizer(&mut meta, "f"));
        assert!(!remove_finalizer(&mut meta, "f"));
        assert_eq!(meta.finalizers, None);
    }

    #[test]
    fn an_owner_reference_is_replaced_when_version_or_uid_changed() {
        let mut meta = ObjectMeta::default();
        assert!(ensure_owner(&mut meta, owner("c", "1", "v1beta1")));
        assert!(!ensure_owner(&mut meta, owner("c", "1", "v1beta1")));
        assert!(ensure_owner(&mut meta, owner("c", "2", "v1beta2")));
        assert!(ensure_owner(&mut meta, owner("d", "3", "v1beta2")));
        let names: Vec<_> = meta
            .owner_references
            .iter()
            .flatten()
            .map(|o| (o.name.clone(), o.uid.clone()))
            .collect();
        assert_eq!(names, [("c".into(), "2".into()), ("d".into(), "3".to_owned())]);
        assert!(remove_owner(&mut meta, &owner("c", "", "v1")));
        assert!(is_owned_by(&meta, "3") && !is_owned_by(&meta, "2"));
    }

    #[test]
    fn there_is_one_controller_only() {
        let mut meta = ObjectMeta::default();
        assert_eq!(ensure_controller(&mut meta, owner("c", "1", "v1")), Ok(true));
        assert_eq!(ensure_controller(&mut meta, owner("c", "1", "v1")), Ok(false));
        assert!(ensure_controller(&mut meta, owner("d", "2", "v1")).is_err());
        assert!(is_controlled_by(&meta, "1"));
    }

    #[test]
    fn the_paused_condition_names_every_cause() {
        let annotated = ObjectMeta {
            annotations: Some([(PAUSED.to_owned(), String::new())].into()),
            ..ObjectMeta::default()
        };
        for (cluster, meta, status, message) in [
            (false, ObjectMeta::default(), "False", ""),
            (
                true,
                ObjectMeta::default(),
                "True",
                "Cluster spec.paused is set to true",
            ),
            (
                true,
                annotated,
                "True",
                "Cluster spec.paused is set to true, Machine has the cluster.x-k8s.io/paused annotation",
            ),
        ] {
            let (_, condition) = paused_condition("Machine", cluster, &meta);
            assert_eq!(
                (condition.status.as_str(), condition.message.as_str()),
                (status, message)
            );
        }
    }
}
