//! Where objects live: an in-memory table per resource, one global revision, and a short history for watches.
//!
//! [`Store`] is the only writer. A [`Storage`] engine behind it makes rows durable; it is asked once at start for
//! everything and then receives each batch before it becomes visible. Nothing here knows HTTP, kinds or schemas.

mod memory;
mod object;
mod store;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

pub use memory::MemoryStorage;
pub use object::{Object, OwnerReference, object_key};
pub use store::{Change, ChangeKind};
pub(crate) use store::{CommitError, Expect, Expired, Store, Write};

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

/// One row that changed.
#[derive(Debug, Clone)]
pub struct Row {
    /// The resource the row belongs to.
    pub resource: GroupResource,
    /// The row's key.
    pub key: Box<str>,
    /// The revision of the change.
    pub revision: u64,
    /// The new object; `None` when it was deleted.
    pub object: Option<Arc<Object>>,
}

/// Why an engine could not do its work.
#[derive(Debug, thiserror::Error)]
#[error("storage engine: {0}")]
pub struct StorageError(pub String);

/// A storage engine: keeps what [`Store`] commits.
#[async_trait]
pub trait Storage: Send + Sync + 'static {
    /// Everything that was stored; called once, before the server takes requests.
    async fn load(&self) -> Result<Snapshot, StorageError>;

    /// Makes a batch durable. It becomes visible to clients only after this returned.
    async fn append(&self, batch: &[Row]) -> Result<(), StorageError>;
}
