//! What a reconciler works with: time, stores, writes, events, foreign objects and workload clusters.
//!
//! One [`Context`] belongs to one reconcile of one object. Writes made through it are remembered, so that the next
//! reconcile of that object waits until the stores have seen them.

mod apply;
mod write;

use std::sync::Arc;

use capi_api::{core::v1beta2::ContractVersionedObjectReference, names};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    api::{ApiResource, DynamicObject, ListParams, ObjectList, Request},
};
use parking_lot::Mutex;
use seams::{Clock, Randomness};
use tokio::time::Instant;

pub(crate) use apply::ApplyCache;

use crate::{
    error::{Disconnected, Error},
    events::Event,
    external::{External, ForeignKind, Waiter},
    key::{Key, Kind, KindId},
    manager::Shared,
    queue::Taken,
    store::{Store, Stores},
    workload::WorkloadClient,
    writes::Written,
};

/// Everything one reconcile may use.
pub struct Context {
    shared: Arc<Shared>,
    controller: Arc<str>,
    key: Key,
    waiter: Option<Waiter>,
    /// Since when this reconcile was due.
    due: Option<Instant>,
    by_timer: bool,
    log: Mutex<Log>,
}

/// What this reconcile has written so far.
#[derive(Default)]
struct Log {
    /// Whether a write was sent.
    sent: bool,
    written: Vec<Written>,
    /// Versions that own locked writes made obsolete, and what they became.
    successors: Vec<(KindId, Key, String, String)>,
}

impl Context {
    pub(crate) fn new(shared: Arc<Shared>, controller: Arc<str>, key: Key, waiter: Option<Waiter>) -> Self {
        Self {
            shared,
            controller,
            key,
            waiter,
            due: None,
            by_timer: false,
            log: Mutex::default(),
        }
    }

    /// What the queue knows of this reconcile.
    pub(crate) fn taken(mut self, taken: &Taken) -> Self {
        self.due = Some(taken.due);
        self.by_timer = taken.by_timer;
        self
    }

    /// Whether nothing that this controller watches has changed since the last reconcile of the object: only the time has
    /// come that it asked for with [`Next::After`](crate::Next::After).
    pub fn is_by_timer(&self) -> bool {
        self.by_timer
    }

    /// The object that is being reconciled.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// The wall-clock time.
    pub fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    /// The clock.
    pub fn clock(&self) -> &dyn Clock {
        &*self.shared.clock
    }

    /// Where chance comes from.
    pub fn randomness(&self) -> &dyn Randomness {
        &*self.shared.randomness
    }

    /// Where private keys come from.
    pub fn keys(&self) -> &dyn cluster_pki::KeySource {
        &*self.shared.keys
    }

    /// A client for what this type does not offer. Writes made with it are not counted or remembered.
    pub fn client(&self) -> Client {
        self.shared.client.clone()
    }

    /// The store of a kind. If it is not filled yet (nobody declared the kind), the reconcile is abandoned here and
    /// repeated as soon as it is.
    pub fn store<K: Kind>(&self) -> Store<K> {
        self.shared.stores.get::<K>()
    }

    /// All stores, for helpers that choose themselves.
    pub fn stores(&self) -> &Stores {
        &self.shared.stores
    }

    /// The object of that key in the store.
    pub fn get<K: Kind>(&self, key: &Key) -> Option<Arc<K>> {
        self.store::<K>().get(key)
    }

    /// What a reference leads to. The version is found through the CustomResourceDefinition's contract labels; the
    /// kind is watched from now on, and the objects' owners (or what the controller's mapper says) are woken by changes.
    /// If the object does not exist, whoever asked is woken when it appears.
    pub async fn external(
        &self,
        namespace: &str,
        reference: &ContractVersionedObjectReference,
    ) -> Result<External, Error> {
        let id = KindId {
            group: reference.api_group.clone(),
            kind: reference.kind.clone(),
        };
        let kind = self.foreign_kind(&id, &reference.name).await?;
        let key = Key::new(namespace, reference.name.clone());
        let object = self
            .shared
            .externals
            .object(&id, &kind, &key, self.waiter.as_ref());
        Ok(External {
            contract: kind.contract,
            resource: kind.resource,
            object,
        })
    }

    /// A kind that implements a contract: its contract version, resource and store. `on_behalf` goes into error texts:
    /// the name of the object that is looked for.
    pub async fn foreign_kind(&self, kind: &KindId, on_behalf: &str) -> Result<ForeignKind, Error> {
        self.shared
            .externals
            .resolve(kind, on_behalf, self.waiter.as_ref())
            .await
    }

    /// Reads an object from the API server, past the stores. None if it does not exist.
    pub async fn get_live<K: Kind>(&self, key: &Key) -> Result<Option<K>, Error> {
        self.get_live_of(&ApiResource::erase::<K>(&()), key).await
    }

    /// Reads an object of a kind known at run time from the API server.
    pub async fn get_live_dynamic(
        &self,
        resource: &ApiResource,
        key: &Key,
    ) -> Result<Option<DynamicObject>, Error> {
        self.get_live_of(resource, key).await
    }

    async fn get_live_of<K: serde::de::DeserializeOwned>(
        &self,
        resource: &ApiResource,
        key: &Key,
    ) -> Result<Option<K>, Error> {
        let fail = |source| Error::api("get", &resource.kind, key, source);
        let request = Request::new(url(resource, key))
            .get(&key.name, &Default::default())
            .map_err(|error| fail(kube::Error::BuildRequest(error)))?;
        match self.shared.client.request::<K>(request).await {
            Ok(object) => Ok(Some(object)),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(fail(error)),
        }
    }

    /// Lists objects from the API server, past the stores, by namespace and label selector (both may be empty).
    pub async fn list_live<K: Kind>(&self, namespace: &str, labels: &str) -> Result<Vec<K>, Error> {
        let resource = ApiResource::erase::<K>(&());
        let key = Key::new(namespace, "");
        let fail = |source| Error::api("list", &resource.kind, &key, source);
        let mut params = ListParams::default().limit(500);
        if !labels.is_empty() {
            params = params.labels(labels);
        }
        let mut found = Vec::new();
        loop {
            let request = Request::new(url(&resource, &key))
                .list(&params)
                .map_err(|error| fail(kube::Error::BuildRequest(error)))?;
            let page: ObjectList<K> = self.shared.client.request(request).await.map_err(fail)?;
            found.extend(page.items);
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params.continue_token = Some(token),
                None => return Ok(found),
            }
        }
    }

    /// Reports what happened to an object; repeated reports cost nothing.
    pub fn event<K: Kind>(&self, about: &K, event: Event) {
        self.record(about.object_ref(&()), event);
    }

    /// Reports what happened to an object of a kind known at run time.
    pub fn event_dynamic(&self, resource: &ApiResource, about: &DynamicObject, event: Event) {
        use kube::Resource;
        self.record(about.object_ref(resource), event);
    }

    fn record(&self, about: ObjectReference, event: Event) {
        self.shared
            .events
            .record(&format!("{}-controller", self.controller), about, event);
    }

    /// The connection to a workload cluster. While there is none, this says since when and why, and asks for a try
    /// soon; the controller is woken when the connection comes (see `Controller::watches_workload`).
    pub fn workload(&self, cluster: &Key) -> Result<WorkloadClient, Disconnected> {
        self.shared.workloads.client(cluster)
    }

    /// The results of probing a workload cluster, connected or not.
    pub fn workload_probe(&self, cluster: &Key) -> Option<crate::workload::Probe> {
        self.shared.workloads.probe(cluster)
    }

    /// A name for a child that follows from what it is derived from: a retry after a crash computes the same one.
    pub fn derived_name(&self, base: &str, parts: &[&str]) -> String {
        names::derived_child(base, parts)
    }

    pub(crate) fn take_written(&self) -> Vec<Written> {
        std::mem::take(&mut self.log.lock().written)
    }
}

/// The URL path of a resource, in the namespace of `key` if it has one.
pub(crate) fn url(resource: &ApiResource, key: &Key) -> String {
    use kube::Resource;
    DynamicObject::url_path(resource, key.scope())
}
