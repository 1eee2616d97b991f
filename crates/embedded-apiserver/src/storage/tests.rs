//! The writer's rules.

use serde_json::json;

use super::store::*;
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

async fn store(history: usize) -> Store {
    Store::open(Arc::new(MemoryStorage::new()), history)
        .await
        .unwrap()
}

#[tokio::test]
async fn writes_are_optimistic_and_revisions_grow() {
    let store = store(10).await;
    let first = store.commit(write("a/x", Expect::Absent, false)).await.unwrap();
    assert!(matches!(
        store.commit(write("a/x", Expect::Absent, false)).await,
        Err(CommitError::Exists)
    ));
    let second = store
        .commit(write("a/x", Expect::Revision(first.revision), false))
        .await
        .unwrap();
    assert_eq!(second.revision, first.revision + 1);
    let stale = store
        .commit(write("a/x", Expect::Revision(first.revision), true))
        .await;
    assert!(matches!(stale, Err(CommitError::Changed)));
    let gone = store
        .commit(write("a/x", Expect::Revision(second.revision), true))
        .await
        .unwrap();
    assert_eq!(gone.revision, second.revision + 1);
    assert!(store.get(&pods(), "a/x").is_none());
}

#[tokio::test]
async fn a_list_at_an_earlier_revision_undoes_history() {
    let store = store(10).await;
    let x = store.commit(write("a/x", Expect::Absent, false)).await.unwrap();
    let y = store.commit(write("a/y", Expect::Absent, false)).await.unwrap();
    store
        .commit(write("a/x", Expect::Revision(x.revision), true))
        .await
        .unwrap();
    let names = |objects: Vec<Arc<Object>>| objects.iter().map(|o| o.name.to_string()).collect::<Vec<_>>();
    assert_eq!(names(store.list_at(&pods(), "", y.revision).unwrap()), ["x", "y"]);
    assert_eq!(names(store.list_at(&pods(), "a", x.revision).unwrap()), ["x"]);
    assert_eq!(names(store.list(&pods(), "a").0), ["y"]);
    assert!(store.list(&pods(), "b").0.is_empty());
}

#[tokio::test]
async fn history_ends_at_its_limit() {
    let store = store(2).await;
    let first = store
        .commit(write("a/a", Expect::Absent, false))
        .await
        .unwrap()
        .revision;
    for name in ["a/b", "a/c", "a/d"] {
        store.commit(write(name, Expect::Absent, false)).await.unwrap();
    }
    assert!(store.since(&pods(), first).is_err());
    assert_eq!(store.since(&pods(), first + 1).unwrap().0.len(), 2);
}
