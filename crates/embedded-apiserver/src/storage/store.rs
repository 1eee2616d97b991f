//! The in-memory state of a server over its storage engine: what readers and watchers ask.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use super::table::{Expired, Retention, Scope, Table};
use super::writer::{CommitError, Stage, Write};
use super::{Change, GroupResource, Object, Rows, Snapshot, Storage, StorageError};

/// How many changes a watch is given at once.
const PORTION: usize = 512;

/// Called with each change before anybody else sees it.
pub(crate) type Observer = Box<dyn Fn(&Change) + Send + Sync>;

/// A portion of a resource's history.
#[derive(Debug)]
pub(crate) struct Changes {
    pub changes: Vec<Arc<Change>>,
    /// Up to here the changes tell everything.
    pub upto: u64,
    /// Whether there are more already.
    pub more: bool,
}

#[derive(Debug)]
pub(super) struct State {
    pub revision: u64,
    /// Where the history of resources begins that nothing is known of.
    start: u64,
    tables: BTreeMap<GroupResource, Table>,
    feeds: Vec<mpsc::UnboundedSender<Arc<Change>>>,
    /// Revisions that the engine may drop, for its next batch.
    pub garbage: Vec<u64>,
}

impl State {
    fn table(&mut self, resource: &GroupResource) -> &mut Table {
        let start = self.start;
        self.tables
            .entry(resource.clone())
            .or_insert_with(|| Table::new(Rows::new(), start))
    }

    pub fn get(&self, resource: &GroupResource, key: &str) -> Option<&Arc<Object>> {
        self.tables.get(resource)?.rows().get(key)
    }

    pub fn floors(&self) -> BTreeMap<GroupResource, u64> {
        let tables = self.tables.iter();
        tables
            .map(|(resource, table)| (resource.clone(), table.floor()))
            .collect()
    }
}

/// What the store and the engine's answers share.
pub(super) struct Shared {
    pub state: Mutex<State>,
    pub stage: Mutex<Stage>,
    pub engine: Arc<dyn Storage>,
    pub retention: Retention,
    observer: OnceLock<Observer>,
}

impl Shared {
    /// Makes durable changes visible.
    pub fn publish(&self, changes: &[Arc<Change>]) {
        if let Some(observer) = self.observer.get() {
            changes.iter().for_each(|change| observer(change));
        }
        let now = Instant::now();
        let mut state = self.state.lock();
        let mut garbage = std::mem::take(&mut state.garbage);
        let mut wakes: Vec<Arc<Notify>> = Vec::new();
        for change in changes {
            state.revision = change.object.revision;
            state.feeds.retain(|feed| feed.send(change.clone()).is_ok());
            let table = state.table(&change.resource);
            table.apply(change, now);
            table.forget(self.retention, now, &mut garbage);
            if !wakes.iter().any(|wake| Arc::ptr_eq(wake, &table.wake)) {
                wakes.push(table.wake.clone());
            }
        }
        if self.engine.collects_garbage() {
            state.garbage = garbage;
        }
        drop(state);
        for wake in wakes {
            wake.notify_waiters();
        }
    }
}

/// The in-memory state of a server over its storage engine.
pub(crate) struct Store {
    shared: Arc<Shared>,
}

impl Store {
    /// Loads what the engine has; changes are remembered as `retention` says, for watches that resume.
    pub async fn open(engine: Arc<dyn Storage>, retention: Retention) -> Result<Self, StorageError> {
        let recovered = engine.load().await?;
        // Revision 0 means "any" to clients, so the first write must not be asked for with it.
        let (revision, start) = (recovered.snapshot.revision.max(1), recovered.floor.max(1));
        let floors = &recovered.floors;
        let floor = |resource: &GroupResource| floors.get(resource).map_or(start, |floor| start.max(*floor));
        let mut tables: BTreeMap<_, _> = recovered
            .snapshot
            .tables
            .into_iter()
            .map(|(resource, rows)| {
                let table = Table::new(rows, floor(&resource));
                (resource, table)
            })
            .collect();
        for resource in floors.keys() {
            tables
                .entry(resource.clone())
                .or_insert_with(|| Table::new(Rows::new(), floor(resource)));
        }
        let mut state = State {
            revision,
            start,
            tables,
            feeds: Vec::new(),
            garbage: recovered.garbage,
        };
        let now = Instant::now();
        for change in recovered.history {
            state.table(&change.resource).remember(change.clone(), now);
        }
        let shared = Shared {
            stage: Mutex::new(Stage::new(revision)),
            state: Mutex::new(state),
            engine,
            retention,
            observer: OnceLock::new(),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Tells every later change to `observer` before anybody else sees it. Only the first observer counts.
    pub fn observe(&self, observer: Observer) {
        let _ = self.shared.observer.set(observer);
    }

    /// A copy of everything.
    pub fn snapshot(&self) -> Snapshot {
        let state = self.shared.state.lock();
        let tables = state.tables.iter().filter(|(_, t)| !t.rows().is_empty());
        Snapshot {
            revision: state.revision,
            tables: tables.map(|(r, t)| (r.clone(), t.rows().clone())).collect(),
        }
    }

    /// All later changes of all resources, for the server's own controllers.
    pub fn feed(&self) -> mpsc::UnboundedReceiver<Arc<Change>> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.shared.state.lock().feeds.push(sender);
        receiver
    }

    /// The revision of the last write.
    pub fn revision(&self) -> u64 {
        self.shared.state.lock().revision
    }

    pub fn get(&self, resource: &GroupResource, key: &str) -> Option<Arc<Object>> {
        self.shared.state.lock().get(resource, key).cloned()
    }

    /// The objects of a resource, of one namespace or (empty) of all, and the revision at which this is true.
    pub fn list(&self, resource: &GroupResource, namespace: &str) -> (Vec<Arc<Object>>, u64) {
        let scope = Scope {
            namespace,
            ..Scope::default()
        };
        let (objects, _, revision) = self.page(resource, scope);
        (objects, revision)
    }

    /// A portion of the objects, how many follow, and the revision at which this is true.
    pub fn page(&self, resource: &GroupResource, scope: Scope<'_>) -> (Vec<Arc<Object>>, usize, u64) {
        let state = self.shared.state.lock();
        let table = state.tables.get(resource);
        let (objects, rest) = table.map(|table| table.select(scope)).unwrap_or_default();
        (objects, rest, state.revision)
    }

    /// As [`Store::page`], but at an earlier revision, by undoing what history tells.
    pub fn page_at(
        &self,
        resource: &GroupResource,
        scope: Scope<'_>,
        revision: u64,
    ) -> Result<(Vec<Arc<Object>>, usize), Expired> {
        let state = self.shared.state.lock();
        match state.tables.get(resource) {
            Some(table) => table.select_at(scope, revision),
            None if revision < state.start => Err(Expired { oldest: state.start }),
            None => Ok((Vec::new(), 0)),
        }
    }

    /// The names of all resources that hold objects.
    pub fn resources(&self) -> Vec<GroupResource> {
        let state = self.shared.state.lock();
        let tables = state.tables.iter().filter(|(_, t)| !t.rows().is_empty());
        tables.map(|(r, _)| r.clone()).collect()
    }

    /// What wakes watchers of a resource after each change.
    pub fn wake(&self, resource: &GroupResource) -> Arc<Notify> {
        self.shared.state.lock().table(resource).wake.clone()
    }

    /// The next changes after `revision`.
    pub fn since(&self, resource: &GroupResource, revision: u64) -> Result<Changes, Expired> {
        let mut state = self.shared.state.lock();
        let current = state.revision;
        let (changes, more) = state.table(resource).since(revision, PORTION)?;
        let upto = match changes.last() {
            Some(last) if more => last.object.revision,
            _ => current,
        };
        Ok(Changes { changes, upto, more })
    }

    /// Forgets all changes up to `revision`: watches and lists that go back further are told so.
    pub fn compact(&self, revision: u64) {
        let mut state = self.shared.state.lock();
        let revision = revision.min(state.revision);
        let mut garbage = std::mem::take(&mut state.garbage);
        for table in state.tables.values_mut() {
            table.forget_until(revision, &mut garbage);
        }
        state.start = state.start.max(revision);
        if self.shared.engine.collects_garbage() {
            state.garbage = garbage;
        }
    }

    /// Does one write and tells the new version of the object.
    pub async fn commit(&self, write: Write) -> Result<Arc<Object>, CommitError> {
        self.shared.clone().commit(write).await
    }
}
