//! How objects and kinds are named inside the process: keys, kind identifiers and resource versions.
//!
//! Nothing here talks to an API server.

use std::fmt;

use kube::{
    Resource,
    api::{ApiResource, ObjectMeta},
    core::{ClusterResourceScope, DynamicResourceScope, NamespaceResourceScope, ResourceScope},
};
use serde::{Serialize, de::DeserializeOwned};

/// Namespace and name of an object; the namespace of a cluster-scoped object is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The namespace, empty for cluster-scoped objects.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl Key {
    /// The key of these two names.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// The key of an object.
    pub fn of<K: Resource>(object: &K) -> Self {
        Self::of_meta(object.meta())
    }

    /// The key that object metadata names.
    pub fn of_meta(meta: &ObjectMeta) -> Self {
        Self::new(
            meta.namespace.clone().unwrap_or_default(),
            meta.name.clone().unwrap_or_default(),
        )
    }

    /// Another object of the same namespace.
    pub fn sibling(&self, name: impl Into<String>) -> Self {
        Self::new(self.namespace.clone(), name)
    }

    /// The namespace as URL builders want it: none for cluster-scoped objects.
    pub(crate) fn scope(&self) -> Option<&str> {
        (!self.namespace.is_empty()).then_some(self.namespace.as_str())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.scope() {
            Some(namespace) => write!(f, "{namespace}/{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// Tells from a scope type whether objects live in namespaces.
pub trait ScopeOf: ResourceScope {
    /// True if objects of this scope live in a namespace.
    const NAMESPACED: bool;
}

impl ScopeOf for NamespaceResourceScope {
    const NAMESPACED: bool = true;
}

impl ScopeOf for ClusterResourceScope {
    const NAMESPACED: bool = false;
}

impl ScopeOf for DynamicResourceScope {
    const NAMESPACED: bool = true;
}

/// What a store can hold: typed kinds and [`DynamicObject`](kube::api::DynamicObject).
pub trait Stored:
    Resource + Clone + fmt::Debug + Serialize + DeserializeOwned + Send + Sync + 'static
{
}

impl<T> Stored for T where
    T: Resource + Clone + fmt::Debug + Serialize + DeserializeOwned + Send + Sync + 'static
{
}

/// A kind known at compile time.
pub trait Kind: Stored + Resource<DynamicType = (), Scope: ScopeOf> {}

impl<T> Kind for T where T: Stored + Resource<DynamicType = (), Scope: ScopeOf> {}

/// API group and kind, whatever the version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KindId {
    /// The API group, empty for the core group.
    pub group: String,
    /// The kind, for example `Machine`.
    pub kind: String,
}

impl KindId {
    /// The identifier of a typed kind.
    pub fn of<K: Kind>() -> Self {
        Self {
            group: K::group(&()).into_owned(),
            kind: K::kind(&()).into_owned(),
        }
    }

    /// The identifier of a resource.
    pub fn of_resource(resource: &ApiResource) -> Self {
        Self {
            group: resource.group.clone(),
            kind: resource.kind.clone(),
        }
    }

    /// The name of the CustomResourceDefinition that must define this kind.
    pub fn crd_name(&self) -> String {
        capi_api::contract::crd_name(&self.group, &self.kind)
    }
}

impl fmt::Display for KindId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.group.is_empty() {
            f.write_str(&self.kind)
        } else {
            write!(f, "{}.{}", self.kind, self.group)
        }
    }
}

/// A resource version as a number, so that versions can be compared; 0 if it is none.
pub(crate) fn version_number(version: Option<&str>) -> u64 {
    version.and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// The resource version of an object as a number.
pub(crate) fn version_of(meta: &ObjectMeta) -> u64 {
    version_number(meta.resource_version.as_deref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_print_their_namespace_only_if_there_is_one() {
        assert_eq!(Key::new("a", "b").to_string(), "a/b");
        assert_eq!(Key::new("", "b").to_string(), "b");
    }
}
