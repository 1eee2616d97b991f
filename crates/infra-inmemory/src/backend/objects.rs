//! Creating and changing objects of a workload cluster so that doing it twice is the same as doing it once.

use capi_runtime::Key;
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{Patch, PatchParams, PostParams},
    core::{ClusterResourceScope, NamespaceResourceScope},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::error::Error;

/// Writes to one workload cluster.
#[derive(Clone)]
pub struct Writer {
    cluster: Key,
    client: Client,
}

impl Writer {
    /// A writer to the workload cluster of `cluster`.
    pub fn new(cluster: Key, client: Client) -> Self {
        Self { cluster, client }
    }

    /// Creates a namespaced object unless one of its name exists.
    pub async fn create_in<K>(&self, namespace: &str, object: Value) -> Result<(), Error>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + ObjectKind,
    {
        self.create(&Api::<K>::namespaced(self.client.clone(), namespace), object)
            .await
    }

    /// Creates a cluster-scoped object unless one of its name exists.
    pub async fn create_global<K>(&self, object: Value) -> Result<(), Error>
    where
        K: Resource<Scope = ClusterResourceScope, DynamicType = ()> + ObjectKind,
    {
        self.create(&Api::<K>::all(self.client.clone()), object).await
    }

    /// Reads a namespaced object.
    pub async fn get_in<K>(&self, namespace: &str, name: &str) -> Result<Option<K>, Error>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + ObjectKind,
    {
        let api = Api::<K>::namespaced(self.client.clone(), namespace);
        api.get_opt(name)
            .await
            .map_err(|source| self.failed::<K>("get", name, source))
    }

    /// Reads a cluster-scoped object.
    pub async fn get_global<K>(&self, name: &str) -> Result<Option<K>, Error>
    where
        K: Resource<Scope = ClusterResourceScope, DynamicType = ()> + ObjectKind,
    {
        let api = Api::<K>::all(self.client.clone());
        api.get_opt(name)
            .await
            .map_err(|source| self.failed::<K>("get", name, source))
    }

    /// Changes a namespaced object, or its status, if it still exists.
    pub async fn patch_in<K>(
        &self,
        namespace: &str,
        name: &str,
        part: Part,
        patch: Value,
    ) -> Result<(), Error>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + ObjectKind,
    {
        self.patch(
            &Api::<K>::namespaced(self.client.clone(), namespace),
            name,
            part,
            patch,
        )
        .await
    }

    /// Changes a cluster-scoped object, or its status, if it still exists.
    pub async fn patch_global<K>(&self, name: &str, part: Part, patch: Value) -> Result<(), Error>
    where
        K: Resource<Scope = ClusterResourceScope, DynamicType = ()> + ObjectKind,
    {
        self.patch(&Api::<K>::all(self.client.clone()), name, part, patch)
            .await
    }

    async fn patch<K: ObjectKind + Resource<DynamicType = ()>>(
        &self,
        api: &Api<K>,
        name: &str,
        part: Part,
        patch: Value,
    ) -> Result<(), Error> {
        let (params, patch) = (PatchParams::default(), Patch::Merge(patch));
        let result = match part {
            Part::Object => api.patch(name, &params, &patch).await,
            Part::Status => api.patch_status(name, &params, &patch).await,
        };
        match result {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(source) => Err(self.failed::<K>("patch", name, source)),
        }
    }

    async fn create<K: ObjectKind + Resource<DynamicType = ()>>(
        &self,
        api: &Api<K>,
        object: Value,
    ) -> Result<(), Error> {
        let object: K = serde_json::from_value(object).map_err(|e| Error::Document {
            what: "a workload object",
            reason: e.to_string(),
        })?;
        match api.create(&PostParams::default(), &object).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => Ok(()),
            Err(source) => Err(self.failed::<K>("create", &object.name_any(), source)),
        }
    }

    fn failed<K: Resource<DynamicType = ()>>(&self, verb: &str, name: &str, source: kube::Error) -> Error {
        Error::Workload {
            cluster: self.cluster.clone(),
            what: format!("{verb} {} {name}", K::kind(&())),
            source,
        }
    }
}

/// Which part of an object is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// All but its status.
    Object,
    /// Its status.
    Status,
}

/// What a type needs to be written.
pub trait ObjectKind: Clone + std::fmt::Debug + Serialize + DeserializeOwned {}

impl<K: Clone + std::fmt::Debug + Serialize + DeserializeOwned> ObjectKind for K {}
