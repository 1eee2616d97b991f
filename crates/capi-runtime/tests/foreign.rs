//! References to kinds of other providers.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::type_complexity
)]

mod support;

use std::{sync::Arc, time::Duration};

use capi_api::core::v1beta2::Machine;
use capi_runtime::{Controller, Failure, Next, meta};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
};
use parking_lot::Mutex;
use serde_json::{Value, json};
use support::*;

/// Follows each Machine's infrastructure reference and records what it leads to.
fn following() -> (Probe, Arc<Mutex<Vec<String>>>, Arc<Mutex<Vec<String>>>) {
    let found = Arc::new(Mutex::new(Vec::new()));
    let log = found.clone();
    let (probe, calls) = Probe::new(move |ctx, key| {
        let log = log.clone();
        Box::pin(async move {
            let Some(machine) = ctx.get::<Machine>(key) else {
                return Ok(Next::Done);
            };
            let result = ctx
                .external(&key.namespace, &machine.spec.infrastructure_ref)
                .await;
            log.lock().push(match &result {
                Ok(external) => {
                    let size = external
                        .object
                        .as_ref()
                        .map(|object| object.data["spec"]["size"].clone());
                    format!("{} {} {size:?}", external.contract, external.resource.api_version)
                }
                Err(error) => error.to_string(),
            });
            result.map(|_| Next::Done).map_err(Failure::from)
        })
    });
    (probe, calls, found)
}

async fn label(world: &World, labels: Value) {
    let api: Api<CustomResourceDefinition> = Api::all(world.client.clone());
    let patch = Patch::Merge(json!({"metadata": {"labels": labels}}));
    api.patch("widgets.example.dev", &PatchParams::default(), &patch)
        .await
        .unwrap();
}

async fn widget(world: &World, version: &str, machine: &Machine) {
    let object = json!({
        "apiVersion": format!("example.dev/{version}"), "kind": "Widget",
        "metadata": {"name": "m", "ownerReferences": [meta::owner_reference(machine)]}, "spec": {"size": 1},
    });
    let api = world.dynamic(&format!("example.dev/{version}"), "Widget");
    api.create(&Default::default(), &serde_json::from_value(object).unwrap())
        .await
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn definitions_that_come_change_and_go_wake_those_who_refer_to_them() {
    let world = world().await;
    let machine = world.create::<Machine>(machine("m", "c")).await;
    let mut manager = world.builder().build().unwrap();
    let (probe, _, found) = following();
    manager.register(Controller::<Machine>::new("machine", probe));
    let running = Running::start(manager).await;
    let mut step = 0;
    let mut expect = async |what: &str| {
        settle().await;
        let log = found.lock().clone();
        assert!(log.len() > step, "nobody was woken: {what}");
        step = log.len();
        assert_eq!(log.last().unwrap(), what);
    };
    expect(
        "Widget m refers to a kind whose CustomResourceDefinition widgets.example.dev does not exist; install its provider",
    )
    .await;
    world.define_widgets(json!({})).await;
    expect(
        "Widget m: CustomResourceDefinition widgets.example.dev has neither of the labels cluster.x-k8s.io/v1beta2, \
         cluster.x-k8s.io/v1beta1 that name the versions implementing the contract",
    )
    .await;
    label(&world, json!({"cluster.x-k8s.io/v1beta1": "v1"})).await;
    expect("v1beta1 example.dev/v1 None").await;
    widget(&world, "v1", &machine).await;
    expect("v1beta1 example.dev/v1 Some(Number(1))").await;
    label(&world, json!({"cluster.x-k8s.io/v1beta2": "v1_v2"})).await;
    expect("v1beta2 example.dev/v2 Some(Number(1))").await;
    world
        .merge("example.dev/v2", "Widget", "m", json!({"spec": {"size": 2}}))
        .await;
    expect("v1beta2 example.dev/v2 Some(Number(2))").await;
    world
        .dynamic("example.dev/v2", "Widget")
        .delete("m", &DeleteParams::default())
        .await
        .unwrap();
    expect("v1beta2 example.dev/v2 None").await;
    widget(&world, "v2", &machine).await;
    expect("v1beta2 example.dev/v2 Some(Number(1))").await;
    let api: Api<CustomResourceDefinition> = Api::all(world.client.clone());
    api.delete("widgets.example.dev", &DeleteParams::default())
        .await
        .unwrap();
    expect(
        "Widget m refers to a kind whose CustomResourceDefinition widgets.example.dev does not exist; install its provider",
    )
    .await;
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_kind_is_watched_once_whoever_refers_to_it() {
    let world = world().await;
    world
        .define_widgets(json!({"cluster.x-k8s.io/v1beta2": "v2"}))
        .await;
    for number in 0..10 {
        let mut object = machine(&format!("m{number}"), "c");
        object["spec"]["infrastructureRef"]["name"] = json!("m");
        world.create::<Machine>(object).await;
    }
    let mut manager = world.builder().build().unwrap();
    for name in ["first", "second"] {
        let (probe, _, _) = following();
        manager.register(Controller::<Machine>::new(name, probe));
    }
    let running = Running::start(manager).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let watches = world
        .requests
        .all()
        .iter()
        .filter(|r| r.starts_with("watch /apis/example.dev/v2/widgets"))
        .count();
    assert_eq!(watches, 1);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_object_that_was_missed_wakes_those_who_looked_for_it_though_it_names_no_owner() {
    let world = world().await;
    world
        .define_widgets(json!({"cluster.x-k8s.io/v1beta2": "v2"}))
        .await;
    world.create::<Machine>(machine("m", "c")).await;
    let mut manager = world.builder().build().unwrap();
    let (probe, _, found) = following();
    manager.register(Controller::<Machine>::new("machine", probe));
    let running = Running::start(manager).await;
    settle().await;
    assert_eq!(found.lock().last().unwrap(), "v1beta2 example.dev/v2 None");
    let object = json!({"apiVersion": "example.dev/v2", "kind": "Widget", "metadata": {"name": "m"}, "spec": {"size": 1}});
    let api = world.dynamic("example.dev/v2", "Widget");
    api.create(&Default::default(), &serde_json::from_value(object).unwrap())
        .await
        .unwrap();
    settle().await;
    assert_eq!(
        found.lock().last().unwrap(),
        "v1beta2 example.dev/v2 Some(Number(1))"
    );
    running.stop().await;
}
