//! Verbs on built-in and custom resources, as kube's client sees them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod common;

use common::*;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::json;

#[tokio::test(start_paused = true)]
async fn a_config_map_lives_and_dies() {
    let (_server, client) = server().await;
    let api: Api<ConfigMap> = Api::default_namespaced(client);
    let map: ConfigMap =
        serde_json::from_value(json!({"metadata": {"name": "a"}, "data": {"k": "v"}})).unwrap();
    let created = api.create(&PostParams::default(), &map).await.unwrap();
    assert!(created.metadata.uid.is_some() && created.metadata.resource_version.is_some());
    assert_eq!(
        created
            .metadata
            .creation_timestamp
            .as_ref()
            .unwrap()
            .0
            .to_string(),
        "2026-01-01T00:00:00Z"
    );
    let again = api.create(&PostParams::default(), &map).await.unwrap_err();
    assert_eq!(refusal(&again), "configmaps \"a\" already exists: AlreadyExists");
    let patched = api
        .patch(
            "a",
            &PatchParams::default(),
            &Patch::Merge(json!({"data": {"k": null, "l": "w"}})),
        )
        .await
        .unwrap();
    assert_eq!(patched.data.unwrap(), [("l".to_owned(), "w".to_owned())].into());
    assert_ne!(
        patched.metadata.resource_version,
        created.metadata.resource_version
    );
    let stale = api
        .replace("a", &PostParams::default(), &created)
        .await
        .unwrap_err();
    assert!(stale.to_string().contains(
        "the object has been modified; please apply your changes to the latest version and try again"
    ));
    api.delete("a", &DeleteParams::default()).await.unwrap();
    let gone = api.get("a").await.unwrap_err();
    assert_eq!(refusal(&gone), "configmaps \"a\" not found: NotFound");
}

#[tokio::test(start_paused = true)]
async fn an_update_that_changes_nothing_keeps_the_resource_version() {
    let (_server, client) = with_gadgets().await;
    let created = create(&client, gadget("a", json!({"size": 1}))).await;
    let api = gadgets(&client);
    let same = api
        .patch(
            "a",
            &PatchParams::default(),
            &Patch::Merge(json!({"spec": {"size": 1}})),
        )
        .await
        .unwrap();
    assert_eq!(same.metadata.resource_version, created.metadata.resource_version);
    let same = api.replace("a", &PostParams::default(), &created).await.unwrap();
    assert_eq!(same.metadata.resource_version, created.metadata.resource_version);
}

#[tokio::test(start_paused = true)]
async fn generation_follows_the_spec_and_status_is_separate() {
    let (_server, client) = with_gadgets().await;
    let mut object = gadget("a", json!({"size": 1}));
    object.data["status"] = json!({"phase": "sneaked in"});
    let created = create(&client, object).await;
    assert_eq!(
        (created.metadata.generation, created.data.get("status")),
        (Some(1), None)
    );
    assert_eq!(created.data["spec"]["color"], "blue", "defaults are filled in");
    let api = gadgets(&client);
    let status = Patch::Merge(
        json!({"status": {"phase": "Ready"}, "spec": {"size": 9}, "metadata": {"labels": {"x": "y"}}}),
    );
    let updated = api
        .patch_status("a", &PatchParams::default(), &status)
        .await
        .unwrap();
    assert_eq!(
        (
            updated.metadata.generation,
            &updated.data["status"]["phase"],
            &updated.data["spec"]["size"]
        ),
        (Some(1), &json!("Ready"), &json!(1))
    );
    assert_eq!(updated.metadata.labels, None);
    let main = Patch::Merge(json!({"status": {"phase": "Lost"}, "spec": {"size": 2}}));
    let updated = api.patch("a", &PatchParams::default(), &main).await.unwrap();
    assert_eq!(
        (
            updated.metadata.generation,
            &updated.data["status"]["phase"],
            &updated.data["spec"]["size"]
        ),
        (Some(2), &json!("Ready"), &json!(2))
    );
    let labelled = api
        .patch(
            "a",
            &PatchParams::default(),
            &Patch::Merge(json!({"metadata": {"labels": {"x": "y"}}})),
        )
        .await
        .unwrap();
    assert_eq!(labelled.metadata.generation, Some(2));
}

#[tokio::test(start_paused = true)]
async fn names_are_generated_from_the_seed() {
    let names = async || {
        let (_server, client) = with_gadgets().await;
        let mut object = gadget("", json!({}));
        object.metadata.name = None;
        object.metadata.generate_name = Some("g-".into());
        let a = create(&client, object.clone()).await.metadata.name.unwrap();
        (a, create(&client, object).await.metadata.name.unwrap())
    };
    let (a, b) = names().await;
    assert!(a.starts_with("g-") && a.len() == 7 && a != b);
    assert_eq!((a, b), names().await);
}

#[tokio::test(start_paused = true)]
async fn the_scale_subresource_reads_and_writes_replicas() {
    let (_server, client) = with_gadgets().await;
    create(&client, gadget("a", json!({"replicas": 2}))).await;
    let api = gadgets(&client);
    assert_eq!(api.get_scale("a").await.unwrap().spec.unwrap().replicas, Some(2));
    let scaled = api
        .patch_scale(
            "a",
            &PatchParams::default(),
            &Patch::Merge(json!({"spec": {"replicas": 5}})),
        )
        .await
        .unwrap();
    assert_eq!(scaled.spec.unwrap().replicas, Some(5));
    let object = api.get("a").await.unwrap();
    assert_eq!(
        (&object.data["spec"]["replicas"], object.metadata.generation),
        (&json!(5), Some(2))
    );
}

#[tokio::test(start_paused = true)]
async fn several_versions_show_the_same_object() {
    let (_server, client) = with_gadgets().await;
    create(&client, gadget("a", json!({"size": 3}))).await;
    let (code, old) = raw(
        &client,
        "GET",
        "/apis/example.dev/v1alpha1/namespaces/default/gadgets/a",
        "",
        "",
    )
    .await;
    assert_eq!(
        (code, &old["apiVersion"], &old["spec"]["size"]),
        (200, &json!("example.dev/v1alpha1"), &json!(3))
    );
    let (code, list) = raw(&client, "GET", "/apis/example.dev/v1alpha1/gadgets", "", "").await;
    assert_eq!(
        (code, &list["kind"], &list["items"][0]["apiVersion"]),
        (200, &json!("GadgetList"), &json!("example.dev/v1alpha1"))
    );
}

#[tokio::test(start_paused = true)]
async fn selectors_choose() {
    let (_server, client) = with_gadgets().await;
    for (name, color, team) in [("a", "red", "x"), ("b", "green", "x"), ("c", "red", "y")] {
        let mut object = gadget(name, json!({"color": color}));
        object.metadata.labels = Some([("team".to_owned(), team.to_owned())].into());
        create(&client, object).await;
    }
    let names = async |params: ListParams| {
        let list = gadgets(&client).list(&params).await.unwrap();
        list.items
            .into_iter()
            .map(|o| o.metadata.name.unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(ListParams::default().labels("team=x")).await, ["a", "b"]);
    assert_eq!(
        names(ListParams::default().labels("team in (x,y),team!=x")).await,
        ["c"]
    );
    assert_eq!(
        names(ListParams::default().fields("metadata.name=b")).await,
        ["b"]
    );
    assert_eq!(
        names(ListParams::default().fields("spec.color=red")).await,
        ["a", "c"]
    );
    let bad = gadgets(&client)
        .list(&ListParams::default().fields("spec.size=1"))
        .await
        .unwrap_err();
    assert!(
        bad.to_string().contains("field label not supported: spec.size"),
        "{bad}"
    );
}

#[tokio::test(start_paused = true)]
async fn lists_come_in_pages_of_one_snapshot() {
    let (_server, client) = with_gadgets().await;
    for name in ["a", "b", "c", "d", "e"] {
        create(&client, gadget(name, json!({}))).await;
    }
    let api = gadgets(&client);
    let first = api.list(&ListParams::default().limit(2)).await.unwrap();
    assert_eq!(
        (first.items.len(), first.metadata.remaining_item_count),
        (2, Some(3))
    );
    api.delete("d", &DeleteParams::default()).await.unwrap();
    create(&client, gadget("cc", json!({}))).await;
    let token = first.metadata.continue_.unwrap();
    let rest = api
        .list(&ListParams::default().continue_token(&token))
        .await
        .unwrap();
    let names: Vec<_> = rest
        .items
        .iter()
        .map(|o| o.metadata.name.clone().unwrap())
        .collect();
    assert_eq!(
        names,
        ["c", "d", "e"],
        "the second page shows the first page's revision"
    );
    assert_eq!(rest.metadata.resource_version, first.metadata.resource_version);
}

#[tokio::test(start_paused = true)]
async fn finalizers_hold_an_object() {
    let (_server, client) = with_gadgets().await;
    let mut object = gadget("a", json!({}));
    object.metadata.finalizers = Some(vec!["example.dev/hold".into()]);
    create(&client, object).await;
    let api = gadgets(&client);
    let marked = api
        .delete("a", &DeleteParams::default())
        .await
        .unwrap()
        .left()
        .unwrap();
    assert!(marked.metadata.deletion_timestamp.is_some());
    let more = Patch::Merge(json!({"metadata": {"finalizers": ["example.dev/hold", "example.dev/more"]}}));
    let refused = api.patch("a", &PatchParams::default(), &more).await.unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("no new finalizers can be added if the object is being deleted"),
        "{refused}"
    );
    api.patch(
        "a",
        &PatchParams::default(),
        &Patch::Merge(json!({"metadata": {"finalizers": null}})),
    )
    .await
    .unwrap();
    assert!(api.get_opt("a").await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn preconditions_guard_deletion() {
    let (_server, client) = with_gadgets().await;
    let created = create(&client, gadget("a", json!({}))).await;
    let wrong = DeleteParams {
        preconditions: Some(kube::api::Preconditions {
            uid: Some("other".into()),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    let refused = gadgets(&client).delete("a", &wrong).await.unwrap_err();
    let uid = created.metadata.uid.clone().unwrap();
    assert_eq!(
        refusal(&refused),
        format!(
            "Operation cannot be fulfilled on Gadget.example.dev \"a\": the UID in the precondition (other) does not match the UID in record ({uid}). The object might have been deleted and then recreated: Conflict"
        )
    );
    let right = DeleteParams {
        preconditions: Some(kube::api::Preconditions {
            uid: Some(uid),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    gadgets(&client).delete("a", &right).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn secrets_take_string_data() {
    let (_server, client) = server().await;
    let api: Api<Secret> = Api::default_namespaced(client);
    let secret: Secret =
        serde_json::from_value(json!({"metadata": {"name": "s"}, "stringData": {"k": "v"}})).unwrap();
    let created = api.create(&PostParams::default(), &secret).await.unwrap();
    assert_eq!(created.data.unwrap()["k"].0, b"v");
    assert_eq!(created.type_.as_deref(), Some("Opaque"));
}

#[tokio::test(start_paused = true)]
async fn both_groups_show_the_same_events() {
    let (_server, client) = server().await;
    let event = json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e", "namespace": "default"},
        "eventTime": "2026-01-01T00:00:00.000000Z", "reason": "Tested", "note": "it works", "type": "Normal", "action": "Test",
        "reportingController": "test", "reportingInstance": "test-0", "regarding": {"kind": "Pod", "name": "p", "namespace": "default"},
    });
    let (code, _) = raw(
        &client,
        "POST",
        "/apis/events.k8s.io/v1/namespaces/default/events",
        "application/json",
        &event.to_string(),
    )
    .await;
    assert_eq!(code, 201);
    let (_, core) = raw(&client, "GET", "/api/v1/namespaces/default/events/e", "", "").await;
    assert_eq!(
        (
            &core["message"],
            &core["involvedObject"]["name"],
            &core["apiVersion"]
        ),
        (&json!("it works"), &json!("p"), &json!("v1"))
    );
    let (_, list) = raw(
        &client,
        "GET",
        "/api/v1/events?fieldSelector=involvedObject.name%3Dp",
        "",
        "",
    )
    .await;
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    let (_, new) = raw(
        &client,
        "GET",
        "/apis/events.k8s.io/v1/namespaces/default/events/e",
        "",
        "",
    )
    .await;
    assert_eq!((&new["note"], new.get("message")), (&json!("it works"), None));
}
