//! The engine that keeps nothing: objects live in the server's memory and end with it.

use async_trait::async_trait;

use super::{Row, Snapshot, Storage, StorageError};

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
    async fn load(&self) -> Result<Snapshot, StorageError> {
        Ok(self.initial.clone())
    }

    async fn append(&self, _batch: &[Row]) -> Result<(), StorageError> {
        Ok(())
    }
}
