//! Server-side apply, and not sending one again that changed nothing.

use std::{collections::BTreeMap, time::Duration};

use kube::api::{ApiResource, DynamicObject, Patch, PatchParams, Request};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::time::Instant;

use super::{
    Context, url,
    write::{from_json, to_json},
};
use crate::{
    error::Error,
    key::{Key, Kind, KindId},
    ring::hash,
};

/// How long an apply that changed nothing is remembered.
const REMEMBERED: Duration = Duration::from_secs(30 * 60);
const CAPACITY: usize = 65_536;

/// Applies that are known to change nothing: identity of the request on a version of the object.
#[derive(Debug, Default)]
pub(crate) struct ApplyCache(Mutex<BTreeMap<u64, Instant>>);

impl ApplyCache {
    fn contains(&self, identity: u64) -> bool {
        self.0
            .lock()
            .get(&identity)
            .is_some_and(|at| at.elapsed() < REMEMBERED)
    }

    fn insert(&self, identity: u64) {
        let mut known = self.0.lock();
        if known.len() >= CAPACITY {
            known.retain(|_, at| at.elapsed() < REMEMBERED);
        }
        if known.len() < CAPACITY {
            known.insert(identity, Instant::now());
        }
    }
}

impl Context {
    /// Applies the fields of `intent` as `field_manager`, taking them over from others by force. An apply that left the
    /// object unchanged is not sent again while intent and object stay what they were.
    pub async fn apply<K: Kind>(&self, key: &Key, intent: &Value, field_manager: &str) -> Result<K, Error> {
        let resource = ApiResource::erase::<K>(&());
        // The store may not be declared by anybody; then every apply is sent.
        let live = match self.shared.stores.of_kind(&KindId::of::<K>()).first() {
            Some(_) => self.shared.stores.declare::<K>().get(key),
            None => None,
        };
        let live = live.map(|object| to_json(&resource, key, &*object)).transpose()?;
        from_json(
            &resource,
            key,
            self.apply_json(&resource, key, live, intent, field_manager)
                .await?,
        )
    }

    /// Like [`Self::apply`] for a kind known at run time.
    pub async fn apply_dynamic(
        &self,
        resource: &ApiResource,
        key: &Key,
        intent: &Value,
        field_manager: &str,
    ) -> Result<DynamicObject, Error> {
        let store = self.shared.stores.foreign(&KindId::of_resource(resource));
        let live = store
            .and_then(|store| store.get(key))
            .map(|object| to_json(resource, key, &*object))
            .transpose()?;
        from_json(
            resource,
            key,
            self.apply_json(resource, key, live, intent, field_manager)
                .await?,
        )
    }

    async fn apply_json(
        &self,
        resource: &ApiResource,
        key: &Key,
        live: Option<Value>,
        intent: &Value,
        field_manager: &str,
    ) -> Result<Value, Error> {
        let mut body = intent.clone();
        body["apiVersion"] = Value::from(resource.api_version.as_str());
        body["kind"] = Value::from(resource.kind.as_str());
        body["metadata"]["name"] = Value::from(key.name.as_str());
        if let Some(namespace) = key.scope() {
            body["metadata"]["namespace"] = Value::from(namespace);
        }
        let identity = |version: &Value| {
            let text = (version.to_string(), body.to_string());
            hash(&[text.0.as_bytes(), text.1.as_bytes(), field_manager.as_bytes()])
        };
        if let Some(live) = live
            && self
                .shared
                .applies
                .contains(identity(&live["metadata"]["resourceVersion"]))
        {
            self.shared
                .metrics
                .applied(&resource.kind, &self.controller, true);
            return Ok(live);
        }
        let params = PatchParams::apply(field_manager).force();
        let request = Request::new(url(resource, key)).patch(&key.name, &params, &Patch::Apply(&body));
        let answer = self.send("apply", resource, key, request).await?;
        self.shared
            .metrics
            .applied(&resource.kind, &self.controller, false);
        // Applying the same to what this apply made of it changes nothing.
        self.shared
            .applies
            .insert(identity(&answer["metadata"]["resourceVersion"]));
        Ok(answer)
    }
}
