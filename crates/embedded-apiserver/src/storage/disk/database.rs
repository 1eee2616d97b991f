//! The tables of the file, and everything that is read from them at start.
//!
//! Changes are kept by revision, each with the object's whole text, and nothing else is written per change: the newest
//! change of a key is what is stored, older ones are history. Compaction removes the texts that history needs no longer.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition};

use super::record;
use crate::storage::{Batch, Change, ChangeKind, GroupResource, Recovered, Snapshot, StorageError};

const CHANGES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("changes");
/// Where history begins, by group and resource.
const FLOORS: TableDefinition<'_, (&str, &str), u64> = TableDefinition::new("floors");
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
/// The layout of these tables.
const FORMAT: u64 = 1;
/// A revision that was reached; the newest change may have been a deletion that is compacted by now.
const REVISION: &str = "revision";
/// Everything is in memory already; the database needs room for the pages it changes only.
const CACHE: usize = 16 << 20;

/// Opens a file, or creates it. A new one is made under another name, which it changes when it is whole: what a crash leaves
/// of it is never taken for somebody's data.
pub(super) fn open_file(path: &Path) -> Result<Database, DatabaseError> {
    let open = |path: &Path, fresh: bool| {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(fresh)
            .truncate(fresh)
            .mode(0o600)
            .open(path)
    };
    let builder = || {
        let mut builder = redb::Builder::new();
        builder.set_cache_size(CACHE);
        builder
    };
    if path.exists() {
        return builder().create_file(open(path, false)?);
    }
    let new = path.with_added_extension("new");
    let database = builder().create_file(open(&new, true)?)?;
    std::fs::rename(&new, path)?;
    if let Some(directory) = path.parent() {
        // The name must survive a power cut too.
        std::fs::File::open(directory)?.sync_all()?;
    }
    Ok(database)
}

/// What to tell about a failure.
pub(super) fn explain(error: impl Into<redb::Error>, path: &Path) -> StorageError {
    let path = path.to_owned();
    match error.into() {
        redb::Error::DatabaseAlreadyOpen => StorageError::Locked(path),
        redb::Error::Corrupted(why) => StorageError::Damaged { path, why },
        redb::Error::UpgradeRequired(version) => StorageError::Damaged {
            path,
            why: format!("file format {version}"),
        },
        redb::Error::Io(error) => match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                StorageError::Full(path)
            }
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => StorageError::NotWritable {
                path,
                why: error.to_string(),
            },
            ErrorKind::InvalidData | ErrorKind::UnexpectedEof => StorageError::Damaged {
                path,
                why: error.to_string(),
            },
            _ => StorageError::Failed {
                path,
                why: error.to_string(),
            },
        },
        other => StorageError::Failed {
            path,
            why: other.to_string(),
        },
    }
}

/// Makes sure that the tables are there and that their layout is known.
pub(super) fn prepare(database: &Database, path: &Path) -> Result<(), StorageError> {
    let format = format(database).map_err(|error| explain(error, path))?;
    match format {
        Some(FORMAT) => Ok(()),
        Some(found) => Err(StorageError::Format {
            path: path.to_owned(),
            found,
            known: FORMAT,
        }),
        None => create(database).map_err(|error| explain(error, path)),
    }
}

fn format(database: &Database) -> Result<Option<u64>, redb::Error> {
    let transaction = database.begin_read()?;
    match transaction.open_table(META) {
        Ok(meta) => Ok(meta.get("format")?.map(|format| format.value())),
        Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn create(database: &Database) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    transaction.open_table(CHANGES)?;
    transaction.open_table(FLOORS)?;
    transaction.open_table(META)?.insert("format", FORMAT)?;
    Ok(transaction.commit()?)
}

/// The revision of the last change.
pub(super) fn revision(database: &Database) -> Result<u64, redb::Error> {
    let transaction = database.begin_read()?;
    let last = transaction
        .open_table(CHANGES)?
        .last()?
        .map(|(revision, _)| revision.value());
    let reached = transaction
        .open_table(META)?
        .get(REVISION)?
        .map(|revision| revision.value());
    Ok(last.max(reached).unwrap_or(0))
}

/// Writes a batch, durably, all of it or nothing.
pub(super) fn write(database: &Database, batch: &Batch) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut changes = transaction.open_table(CHANGES)?;
        let mut bytes = Vec::new();
        for change in &batch.changes {
            record::encode(change, &mut bytes);
            changes.insert(change.object.revision, bytes.as_slice())?;
        }
        for revision in &batch.garbage {
            changes.remove(revision)?;
        }
    }
    if !batch.floors.is_empty() {
        let mut floors = transaction.open_table(FLOORS)?;
        for (resource, floor) in &batch.floors {
            floors.insert((&*resource.group, &*resource.resource), floor)?;
        }
        if let Some(last) = batch.changes.last() {
            transaction
                .open_table(META)?
                .insert(REVISION, last.object.revision)?;
        }
    }
    Ok(transaction.commit()?)
}

/// Everything that is stored.
pub(super) fn load(database: &Database, path: &Path) -> Result<Recovered, StorageError> {
    let damaged = |why| StorageError::Damaged {
        path: path.to_owned(),
        why,
    };
    let explained = |error: redb::Error| explain(error, path);
    let floors = floors(database).map_err(explained)?;
    let mut recovered = Recovered {
        snapshot: Snapshot {
            revision: revision(database).map_err(explained)?,
            tables: BTreeMap::new(),
        },
        floors,
        ..Recovered::default()
    };
    let read =
        || -> Result<_, redb::Error> { Ok(database.begin_read()?.open_table(CHANGES)?.range::<u64>(..)?) };
    for entry in read().map_err(explained)? {
        let (revision, bytes) = entry.map_err(|error| explain(error, path))?;
        let record = record::decode(bytes.value(), revision.value()).map_err(damaged)?;
        take(record, &mut recovered).map_err(damaged)?;
    }
    recovered.snapshot.tables.retain(|_, rows| !rows.is_empty());
    Ok(recovered)
}

fn floors(database: &Database) -> Result<BTreeMap<GroupResource, u64>, redb::Error> {
    let table = database.begin_read()?.open_table(FLOORS)?;
    let mut floors = BTreeMap::new();
    for entry in table.iter()? {
        let (resource, floor) = entry?;
        let (group, resource) = resource.value();
        floors.insert(GroupResource::new(group, resource), floor.value());
    }
    Ok(floors)
}

/// Takes the next change in.
fn take(record: record::Record, recovered: &mut Recovered) -> Result<(), String> {
    let revision = record.object.revision;
    let remembered = revision > recovered.floors.get(&record.resource).copied().unwrap_or(0);
    let rows = recovered
        .snapshot
        .tables
        .entry(record.resource.clone())
        .or_default();
    let object = Arc::new(record.object);
    let previous = match record.kind {
        ChangeKind::Deleted => rows.remove(&record.key),
        _ => rows.insert(record.key.clone(), object.clone()),
    };
    if !remembered {
        recovered
            .garbage
            .extend(previous.map(|previous| previous.revision));
        if record.kind == ChangeKind::Deleted {
            recovered.garbage.push(revision);
        }
        return Ok(());
    }
    if previous.is_none() != (record.kind == ChangeKind::Added) {
        let (resource, key) = (&record.resource, &record.key);
        return Err(format!(
            "revision {revision} of {resource} {key} does not follow what is stored before it"
        ));
    }
    recovered.history.push(Arc::new(Change {
        kind: record.kind,
        resource: record.resource,
        object,
        previous,
    }));
    Ok(())
}
