//! Garbage collection, forks, audit.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod common;

use std::sync::{Arc, Mutex};

use common::*;
use embedded_apiserver::{Audit, AuditEvent};
use kube::Client;
use kube::api::{DeleteParams, DynamicObject, PostParams};
use serde_json::json;

fn owned(name: &str, owner: &DynamicObject, blocks: bool) -> DynamicObject {
    let mut object = gadget(name, json!({}));
    let reference = json!({
        "apiVersion": "example.dev/v1", "kind": "Gadget", "name": owner.metadata.name, "uid": owner.metadata.uid,
        "controller": true, "blockOwnerDeletion": blocks,
    });
    object.metadata.owner_references = Some(vec![serde_json::from_value(reference).unwrap()]);
    object
}

async fn names(client: &Client) -> Vec<String> {
    let list = gadgets(client).list(&Default::default()).await.unwrap();
    list.items.into_iter().map(|o| o.metadata.name.unwrap()).collect()
}

async fn family(client: &Client) {
    let root = create(client, gadget("root", json!({}))).await;
    let child = create(client, owned("child", &root, true)).await;
    create(client, owned("grandchild", &child, true)).await;
}

#[tokio::test(start_paused = true)]
async fn dependents_go_after_their_owner() {
    let (_server, client) = with_gadgets().await;
    family(&client).await;
    gadgets(&client)
        .delete("root", &DeleteParams::background())
        .await
        .unwrap();
    settle().await;
    assert_eq!(names(&client).await, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn in_the_foreground_dependents_go_first() {
    let (_server, client) = with_gadgets().await;
    family(&client).await;
    let mut held = gadgets(&client).get("grandchild").await.unwrap();
    held.metadata.finalizers = Some(vec!["example.dev/hold".into()]);
    let held = gadgets(&client)
        .replace("grandchild", &PostParams::default(), &held)
        .await
        .unwrap();
    gadgets(&client)
        .delete("root", &DeleteParams::foreground())
        .await
        .unwrap();
    settle().await;
    assert_eq!(
        names(&client).await,
        ["child", "grandchild", "root"],
        "the held dependent holds them all"
    );
    let mut held = gadgets(&client)
        .get(held.metadata.name.as_ref().unwrap())
        .await
        .unwrap();
    held.metadata.finalizers = None;
    gadgets(&client)
        .replace("grandchild", &PostParams::default(), &held)
        .await
        .unwrap();
    settle().await;
    assert_eq!(names(&client).await, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn orphans_stay() {
    let (_server, client) = with_gadgets().await;
    family(&client).await;
    gadgets(&client)
        .delete("root", &DeleteParams::orphan())
        .await
        .unwrap();
    settle().await;
    assert_eq!(names(&client).await, ["child", "grandchild"]);
    assert_eq!(
        gadgets(&client)
            .get("child")
            .await
            .unwrap()
            .metadata
            .owner_references,
        None
    );
}

#[tokio::test(start_paused = true)]
async fn an_object_of_an_absent_owner_is_collected_and_one_of_two_owners_stays() {
    let (_server, client) = with_gadgets().await;
    let gone = create(&client, gadget("gone", json!({}))).await;
    let solid = create(&client, gadget("solid", json!({}))).await;
    gadgets(&client)
        .delete("gone", &DeleteParams::default())
        .await
        .unwrap();
    create(&client, owned("lost", &gone, false)).await;
    let mut shared = owned("shared", &gone, false);
    let mut second = owned("x", &solid, false).metadata.owner_references.unwrap();
    second[0].controller = None;
    shared
        .metadata
        .owner_references
        .as_mut()
        .unwrap()
        .append(&mut second);
    create(&client, shared).await;
    settle().await;
    assert_eq!(names(&client).await, ["shared", "solid"]);
    let owners = gadgets(&client)
        .get("shared")
        .await
        .unwrap()
        .metadata
        .owner_references
        .unwrap();
    assert_eq!(
        owners.iter().map(|o| o.name.as_str()).collect::<Vec<_>>(),
        ["solid"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_fork_goes_its_own_way() {
    let (server, client) = with_gadgets().await;
    create(&client, gadget("a", json!({}))).await;
    let fork = builder().storage(server.fork()).build().await.unwrap();
    create(&client, gadget("b", json!({}))).await;
    create(&fork.client(), gadget("c", json!({}))).await;
    assert_eq!(names(&client).await, ["a", "b"]);
    assert_eq!(names(&fork.client()).await, ["a", "c"]);
    assert_eq!(server.revision(), fork.revision());
}

#[derive(Default)]
struct Log(Mutex<Vec<String>>);

impl Audit for Log {
    fn observe(&self, event: &AuditEvent) {
        self.0.lock().unwrap().push(format!(
            "{} {} {} {} {}",
            event.user_agent,
            event.verb,
            event.path,
            event.body_hash(),
            event.code
        ));
    }
}

async fn logged() -> Vec<String> {
    let log = Arc::new(Log::default());
    let server = builder().audit(log.clone()).build().await.unwrap();
    let client = server.client_as("tester");
    install_gadgets(&client).await;
    family(&client).await;
    gadgets(&client)
        .delete("root", &DeleteParams::background())
        .await
        .unwrap();
    settle().await;
    let log = log.0.lock().unwrap();
    log.clone()
}

#[tokio::test(start_paused = true)]
async fn one_seed_gives_one_request_log() {
    let log = logged().await;
    assert!(
        log.iter()
            .any(|l| l.starts_with("tester create /apis/example.dev/v1/namespaces/default/gadgets")),
        "{log:#?}"
    );
    assert!(
        log.iter()
            .any(|l| l.starts_with("generic-garbage-collector delete")),
        "{log:#?}"
    );
    assert_eq!(log, logged().await);
}
