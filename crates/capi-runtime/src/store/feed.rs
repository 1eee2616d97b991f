//! Fills a store from a watch, for as long as it is wanted.
//!
//! Objects are cut down as they arrive (managedFields, and what a kind's own trimming removes). One that does not
//! decode is logged, counted and left out; the rest of its kind stays current.

use std::{borrow::Cow, pin::pin, sync::Arc, time::Duration};

use futures::StreamExt;
use kube::{
    Api, Client, Resource,
    api::{ApiResource, ObjectMeta},
    core::DynamicResourceScope,
    runtime::watcher::{self, Event},
};
use seams::SharedRandomness;
use serde::{Deserialize, Deserializer};
use tokio_util::sync::CancellationToken;

use super::Store;
use crate::{key::Stored, metrics::Metrics};

/// Shrinks an object before it is kept.
pub(crate) type Trim<K> = Arc<dyn Fn(&mut K) + Send + Sync>;

/// How one store is filled.
pub(crate) struct Feed<K> {
    pub(crate) client: Client,
    pub(crate) resource: ApiResource,
    /// Restricts the watch to one namespace.
    pub(crate) namespace: Option<String>,
    pub(crate) label_selector: Option<String>,
    pub(crate) trim: Option<Trim<K>>,
    pub(crate) randomness: SharedRandomness,
    pub(crate) metrics: Arc<Metrics>,
}

const FIRST_DELAY: Duration = Duration::from_millis(200);
const LONGEST_DELAY: Duration = Duration::from_secs(30);

impl<K: Stored> Feed<K> {
    /// Runs until `cancel` is.
    pub(crate) async fn run(self, store: Store<K>, cancel: CancellationToken) {
        let api: Api<Arrived<K>> = match &self.namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &self.resource),
            None => Api::all_with(self.client.clone(), &self.resource),
        };
        let mut config = watcher::Config::default();
        config.label_selector.clone_from(&self.label_selector);
        let mut events = pin!(watcher::watcher(api, config));
        let mut listed = Vec::new();
        let mut delay = FIRST_DELAY;
        loop {
            let event = tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                event = events.next() => event,
            };
            match event {
                Some(Ok(event)) => {
                    if !matches!(event, Event::Init) {
                        delay = FIRST_DELAY;
                    }
                    self.take(&store, event, &mut listed);
                }
                Some(Err(error)) => {
                    self.metrics.watch_error(&self.resource.kind);
                    let pause = seams::jittered(&*self.randomness, delay, 0.2);
                    tracing::warn!(kind = %self.resource.kind, error = %text(&error), ?pause, "watch failed, trying again");
                    delay = (delay * 2).min(LONGEST_DELAY);
                    tokio::select! {
                        biased;
                        () = cancel.cancelled() => return,
                        () = tokio::time::sleep(pause) => {}
                    }
                }
                None => return,
            }
        }
    }

    fn take(&self, store: &Store<K>, event: Event<Arrived<K>>, listed: &mut Vec<K>) {
        match event {
            Event::Init => listed.clear(),
            Event::InitApply(arrived) => listed.extend(self.decode(store, arrived)),
            Event::InitDone => store.replace(std::mem::take(listed)),
            Event::Apply(arrived) => {
                if let Some(object) = self.decode(store, arrived) {
                    store.apply(object);
                }
            }
            Event::Delete(arrived) => store.delete(&arrived.meta),
        }
    }

    fn decode(&self, store: &Store<K>, arrived: Arrived<K>) -> Option<K> {
        match arrived.object {
            Ok(mut object) => {
                if let Some(trim) = &self.trim {
                    trim(&mut object);
                }
                Some(object)
            }
            Err(error) => {
                self.metrics.undecodable(&self.resource.kind);
                let key = crate::key::Key::of_meta(&arrived.meta);
                tracing::error!(kind = %self.resource.kind, %key, error, "object is not understood and left out; correct or delete it");
                store.note_version(&arrived.meta);
                None
            }
        }
    }
}

fn text(error: &watcher::Error) -> String {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => crate::error::describe(error),
        watcher::Error::WatchError(status) => status.message.clone(),
        other => other.to_string(),
    }
}

/// An object as it comes from the wire: its metadata always, the rest if it decodes.
#[derive(Clone, Debug)]
pub(crate) struct Arrived<K> {
    pub(crate) meta: ObjectMeta,
    pub(crate) object: Result<K, String>,
}

impl<'de, K: Stored> Deserialize<'de> for Arrived<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut value = serde_json::Value::deserialize(deserializer)?;
        let mut meta = ObjectMeta::default();
        if let Some(found) = value.get_mut("metadata") {
            if let Some(fields) = found.as_object_mut() {
                fields.remove("managedFields");
            }
            // The watcher itself needs the version, the store the names.
            meta = ObjectMeta {
                name: string(found, "name"),
                namespace: string(found, "namespace"),
                uid: string(found, "uid"),
                resource_version: string(found, "resourceVersion"),
                ..ObjectMeta::default()
            };
        }
        let object = serde_json::from_value(value).map_err(|error| error.to_string());
        Ok(Self { meta, object })
    }
}

fn string(value: &serde_json::Value, field: &str) -> Option<String> {
    value
        .get(field)
        .and_then(serde_json::Value::as_str)
        .map(str::to_owned)
}

impl<K: Stored> Resource for Arrived<K> {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(resource: &ApiResource) -> Cow<'_, str> {
        Cow::Borrowed(&resource.kind)
    }

    fn group(resource: &ApiResource) -> Cow<'_, str> {
        Cow::Borrowed(&resource.group)
    }

    fn version(resource: &ApiResource) -> Cow<'_, str> {
        Cow::Borrowed(&resource.version)
    }

    fn plural(resource: &ApiResource) -> Cow<'_, str> {
        Cow::Borrowed(&resource.plural)
    }

    fn metadata_api() -> bool {
        K::metadata_api()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.meta
    }
}
