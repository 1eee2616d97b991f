//! The server's own small controllers besides garbage collection: namespaces and custom resource definitions that are
//! being deleted take their contents with them. They act on changes, never on timers.

pub(crate) mod bootstrap;
mod definitions;
pub(crate) mod expiry;
mod namespaces;

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};

use jiff::Timestamp;

use crate::disruption::Disruption;
use crate::server::{Inner, definitions as definition_resource, namespaces as namespace_resource};
use crate::storage::{Change, ChangeKind, GroupResource};

/// Starts the controllers; they end with the server.
pub(crate) fn start(inner: &Arc<Inner>) {
    let mut feed = inner.store.feed();
    let (weak, shutdown) = (Arc::downgrade(inner), inner.shutdown.clone());
    let mut terminating = Terminating::default();
    for namespace in inner
        .store
        .list(&namespace_resource(), "")
        .0
        .iter()
        .filter(|n| n.terminating)
    {
        terminating.namespaces.insert(namespace.name.to_string());
    }
    for definition in inner
        .store
        .list(&definition_resource(), "")
        .0
        .iter()
        .filter(|d| d.terminating)
    {
        terminating.definitions.insert(definition.name.to_string());
    }
    let mut disruption = Disruption::load(inner);
    tokio::spawn(async move {
        terminating.work(&weak).await;
        if let Some(inner) = weak.upgrade() {
            disruption.work(&inner).await;
        }
        loop {
            let due = disruption.again.as_ref().map(|(due, _)| *due);
            let change = tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                change = feed.recv() => match change {
                    Some(change) => Some(change),
                    None => return,
                },
                () = until(&weak, due) => None,
            };
            let Some(inner) = weak.upgrade() else { return };
            let mut busy = change.as_ref().is_some_and(|c| disruption.note(&inner, c));
            let mut ending = change.as_ref().is_some_and(|c| terminating.note(c));
            // What else has happened by now is done in one go.
            while let Ok(change) = feed.try_recv() {
                busy |= disruption.note(&inner, &change);
                ending |= terminating.note(&change);
            }
            if ending {
                terminating.work(&weak).await;
            }
            disruption.wake(&inner);
            if busy || change.is_none() {
                disruption.work(&inner).await;
            }
        }
    });
}

/// Waits until a time of the server's clock; for ever when there is none.
async fn until(weak: &Weak<Inner>, due: Option<Timestamp>) {
    let (Some(due), Some(inner)) = (due, weak.upgrade()) else {
        return std::future::pending().await;
    };
    let left = due.duration_since(inner.now()).max(jiff::SignedDuration::ZERO);
    drop(inner);
    // A second more, since times in objects have no fractions.
    let left = std::time::Duration::try_from(left).unwrap_or_default() + std::time::Duration::from_secs(1);
    tokio::time::sleep(left).await;
}

/// What is being deleted and not gone yet.
#[derive(Default)]
struct Terminating {
    namespaces: BTreeSet<String>,
    definitions: BTreeSet<String>,
}

impl Terminating {
    /// Takes a change in; tells whether there may be work now.
    fn note(&mut self, change: &Change) -> bool {
        let object = &change.object;
        let set = match &change.resource {
            gr if *gr == namespace_resource() => &mut self.namespaces,
            gr if *gr == definition_resource() => &mut self.definitions,
            gr => return change.kind == ChangeKind::Deleted && self.concerns(gr, &object.namespace),
        };
        match change.kind {
            ChangeKind::Deleted => {
                set.remove(&*object.name);
                false
            }
            _ if object.terminating => {
                set.insert(object.name.to_string());
                true
            }
            _ => false,
        }
    }

    fn concerns(&self, gr: &GroupResource, namespace: &str) -> bool {
        self.namespaces.contains(namespace)
            || (!self.definitions.is_empty() && self.definitions.contains(&gr.to_string()))
    }

    async fn work(&self, weak: &Weak<Inner>) {
        let Some(inner) = weak.upgrade() else { return };
        for name in &self.definitions {
            definitions::clean_up(&inner, name).await;
        }
        for name in &self.namespaces {
            namespaces::clean_up(&inner, name).await;
        }
    }
}
