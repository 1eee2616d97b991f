//! Reads the lists of all sessions, each in its own time.

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
    time::Duration,
};

use futures::{StreamExt, stream::FuturesUnordered};
use serde_json::Value;
use tokio::time::Instant;

use super::{Collection, Interest, Watches, list::Wake};
use crate::cloud::{Call, CloudError, Service, Session, Sessions};

/// How long after a list that failed the next one is tried, at first and at most.
const AFTER_FAILURE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));

impl Session {
    /// What somebody depends on from now on; it is woken when that changes.
    pub fn watch(&self, watcher: &str, wake: Wake, interests: Vec<Interest>) {
        self.watches().set(watcher, wake, interests);
    }

    /// Everything in a collection, by id, with what counts as a change.
    async fn present(&self, collection: Collection) -> Result<BTreeMap<String, String>, CloudError> {
        let (service, path, name, field, request) = match collection {
            Collection::Servers => return self.server_states().await,
            Collection::LoadBalancers => (
                Service::LoadBalancer,
                "/lbaas/loadbalancers",
                "loadbalancers",
                "provisioning_status",
                "loadbalancer_list",
            ),
            Collection::Volumes => (
                Service::Volume,
                "/volumes/detail",
                "volumes",
                "status",
                "volume_list",
            ),
            Collection::Networks => network("/networks", "networks", "network_list"),
            Collection::Routers => network("/routers", "routers", "router_list"),
            Collection::FloatingIps => network("/floatingips", "floatingips", "floating_ip_list"),
            Collection::SecurityGroups => network("/security-groups", "security_groups", "group_list"),
        };
        let mut call = Call::get(service, path, request);
        if service != Service::Volume {
            call = call.query("fields", "id").query("fields", field);
        }
        if let Some(project) = self.project_id().await? {
            call = call.query("project_id", project);
        }
        let items: Vec<Value> = self.list(call, name).await?;
        let known = |item: &Value| {
            let seen = match &item[field] {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            Some((item["id"].as_str()?.to_owned(), seen))
        };
        Ok(items.iter().filter_map(known).collect())
    }
}

type Listed = (Service, &'static str, &'static str, &'static str, &'static str);

fn network(path: &'static str, name: &'static str, request: &'static str) -> Listed {
    (Service::Network, path, name, "revision_number", request)
}

impl Sessions {
    /// Reads the lists of all sessions, for ever.
    pub async fn follow(self: Arc<Self>) {
        let mut lists = FuturesUnordered::new();
        loop {
            for session in self.open_sessions() {
                if session.watches().start() {
                    for collection in Collection::ALL {
                        lists.push(follow(Arc::downgrade(&session), collection));
                    }
                }
            }
            tokio::select! {
                biased;
                () = self.opened() => {}
                Some(()) = lists.next(), if !lists.is_empty() => {}
            }
        }
    }
}

/// Reads one list of one session until the session is gone.
async fn follow(session: Weak<Session>, collection: Collection) {
    let Some(watches) = session.upgrade().map(|session| session.watches().clone()) else {
        return;
    };
    let mut looked: Option<Instant> = None;
    let mut failures = 0;
    loop {
        let Some(open) = session.upgrade() else { return };
        let pause = pause(&open, &watches, collection, failures);
        drop(open);
        let due = pause.map(|pause| looked.map_or_else(Instant::now, |looked| looked + pause));
        tokio::select! {
            biased;
            () = reached(due) => {}
            // The pause may be another one now; sessions that nobody uses are noticed too.
            () = changed(&watches, collection) => continue,
        }
        let Some(open) = session.upgrade() else { return };
        let asked = Instant::now();
        looked = Some(asked);
        match open.present(collection).await {
            Ok(found) => {
                failures = 0;
                watches.compare(collection, asked, &found);
            }
            Err(error) => {
                failures += 1;
                tracing::debug!(%error, ?collection, "a list cannot be read");
                if error.is_authentication() {
                    // Who uses this session finds out why, and says so.
                    watches.alarm();
                }
            }
        }
    }
}

fn pause(session: &Session, watches: &Watches, collection: Collection, failures: u32) -> Option<Duration> {
    let pause = match failures {
        0 => watches.pause(collection)?,
        _ => {
            watches.pause(collection)?;
            let (first, longest) = AFTER_FAILURE;
            first.saturating_mul(1 << failures.min(6)).min(longest)
        }
    };
    Some(session.jittered(pause))
}

/// Comes back now and then even if nothing changed.
async fn changed(watches: &Watches, collection: Collection) {
    // Too late is as good as in time.
    let _ = tokio::time::timeout(Duration::from_secs(600), watches.changed(collection)).await;
}

async fn reached(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
