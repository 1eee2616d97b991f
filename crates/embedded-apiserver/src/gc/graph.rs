//! Who depends on whom, by uid. Owners need not exist: a dependent of an absent owner has its edge too.

use std::collections::{BTreeMap, BTreeSet};

use crate::storage::{GroupResource, Object};
use crate::verbs::{FOREGROUND, ORPHAN};

/// An object, found again by key and told apart from a successor of the same name by uid.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Id {
    pub resource: GroupResource,
    pub key: Box<str>,
    pub uid: Box<str>,
}

impl Id {
    pub fn of(resource: &GroupResource, object: &Object) -> Self {
        Self {
            resource: resource.clone(),
            key: object.key(),
            uid: object.uid.clone(),
        }
    }
}

/// The edges between objects.
#[derive(Debug, Default)]
pub(super) struct Graph {
    /// From an owner's uid to its dependents.
    dependents: BTreeMap<Box<str>, BTreeSet<Id>>,
    /// Owners that are being deleted and hold one of the collector's finalizers, by uid.
    waiting: BTreeMap<Box<str>, Id>,
}

impl Graph {
    pub fn insert(&mut self, id: Id, object: &Object) {
        if object.terminating && (object.has_finalizer(FOREGROUND) || object.has_finalizer(ORPHAN)) {
            self.waiting.insert(id.uid.clone(), id.clone());
        }
        for owner in &object.owners {
            self.dependents
                .entry(owner.uid.clone())
                .or_default()
                .insert(id.clone());
        }
    }

    pub fn remove(&mut self, id: &Id, object: Option<&Object>) {
        self.waiting.remove(&id.uid);
        for owner in object.iter().flat_map(|o| o.owners.iter()) {
            if let Some(set) = self.dependents.get_mut(&owner.uid) {
                set.remove(id);
                if set.is_empty() {
                    self.dependents.remove(&owner.uid);
                }
            }
        }
    }

    pub fn dependents(&self, uid: &str) -> Vec<Id> {
        self.dependents.get(uid).into_iter().flatten().cloned().collect()
    }

    pub fn waiting(&self, uid: &str) -> Option<Id> {
        self.waiting.get(uid).cloned()
    }
}
