//! The one writer: checks what a write expects, assigns the next revision, keeps history and wakes watchers.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::{Mutex as AsyncMutex, Notify, mpsc};

use super::{GroupResource, Object, Row, Rows, Snapshot, Storage, StorageError};

/// What happened to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// It was created.
    Added,
    /// It was changed.
    Modified,
    /// It was deleted.
    Deleted,
}

/// One write, as watchers see it.
#[derive(Debug, Clone)]
pub struct Change {
    /// What happened.
    pub kind: ChangeKind,
    /// The resource.
    pub resource: GroupResource,
    /// The object after the write; when deleted, its last state with the revision of the deletion.
    pub object: Arc<Object>,
    /// The object before the write.
    pub previous: Option<Arc<Object>>,
}

/// What a write expects to find.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Expect {
    Absent,
    Revision(u64),
}

/// One write.
#[derive(Debug)]
pub(crate) struct Write {
    pub resource: GroupResource,
    pub key: Box<str>,
    pub expect: Expect,
    pub value: Value,
    pub delete: bool,
}

/// Why a write was not done.
#[derive(Debug)]
pub(crate) enum CommitError {
    /// Something is there already.
    Exists,
    /// The object changed or went away since it was read.
    Changed,
    Engine(StorageError),
}

/// The asked-for revision is older than the history.
#[derive(Debug)]
pub(crate) struct Expired {
    pub oldest: u64,
}

#[derive(Debug)]
struct Table {
    rows: Rows,
    history: VecDeque<Arc<Change>>,
    /// History is complete for revisions above this one.
    floor: u64,
    wake: Arc<Notify>,
}

impl Table {
    fn new(rows: Rows, floor: u64) -> Self {
        Self {
            rows,
            history: VecDeque::new(),
            floor,
            wake: Arc::new(Notify::new()),
        }
    }

    fn record(&mut self, change: Arc<Change>, limit: usize) {
        self.history.push_back(change);
        while self.history.len() > limit {
            if let Some(dropped) = self.history.pop_front() {
                self.floor = dropped.object.revision;
            }
        }
    }
}

#[derive(Debug)]
struct State {
    revision: u64,
    /// The revision the server started with: no table has history from before.
    start: u64,
    tables: BTreeMap<GroupResource, Table>,
    feeds: Vec<mpsc::UnboundedSender<Arc<Change>>>,
}

impl State {
    fn table(&mut self, resource: &GroupResource) -> &mut Table {
        let start = self.start;
        self.tables
            .entry(resource.clone())
            .or_insert_with(|| Table::new(Rows::new(), start))
    }
}

/// The in-memory state of a server over its storage engine.
pub(crate) struct Store {
    state: Mutex<State>,
    engine: Arc<dyn Storage>,
    /// Held over check, append and publish, so that revisions become visible in order.
    writer: AsyncMutex<()>,
    history: usize,
}

impl Store {
    /// Loads what the engine has; `history` changes per resource are kept for watches that resume.
    pub async fn open(engine: Arc<dyn Storage>, history: usize) -> Result<Self, StorageError> {
        let snapshot = engine.load().await?;
        // Revision 0 means "any" to clients, so the first write must not be asked for with it.
        let revision = snapshot.revision.max(1);
        let tables = snapshot
            .tables
            .into_iter()
            .map(|(r, rows)| (r, Table::new(rows, revision)))
            .collect();
        let state = State {
            revision,
            start: revision,
            tables,
            feeds: Vec::new(),
        };
        Ok(Self {
            state: Mutex::new(state),
            engine,
            writer: AsyncMutex::new(()),
            history: history.max(1),
        })
    }

    /// A copy of everything.
    pub fn snapshot(&self) -> Snapshot {
        let state = self.state.lock();
        let tables = state.tables.iter().filter(|(_, t)| !t.rows.is_empty());
        Snapshot {
            revision: state.revision,
            tables: tables.map(|(r, t)| (r.clone(), t.rows.clone())).collect(),
        }
    }

    /// All later changes of all resources, for the server's own controllers.
    pub fn feed(&self) -> mpsc::UnboundedReceiver<Arc<Change>> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.state.lock().feeds.push(sender);
        receiver
    }

    /// The revision of the last write.
    pub fn revision(&self) -> u64 {
        self.state.lock().revision
    }

    pub fn get(&self, resource: &GroupResource, key: &str) -> Option<Arc<Object>> {
        self.state.lock().tables.get(resource)?.rows.get(key).cloned()
    }

    /// The objects of a resource, of one namespace or (empty) of all, and the revision at which this is true.
    pub fn list(&self, resource: &GroupResource, namespace: &str) -> (Vec<Arc<Object>>, u64) {
        let state = self.state.lock();
        let objects = state
            .tables
            .get(resource)
            .map(|table| select(&table.rows, namespace))
            .unwrap_or_default();
        (objects, state.revision)
    }

    /// As [`Store::list`], but at an earlier revision, by undoing what history tells.
    pub fn list_at(
        &self,
        resource: &GroupResource,
        namespace: &str,
        revision: u64,
    ) -> Result<Vec<Arc<Object>>, Expired> {
        let state = self.state.lock();
        let Some(table) = state.tables.get(resource) else {
            return Ok(Vec::new());
        };
        if revision < table.floor {
            return Err(Expired { oldest: table.floor });
        }
        let mut rows = table.rows.clone();
        for change in table
            .history
            .iter()
            .rev()
            .take_while(|c| c.object.revision > revision)
        {
            match &change.previous {
                Some(previous) => rows.insert(previous.key(), previous.clone()),
                None => rows.remove(&change.object.key()),
            };
        }
        Ok(select(&rows, namespace))
    }

    /// The names of all resources that hold objects.
    pub fn resources(&self) -> Vec<GroupResource> {
        let state = self.state.lock();
        state
            .tables
            .iter()
            .filter(|(_, t)| !t.rows.is_empty())
            .map(|(r, _)| r.clone())
            .collect()
    }

    /// What wakes watchers of a resource after each change.
    pub fn wake(&self, resource: &GroupResource) -> Arc<Notify> {
        self.state.lock().table(resource).wake.clone()
    }

    /// The changes after `revision`, and the current revision.
    pub fn since(&self, resource: &GroupResource, revision: u64) -> Result<(Vec<Arc<Change>>, u64), Expired> {
        let mut state = self.state.lock();
        let current = state.revision;
        let table = state.table(resource);
        if revision < table.floor {
            return Err(Expired { oldest: table.floor });
        }
        let first = table.history.partition_point(|c| c.object.revision <= revision);
        Ok((table.history.range(first..).cloned().collect(), current))
    }

    /// Does one write and tells the new version of the object.
    pub async fn commit(&self, write: Write) -> Result<Arc<Object>, CommitError> {
        let _turn = self.writer.lock().await;
        let (previous, revision) = {
            let state = self.state.lock();
            let previous = state
                .tables
                .get(&write.resource)
                .and_then(|t| t.rows.get(&write.key))
                .cloned();
            (previous, state.revision + 1)
        };
        match (write.expect, &previous) {
            (Expect::Absent, Some(_)) => return Err(CommitError::Exists),
            (Expect::Revision(expected), Some(found)) if found.revision != expected => {
                return Err(CommitError::Changed);
            }
            (Expect::Revision(_), None) => return Err(CommitError::Changed),
            _ => {}
        }
        let object = Arc::new(Object::freeze(write.value, revision));
        let kind = match (write.delete, &previous) {
            (true, _) => ChangeKind::Deleted,
            (false, None) => ChangeKind::Added,
            (false, Some(_)) => ChangeKind::Modified,
        };
        let stored = (!write.delete).then(|| object.clone());
        let row = Row {
            resource: write.resource.clone(),
            key: write.key,
            revision,
            object: stored,
        };
        self.engine
            .append(std::slice::from_ref(&row))
            .await
            .map_err(CommitError::Engine)?;
        self.publish(
            row,
            Change {
                kind,
                resource: write.resource,
                object: object.clone(),
                previous,
            },
        );
        Ok(object)
    }

    fn publish(&self, row: Row, change: Change) {
        let change = Arc::new(change);
        let mut state = self.state.lock();
        state.revision = row.revision;
        state.feeds.retain(|feed| feed.send(change.clone()).is_ok());
        let table = state.table(&row.resource);
        match row.object {
            Some(object) => table.rows.insert(row.key, object),
            None => table.rows.remove(&row.key),
        };
        table.record(change, self.history);
        table.wake.notify_waiters();
    }
}

fn select(rows: &Rows, namespace: &str) -> Vec<Arc<Object>> {
    if namespace.is_empty() {
        return rows.values().cloned().collect();
    }
    // '0' follows '/', so this is the range of all keys that start with "namespace/".
    let (from, to) = (format!("{namespace}/"), format!("{namespace}0"));
    let range = (Bound::Included(from.as_str()), Bound::Excluded(to.as_str()));
    rows.range::<str, _>(range)
        .map(|(_, object)| object.clone())
        .collect()
}
