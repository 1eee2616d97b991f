//! Where objects live: an in-memory table per resource, one global revision, and a short history for watches.
//!
//! [`Store`] is the only writer: `writer` checks, numbers and groups writes, `table` holds what readers see. A [`Storage`]
//! engine behind it makes batches durable; it is asked once at start for everything and then receives each batch before it
//! becomes visible. Nothing here knows HTTP, kinds or schemas.

mod disk;
mod memory;
mod object;
mod store;
mod table;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;

pub use disk::DiskStorage;
pub use memory::MemoryStorage;
pub use object::{Object, OwnerReference, object_key};
pub(crate) use store::Store;
pub(crate) use table::{Expired, Retention, Scope};
pub(crate) use writer::{CommitError, Expect, Write};

/// An API group and a plural resource name, for example `machines.cluster.x-k8s.io`; cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupResource {
    /// The API group; empty for the core group.
    pub group: Arc<str>,
    /// The plural name.
    pub resource: Arc<str>,
}

impl GroupResource {
    /// Names a resource.
    pub fn new(group: &str, resource: &str) -> Self {
        Self {
            group: group.into(),
            resource: resource.into(),
        }
    }
}

impl fmt::Display for GroupResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.group.is_empty() {
            true => f.write_str(&self.resource),
            false => write!(f, "{}.{}", self.resource, self.group),
        }
    }
}

/// The objects of one resource by key (`namespace/name`, or `name` when cluster-scoped), in the order lists have.
pub type Rows = BTreeMap<Box<str>, Arc<Object>>;

/// Everything a server holds at one revision.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// The revision of the last write.
    pub revision: u64,
    /// The rows of every resource.
    pub tables: BTreeMap<GroupResource, Rows>,
}

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

/// What an engine found when it was opened.
#[derive(Debug, Clone, Default)]
pub struct Recovered {
    /// What is stored.
    pub snapshot: Snapshot,
    /// The changes that lead there, as far as they are still known, by revision.
    pub history: Vec<Arc<Change>>,
    /// Where a resource's history begins, if earlier changes were forgotten: all changes above are in `history`.
    pub floors: BTreeMap<GroupResource, u64>,
    /// Where the history of all other resources begins.
    pub floor: u64,
    /// Revisions that are still stored and that nobody needs.
    pub garbage: Vec<u64>,
}

/// What is to be made durable in one go.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// The writes, by revision.
    pub changes: Vec<Arc<Change>>,
    /// Revisions whose text nobody needs any longer.
    pub garbage: Vec<u64>,
    /// Where history begins since then, for the resources concerned.
    pub floors: BTreeMap<GroupResource, u64>,
}

/// Told once when a batch is durable, or why it is not. Dropping it tells that the engine has ended.
pub struct Done(Option<Told>);

/// Hears whether the writes are safe.
type Told = Box<dyn FnOnce(Result<(), StorageError>) + Send>;

impl Done {
    /// Calls `told` with the outcome.
    pub fn new(told: impl FnOnce(Result<(), StorageError>) + Send + 'static) -> Self {
        Self(Some(Box::new(told)))
    }

    /// Tells the outcome.
    pub fn tell(mut self, outcome: Result<(), StorageError>) {
        if let Some(told) = self.0.take() {
            told(outcome);
        }
    }
}

impl Drop for Done {
    fn drop(&mut self) {
        if let Some(told) = self.0.take() {
            told(Err(StorageError::Ended));
        }
    }
}

impl fmt::Debug for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Done")
    }
}

/// Why an engine could not do its work.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StorageError {
    /// Another process has the file open.
    #[error("{} is in use by another process: end that process, or choose another data directory", .0.display())]
    Locked(PathBuf),
    /// The file is not what was written.
    #[error("{} is damaged ({why}): put back a copy of it, or remove it to start with nothing", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        why: String,
    },
    /// The file was written by a program that is newer than this one.
    #[error("{} has format {found}, this program knows format {known}: use a newer program", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// The format of the file.
        found: u64,
        /// The format that is written here.
        known: u64,
    },
    /// The file may not be written.
    #[error("{} cannot be written ({why}): check its owner, its mode and how its file system is mounted", path.display())]
    NotWritable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        why: String,
    },
    /// There is no room.
    #[error("no space left for {}: free some, then writes work again", .0.display())]
    Full(PathBuf),
    /// Anything else.
    #[error("{}: {why}", path.display())]
    Failed {
        /// The file.
        path: PathBuf,
        /// What happened.
        why: String,
    },
    /// A write may or may not be on disk, so nothing can be built upon it.
    #[error("{} failed in the middle of a write ({why}): restart the server", path.display())]
    Unsure {
        /// The file.
        path: PathBuf,
        /// What happened.
        why: String,
    },
    /// The engine has ended.
    #[error("the storage engine has ended: restart the server")]
    Ended,
}

/// A storage engine: keeps what [`Store`] commits.
#[async_trait]
pub trait Storage: Send + Sync + 'static {
    /// Everything that was stored; called once, before the server takes requests.
    async fn load(&self) -> Result<Recovered, StorageError>;

    /// Makes a batch durable, all of it or nothing, and tells `done`. It becomes visible to clients only then. The next batch
    /// comes after that.
    fn append(&self, batch: Batch, done: Done);

    /// Whether texts that nobody needs must be named to the engine.
    fn collects_garbage(&self) -> bool {
        true
    }
}
