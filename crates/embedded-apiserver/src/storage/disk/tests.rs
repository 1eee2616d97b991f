//! What users are told about files that cannot be used, and what happens when a drive fails for a while.

use std::time::Duration;

use serde_json::json;

use super::drive::Drive;
use super::*;
use crate::storage::{CommitError, Expect, GroupResource, Object, Retention, Store, Write};

fn pods() -> GroupResource {
    GroupResource::new("", "pods")
}

pub async fn open(drive: &Drive, changes: usize) -> Result<Store, StorageError> {
    let age = Duration::ZERO;
    Store::open(Arc::new(drive.storage()?), Retention { changes, age }).await
}

async fn create(store: &Store, name: &str, size: usize) -> Result<Arc<Object>, CommitError> {
    let value = json!({"metadata": {"name": name}, "data": "x".repeat(size)});
    let write = Write {
        resource: pods(),
        key: name.into(),
        expect: Expect::Absent,
        value,
        delete: false,
    };
    store.commit(write).await
}

fn reason(result: Result<Arc<Object>, CommitError>) -> String {
    match result {
        Err(CommitError::Engine(error)) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_named_with_the_remedy() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("objects.redb");
    let first = DiskStorage::open(&path).unwrap();
    let told = |path: &Path| DiskStorage::open(path).unwrap_err().to_string();
    assert!(told(&path).ends_with(
        "objects.redb is in use by another process: end that process, or choose another data directory"
    ));
    drop(first);
    let whole = std::fs::read(&path).unwrap();
    for damaged in [
        b"something else entirely".to_vec(),
        whole[..whole.len() / 3].to_vec(),
        {
            let mut other = whole.clone();
            other[..400].fill(0xa5);
            other
        },
    ] {
        std::fs::write(&path, &damaged).unwrap();
        let text = told(&path);
        assert!(text.contains("objects.redb is damaged ("), "{text}");
        assert!(
            text.ends_with("put back a copy of it, or remove it to start with nothing"),
            "{text}"
        );
    }
    std::fs::write(&path, &whole).unwrap();
    DiskStorage::open(&path).unwrap();
    let missing = told(&directory.path().join("missing/objects.redb"));
    assert!(
        missing.contains("missing/objects.redb: No such file"),
        "{missing}"
    );
}

#[tokio::test]
async fn what_a_crash_left_of_a_new_file_is_nobodys_data() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("objects.redb");
    std::fs::write(directory.path().join("objects.redb.new"), b"half a head").unwrap();
    DiskStorage::open(&path).unwrap();
    let left: Vec<_> = std::fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["objects.redb"]);
}

#[test]
fn a_read_only_file_system_is_told_as_such() {
    let refuse = || Err(std::io::Error::from(std::io::ErrorKind::ReadOnlyFilesystem).into());
    let error = DiskStorage::opened_by("/mnt/objects.redb".as_ref(), Box::new(refuse)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "/mnt/objects.redb cannot be written (read-only filesystem or storage medium): check its owner, its mode and how its file \
         system is mounted"
    );
}

#[tokio::test]
async fn a_full_drive_refuses_writes_until_there_is_room_and_loses_nothing() {
    let drive = Drive::default();
    let store = open(&drive, 10).await.unwrap();
    create(&store, "before", 10).await.unwrap();
    drive.limit(Some(0));
    let mut stored = vec!["before".to_owned()];
    let full = loop {
        let name = format!("big-{}", stored.len());
        match create(&store, &name, 100_000).await {
            Ok(_) => stored.push(name),
            refused => break reason(refused),
        }
    };
    assert_eq!(full, "no space left for drive: free some, then writes work again");
    assert!(store.get(&pods(), &format!("big-{}", stored.len())).is_none());
    // Reading goes on, and so do small writes once there is room.
    assert!(store.get(&pods(), "before").is_some());
    drive.limit(None);
    create(&store, "after", 100_000).await.unwrap();
    stored.push("after".into());
    stored.sort();
    let names = |store: &Store| -> Vec<String> {
        let (objects, _) = store.list(&pods(), "");
        objects.iter().map(|object| object.name.to_string()).collect()
    };
    assert_eq!(names(&store), stored);
    drop(store);
    assert_eq!(names(&open(&drive, 10).await.unwrap()), stored);
}

#[tokio::test]
async fn a_write_whose_sync_failed_is_not_taken_for_stored() {
    let drive = Drive::default();
    let store = open(&drive, 10).await.unwrap();
    let before = create(&store, "before", 10).await.unwrap();
    drive.break_syncs(1);
    let told = reason(create(&store, "lost", 10).await);
    assert!(store.get(&pods(), "lost").is_none(), "{told}");
    match create(&store, "next", 10).await {
        // What is on the drive is what the server knows, so it goes on.
        Ok(next) => assert_eq!(next.revision, before.revision + 1),
        // What is on the drive is not certain, so it stops.
        refused => assert!(reason(refused).ends_with("restart the server")),
    }
    drop(store);
    assert!(open(&drive, 10).await.unwrap().get(&pods(), "before").is_some());
}
