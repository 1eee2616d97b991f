//! Which resources there are: the built-in table and what custom resource definitions add, by group and version.
//!
//! A [`Registry`] is immutable; a change of a definition makes a new one that shares the rest.

pub(crate) mod builtin;
pub(crate) mod crd;
pub(crate) mod crd_validation;
pub(crate) mod names;
mod resource;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

pub(crate) use resource::{Conversion, Origin, Resource, ScalePaths, Served, Version};

use crate::storage::GroupResource;

/// All resources of a server.
#[derive(Debug, Clone)]
pub(crate) struct Registry {
    builtin: &'static BTreeMap<GroupResource, Arc<Resource>>,
    custom: BTreeMap<GroupResource, Arc<Resource>>,
}

impl Registry {
    /// The built-in resources alone. Their descriptions are shared by all servers of the process.
    pub fn builtin() -> Self {
        static BUILTIN: OnceLock<BTreeMap<GroupResource, Arc<Resource>>> = OnceLock::new();
        let table = BUILTIN.get_or_init(|| {
            builtin::resources()
                .map(|r| (r.gr.clone(), Arc::new(r)))
                .collect()
        });
        Self {
            builtin: table,
            custom: BTreeMap::new(),
        }
    }

    /// This registry with one more (or another) custom resource.
    pub fn with(&self, resource: Arc<Resource>) -> Self {
        let mut next = self.clone();
        next.custom.insert(resource.gr.clone(), resource);
        next
    }

    /// This registry without a custom resource.
    pub fn without(&self, gr: &GroupResource) -> Self {
        let mut next = self.clone();
        next.custom.remove(gr);
        next
    }

    /// Whether a path into a group that leads to no resource is answered by the group: those of custom resources say nothing.
    pub fn answers_for(&self, group: &str) -> bool {
        self.builtin.keys().any(|gr| *gr.group == *group)
    }

    /// The resource and the served version that a path names.
    pub fn find(&self, group: &str, version: &str, resource: &str) -> Option<Served> {
        let resource = self.by_name(&GroupResource::new(group, resource))?;
        let index = resource
            .versions
            .iter()
            .position(|v| v.name == version && v.served)?;
        Some(Served {
            resource,
            version: index,
        })
    }

    pub fn by_name(&self, gr: &GroupResource) -> Option<Arc<Resource>> {
        self.builtin.get(gr).or_else(|| self.custom.get(gr)).cloned()
    }

    /// The resource whose kind an owner reference names.
    pub fn by_kind(&self, group: &str, version: &str, kind: &str) -> Option<Arc<Resource>> {
        let serves = |r: &&Arc<Resource>| {
            &*r.gr.group == group
                && r.kind == kind
                && r.versions.iter().any(|v| v.name == version && v.served)
        };
        self.all().find(serves).cloned()
    }

    /// Every resource, sorted by group and name.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Resource>> {
        let mut all: Vec<_> = self.builtin.values().chain(self.custom.values()).collect();
        all.sort_by(|a, b| a.gr.cmp(&b.gr));
        all.into_iter()
    }

    /// The groups besides the core group, each with its served versions, the preferred one first.
    pub fn groups(&self) -> BTreeMap<String, Vec<String>> {
        let mut groups: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for resource in self.all().filter(|r| !r.gr.group.is_empty()) {
            let versions = groups.entry(resource.gr.group.to_string()).or_default();
            versions.extend(
                resource
                    .versions
                    .iter()
                    .filter(|v| v.served)
                    .map(|v| v.name.clone()),
            );
        }
        let sorted = |versions: BTreeSet<String>| {
            let mut versions: Vec<_> = versions.into_iter().collect();
            versions.sort_by(|a, b| names::compare_versions(b, a));
            versions
        };
        groups
            .into_iter()
            .filter(|(_, v)| !v.is_empty())
            .map(|(group, versions)| (group, sorted(versions)))
            .collect()
    }
}
