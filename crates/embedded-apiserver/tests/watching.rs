//! Watches: initial events, resuming, expiry, selectors, bookmarks, kube's watcher on top.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod common;

use std::time::Duration;

use common::*;
use futures::{StreamExt, TryStreamExt};
use kube::Client;
use kube::api::{DeleteParams, Patch, PatchParams, WatchEvent, WatchParams};
use kube::core::DynamicObject;
use kube::runtime::watcher::{self, Event};
use serde_json::{Value, json};

async fn lines(client: &Client, query: &str, count: usize) -> Vec<Value> {
    let request = http::Request::get(format!(
        "/apis/example.dev/v1/namespaces/default/gadgets?watch=1&{query}"
    ));
    let response = client
        .send(request.body(kube::client::Body::empty()).unwrap())
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    let mut body = http_body_util::BodyExt::into_data_stream(response.into_body());
    let mut text = String::new();
    while text.lines().count() < count {
        match tokio::time::timeout(Duration::from_secs(3600 * 3), body.next())
            .await
            .unwrap()
        {
            Some(bytes) => text.push_str(std::str::from_utf8(&bytes.unwrap()).unwrap()),
            None => break,
        }
    }
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn summary(lines: &[Value]) -> Vec<String> {
    lines
        .iter()
        .map(|l| {
            format!(
                "{} {}",
                l["type"].as_str().unwrap(),
                l["object"]["metadata"]["name"].as_str().unwrap_or("-")
            )
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_watch_without_a_version_tells_what_exists_first() {
    let (_server, client) = with_gadgets().await;
    create(&client, gadget("a", json!({}))).await;
    create(&client, gadget("b", json!({}))).await;
    assert_eq!(summary(&lines(&client, "", 2).await), ["ADDED a", "ADDED b"]);
    assert_eq!(
        summary(&lines(&client, "resourceVersion=0", 2).await),
        ["ADDED a", "ADDED b"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_watch_resumes_after_a_version() {
    let (_server, client) = with_gadgets().await;
    let first = create(&client, gadget("a", json!({}))).await;
    create(&client, gadget("b", json!({}))).await;
    gadgets(&client)
        .patch(
            "a",
            &PatchParams::default(),
            &Patch::Merge(json!({"spec": {"size": 4}})),
        )
        .await
        .unwrap();
    gadgets(&client)
        .delete("b", &DeleteParams::default())
        .await
        .unwrap();
    let seen = lines(
        &client,
        &format!("resourceVersion={}", first.metadata.resource_version.unwrap()),
        3,
    )
    .await;
    assert_eq!(summary(&seen), ["ADDED b", "MODIFIED a", "DELETED b"]);
    let version = |i: usize| {
        seen[i]["object"]["metadata"]["resourceVersion"]
            .as_str()
            .unwrap()
            .parse::<u64>()
            .unwrap()
    };
    assert!(version(2) > version(1), "a deletion carries its own revision");
}

#[tokio::test(start_paused = true)]
async fn an_expired_version_is_an_error_event() {
    let server = builder().history(3).build().await.unwrap();
    let client = server.client();
    install_gadgets(&client).await;
    for i in 0..6 {
        create(&client, gadget(&format!("g{i}"), json!({}))).await;
    }
    let seen = lines(&client, "resourceVersion=2", 1).await;
    assert_eq!(
        (
            &seen[0]["type"],
            &seen[0]["object"]["code"],
            &seen[0]["object"]["reason"]
        ),
        (&json!("ERROR"), &json!(410), &json!("Expired"))
    );
}

#[tokio::test(start_paused = true)]
async fn entering_and_leaving_a_selector_are_addition_and_deletion() {
    let (_server, client) = with_gadgets().await;
    let api = gadgets(&client);
    let start = create(&client, gadget("a", json!({})))
        .await
        .metadata
        .resource_version
        .unwrap();
    for team in [json!("x"), json!("x"), json!(null)] {
        let patch = json!({"metadata": {"labels": {"team": team}, "annotations": {"n": api.get("a").await.unwrap().metadata.resource_version}}});
        api.patch("a", &PatchParams::default(), &Patch::Merge(patch))
            .await
            .unwrap();
    }
    let seen = lines(
        &client,
        &format!("resourceVersion={start}&labelSelector=team%3Dx"),
        3,
    )
    .await;
    assert_eq!(summary(&seen), ["ADDED a", "MODIFIED a", "DELETED a"]);
}

#[tokio::test(start_paused = true)]
async fn streaming_lists_end_with_a_bookmark() {
    let (server, client) = with_gadgets().await;
    create(&client, gadget("a", json!({}))).await;
    let query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let seen = lines(&client, query, 2).await;
    assert_eq!(summary(&seen), ["ADDED a", "BOOKMARK -"]);
    let metadata = &seen[1]["object"]["metadata"];
    assert_eq!(metadata["annotations"]["k8s.io/initial-events-end"], "true");
    assert_eq!(metadata["resourceVersion"], server.revision().to_string());
}

#[tokio::test(start_paused = true)]
async fn a_watch_ends_at_its_timeout_with_a_bookmark_of_what_it_skipped() {
    let (_server, client) = with_gadgets().await;
    let version = create(&client, gadget("a", json!({})))
        .await
        .metadata
        .resource_version
        .unwrap();
    // A change of another resource moves the revision on.
    let body = json!({"metadata": {"name": "other"}}).to_string();
    raw(
        &client,
        "POST",
        "/api/v1/namespaces/default/configmaps",
        "application/json",
        &body,
    )
    .await;
    let seen = lines(
        &client,
        &format!("resourceVersion={version}&allowWatchBookmarks=true&timeoutSeconds=5"),
        10,
    )
    .await;
    assert_eq!(summary(&seen), ["BOOKMARK -"]);
}

async fn follow(config: watcher::Config) {
    let (_server, client) = with_gadgets().await;
    create(&client, gadget("a", json!({}))).await;
    let mut events = kube::runtime::watcher(gadgets(&client), config).boxed();
    let mut seen = Vec::new();
    let note = |seen: &mut Vec<String>, event: Event<DynamicObject>| {
        seen.push(match event {
            Event::Init => "init".to_owned(),
            Event::InitDone => "done".to_owned(),
            Event::InitApply(o) => format!("init {}", o.metadata.name.unwrap()),
            Event::Apply(o) => format!("apply {}", o.metadata.name.unwrap()),
            Event::Delete(o) => format!("delete {}", o.metadata.name.unwrap()),
        });
    };
    while seen.last().is_none_or(|l| l != "done") {
        note(&mut seen, events.try_next().await.unwrap().unwrap());
    }
    create(&client, gadget("b", json!({}))).await;
    gadgets(&client)
        .delete("a", &DeleteParams::default())
        .await
        .unwrap();
    for _ in 0..2 {
        note(&mut seen, events.try_next().await.unwrap().unwrap());
    }
    assert_eq!(seen, ["init", "init a", "done", "apply b", "delete a"]);
}

#[tokio::test(start_paused = true)]
async fn the_watcher_lists_and_watches() {
    follow(watcher::Config::default()).await;
}

#[tokio::test(start_paused = true)]
async fn the_watcher_streams_lists() {
    follow(watcher::Config::default().streaming_lists()).await;
}

#[tokio::test(start_paused = true)]
async fn a_typed_watch_sees_changes_as_they_happen() {
    let (_server, client) = with_gadgets().await;
    let api = gadgets(&client);
    let mut stream = api
        .watch(&WatchParams::default().timeout(20), "0")
        .await
        .unwrap()
        .boxed();
    create(&client, gadget("a", json!({}))).await;
    let Some(Ok(WatchEvent::Added(object))) = stream.next().await else {
        panic!("an addition was expected")
    };
    assert_eq!(object.metadata.name.as_deref(), Some("a"));
}

#[tokio::test(start_paused = true)]
async fn a_watch_ends_when_its_definition_changes() {
    let (_server, client) = with_gadgets().await;
    let watching = tokio::spawn({
        let client = client.clone();
        async move { lines(&client, "", 10).await }
    });
    settle().await;
    let mut columns = gadget_crd()["spec"]["versions"].clone();
    columns[0]["additionalPrinterColumns"] = json!([]);
    let patch = Patch::Merge(json!({"spec": {"versions": columns}}));
    definitions(&client)
        .patch("gadgets.example.dev", &PatchParams::default(), &patch)
        .await
        .unwrap();
    assert_eq!(watching.await.unwrap().len(), 0);
}
