//! What goes by itself: contents of namespaces and definitions that are deleted, old events.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod common;

use common::*;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::json;

#[tokio::test(start_paused = true)]
async fn a_namespace_empties_before_it_goes() {
    let (_server, client) = with_gadgets().await;
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": "team"}})).unwrap();
    namespaces
        .create(&PostParams::default(), &namespace)
        .await
        .unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "team");
    let map = |name: &str, finalizers: &[&str]| {
        serde_json::from_value::<ConfigMap>(json!({"metadata": {"name": name, "finalizers": finalizers}}))
            .unwrap()
    };
    maps.create(&PostParams::default(), &map("plain", &[]))
        .await
        .unwrap();
    maps.create(&PostParams::default(), &map("held", &["example.dev/hold"]))
        .await
        .unwrap();
    namespaces.delete("team", &DeleteParams::default()).await.unwrap();
    settle().await;
    assert!(maps.get_opt("plain").await.unwrap().is_none());
    let left = namespaces.get("team").await.unwrap();
    assert_eq!(
        left.status.as_ref().unwrap().phase.as_deref(),
        Some("Terminating")
    );
    let refused = maps
        .create(&PostParams::default(), &map("new", &[]))
        .await
        .unwrap_err();
    assert_eq!(
        refusal(&refused),
        "configmaps \"new\" is forbidden: unable to create new content in namespace team because it is being terminated: Forbidden"
    );
    maps.patch(
        "held",
        &PatchParams::default(),
        &Patch::Merge(json!({"metadata": {"finalizers": null}})),
    )
    .await
    .unwrap();
    settle().await;
    assert!(namespaces.get_opt("team").await.unwrap().is_none());
    let refused = maps
        .create(&PostParams::default(), &map("late", &[]))
        .await
        .unwrap_err();
    assert_eq!(refusal(&refused), "namespaces \"team\" not found: NotFound");
}

#[tokio::test(start_paused = true)]
async fn a_deleted_definition_takes_its_objects_along() {
    let (_server, client) = with_gadgets().await;
    create(&client, gadget("a", json!({}))).await;
    definitions(&client)
        .delete("gadgets.example.dev", &DeleteParams::default())
        .await
        .unwrap();
    settle().await;
    assert!(
        definitions(&client)
            .get_opt("gadgets.example.dev")
            .await
            .unwrap()
            .is_none()
    );
    let (code, _) = raw(&client, "GET", "/apis/example.dev/v1/gadgets", "", "").await;
    assert_eq!(code, 404);
    install_gadgets(&client).await;
    assert!(gadgets(&client).get_opt("a").await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn new_events_push_out_those_older_than_an_hour() {
    let (_server, client) = server().await;
    let post = async |name: &str| {
        let event = json!({"metadata": {"name": name}, "involvedObject": {"kind": "Pod", "name": "p"}, "reason": "Tested"});
        raw(
            &client,
            "POST",
            "/api/v1/namespaces/default/events",
            "application/json",
            &event.to_string(),
        )
        .await
        .0
    };
    assert_eq!(post("old").await, 201);
    tokio::time::sleep(std::time::Duration::from_secs(1800)).await;
    assert_eq!(post("younger").await, 201);
    tokio::time::sleep(std::time::Duration::from_secs(1801)).await;
    assert_eq!(post("new").await, 201);
    let (_, list) = raw(&client, "GET", "/api/v1/events", "", "").await;
    let names: Vec<_> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["metadata"]["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["new", "younger"]);
}
