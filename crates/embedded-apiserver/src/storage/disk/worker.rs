//! The thread that waits for the disk: it takes one order after the other and says when each is done.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use redb::Database;
use tokio::sync::oneshot;

use super::{Open, database};
use crate::storage::{Batch, Done, Recovered, StorageError};

pub(super) enum Order {
    Load(oneshot::Sender<Result<Recovered, StorageError>>),
    Append(Batch, Done),
}

pub(super) struct Worker {
    open: Open,
    path: Arc<PathBuf>,
    /// Closed after a failure, until the next order opens it again.
    database: Option<Database>,
    /// The revision of the last batch that is certainly on disk.
    revision: u64,
    /// Why nothing can be written any longer.
    failed: Option<StorageError>,
}

impl Worker {
    pub fn open(open: Open, path: Arc<PathBuf>) -> Result<Self, StorageError> {
        let mut worker = Self {
            open,
            path,
            database: None,
            revision: 0,
            failed: None,
        };
        let database = worker.reopen()?;
        worker.revision =
            database::revision(&database).map_err(|error| database::explain(error, &worker.path))?;
        worker.database = Some(database);
        Ok(worker)
    }

    pub fn work(mut self, orders: &Receiver<Order>) {
        while let Ok(order) = orders.recv() {
            match order {
                Order::Load(loaded) => {
                    let _ = loaded.send(self.load());
                }
                Order::Append(batch, done) => done.tell(self.append(&batch)),
            }
        }
    }

    fn reopen(&self) -> Result<Database, StorageError> {
        let database = (self.open)().map_err(|error| database::explain(error, &self.path))?;
        database::prepare(&database, &self.path)?;
        Ok(database)
    }

    fn load(&self) -> Result<Recovered, StorageError> {
        let database = self.database.as_ref().ok_or(StorageError::Ended)?;
        database::load(database, &self.path)
    }

    fn append(&mut self, batch: &Batch) -> Result<(), StorageError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let database = match self.database.take() {
            Some(database) => database,
            None => self.recover()?,
        };
        match database::write(&database, batch) {
            Ok(()) => {
                self.database = Some(database);
                self.revision = batch
                    .changes
                    .last()
                    .map_or(self.revision, |last| last.object.revision);
                Ok(())
            }
            Err(error) => {
                drop(database);
                let error = database::explain(error, &self.path);
                // The database takes no more writes before it is opened again, which also tells whether the batch is there.
                match self.recover() {
                    Ok(database) => self.database = Some(database),
                    Err(why) => tracing::warn!(error = %why, "the storage stays closed until the next write"),
                }
                Err(self.failed.clone().unwrap_or(error))
            }
        }
    }

    /// Opens the file after a failure. A batch that was refused must not be there: the server went on without it.
    fn recover(&mut self) -> Result<Database, StorageError> {
        let database = self.reopen()?;
        let found = database::revision(&database).map_err(|error| database::explain(error, &self.path))?;
        if found != self.revision {
            let why = format!(
                "revision {found} was found where {} was the last that is certain",
                self.revision
            );
            let error = StorageError::Unsure {
                path: self.path.to_path_buf(),
                why,
            };
            self.failed = Some(error.clone());
            return Err(error);
        }
        Ok(database)
    }
}
