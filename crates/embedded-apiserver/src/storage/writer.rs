//! The one writer: checks what a write expects, assigns the next revision, and groups writes into batches.
//!
//! While the engine makes one batch durable, later writes gather behind it and go together in the next one, so that many
//! clients share one wait for the disk. A write is checked against all writes before it, durable or not; it becomes visible,
//! in the order of revisions, when it is durable.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use tokio::sync::oneshot;

use super::store::Shared;
use super::{Batch, Change, ChangeKind, Done, GroupResource, Object, StorageError};

/// So many revisions without use are named to the engine in one go.
const GARBAGE: usize = 512;
/// The largest batch; bounds how long the last of it waits.
const LARGEST: usize = 512;

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

type Outcome = oneshot::Sender<Result<(), StorageError>>;
type Key = (GroupResource, Box<str>);

/// The last write to a key that is not visible yet.
struct Ahead {
    change: Arc<Change>,
    /// Those who must see it before they try again.
    waiting: Vec<Outcome>,
}

struct Queued {
    change: Arc<Change>,
    outcome: Outcome,
}

/// Writes between check and visibility.
pub(super) struct Stage {
    /// The revision of the last write that was checked.
    revision: u64,
    ahead: BTreeMap<Key, Ahead>,
    queue: Vec<Queued>,
    /// Whether the engine has a batch.
    busy: bool,
    /// Whether somebody hands batches to the engine at this moment.
    pumping: bool,
}

impl Stage {
    pub fn new(revision: u64) -> Self {
        Self {
            revision,
            ahead: BTreeMap::new(),
            queue: Vec::new(),
            busy: false,
            pumping: false,
        }
    }
}

enum Staged {
    /// The write is on its way.
    Queued(Arc<Object>, oneshot::Receiver<Result<(), StorageError>>),
    /// It cannot be done because of one that is on its way.
    Behind(CommitError, oneshot::Receiver<Result<(), StorageError>>),
}

impl Shared {
    pub async fn commit(self: Arc<Self>, write: Write) -> Result<Arc<Object>, CommitError> {
        let staged = self.stage(write)?;
        self.pump();
        let (result, mut outcome) = match staged {
            Staged::Queued(object, outcome) => (Ok(object), outcome),
            Staged::Behind(error, outcome) => (Err(error), outcome),
        };
        // Without a disk it is done already.
        let told = match outcome.try_recv() {
            Ok(told) => Ok(told),
            Err(_) => outcome.await,
        };
        match told.unwrap_or(Err(StorageError::Ended)) {
            Ok(()) => result,
            Err(error) => result.and(Err(CommitError::Engine(error))),
        }
    }

    /// Checks a write and queues it.
    fn stage(&self, write: Write) -> Result<Staged, CommitError> {
        let mut stage = self.stage.lock();
        let key = (write.resource, write.key);
        let previous = match stage.ahead.get(&key) {
            Some(ahead) => (ahead.change.kind != ChangeKind::Deleted).then(|| ahead.change.object.clone()),
            None => self.state.lock().get(&key.0, &key.1).cloned(),
        };
        let refused = match (write.expect, &previous) {
            (Expect::Absent, Some(_)) => Some(CommitError::Exists),
            (Expect::Revision(expected), Some(found)) if found.revision != expected => {
                Some(CommitError::Changed)
            }
            (Expect::Revision(_), None) => Some(CommitError::Changed),
            _ => None,
        };
        if let Some(error) = refused {
            let Some(ahead) = stage.ahead.get_mut(&key) else {
                return Err(error);
            };
            let (sender, receiver) = oneshot::channel();
            ahead.waiting.push(sender);
            return Ok(Staged::Behind(error, receiver));
        }
        let revision = stage.revision + 1;
        let object = Arc::new(Object::freeze(write.value, revision));
        let kind = match (write.delete, &previous) {
            (true, _) => ChangeKind::Deleted,
            (false, None) => ChangeKind::Added,
            (false, Some(_)) => ChangeKind::Modified,
        };
        let change = Arc::new(Change {
            kind,
            resource: key.0.clone(),
            object: object.clone(),
            previous,
        });
        let (outcome, receiver) = oneshot::channel();
        stage.revision = revision;
        let waiting = stage.ahead.remove(&key).map(|ahead| ahead.waiting);
        let ahead = Ahead {
            change: change.clone(),
            waiting: waiting.unwrap_or_default(),
        };
        stage.ahead.insert(key, ahead);
        stage.queue.push(Queued { change, outcome });
        Ok(Staged::Queued(object, receiver))
    }

    /// Hands batches to the engine while it is free and there are any.
    fn pump(self: &Arc<Self>) {
        let mut stage = self.stage.lock();
        if stage.pumping {
            return;
        }
        stage.pumping = true;
        while !stage.busy && !stage.queue.is_empty() {
            stage.busy = true;
            let taken = stage.queue.len().min(LARGEST);
            let queued: Vec<Queued> = stage.queue.drain(..taken).collect();
            drop(stage);
            let (changes, outcomes): (Vec<_>, Vec<_>) =
                queued.into_iter().map(|q| (q.change, q.outcome)).unzip();
            let batch = self.batch(&changes);
            let shared = Arc::downgrade(self);
            let done = Done::new(move |outcome| {
                // A server that is gone has nobody who waits.
                let Some(shared) = shared.upgrade() else { return };
                let told = shared.settle(&changes, outcomes, &outcome);
                shared.pump();
                // Whoever is told may close the store at once, which waits for the engine's thread, which may be this one.
                drop(shared);
                for waiting in told {
                    // Whoever does not wait any longer has gone.
                    let _ = waiting.send(outcome.clone());
                }
            });
            self.engine.append(batch, done);
            stage = self.stage.lock();
        }
        stage.pumping = false;
    }

    fn batch(&self, changes: &[Arc<Change>]) -> Batch {
        let mut state = self.state.lock();
        let collects = state.garbage.len() >= GARBAGE;
        let (garbage, floors) = match collects {
            true => (std::mem::take(&mut state.garbage), state.floors()),
            false => Default::default(),
        };
        Batch {
            changes: changes.to_vec(),
            garbage,
            floors,
        }
    }

    /// Makes a durable batch visible, or takes back one that failed with all that was built upon it. Returns all who wait for
    /// that.
    fn settle(
        &self,
        changes: &[Arc<Change>],
        mut told: Vec<Outcome>,
        result: &Result<(), StorageError>,
    ) -> Vec<Outcome> {
        match result {
            Ok(()) => {
                self.publish(changes);
                let mut stage = self.stage.lock();
                stage.busy = false;
                for change in changes {
                    let key = (change.resource.clone(), change.object.key());
                    let last = stage
                        .ahead
                        .get(&key)
                        .is_some_and(|ahead| ahead.change.object.revision == change.object.revision);
                    if last && let Some(ahead) = stage.ahead.remove(&key) {
                        told.extend(ahead.waiting);
                    }
                }
            }
            Err(error) => {
                tracing::error!(%error, "writes were not stored");
                let visible = self.state.lock().revision;
                let mut stage = self.stage.lock();
                stage.busy = false;
                stage.revision = visible;
                told.extend(std::mem::take(&mut stage.queue).into_iter().map(|q| q.outcome));
                told.extend(
                    std::mem::take(&mut stage.ahead)
                        .into_values()
                        .flat_map(|ahead| ahead.waiting),
                );
            }
        }
        told
    }
}
