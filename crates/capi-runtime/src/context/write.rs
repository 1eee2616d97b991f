//! Writes: create, patch, delete. Each request is counted per kind and verb, and remembered for read-your-writes.

use kube::{
    Resource,
    api::{
        ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions,
        PropagationPolicy, Request,
    },
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{Context, url};
use crate::{
    error::Error,
    key::{Key, Kind, KindId, version_number},
    meta,
    patch::{self, PatchPlan},
    writes::{Trace, Written},
};

impl Context {
    /// Creates an object and returns what the API server made of it.
    pub async fn create<K: Kind>(&self, object: &K) -> Result<K, Error> {
        self.create_as(object, &self.shared.field_manager).await
    }

    /// Like [`Self::create`], as another field manager than the process's own.
    pub async fn create_as<K: Kind>(&self, object: &K, field_manager: &str) -> Result<K, Error> {
        let resource = ApiResource::erase::<K>(&());
        let key = Key::of(object);
        let mut body = to_json(&resource, &key, object)?;
        // Typed kinds of k8s-openapi write these themselves, derived kinds too; a plain struct would not.
        body["apiVersion"] = Value::from(resource.api_version.as_str());
        body["kind"] = Value::from(resource.kind.as_str());
        let answer = self.create_json(&resource, &key, &body, field_manager).await?;
        from_json(&resource, &key, answer)
    }

    /// Creates an object of a kind known at run time.
    pub async fn create_dynamic(
        &self,
        object: &DynamicObject,
        resource: &ApiResource,
    ) -> Result<DynamicObject, Error> {
        self.create_dynamic_as(object, resource, &self.shared.field_manager)
            .await
    }

    /// Like [`Self::create_dynamic`], as another field manager than the process's own.
    pub async fn create_dynamic_as(
        &self,
        object: &DynamicObject,
        resource: &ApiResource,
        field_manager: &str,
    ) -> Result<DynamicObject, Error> {
        let key = Key::of_meta(&object.metadata);
        let mut body = to_json(resource, &key, object)?;
        body["apiVersion"] = Value::from(resource.api_version.as_str());
        body["kind"] = Value::from(resource.kind.as_str());
        let answer = self.create_json(resource, &key, &body, field_manager).await?;
        from_json(resource, &key, answer)
    }

    async fn create_json(
        &self,
        resource: &ApiResource,
        key: &Key,
        body: &Value,
        field_manager: &str,
    ) -> Result<Value, Error> {
        let params = PostParams {
            field_manager: Some(field_manager.to_owned()),
            ..PostParams::default()
        };
        let request = Request::new(url(resource, key)).create(&params, body.to_string().into_bytes());
        self.send("create", resource, key, request).await
    }

    /// Writes what differs between `before` and `after`: first metadata and spec, then the status. Returns whether
    /// anything had to be sent.
    ///
    /// Lists that several controllers share (conditions, finalizers, owner references) are only replaced if the object
    /// is still the version of `before`; otherwise this fails with a conflict and the object is reconciled again.
    pub async fn patch<K: Kind>(&self, before: &K, after: &K) -> Result<bool, Error> {
        self.patch_of(&ApiResource::erase::<K>(&()), before, after, false)
            .await
    }

    /// Like [`Self::patch`], but in any case only if the object is still the version of `before`.
    pub async fn patch_locked<K: Kind>(&self, before: &K, after: &K) -> Result<bool, Error> {
        self.patch_of(&ApiResource::erase::<K>(&()), before, after, true)
            .await
    }

    /// Like [`Self::patch`] for a kind known at run time.
    pub async fn patch_dynamic(
        &self,
        before: &DynamicObject,
        after: &DynamicObject,
        resource: &ApiResource,
    ) -> Result<bool, Error> {
        self.patch_of(resource, before, after, false).await
    }

    async fn patch_of<K: Resource + Serialize>(
        &self,
        resource: &ApiResource,
        before: &K,
        after: &K,
        locked: bool,
    ) -> Result<bool, Error> {
        let key = Key::of(before);
        let plan = PatchPlan::between(
            &to_json(resource, &key, before)?,
            &to_json(resource, &key, after)?,
        );
        if plan.is_empty() {
            return Ok(false);
        }
        let kind = KindId::of_resource(resource);
        let based_on = before.meta().resource_version.clone().unwrap_or_default();
        // Own locked writes of this reconcile have moved the object on; nobody else came in between.
        let mut version = (locked || plan.shared).then(|| self.successor(&kind, &key, &based_on));
        if let Some(mut main) = plan.main {
            match &version {
                Some(version) => patch::lock(&mut main, version),
                None => patch::pin(&mut main, before.meta()),
            }
            let answer = self.send_patch(resource, &key, None, &main).await?;
            version = version.and(version_text(&answer));
        }
        if let Some(mut status) = plan.status {
            if let Some(version) = &version {
                patch::lock(&mut status, version);
            }
            let answer = self.send_patch(resource, &key, Some("status"), &status).await?;
            version = version.and(version_text(&answer));
        }
        if let Some(version) = version {
            self.log.lock().successors.push((kind, key, based_on, version));
        }
        Ok(true)
    }

    /// Sends a JSON merge patch as it is, to the object or one of its subresources.
    pub async fn merge_patch<K: Kind>(
        &self,
        key: &Key,
        subresource: Option<&str>,
        body: &Value,
    ) -> Result<K, Error> {
        let resource = ApiResource::erase::<K>(&());
        from_json(
            &resource,
            key,
            self.send_patch(&resource, key, subresource, body).await?,
        )
    }

    async fn send_patch(
        &self,
        resource: &ApiResource,
        key: &Key,
        subresource: Option<&str>,
        body: &Value,
    ) -> Result<Value, Error> {
        let params = PatchParams {
            field_manager: Some(self.shared.field_manager.clone()),
            ..PatchParams::default()
        };
        let patch = Patch::Merge(body);
        let builder = Request::new(url(resource, key));
        match subresource {
            None => {
                self.send("patch", resource, key, builder.patch(&key.name, &params, &patch))
                    .await
            }
            Some(subresource) => {
                let request = builder.patch_subresource(subresource, &key.name, &params, &patch);
                self.send("patch_status", resource, key, request).await
            }
        }
    }

    /// Deletes this very object (its uid is a precondition). That it is gone or going already is fine.
    pub async fn delete<K: Kind>(&self, object: &K) -> Result<(), Error> {
        self.delete_of(&ApiResource::erase::<K>(&()), object.meta(), None)
            .await
    }

    /// Like [`Self::delete`], with a say in what happens to the objects it owns.
    pub async fn delete_with<K: Kind>(
        &self,
        object: &K,
        propagation: PropagationPolicy,
    ) -> Result<(), Error> {
        self.delete_of(&ApiResource::erase::<K>(&()), object.meta(), Some(propagation))
            .await
    }

    /// Like [`Self::delete`] for a kind known at run time.
    pub async fn delete_dynamic(&self, object: &DynamicObject, resource: &ApiResource) -> Result<(), Error> {
        self.delete_of(resource, &object.metadata, None).await
    }

    async fn delete_of(
        &self,
        resource: &ApiResource,
        meta: &kube::api::ObjectMeta,
        propagation: Option<PropagationPolicy>,
    ) -> Result<(), Error> {
        if meta::is_deleting(meta) {
            return Ok(());
        }
        let key = Key::of_meta(meta);
        let params = DeleteParams {
            propagation_policy: propagation,
            preconditions: meta.uid.clone().map(|uid| Preconditions {
                uid: Some(uid),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        let request = Request::new(url(resource, &key)).delete(&key.name, &params);
        let gone = || Trace::Gone(meta.uid.clone().unwrap_or_default());
        let trace = match self.send("delete", resource, &key, request).await {
            Ok(answer) if answer["kind"] == "Status" => gone(),
            Ok(answer) if answer.pointer("/metadata/deletionTimestamp").is_none() => gone(),
            Ok(_) => return Ok(()),
            Err(error) if error.is_not_found() => gone(),
            Err(error) => return Err(error),
        };
        self.remember(KindId::of_resource(resource), key, trace);
        Ok(())
    }

    /// Adds a finalizer; true if it was missing (then the reconcile should end: its own write brings it back).
    pub async fn ensure_finalizer<K: Kind>(&self, object: &K, finalizer: &str) -> Result<bool, Error> {
        let mut after = object.clone();
        if !meta::add_finalizer(after.meta_mut(), finalizer) {
            return Ok(false);
        }
        self.patch(object, &after).await
    }

    /// Removes a finalizer; true if it was there. An object that is gone meanwhile is fine.
    pub async fn remove_finalizer<K: Kind>(&self, object: &K, finalizer: &str) -> Result<bool, Error> {
        let mut after = object.clone();
        if !meta::remove_finalizer(after.meta_mut(), finalizer) {
            return Ok(false);
        }
        match self.patch(object, &after).await {
            Err(error) if error.is_not_found() => Ok(true),
            result => result,
        }
    }

    /// Brings the Paused condition of an object up to date and returns whether the reconcile must stop here: because
    /// the object is paused, or because the condition had to be written.
    pub async fn stop_if_paused<K>(&self, cluster_paused: bool, object: &K) -> Result<bool, Error>
    where
        K: Kind + capi_api::conditions::ConditionsAccess,
    {
        let (paused, condition) = meta::paused_condition(&K::kind(&()), cluster_paused, object.meta());
        let mut after = object.clone();
        capi_api::conditions::set(&mut after, condition, self.now());
        let written = self.patch(object, &after).await?;
        Ok(paused || written)
    }

    /// Sends a write request, counts it and remembers the version it made.
    pub(super) async fn send(
        &self,
        verb: &'static str,
        resource: &ApiResource,
        key: &Key,
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Result<Value, Error> {
        // What comes after the first write waits for the API server, not for us.
        if !std::mem::replace(&mut self.log.lock().sent, true)
            && let Some(due) = self.due
        {
            self.shared.metrics.reacted(&self.controller, due.elapsed());
        }
        let result = match request {
            Ok(request) => self.shared.client.request::<Value>(request).await,
            Err(error) => Err(kube::Error::BuildRequest(error)),
        };
        let outcome = match &result {
            Ok(_) => "success".to_owned(),
            Err(kube::Error::Api(status)) => status.code.to_string(),
            Err(_) => "error".to_owned(),
        };
        self.shared.metrics.wrote(&resource.kind, verb, &outcome);
        let answer = result.map_err(|source| Error::api(verb, &resource.kind, key, source))?;
        tracing::debug!(kind = %resource.kind, written = %key, verb, "wrote");
        if answer["kind"] != "Status" {
            let named = answer
                .pointer("/metadata/name")
                .and_then(Value::as_str)
                .unwrap_or(&key.name);
            let version = version_number(version_text(&answer).as_deref());
            let (kind, written) = (KindId::of_resource(resource), key.sibling(named));
            // A write that no watch will ever show must not be waited for.
            if self
                .shared
                .stores
                .shows(&kind, &written, answer.pointer("/metadata/labels"))
            {
                self.remember(kind, written, Trace::Version(version));
            }
        }
        Ok(answer)
    }

    fn remember(&self, kind: KindId, key: Key, trace: Trace) {
        self.log.lock().written.push(Written { kind, key, trace });
    }

    /// The version that own writes of this reconcile turned `version` into.
    fn successor(&self, kind: &KindId, key: &Key, version: &str) -> String {
        let log = self.log.lock();
        log.successors
            .iter()
            .filter(|(k, o, _, _)| k == kind && o == key)
            .fold(version.to_owned(), |current, (_, _, from, to)| {
                if *from == current || from == version {
                    to.clone()
                } else {
                    current
                }
            })
    }
}

fn version_text(object: &Value) -> Option<String> {
    object
        .pointer("/metadata/resourceVersion")
        .and_then(Value::as_str)
        .map(str::to_owned)
}

pub(super) fn to_json<K: Serialize>(resource: &ApiResource, key: &Key, object: &K) -> Result<Value, Error> {
    serde_json::to_value(object).map_err(|source| Error::convert(&resource.kind, key, source))
}

pub(super) fn from_json<K: DeserializeOwned>(
    resource: &ApiResource,
    key: &Key,
    value: Value,
) -> Result<K, Error> {
    serde_json::from_value(value).map_err(|source| Error::convert(&resource.kind, key, source))
}
