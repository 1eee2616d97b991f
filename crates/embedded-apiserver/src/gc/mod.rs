//! The garbage collector: objects whose owners are all gone go too; owners deleted in the foreground wait for those that
//! block them; owners deleted with orphaning free theirs first.
//!
//! It follows the store's changes and acts through ordinary requests. It never polls.

mod collect;
mod graph;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use crate::server::Inner;
use crate::storage::{Change, ChangeKind};
use graph::{Graph, Id};

/// Starts the collector; it ends with the server.
pub(crate) fn start(inner: &Arc<Inner>) {
    let mut feed = inner.store.feed();
    let (weak, shutdown) = (Arc::downgrade(inner), inner.shutdown.clone());
    let mut collector = Collector::default();
    for resource in inner.store.resources() {
        for object in inner.store.list(&resource, "").0 {
            collector.graph.insert(Id::of(&resource, &object), &object);
            collector.examine(Id::of(&resource, &object));
        }
    }
    tokio::spawn(async move {
        loop {
            while let Some(id) = collector.next() {
                let Some(inner) = weak.upgrade() else { return };
                collect::examine(&inner, &collector.graph, &id).await;
                while let Ok(change) = feed.try_recv() {
                    collector.note(&change);
                }
            }
            let change = tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                change = feed.recv() => change,
            };
            let Some(change) = change else { return };
            collector.note(&change);
        }
    });
}

#[derive(Default)]
struct Collector {
    graph: Graph,
    /// Objects to look at, in order.
    queue: VecDeque<Id>,
    /// The same objects, so that each is queued once.
    queued: BTreeSet<Id>,
}

impl Collector {
    fn examine(&mut self, id: Id) {
        if self.queued.insert(id.clone()) {
            self.queue.push_back(id);
        }
    }

    fn next(&mut self) -> Option<Id> {
        let id = self.queue.pop_front()?;
        self.queued.remove(&id);
        Some(id)
    }

    fn note(&mut self, change: &Change) {
        let id = Id::of(&change.resource, &change.object);
        let before = change
            .previous
            .iter()
            .flat_map(|p| p.owners.iter())
            .map(|o| o.uid.clone());
        match change.kind {
            ChangeKind::Deleted => {
                self.graph.remove(&id, change.previous.as_deref());
                for dependent in self.graph.dependents(&id.uid) {
                    self.examine(dependent);
                }
            }
            ChangeKind::Added | ChangeKind::Modified => {
                if let Some(previous) = &change.previous {
                    self.graph.remove(&id, Some(previous));
                }
                self.graph.insert(id.clone(), &change.object);
                if !change.object.owners.is_empty() || change.object.terminating {
                    self.examine(id);
                }
            }
        }
        // An owner that waits for this object may go on now.
        let uids: Vec<Box<str>> = before
            .chain(change.object.owners.iter().map(|o| o.uid.clone()))
            .collect();
        for uid in uids {
            if let Some(owner) = self.graph.waiting(&uid) {
                self.examine(owner);
            }
        }
    }
}
