//! Read-your-writes: what a reconcile wrote, and whether the stores have seen it.
//!
//! A controller that decides on a store which does not know its own last writes yet would write them again: create a
//! second Machine, for example. So the next reconcile of the same object waits until the stores have caught up.

use std::{collections::BTreeMap, time::Duration};

use parking_lot::Mutex;

use crate::{
    key::{Key, KindId},
    store::{AnyStore, Stores},
};

/// How long a reconcile waits for the stores before it goes on with a warning.
pub(crate) const CATCH_UP_LIMIT: Duration = Duration::from_secs(30);

/// What a write left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trace {
    /// The object exists in this version or a later one.
    Version(u64),
    /// The object with this uid is gone.
    Gone(String),
}

/// One write of a reconcile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) kind: KindId,
    pub(crate) key: Key,
    pub(crate) trace: Trace,
}

impl Written {
    fn is_seen(&self, store: &dyn AnyStore) -> bool {
        match &self.trace {
            Trace::Version(version) => store.has_seen(&self.key, *version),
            Trace::Gone(uid) => !store.holds(&self.key, uid),
        }
    }
}

/// The writes of the last reconcile of each object of one controller that the stores may not have seen yet.
#[derive(Debug, Default)]
pub(crate) struct WriteLog {
    open: Mutex<BTreeMap<Key, Vec<Written>>>,
}

impl WriteLog {
    /// Remembers what the reconcile of `key` wrote; of several writes of one object the last counts.
    pub(crate) fn record(&self, key: &Key, written: Vec<Written>) {
        if written.is_empty() {
            return;
        }
        let mut open = self.open.lock();
        let entry = open.entry(key.clone()).or_default();
        for write in written {
            entry.retain(|other| (&other.kind, &other.key) != (&write.kind, &write.key));
            entry.push(write);
        }
    }

    /// Waits until the stores have seen everything the last reconcile of `key` wrote. Returns the kinds it waited for,
    /// and whether all of them were seen.
    pub(crate) async fn caught_up(&self, key: &Key, stores: &Stores) -> (Vec<String>, bool) {
        let Some(written) = self.open.lock().remove(key) else {
            return (Vec::new(), true);
        };
        let mut waited = Vec::new();
        let mut complete = true;
        for write in written {
            for store in stores.of_kind(&write.kind) {
                if !store.is_synced() || write.is_seen(&*store) {
                    continue;
                }
                waited.push(write.kind.kind.clone());
                if !store
                    .wait_seen(&|store| write.is_seen(store), CATCH_UP_LIMIT)
                    .await
                {
                    complete = false;
                    tracing::warn!(kind = %write.kind, written = %write.key, reconciled = %key, "the watch has not shown an own write in time; going on without it");
                }
            }
        }
        (waited, complete)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::{Client, api::ObjectMeta};
    use seams::SeededRandomness;
    use tokio::time::Instant;

    use super::*;
    use crate::{metrics::Metrics, store::Store};

    fn stores() -> (Stores, Store<ConfigMap>) {
        let service = tower::service_fn(|_: http::Request<kube::client::Body>| async {
            Err::<http::Response<kube::client::Body>, _>(tower::BoxError::from("no server"))
        });
        let metrics = Arc::new(Metrics::new().unwrap());
        let client = Client::new(service, "default");
        let stores = Stores::new(
            Arc::new(client),
            None,
            Arc::new(SeededRandomness::new(1)),
            metrics,
        );
        let store = stores.declare::<ConfigMap>();
        store.replace(vec![object("a", 5)]);
        (stores, store)
    }

    fn object(name: &str, version: u64) -> ConfigMap {
        ConfigMap {
            metadata: ObjectMeta {
                name: Some(name.into()),
                uid: Some(format!("uid-{name}")),
                resource_version: Some(version.to_string()),
                ..ObjectMeta::default()
            },
            ..ConfigMap::default()
        }
    }

    fn written(kind: &str, name: &str, trace: Trace) -> Written {
        let kind = KindId {
            group: String::new(),
            kind: kind.into(),
        };
        Written {
            kind,
            key: Key::new("", name),
            trace,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_reconcile_waits_until_the_store_has_seen_the_write() {
        let (stores, store) = stores();
        let (log, owner) = (WriteLog::default(), Key::new("ns", "owner"));
        log.record(
            &owner,
            vec![
                written("ConfigMap", "a", Trace::Version(9)),
                written("Other", "x", Trace::Version(9)),
            ],
        );
        tokio::spawn({
            let store = store.clone();
            async move {
                for version in [7, 9] {
                    tokio::time::sleep(Duration::from_secs(2)).await;
                    store.apply(object("a", version));
                }
            }
        });
        let start = Instant::now();
        assert_eq!(
            log.caught_up(&Key::new("ns", "another"), &stores).await,
            (vec![], true)
        );
        assert_eq!(start.elapsed().as_secs(), 0, "others do not wait");
        assert_eq!(
            log.caught_up(&owner, &stores).await,
            (vec!["ConfigMap".to_owned()], true)
        );
        assert_eq!(start.elapsed().as_secs(), 4);
        assert_eq!(log.caught_up(&owner, &stores).await, (vec![], true), "once");
    }

    #[tokio::test(start_paused = true)]
    async fn a_deletion_is_waited_for_too_and_nothing_for_ever() {
        let (stores, store) = stores();
        let (log, owner) = (WriteLog::default(), Key::new("ns", "owner"));
        log.record(
            &owner,
            vec![written("ConfigMap", "a", Trace::Gone("uid-a".into()))],
        );
        let start = Instant::now();
        assert!(!log.caught_up(&owner, &stores).await.1);
        assert_eq!(start.elapsed(), CATCH_UP_LIMIT);
        log.record(
            &owner,
            vec![written("ConfigMap", "a", Trace::Gone("uid-a".into()))],
        );
        store.delete(&object("a", 12).metadata);
        assert_eq!(log.caught_up(&owner, &stores).await, (vec![], true));
    }
}
