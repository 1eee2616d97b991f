//! Indexes of a store: values that an object is filed under, and back.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use capi_api::labels::CLUSTER_NAME;
use kube::Resource;

use crate::key::Key;

/// Computes the values an object is filed under.
pub(crate) type Extract<K> = Arc<dyn Fn(&K) -> Vec<String> + Send + Sync>;

pub(super) struct Index<K> {
    extract: Extract<K>,
    keys: BTreeMap<String, BTreeSet<Key>>,
}

impl<K> Index<K> {
    pub(super) fn new(extract: Extract<K>) -> Self {
        Self {
            extract,
            keys: BTreeMap::new(),
        }
    }

    pub(super) fn insert(&mut self, key: &Key, object: &K) {
        for value in (self.extract)(object) {
            self.keys.entry(value).or_default().insert(key.clone());
        }
    }

    pub(super) fn remove(&mut self, key: &Key, object: &K) {
        for value in (self.extract)(object) {
            if let Some(keys) = self.keys.get_mut(&value) {
                keys.remove(key);
                if keys.is_empty() {
                    self.keys.remove(&value);
                }
            }
        }
    }

    pub(super) fn keys(&self, value: &str) -> impl Iterator<Item = &Key> {
        self.keys.get(value).into_iter().flatten()
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
