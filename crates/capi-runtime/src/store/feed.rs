//! Fills a store from a list and the watch after it, for as long as it is wanted.
//!
//! Objects are cut down as they arrive (managedFields, the copy that `kubectl apply` leaves, and what a kind's own trimming
//! removes). One that does not decode is logged, counted and left out; the rest of its kind stays current.

use std::{marker::PhantomData, sync::Arc, time::Duration};

use kube::api::{ApiResource, ObjectMeta};
use seams::SharedRandomness;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    Store,
    watch::{Change, Failure, Source},
};
use crate::{key::Stored, metrics::Metrics, transport::Requests};

/// Shrinks an object before it is kept.
pub(crate) type Trim<K> = Arc<dyn Fn(&mut K) + Send + Sync>;

/// How one store is filled.
pub(crate) struct Feed<K> {
    pub(crate) requests: Arc<dyn Requests>,
    pub(crate) resource: ApiResource,
    /// Restricts the watch to one namespace.
    pub(crate) namespace: Option<String>,
    pub(crate) label_selector: Option<String>,
    pub(crate) trims: Vec<Trim<K>>,
    pub(crate) randomness: SharedRandomness,
    pub(crate) metrics: Arc<Metrics>,
}

const FIRST_DELAY: Duration = Duration::from_millis(200);
const LONGEST_DELAY: Duration = Duration::from_secs(30);
/// A watch that ends sooner than this is opened again with a delay, as one that failed.
const SHORTEST_WATCH: Duration = Duration::from_secs(1);

impl<K: Stored> Feed<K> {
    /// Runs until `cancel` is.
    pub(crate) async fn run(self, store: Store<K>, cancel: CancellationToken) {
        tokio::select! {
            biased;
            () = cancel.cancelled() => {}
            () = self.keep(&store) => {}
        }
    }

    async fn keep(&self, store: &Store<K>) {
        let source = Source {
            requests: self.requests.clone(),
            resource: self.resource.clone(),
            namespace: self.namespace.clone(),
            label_selector: self.label_selector.clone(),
            kind: PhantomData,
        };
        let mut delay = FIRST_DELAY;
        let mut version = None;
        loop {
            let ended = match &mut version {
                // Boxed, as it is large and over soon, while this future stays for good.
                None => Box::pin(self.list(&source, store)).await.map(|listed| {
                    version = Some(listed);
                    delay = FIRST_DELAY;
                    Ended::InTime
                }),
                Some(version) => self.follow(&source, store, version, &mut delay).await,
            };
            match ended {
                Ok(Ended::InTime) => continue,
                Ok(Ended::AtOnce) => {
                    tracing::debug!(kind = %self.resource.kind, "the server ended a watch at once")
                }
                Err(failure) => {
                    self.metrics.watch_error(&self.resource.kind);
                    if matches!(failure, Failure::Expired(_)) {
                        version = None;
                    }
                    tracing::warn!(kind = %self.resource.kind, error = %failure, "watch failed, trying again");
                }
            }
            let pause = seams::jittered(&*self.randomness, delay, 0.2);
            delay = (delay * 2).min(LONGEST_DELAY);
            tokio::time::sleep(pause).await;
        }
    }

    async fn list(&self, source: &Source<K>, store: &Store<K>) -> Result<String, Failure> {
        let mut listed = Vec::new();
        let version = source
            .list(|arrived| listed.extend(self.decode(store, arrived)))
            .await?;
        store.replace(listed);
        Ok(version)
    }

    /// Follows one watch to its end; `version` is where the next one goes on.
    async fn follow(
        &self,
        source: &Source<K>,
        store: &Store<K>,
        version: &mut String,
        delay: &mut Duration,
    ) -> Result<Ended, Failure> {
        let begun = Instant::now();
        let mut watch = Box::pin(source.watch(version)).await?;
        while let Some(change) = watch.next().await {
            let (change, reached) = change?;
            *version = reached;
            *delay = FIRST_DELAY;
            match change {
                Change::Applied(arrived) => {
                    if let Some(object) = self.decode(store, *arrived) {
                        store.apply(object);
                    }
                }
                Change::Deleted(arrived) => store.delete(&arrived.meta),
                Change::Bookmark => {}
            }
        }
        match begun.elapsed() >= SHORTEST_WATCH {
            true => Ok(Ended::InTime),
            false => Ok(Ended::AtOnce),
        }
    }

    fn decode(&self, store: &Store<K>, arrived: Arrived<K>) -> Option<K> {
        match arrived.object {
            Ok(mut object) => {
                for trim in &self.trims {
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

/// How a watch ended that did not fail.
enum Ended {
    InTime,
    AtOnce,
}

/// An object as it comes from the wire: its metadata always, the rest if it decodes.
#[derive(Clone, Debug)]
pub(crate) struct Arrived<K> {
    pub(crate) meta: ObjectMeta,
    pub(crate) object: Result<K, String>,
}

/// What `kubectl apply` keeps of what was applied last: a second copy of the object, of no use to anybody else.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

impl<K: Stored> Arrived<K> {
    pub(crate) fn new(mut value: Value) -> Self {
        let mut meta = ObjectMeta::default();
        if let Some(found) = value.get_mut("metadata") {
            if let Some(fields) = found.as_object_mut() {
                fields.remove("managedFields");
            }
            if let Some(annotations) = found.get_mut("annotations").and_then(Value::as_object_mut) {
                annotations.remove(LAST_APPLIED);
            }
            // The watch needs the version, the store the names.
            meta = ObjectMeta {
                name: string(found, "name"),
                namespace: string(found, "namespace"),
                uid: string(found, "uid"),
                resource_version: string(found, "resourceVersion"),
                ..ObjectMeta::default()
            };
        }
        let object = serde_json::from_value(value).map_err(|error| error.to_string());
        Self { meta, object }
    }
}

impl<'de, K: Stored> Deserialize<'de> for Arrived<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(Self::new)
    }
}

fn string(value: &Value, field: &str) -> Option<String> {
    value.get(field).and_then(Value::as_str).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::future::BoxFuture;
    use http::{Request, Response};
    use http_body_util::{BodyExt, Full};
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::client::Body;
    use seams::SeededRandomness;
    use serde_json::json;

    use super::*;
    use crate::transport::Answer;

    /// Lists one object, and ends each watch after one bookmark.
    #[derive(Default)]
    struct Hasty {
        lists: AtomicUsize,
        watches: AtomicUsize,
    }

    impl Requests for Hasty {
        fn send(&self, request: Request<Body>) -> BoxFuture<'_, Result<Response<Answer>, kube::Error>> {
            let object = json!({ "metadata": { "name": "a", "namespace": "ns", "resourceVersion": "7" } });
            let watch = request
                .uri()
                .query()
                .is_some_and(|query| query.contains("watch=true"));
            let (counter, text) = match watch {
                true => (
                    &self.watches,
                    json!({ "type": "BOOKMARK", "object": object }).to_string() + "\n",
                ),
                false => (
                    &self.lists,
                    json!({ "metadata": { "resourceVersion": "7" }, "items": [object] }).to_string(),
                ),
            };
            counter.fetch_add(1, Ordering::Relaxed);
            let body = Full::new(bytes::Bytes::from(text)).map_err(|never| match never {});
            Box::pin(async move { Ok(Response::new(body.boxed_unsync())) })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_ends_watches_at_once_is_not_asked_without_end() {
        let server = Arc::new(Hasty::default());
        let resource = ApiResource::erase::<ConfigMap>(&());
        let feed = Feed::<ConfigMap> {
            requests: server.clone(),
            resource: resource.clone(),
            namespace: None,
            label_selector: None,
            trims: Vec::new(),
            randomness: Arc::new(SeededRandomness::new(1)),
            metrics: Arc::new(Metrics::new().unwrap()),
        };
        let store = Store::new(resource, Arc::default());
        let cancel = CancellationToken::new();
        tokio::spawn(feed.run(store.clone(), cancel.clone()));
        tokio::time::sleep(Duration::from_secs(10)).await;
        cancel.cancel();
        assert_eq!(store.len(), 1);
        assert_eq!(server.lists.load(Ordering::Relaxed), 1);
        let watches = server.watches.load(Ordering::Relaxed);
        assert!((20..70).contains(&watches), "{watches} watches in 10 s");
    }
}
