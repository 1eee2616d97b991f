//! The engine that keeps nothing: objects live in the server's memory and end with it.

use async_trait::async_trait;

use super::{Batch, Done, Recovered, Snapshot, Storage, StorageError};

/// A [`Storage`] without durability, optionally started from a [`Snapshot`] (see `Server::fork`).
#[derive(Debug, Clone, Default)]
pub struct MemoryStorage {
    initial: Snapshot,
}

impl MemoryStorage {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// A store that starts with `snapshot`.
    pub fn starting_from(snapshot: Snapshot) -> Self {
        Self { initial: snapshot }
    }

    /// The revision of the last write in the snapshot this store starts from.
    pub fn revision(&self) -> u64 {
        self.initial.revision
    }

    /// What this store starts from.
    pub fn snapshot(&self) -> &Snapshot {
        &self.initial
    }
}

#[async_trait]
impl Storage for MemoryStorage {
    async fn load(&self) -> Result<Recovered, StorageError> {
        Ok(Recovered {
            snapshot: self.initial.clone(),
            floor: self.initial.revision,
            ..Recovered::default()
        })
    }

    fn append(&self, _batch: Batch, done: Done) {
        done.tell(Ok(()));
    }

    fn collects_garbage(&self) -> bool {
        false
    }
}
