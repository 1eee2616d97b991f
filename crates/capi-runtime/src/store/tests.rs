use std::collections::BTreeMap;

use capi_api::labels::CLUSTER_NAME;
use k8s_openapi::{
    api::core::v1::{ConfigMap, Node},
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use kube::api::ObjectMeta;
use serde_json::json;

use super::{feed::Arrived, *};

fn store() -> Store<ConfigMap> {
    Store::new(ApiResource::erase::<ConfigMap>(&()), Arc::default())
}

fn object(name: &str, version: u64, owner: &str) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta {
            namespace: Some("ns".into()),
            name: Some(name.into()),
            uid: Some(format!("uid-{name}")),
            resource_version: Some(version.to_string()),
            labels: Some(BTreeMap::from([(CLUSTER_NAME.to_owned(), "c".to_owned())])),
            owner_references: Some(vec![OwnerReference {
                uid: owner.into(),
                ..OwnerReference::default()
            }]),
            ..ObjectMeta::default()
        },
        ..ConfigMap::default()
    }
}

fn names(objects: &[Arc<ConfigMap>]) -> Vec<String> {
    objects
        .iter()
        .map(|object| object.metadata.name.clone().unwrap())
        .collect()
}

/// Records deltas as `name old-version new-version`.
fn recorded(store: &Store<ConfigMap>, replay: bool) -> Arc<Mutex<Vec<String>>> {
    let log = Arc::new(Mutex::new(Vec::new()));
    let copy = log.clone();
    let version = |object: &Option<Arc<ConfigMap>>| object.as_ref().map_or(0, |o| version_of(&o.metadata));
    store.on_change(replay, move |delta| {
        let initial = if delta.initial { " initial" } else { "" };
        let line = format!(
            "{} {} {}{initial}",
            delta.key.name,
            version(&delta.old),
            version(&delta.new)
        );
        copy.lock().push(line);
    });
    log
}

#[test]
fn every_change_is_delivered_in_order_with_old_and_new_and_deletes() {
    let store = store();
    let log = recorded(&store, false);
    store.replace(vec![object("b", 2, "o"), object("a", 1, "o")]);
    store.apply(object("a", 3, "o"));
    store.apply(object("a", 3, "o"));
    store.delete(&object("b", 4, "o").metadata);
    assert_eq!(*log.lock(), ["a 0 1 initial", "b 0 2 initial", "a 1 3", "b 2 0"]);
}

#[test]
fn a_second_list_reports_only_differences() {
    let store = store();
    store.replace(vec![object("a", 1, "o"), object("b", 2, "o")]);
    let log = recorded(&store, false);
    store.replace(vec![object("b", 2, "o"), object("c", 5, "o")]);
    assert_eq!(*log.lock(), ["a 1 0", "c 0 5"]);
}

#[test]
fn a_late_handler_may_ask_for_what_is_known() {
    let store = store();
    store.replace(vec![object("b", 2, "o"), object("a", 1, "o")]);
    assert_eq!(*recorded(&store, true).lock(), ["a 0 1 initial", "b 0 2 initial"]);
    assert!(recorded(&store, false).lock().is_empty());
}

#[test]
fn indexes_follow_changes_and_results_are_sorted() {
    let store = store();
    store.add_index(
        "first-letter",
        Arc::new(|o: &ConfigMap| vec![o.metadata.name.clone().unwrap()[..1].to_owned()]),
    );
    store.replace(vec![
        object("b2", 1, "o1"),
        object("b1", 2, "o1"),
        object("a", 3, "o2"),
    ]);
    assert_eq!(names(&store.by_index("first-letter", "b")), ["b1", "b2"]);
    assert_eq!(names(&store.by_owner("o1")), ["b1", "b2"]);
    assert_eq!(names(&store.by_cluster(&Key::new("ns", "c"))), ["a", "b1", "b2"]);
    store.apply(object("b1", 4, "o2"));
    assert_eq!(names(&store.by_owner("o1")), ["b2"]);
    assert_eq!(names(&store.by_owner("o2")), ["a", "b1"]);
    store.delete(&object("a", 5, "o2").metadata);
    assert_eq!(names(&store.by_owner("o2")), ["b1"]);
    assert!(store.by_index("unknown", "x").is_empty());
    assert_eq!(names(&store.list(Some("ns"))), ["b1", "b2"]);
    assert!(store.list(Some("n")).is_empty() && store.list(Some("nsx")).is_empty());
}

#[test]
fn an_index_added_late_covers_what_is_there() {
    let store = store();
    store.replace(vec![object("a", 1, "o")]);
    store.add_index(
        "name",
        Arc::new(|o: &ConfigMap| o.metadata.name.clone().into_iter().collect()),
    );
    assert_eq!(names(&store.by_index("name", "a")), ["a"]);
}

#[test]
fn a_panicking_handler_harms_nobody_else() {
    let store = store();
    store.on_change(false, |_| panic!("a bad mapper"));
    let log = recorded(&store, false);
    store.apply(object("a", 1, "o"));
    assert_eq!(*log.lock(), ["a 0 1"]);
}

#[test]
fn versions_are_compared_as_numbers() {
    let store = store();
    let key = Key::new("ns", "a");
    store.replace(vec![object("a", 9, "o")]);
    assert!(store.has_seen(&key, 9) && !store.has_seen(&key, 10));
    store.apply(object("b", 10, "o"));
    assert!(
        store.has_seen(&key, 10),
        "a later event of the same kind proves that the earlier one was seen"
    );
    store.note_version(&object("undecodable", 11, "o").metadata);
    assert!(store.has_seen(&key, 11));
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_with_the_change_or_with_the_limit() {
    let store = store();
    assert!(store.wait_for_sync(Duration::from_secs(1)).await.is_err());
    let waiter = tokio::spawn({
        let store = store.clone();
        async move { store.wait_until(Duration::from_secs(60), |s| s.len() == 2).await }
    });
    store.replace(vec![object("a", 1, "o")]);
    tokio::task::yield_now().await;
    store.apply(object("b", 2, "o"));
    assert!(waiter.await.unwrap());
    assert!(store.wait_for_sync(Duration::from_secs(1)).await.is_ok());
}

#[test]
fn an_object_arrives_without_managed_fields_and_an_undecodable_one_as_an_error() {
    let arrived: Arrived<Node> = serde_json::from_value(json!({
        "metadata": {"name": "n", "resourceVersion": "7", "managedFields": [{"manager": "m"}]},
        "spec": {"providerID": "p"},
    }))
    .unwrap();
    let node = arrived.object.unwrap();
    assert_eq!(node.metadata.managed_fields, None);
    assert_eq!(node.spec.unwrap().provider_id.as_deref(), Some("p"));
    let broken: Arrived<Node> = serde_json::from_value(json!({
        "metadata": {"name": "n", "resourceVersion": "8"},
        "spec": {"taints": "none"},
    }))
    .unwrap();
    assert_eq!(broken.meta.resource_version.as_deref(), Some("8"));
    assert!(broken.object.is_err());
}

/// A store that keeps `limit` objects unpacked, with objects `o0` to `o9`.
fn small(limit: usize) -> Store<ConfigMap> {
    let store = Store::new(ApiResource::erase::<ConfigMap>(&()), Arc::new(Warmth::new(limit)));
    store.replace(
        (0..10)
            .map(|number| object(&format!("o{number}"), number + 1, "owner"))
            .collect(),
    );
    store
}

fn unpacked_names(store: &Store<ConfigMap>) -> Vec<String> {
    let state = store.0.state.read();
    let unpacked = state.objects.iter().filter(|(_, slot)| !slot.is_packed());
    unpacked.map(|(key, _)| key.name.clone()).collect()
}

#[test]
fn what_nobody_uses_is_packed_and_readers_do_not_notice() {
    let store = small(3);
    assert_eq!(unpacked_names(&store), ["o7", "o8", "o9"]);
    let first = Key::new("ns", "o0");
    let compressed = |key: &Key| store.0.state.read().objects[key].is_compressed();
    assert!(
        compressed(&first) && !compressed(&Key::new("ns", "o1")),
        "the oldest"
    );
    for number in 0..10 {
        let key = Key::new("ns", format!("o{number}"));
        assert_eq!(
            *store.get(&key).unwrap(),
            object(&key.name, number + 1, "owner"),
            "as it came"
        );
    }
    assert!(unpacked_names(&store).len() <= 6, "{:?}", unpacked_names(&store));
    assert_eq!(store.by_owner("owner").len(), 10);
    assert_eq!(store.by_cluster(&Key::new("ns", "c")).len(), 10);
    assert_eq!(store.list(Some("ns")).len(), 10);
    assert_eq!(store.version(&Key::new("ns", "o4")), Some(5));
}

#[test]
fn changes_and_deletions_of_packed_objects_tell_what_they_were() {
    let store = small(1);
    let log = recorded(&store, true);
    assert_eq!(log.lock().len(), 10, "replayed");
    log.lock().clear();
    store.apply(object("o2", 20, "another"));
    store.delete(&object("o3", 21, "owner").metadata);
    store.replace(vec![object("o1", 2, "owner"), object("o2", 22, "owner")]);
    assert_eq!(log.lock()[..2], ["o2 3 20", "o3 4 0"]);
    assert_eq!(log.lock().last().unwrap(), "o2 20 22", "o1 has not changed");
    assert_eq!(log.lock().len(), 2 + 7 + 1);
    assert_eq!(names(&store.by_owner("owner")), ["o1", "o2"]);
    assert!(store.by_owner("another").is_empty());
}

#[test]
fn what_somebody_holds_is_not_packed() {
    let store = small(2);
    let held = store.get(&Key::new("ns", "o0")).unwrap();
    for number in 1..10 {
        store.get(&Key::new("ns", format!("o{number}")));
    }
    assert!(unpacked_names(&store).contains(&"o0".to_owned()));
    assert!(Arc::ptr_eq(&held, &store.get(&Key::new("ns", "o0")).unwrap()));
}
