//! Indexes of a store: values that an object is filed under, and back.

use std::{collections::BTreeSet, sync::Arc};

use capi_api::labels::CLUSTER_NAME;
use kube::Resource;

use crate::key::Key;

/// Computes the values an object is filed under.
pub(crate) type Extract<K> = Arc<dyn Fn(&K) -> Vec<String> + Send + Sync>;

pub(super) struct Index<K> {
    extract: Extract<K>,
    /// Pairs instead of a set of keys for each value: most values have one key, and a set of one takes 600 bytes.
    entries: BTreeSet<(Box<str>, Arc<Key>)>,
}

impl<K> Index<K> {
    pub(super) fn new(extract: Extract<K>) -> Self {
        Self {
            extract,
            entries: BTreeSet::new(),
        }
    }

    pub(super) fn insert(&mut self, key: &Arc<Key>, object: &K) {
        for value in (self.extract)(object) {
            self.entries.insert((value.into(), key.clone()));
        }
    }

    pub(super) fn remove(&mut self, key: &Arc<Key>, object: &K) {
        for value in (self.extract)(object) {
            self.entries.remove(&(value.into(), key.clone()));
        }
    }

    pub(super) fn keys(&self, value: &str) -> impl Iterator<Item = &Key> {
        let first = (value.into(), Arc::new(Key::default()));
        self.entries
            .range(first..)
            .take_while(move |(found, _)| &**found == value)
            .map(|(_, key)| &**key)
    }
}

pub(super) fn by_cluster<K: Resource>() -> Extract<K> {
    Arc::new(|object: &K| {
        let meta = object.meta();
        let cluster = meta.labels.as_ref().and_then(|labels| labels.get(CLUSTER_NAME));
        cluster
            .map(|name| Key::new(meta.namespace.clone().unwrap_or_default(), name.clone()).to_string())
            .into_iter()
            .collect()
    })
}

pub(super) fn by_owner<K: Resource>() -> Extract<K> {
    Arc::new(|object: &K| {
        object
            .meta()
            .owner_references
            .iter()
            .flatten()
            .map(|owner| owner.uid.clone())
            .collect()
    })
}
