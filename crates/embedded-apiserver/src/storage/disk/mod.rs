//! The engine that keeps objects in a file: redb, one durable transaction per batch.
//!
//! `record` is how a change is written, `database` the tables and what is read from them at start, `worker` the thread that
//! waits for the disk. Nothing here knows what a change means.

mod database;
#[cfg(test)]
mod drive;
#[cfg(test)]
mod power;
mod record;
#[cfg(test)]
mod tests;
mod worker;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use self::worker::{Order, Worker};
use super::{Batch, Done, Recovered, Storage, StorageError};

/// Opens the database, again after a failure.
type Open = Box<dyn Fn() -> Result<redb::Database, redb::DatabaseError> + Send>;

/// A [`Storage`] in one file. A batch is on disk when it is told to be: the file is synced once per batch.
pub struct DiskStorage {
    orders: Mutex<Option<Sender<Order>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    path: Arc<PathBuf>,
}

impl fmt::Debug for DiskStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskStorage")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl DiskStorage {
    /// Opens a file, or creates it, readable by its owner alone. One process at a time can have it open.
    pub fn open(path: &Path) -> Result<Self, StorageError> {
        let file = path.to_owned();
        Self::opened_by(path, Box::new(move || database::open_file(&file)))
    }

    /// Keeps the database in what `open` returns; it is called again after a failure. `path` is named in messages.
    fn opened_by(path: &Path, open: Open) -> Result<Self, StorageError> {
        let path = Arc::new(path.to_owned());
        let (orders, received) = channel();
        let worker = Worker::open(open, path.clone())?;
        let thread = std::thread::Builder::new()
            .name("storage".into())
            .spawn(move || worker.work(&received))
            .map_err(|error| StorageError::Failed {
                path: path.to_path_buf(),
                why: error.to_string(),
            })?;
        Ok(Self {
            orders: Mutex::new(Some(orders)),
            thread: Mutex::new(Some(thread)),
            path,
        })
    }

    fn order(&self, order: Order) {
        let orders = self.orders.lock().clone();
        // Should the thread have ended, the order is dropped, which tells whoever waits.
        if let Some(orders) = orders {
            let _ = orders.send(order);
        }
    }
}

#[async_trait]
impl Storage for DiskStorage {
    async fn load(&self) -> Result<Recovered, StorageError> {
        let (sender, receiver) = oneshot::channel();
        self.order(Order::Load(sender));
        receiver.await.unwrap_or(Err(StorageError::Ended))
    }

    fn append(&self, batch: Batch, done: Done) {
        self.order(Order::Append(batch, done));
    }
}

impl Drop for DiskStorage {
    /// Waits until the file is closed, so that it can be opened again.
    fn drop(&mut self) {
        self.orders.lock().take();
        if let Some(thread) = self.thread.lock().take()
            && thread.thread().id() != std::thread::current().id()
        {
            let _ = thread.join();
        }
    }
}
