//! One suite for every engine: what is true of the store in memory is true of the store on disk, and stays true when it is
//! opened again.

use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use super::*;

fn pods() -> GroupResource {
    GroupResource::new("", "pods")
}

fn write(key: &str, expect: Expect, delete: bool) -> Write {
    let (namespace, name) = key.split_once('/').unwrap();
    let value = json!({"metadata": {"namespace": namespace, "name": name}});
    Write {
        resource: pods(),
        key: key.into(),
        expect,
        value,
        delete,
    }
}

/// Where a store is kept.
enum Place {
    Memory,
    Disk(tempfile::TempDir),
}

impl Place {
    fn file(directory: &tempfile::TempDir) -> PathBuf {
        directory.path().join("objects.redb")
    }

    async fn open(&self, changes: usize) -> Store {
        let engine: Arc<dyn Storage> = match self {
            Self::Memory => Arc::new(MemoryStorage::new()),
            Self::Disk(directory) => Arc::new(DiskStorage::open(&Self::file(directory)).unwrap()),
        };
        let age = Duration::ZERO;
        Store::open(engine, Retention { changes, age }).await.unwrap()
    }

    /// The store as it is after a restart. In memory nothing survives one, so it goes on.
    async fn reopen(&self, store: Store, changes: usize) -> Store {
        match self {
            Self::Memory => store,
            Self::Disk(_) => {
                drop(store);
                self.open(changes).await
            }
        }
    }
}

/// Runs `test` in memory and on disk; both must tell the same.
async fn alike<T, F>(test: impl Fn(Place) -> F)
where
    T: PartialEq + std::fmt::Debug,
    F: Future<Output = T>,
{
    let memory = test(Place::Memory).await;
    let disk = test(Place::Disk(tempfile::tempdir().unwrap())).await;
    assert_eq!(memory, disk);
}

fn names(objects: &[Arc<Object>]) -> Vec<String> {
    objects.iter().map(|object| object.name.to_string()).collect()
}

/// The changes after a revision as text, or where history begins.
fn since(store: &Store, revision: u64) -> Result<Vec<String>, u64> {
    let portion = store.since(&pods(), revision).map_err(|expired| expired.oldest)?;
    let text = |change: &Arc<Change>| {
        let before = change.previous.as_ref().map(|previous| previous.revision);
        format!(
            "{:?} {} {} after {before:?}",
            change.kind,
            change.object.key(),
            change.object.revision
        )
    };
    Ok(portion.changes.iter().map(text).collect())
}

async fn create(store: &Store, key: &str) -> u64 {
    store
        .commit(write(key, Expect::Absent, false))
        .await
        .unwrap()
        .revision
}

async fn change(store: &Store, key: &str, revision: u64, delete: bool) -> u64 {
    let write = write(key, Expect::Revision(revision), delete);
    store.commit(write).await.unwrap().revision
}

#[tokio::test]
async fn writes_are_optimistic_and_revisions_grow() {
    alike(|place| async move {
        let store = place.open(10).await;
        let first = create(&store, "a/x").await;
        let exists = store.commit(write("a/x", Expect::Absent, false)).await;
        assert!(matches!(exists, Err(CommitError::Exists)));
        let second = change(&store, "a/x", first, false).await;
        assert_eq!(second, first + 1);
        let stale = store.commit(write("a/x", Expect::Revision(first), true)).await;
        assert!(matches!(stale, Err(CommitError::Changed)));
        let store = place.reopen(store, 10).await;
        let stale = store.commit(write("a/x", Expect::Revision(first), true)).await;
        assert!(matches!(stale, Err(CommitError::Changed)));
        let gone = change(&store, "a/x", second, true).await;
        assert_eq!(gone, second + 1);
        assert!(store.get(&pods(), "a/x").is_none());
        let store = place.reopen(store, 10).await;
        assert!(store.get(&pods(), "a/x").is_none());
        store.revision()
    })
    .await;
}

#[tokio::test]
async fn a_list_at_an_earlier_revision_undoes_history() {
    alike(|place| async move {
        let store = place.open(10).await;
        let x = create(&store, "a/x").await;
        let y = create(&store, "a/y").await;
        let z = create(&store, "b/z").await;
        change(&store, "a/x", x, true).await;
        let store = place.reopen(store, 10).await;
        let at = |namespace, after, limit, revision| {
            let scope = Scope {
                namespace,
                after,
                limit,
            };
            let (objects, rest) = store.page_at(&pods(), scope, revision).unwrap();
            (names(&objects), rest)
        };
        let told = [
            at("", "", 0, y),
            at("a", "", 0, x),
            at("", "", 1, z),
            at("", "a/x", 1, z),
            at("", "a/y", 1, z),
            at("a", "a/x", 0, z),
        ];
        let text = |(names, rest): &(Vec<String>, usize)| format!("{}+{rest}", names.join(","));
        assert_eq!(
            told.iter().map(text).collect::<Vec<_>>(),
            ["x,y+0", "x+0", "x+2", "y+1", "z+0", "y+0"]
        );
        assert_eq!(names(&store.list(&pods(), "a").0), ["y"]);
        assert!(store.list(&pods(), "c").0.is_empty());
        told
    })
    .await;
}

#[tokio::test]
async fn history_is_told_after_a_restart_and_ends_at_its_limit() {
    alike(|place| async move {
        let store = place.open(3).await;
        let a = create(&store, "a/a").await;
        let b = create(&store, "a/b").await;
        let a = change(&store, "a/a", a, false).await;
        change(&store, "a/b", b, true).await;
        let store = place.reopen(store, 3).await;
        let early = since(&store, a - 1);
        create(&store, "a/c").await;
        change(&store, "a/a", a, false).await;
        let store = place.reopen(store, 3).await;
        // What one process forgot may still be in the file; more than the limit is forgotten with the next write.
        create(&store, "a/d").await;
        let all: Vec<_> = (1..=store.revision())
            .map(|revision| since(&store, revision))
            .collect();
        assert!(all[0].is_err());
        (early, all)
    })
    .await;
}

#[tokio::test]
async fn what_is_compacted_stays_so_after_a_restart() {
    let place = Place::Disk(tempfile::tempdir().unwrap());
    let mut store = place.open(5).await;
    let mut last = create(&store, "a/a").await;
    // Enough garbage for it to be collected several times.
    for round in 0..2000 {
        last = change(&store, "a/a", last, false).await;
        if round % 500 == 7 {
            let key = format!("a/gone-{round}");
            let gone = create(&store, &key).await;
            change(&store, &key, gone, true).await;
        }
    }
    store = place.reopen(store, 5).await;
    assert_eq!(store.get(&pods(), "a/a").unwrap().revision, last);
    assert!(since(&store, 5).is_err());
    assert_eq!(since(&store, last - 1).unwrap().len(), 1);
    create(&store, "a/b").await;
    store = place.reopen(store, 5).await;
    assert!(since(&store, last - 600).is_err());
    store.compact(store.revision());
    assert!(since(&store, last).is_err());
    assert_eq!(since(&store, store.revision()).unwrap(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_write_the_same_object_at_once_one_wins_each_round() {
    alike(|place| async move {
        let store = Arc::new(place.open(1000).await);
        let writers: Vec<_> = (0..16)
            .map(|_| {
                let store = store.clone();
                tokio::spawn(async move {
                    let mut won = 0;
                    while won < 10 {
                        let result = match store.get(&pods(), "a/x") {
                            None => store.commit(write("a/x", Expect::Absent, false)).await,
                            Some(found) => {
                                let write = write("a/x", Expect::Revision(found.revision), false);
                                store.commit(write).await
                            }
                        };
                        won += usize::from(result.is_ok());
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.await.unwrap();
        }
        let changes = since(&store, 1).unwrap();
        assert_eq!(changes.len(), 160);
        changes
    })
    .await;
}

#[tokio::test]
async fn history_outlives_its_limit_while_it_is_young() {
    tokio::time::pause();
    let retention = Retention {
        changes: 2,
        age: Duration::from_secs(60),
    };
    let store = Store::open(Arc::new(MemoryStorage::new()), retention)
        .await
        .unwrap();
    for i in 0..10 {
        create(&store, &format!("a/{i}")).await;
    }
    assert_eq!(since(&store, 1).unwrap().len(), 10);
    tokio::time::advance(Duration::from_secs(60)).await;
    let last = create(&store, "a/last").await;
    assert_eq!(since(&store, 1), Err(last - 2));
    for i in 0..100 {
        create(&store, &format!("b/{i}")).await;
    }
    assert_eq!(since(&store, 1), Err(store.revision() - 40));
}
