//! Controllers on an API server: what wakes them, what their failures lead to, what they write.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::type_complexity
)]

mod support;

use std::{sync::Arc, time::Duration};

use capi_api::core::v1beta2::{Cluster, Machine, MachinePhase, MachineSet};
use capi_runtime::{
    Class, Controller, Event, Failure, Key, Next, meta,
    webhook::{FieldError, Request, Validator, Verdict},
};
use embedded_apiserver::Server;
use futures::StreamExt;
use http_body_util::{BodyStream, StreamBody};
use k8s_openapi::api::{
    core::v1::{ConfigMap, Secret, ServiceAccount},
    events::v1::Event as ApiEvent,
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, ObjectMeta, Patch, PatchParams},
    client::Body,
};
use parking_lot::Mutex;
use serde_json::json;
use support::*;
use tower::ServiceExt;

/// A client that sees every watch event three seconds late.
fn late(server: &Server) -> Client {
    let service = server.service();
    let slow = tower::service_fn(move |request: http::Request<Body>| {
        let watch = request.uri().query().unwrap_or_default().contains("watch=true");
        let answer = service.clone().oneshot(request);
        async move {
            let (head, body) = answer.await.unwrap().into_parts();
            let frames = BodyStream::new(body).then(move |frame| async move {
                if watch {
                    tokio::time::sleep(Duration::from_secs(3)).await;
                }
                frame
            });
            Ok::<_, tower::BoxError>(http::Response::from_parts(head, StreamBody::new(frames)))
        }
    });
    Client::new(slow, "default")
}

#[tokio::test(start_paused = true)]
async fn children_are_created_once_though_the_reconciler_trusts_its_store_and_the_store_is_late() {
    let world = world().await;
    let mut manager = world.builder_for(late(&world.server)).build().unwrap();
    // Not idempotent on purpose: creates children under random names until the store shows three.
    let (reconciler, calls) = Probe::new(|ctx, key| {
        Box::pin(async move {
            let Some(parent) = ctx.get::<ConfigMap>(key) else {
                return Ok(Next::Done);
            };
            let children = ctx
                .store::<ServiceAccount>()
                .by_owner(parent.uid().as_deref().unwrap_or_default());
            for _ in children.len()..3 {
                let child = ServiceAccount {
                    metadata: ObjectMeta {
                        namespace: Some(key.namespace.clone()),
                        name: Some(format!(
                            "{}-{}",
                            key.name,
                            seams::name_suffix(ctx.randomness(), 5)
                        )),
                        owner_references: Some(vec![meta::controller_reference(&*parent)]),
                        ..ObjectMeta::default()
                    },
                    ..ServiceAccount::default()
                };
                ctx.create(&child).await?;
            }
            Ok(Next::After(Duration::from_millis(500)))
        })
    });
    manager.register(Controller::<ConfigMap>::new("parent", reconciler).watches_owned::<ServiceAccount>());
    let running = Running::start(manager).await;
    world.create::<ConfigMap>(config_map("p")).await;
    let children = Api::<ServiceAccount>::namespaced(world.client.clone(), "default");
    tokio::time::sleep(Duration::from_secs(60)).await;
    let mut found = children.list(&ListParams::default()).await.unwrap().items;
    assert_eq!(found.len(), 3);
    assert!(calls.lock().len() >= 20, "{}", calls.lock().len());
    children
        .delete(&found.remove(0).name_any(), &DeleteParams::default())
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(
        children.list(&ListParams::default()).await.unwrap().items.len(),
        3
    );
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn at_rest_nothing_is_asked() {
    let world = world().await;
    let mut manager = world.builder().build().unwrap();
    let (reconciler, _) = Probe::new(|ctx, key| {
        Box::pin(async move {
            if let Some(found) = ctx.get::<ConfigMap>(key) {
                ctx.ensure_finalizer(&*found, "example.dev/f").await?;
            }
            Ok(Next::Done)
        })
    });
    manager.register(Controller::<ConfigMap>::new("parent", reconciler).watches_owned::<ServiceAccount>());
    let running = Running::start(manager).await;
    world.create::<ConfigMap>(config_map("p")).await;
    settle().await;
    assert!(!world.requests.writes().is_empty());
    world.requests.clear();
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert!(world.requests.all().is_empty(), "{:?}", world.requests.all());
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_write_that_no_watch_shows_is_not_waited_for() {
    let world = world().await;
    let mut manager = world.builder().build().unwrap();
    let (reconciler, calls) = Probe::new(|ctx, key| {
        Box::pin(async move {
            let round = ctx.randomness().next_u64();
            let secret = json!({"metadata": {"namespace": "default", "name": format!("s{round}")}});
            // Only Secrets labelled with a cluster are watched.
            ctx.create::<Secret>(&serde_json::from_value(secret).unwrap())
                .await?;
            ctx.get::<Secret>(key);
            Ok(Next::After(Duration::from_secs(5)))
        })
    });
    manager.register(Controller::<ConfigMap>::new("test", reconciler).reads::<Secret>());
    world.create::<ConfigMap>(config_map("x")).await;
    let running = Running::start(manager).await;
    calls.lock().clear();
    tokio::time::sleep(Duration::from_secs(29)).await;
    assert!(counts(&calls)["x"] >= 5, "{:?}", counts(&calls));
    running.stop().await;
}

struct Careless;

#[async_trait::async_trait]
impl Validator<Machine> for Careless {
    async fn create(&self, request: &Request, machine: &Machine) -> Verdict {
        assert_ne!(machine.name_any(), "breaks");
        let known = request
            .stores
            .get::<Cluster>()
            .get(&Key::of(machine).sibling("c"))
            .is_some();
        if known {
            Verdict::allow()
        } else {
            Verdict::forbid("there is no such cluster")
        }
    }

    async fn update(&self, _: &Request, _: &Machine, _: &Machine) -> Verdict {
        Verdict::allow()
    }
}

#[tokio::test(start_paused = true)]
async fn admission_rules_that_panic_or_come_too_early_refuse_only_their_request() {
    let world = world().await;
    world.create::<Cluster>(cluster("c")).await;
    let mut manager = world.builder().build().unwrap();
    manager.validator::<Machine>(Careless);
    let admission = manager.admission();
    assert_eq!(admission.handles("cluster.x-k8s.io", "Machine"), (false, true));
    let ask = async |name: &str| {
        let kind = json!({"group": "cluster.x-k8s.io", "version": "v1beta2", "kind": "Machine"});
        let request = json!({
            "uid": "u", "kind": kind, "operation": "CREATE", "userInfo": {}, "name": name, "object": machine(name, "c"),
            "resource": {"group": "cluster.x-k8s.io", "version": "v1beta2", "resource": "machines"},
        });
        let answer = admission
            .validate(&serde_json::from_value(request).unwrap())
            .await;
        (answer.allowed, answer.result.code)
    };
    assert_eq!(ask("m").await, (false, 503));
    let running = Running::start(manager).await;
    settle().await;
    assert_eq!(ask("m").await, (true, 0));
    assert_eq!(ask("breaks").await, (false, 500));
    running.stop().await;
}

struct OddReplicas;

#[async_trait::async_trait]
impl Validator<MachineSet> for OddReplicas {
    async fn create(&self, _: &Request, _: &MachineSet) -> Verdict {
        Verdict::allow()
    }

    async fn update(&self, _: &Request, old: &MachineSet, new: &MachineSet) -> Verdict {
        assert_eq!(old.spec.cluster_name, new.spec.cluster_name);
        match new.spec.replicas.unwrap_or(1) % 2 {
            1 => Verdict::allow(),
            _ => Verdict::of(vec![FieldError::forbidden("spec.replicas", "must be odd")]),
        }
    }

    fn judges_scale(&self) -> bool {
        true
    }
}

#[tokio::test(start_paused = true)]
async fn scaling_through_the_subresource_is_judged_as_an_update_of_the_object() {
    let world = world().await;
    let mut definitions = capi_api::crd::crds().unwrap().into_iter().map(|s| s.definition);
    let sets = definitions.find(|d| d.metadata.name.as_deref() == Some("machinesets.cluster.x-k8s.io"));
    world.define(sets.unwrap()).await;
    let set = json!({
        "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "MachineSet",
        "metadata": {"name": "s", "namespace": "default"},
        "spec": {
            "clusterName": "c", "replicas": 1, "selector": {"matchLabels": {"a": "b"}},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": {
                "clusterName": "c", "bootstrap": {"dataSecretName": "d"},
                "infrastructureRef": {"apiGroup": "x.io", "kind": "X", "name": "x"},
            }},
        },
    });
    world.create::<MachineSet>(set).await;
    let mut manager = world.builder().build().unwrap();
    manager.validator::<MachineSet>(OddReplicas);
    let admission = manager.admission();
    let scale = async |name: &str, replicas: i32| {
        let object = json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "spec": {"replicas": replicas}});
        let request = json!({
            "uid": "u", "operation": "UPDATE", "userInfo": {}, "name": name, "namespace": "default",
            "kind": {"group": "autoscaling", "version": "v1", "kind": "Scale"}, "subResource": "scale",
            "resource": {"group": "cluster.x-k8s.io", "version": "v1beta2", "resource": "machinesets"},
            "object": object, "oldObject": object,
        });
        let request = serde_json::from_value(request).unwrap();
        let answer = admission.validate(&request).await;
        (answer.allowed, answer.result.message)
    };
    assert_eq!(scale("s", 3).await, (true, String::new()));
    let refused = r#"MachineSet.cluster.x-k8s.io "s" is invalid: spec.replicas: Forbidden: must be odd"#;
    assert_eq!(scale("s", 2).await, (false, refused.to_owned()));
    assert!(scale("gone", 2).await.0);
}

#[tokio::test(start_paused = true)]
async fn a_stopped_manager_leaves_nothing_behind() {
    let world = world().await;
    world
        .define_widgets(json!({"cluster.x-k8s.io/v1beta2": "v2"}))
        .await;
    world.create::<Machine>(machine("m", "c")).await;
    let mut manager = world.builder().build().unwrap();
    let (reconciler, calls) = Probe::new(|ctx, key| {
        Box::pin(async move {
            let Some(machine) = ctx.get::<Machine>(key) else {
                return Ok(Next::Done);
            };
            ctx.external(&key.namespace, &machine.spec.infrastructure_ref)
                .await?;
            Ok(Next::Done)
        })
    });
    let machines = Controller::<Machine>::new("machine", reconciler).connects_workloads();
    manager.register(machines.watches::<Cluster>(|cluster, stores| {
        stores
            .get::<Machine>()
            .by_cluster(&Key::of(cluster))
            .iter()
            .map(|m| Key::of(&**m))
            .collect()
    }));
    let metrics = Arc::downgrade(&manager.metrics());
    let running = Running::start(manager).await;
    settle().await;
    assert!(!calls.lock().is_empty() && metrics.upgrade().is_some());
    running.stop().await;
    settle().await;
    assert!(metrics.upgrade().is_none(), "something still holds the stores");
}

#[tokio::test(start_paused = true)]
async fn a_moved_child_wakes_its_old_and_its_new_owner() {
    let world = world().await;
    let a = world.create::<ConfigMap>(config_map("a")).await;
    let b = world.create::<ConfigMap>(config_map("b")).await;
    let mut child = json!({"metadata": {"name": "child", "namespace": "default"}});
    child["metadata"]["ownerReferences"] = json!([meta::owner_reference(&a)]);
    world.create::<ServiceAccount>(child).await;
    let mut manager = world.builder().build().unwrap();
    let (reconciler, calls) = Probe::idle();
    manager.register(Controller::<ConfigMap>::new("parent", reconciler).watches_owned::<ServiceAccount>());
    let running = Running::start(manager).await;
    settle().await;
    calls.lock().clear();
    let moved = json!({"metadata": {"ownerReferences": [meta::owner_reference(&b)]}});
    world.merge("v1", "ServiceAccount", "child", moved).await;
    settle().await;
    assert_eq!(counts(&calls), [("a".to_owned(), 1), ("b".to_owned(), 1)].into());
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn failures_panics_and_timers_bring_the_object_back() {
    let world = world().await;
    for name in ["fails", "panics", "conflicts", "waits", "gives-up", "timer"] {
        world.create::<ConfigMap>(config_map(name)).await;
    }
    let mut manager = world.builder().build().unwrap();
    let (reconciler, calls) = Probe::new(|_, key| {
        Box::pin(async move {
            match key.name.as_str() {
                "fails" => Err(Failure::transient("broken")),
                "panics" => panic!("a bug"),
                "conflicts" => Err(Failure::new(Class::Conflict, "lost")),
                "waits" => Err(Failure::waiting("something")),
                "gives-up" => Err(Failure::terminal("hopeless")),
                "timer" => Ok(Next::After(Duration::from_secs(30))),
                _ => Ok(Next::Done),
            }
        })
    });
    let metrics = manager.metrics();
    manager.register(Controller::<ConfigMap>::new("test", reconciler));
    let running = Running::start(manager).await;
    tokio::time::sleep(Duration::from_secs(70)).await;
    let counts = counts(&calls);
    for name in ["fails", "panics", "conflicts"] {
        assert!((12..=16).contains(&counts[name]), "{name}: {}", counts[name]);
    }
    assert_eq!((counts["waits"], counts["gives-up"], counts["timer"]), (1, 1, 3));
    assert!(metrics.text().contains(&format!(
        "capi_reconcile_panics_total{{controller=\"test\"}} {}",
        counts["panics"]
    )));
    tokio::time::sleep(Duration::from_secs(20 * 60)).await;
    assert!(
        calls.lock().iter().filter(|name| *name == "waits").count() >= 2,
        "a last resort"
    );
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_deleted_object_is_reconciled_once_more() {
    let world = world().await;
    world.create::<ConfigMap>(config_map("x")).await;
    let gone = Arc::new(Mutex::new(0));
    let seen = gone.clone();
    let mut manager = world.builder().build().unwrap();
    let (reconciler, _) = Probe::new(move |ctx, key| {
        if ctx.get::<ConfigMap>(key).is_none() {
            *seen.lock() += 1;
        }
        Box::pin(async { Ok(Next::Done) })
    });
    manager.register(Controller::<ConfigMap>::new("test", reconciler));
    let running = Running::start(manager).await;
    let api: Api<ConfigMap> = Api::namespaced(world.client.clone(), "default");
    api.delete("x", &DeleteParams::default()).await.unwrap();
    settle().await;
    assert_eq!(*gone.lock(), 1);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_watch_filter_and_the_ring_decide_what_is_reconciled() {
    let world = world().await;
    let mut labelled = config_map("mine");
    labelled["metadata"]["labels"] = json!({"cluster.x-k8s.io/watch-filter": "me"});
    world.create::<ConfigMap>(labelled).await;
    world.create::<ConfigMap>(config_map("other")).await;
    let mut manager = world.builder().watch_filter(Some("me".into())).build().unwrap();
    let (reconciler, calls) = Probe::idle();
    manager.register(Controller::<ConfigMap>::new("test", reconciler));
    let ring = manager.ring();
    let running = Running::start(manager).await;
    settle().await;
    assert_eq!(counts(&calls), [("mine".to_owned(), 1)].into());
    // Another member takes everything over, then leaves again.
    calls.lock().clear();
    ring.hand_over(["other".to_owned()].into()).await;
    world
        .merge("v1", "ConfigMap", "mine", json!({"data": {"a": "b"}}))
        .await;
    settle().await;
    assert!(calls.lock().is_empty());
    ring.hand_over(["test-manager".to_owned()].into()).await;
    settle().await;
    assert_eq!(counts(&calls), [("mine".to_owned(), 1)].into());
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_undecodable_object_does_not_hide_the_others() {
    let world = world().await;
    world.define_widgets(json!({})).await;
    world.create::<Machine>(machine("good", "c")).await;
    // A definition without a schema lets anything in.
    let mut loose = widgets(json!({}));
    loose["metadata"]["name"] = json!("clusterclasses.cluster.x-k8s.io");
    loose["spec"]["group"] = json!("cluster.x-k8s.io");
    loose["spec"]["names"] = json!({"plural": "clusterclasses", "kind": "ClusterClass"});
    for version in loose["spec"]["versions"].as_array_mut().unwrap() {
        version["name"] = json!(if version["storage"] == true {
            "v1beta2"
        } else {
            "v1beta1"
        });
    }
    world.define(serde_json::from_value(loose).unwrap()).await;
    let classes = world.dynamic("cluster.x-k8s.io/v1beta2", "ClusterClass");
    let template =
        json!({"templateRef": {"apiVersion": "example.dev/v2", "kind": "WidgetTemplate", "name": "t"}});
    let spec = json!({"infrastructure": template, "controlPlane": template});
    for (name, spec) in [("bad", json!("nonsense")), ("fine", spec)] {
        let object = json!({
            "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "ClusterClass",
            "metadata": {"name": name}, "spec": spec,
        });
        classes
            .create(&Default::default(), &serde_json::from_value(object).unwrap())
            .await
            .unwrap();
    }
    let mut manager = world.builder().build().unwrap();
    let (reconciler, calls) = Probe::idle();
    let metrics = manager.metrics();
    manager.register(Controller::<capi_api::core::v1beta2::ClusterClass>::new(
        "class", reconciler,
    ));
    let running = Running::start(manager).await;
    settle().await;
    assert_eq!(counts(&calls), [("fine".to_owned(), 1)].into());
    assert!(
        metrics
            .text()
            .contains("capi_undecodable_objects_total{kind=\"ClusterClass\"} 1")
    );
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn patches_send_the_difference_and_lose_against_faster_writers_of_shared_lists() {
    let world = world().await;
    let stale = world.create::<Machine>(machine("m", "c")).await;
    let manager = world.builder().build().unwrap();
    let ctx = manager.context("test");
    assert!(!ctx.patch(&stale, &stale).await.unwrap());
    assert!(world.requests.writes().is_empty());

    world
        .merge(
            "cluster.x-k8s.io/v1beta2",
            "Machine",
            "m",
            json!({"metadata": {"labels": {"by": "other"}}}),
        )
        .await;
    // Nothing shared: fine on top of any version.
    let mut after = stale.clone();
    after
        .metadata
        .labels
        .get_or_insert_default()
        .insert("by-me".into(), "x".into());
    after.status.get_or_insert_default().phase = Some(MachinePhase::Pending);
    assert!(ctx.patch(&stale, &after).await.unwrap());
    let live = ctx.get_live::<Machine>(&Key::of(&stale)).await.unwrap().unwrap();
    assert_eq!(live.labels().get("by").map(String::as_str), Some("other"));
    assert_eq!(live.labels().get("by-me").map(String::as_str), Some("x"));
    assert_eq!(live.status.as_ref().unwrap().phase, Some(MachinePhase::Pending));
    assert_eq!(world.requests.writes().len(), 2, "metadata, then status");
    // Shared lists: only on top of the version they were computed from.
    let error = ctx.ensure_finalizer(&stale, "f").await.unwrap_err();
    assert!(error.is_conflict(), "{error}");
    assert!(ctx.ensure_finalizer(&live, "f").await.unwrap());
    // Own locked writes of the same reconcile do not count as faster writers.
    assert!(ctx.ensure_finalizer(&live, "g").await.unwrap());
    let live = ctx.get_live::<Machine>(&Key::of(&stale)).await.unwrap().unwrap();
    assert_eq!(live.metadata.finalizers.as_deref(), Some(&["g".to_owned()][..]));
    assert_eq!(
        manager
            .metrics()
            .writes()
            .iter()
            .map(|(_, count)| count)
            .sum::<u64>(),
        5
    );
}

#[tokio::test(start_paused = true)]
async fn an_apply_that_changes_nothing_is_sent_once() {
    let world = world().await;
    world.create::<ConfigMap>(config_map("x")).await;
    let mut manager = world.builder().build().unwrap();
    let (reconciler, calls) = Probe::new(|ctx, key| {
        Box::pin(async move {
            if ctx
                .get::<ConfigMap>(key)
                .is_some_and(|found| found.name_any() == "x")
            {
                ctx.apply::<ConfigMap>(key, &json!({"data": {"a": "b"}}), "test-manager-fields")
                    .await?;
            }
            Ok(Next::After(Duration::from_secs(2)))
        })
    });
    manager.register(Controller::<ConfigMap>::new("test", reconciler));
    let running = Running::start(manager).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(calls.lock().len() > 10);
    assert_eq!(world.requests.writes().len(), 1, "{:?}", world.requests.writes());
    world
        .merge("v1", "ConfigMap", "x", json!({"data": {"a": "c"}}))
        .await;
    settle().await;
    let api: Api<ConfigMap> = Api::namespaced(world.client.clone(), "default");
    assert_eq!(
        api.get("x").await.unwrap().data.unwrap()["a"],
        "b",
        "a change by others is undone"
    );
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn pausing_writes_the_condition_and_stops_the_reconcile() {
    let world = world().await;
    let machine = world.create::<Machine>(machine("m", "c")).await;
    let manager = world.builder().build().unwrap();
    let ctx = manager.context("test");
    assert!(ctx.stop_if_paused(true, &machine).await.unwrap());
    let paused = ctx
        .get_live::<Machine>(&Key::of(&machine))
        .await
        .unwrap()
        .unwrap();
    assert!(capi_api::conditions::is_true(&paused, "Paused"));
    assert!(
        ctx.stop_if_paused(true, &paused).await.unwrap(),
        "paused, nothing written"
    );
    assert!(
        ctx.stop_if_paused(false, &paused).await.unwrap(),
        "written, comes back by its event"
    );
    let running = ctx
        .get_live::<Machine>(&Key::of(&machine))
        .await
        .unwrap()
        .unwrap();
    assert!(!ctx.stop_if_paused(false, &running).await.unwrap());
    assert_eq!(world.requests.writes().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn deleting_asks_for_this_very_object_and_only_once() {
    let world = world().await;
    let old = world.create::<ConfigMap>(config_map("x")).await;
    let api: Api<ConfigMap> = Api::namespaced(world.client.clone(), "default");
    let ctx = world.builder().build().unwrap().context("test");
    ctx.delete(&old).await.unwrap();
    ctx.delete(&old).await.unwrap();
    world.create::<ConfigMap>(config_map("x")).await;
    assert!(
        ctx.delete(&old).await.unwrap_err().is_conflict(),
        "a later object of the same name is spared"
    );
    let held = json!({"metadata": {"finalizers": ["example.dev/x"]}});
    api.patch("x", &PatchParams::default(), &Patch::Merge(held))
        .await
        .unwrap();
    ctx.delete(&api.get("x").await.unwrap()).await.unwrap();
    let writes = world.requests.writes().len();
    ctx.delete(&api.get("x").await.unwrap()).await.unwrap();
    assert_eq!(world.requests.writes().len(), writes, "it is going already");
}

#[tokio::test(start_paused = true)]
async fn an_event_is_written_once_however_often_it_is_reported() {
    let world = world().await;
    world.create::<ConfigMap>(config_map("x")).await;
    for _ in 0..2 {
        let mut manager = world.builder().build().unwrap();
        let (reconciler, _) = Probe::new(|ctx, key| {
            Box::pin(async move {
                if let Some(found) = ctx.get::<ConfigMap>(key) {
                    ctx.event(&*found, Event::normal("Seen", "it was seen"));
                    ctx.event(&*found, Event::warning("Odd", "x".repeat(3000)));
                }
                Ok(Next::After(Duration::from_secs(1)))
            })
        });
        manager.register(Controller::<ConfigMap>::new("test", reconciler));
        let running = Running::start(manager).await;
        settle().await;
        running.stop().await;
    }
    let api: Api<ApiEvent> = Api::namespaced(world.client.clone(), "default");
    let mut events: Vec<_> = api
        .list(&ListParams::default())
        .await
        .unwrap()
        .items
        .into_iter()
        .map(|event| {
            (
                event.reason.unwrap(),
                event.note.unwrap().len(),
                event.regarding.unwrap().kind.unwrap(),
            )
        })
        .collect();
    events.sort();
    assert_eq!(
        events,
        [
            ("Odd".into(), 1024, "ConfigMap".into()),
            ("Seen".into(), 11, "ConfigMap".to_owned())
        ]
    );
    assert_eq!(
        world.requests.writes().len(),
        4,
        "a second process tries once more and meets them"
    );
}

#[tokio::test(start_paused = true)]
async fn one_seed_gives_one_sequence_of_requests() {
    async fn run(seed: u64) -> Vec<String> {
        let world = seeded_world(seed).await;
        world
            .define_widgets(json!({"cluster.x-k8s.io/v1beta2": "v2"}))
            .await;
        let mut manager = world.builder().build().unwrap();
        let (reconciler, _) = Probe::new(|ctx, key| {
            Box::pin(async move {
                let Some(machine) = ctx.get::<Machine>(key) else {
                    return Ok(Next::Done);
                };
                ctx.ensure_finalizer(&*machine, "example.dev/f").await?;
                let found = ctx
                    .external(&key.namespace, &machine.spec.infrastructure_ref)
                    .await?;
                let mut after = (*machine).clone();
                after.status.get_or_insert_default().phase = Some(if found.object.is_some() {
                    MachinePhase::Provisioned
                } else {
                    MachinePhase::Pending
                });
                if ctx.patch(&*machine, &after).await? {
                    ctx.event(
                        &*machine,
                        Event::normal("Phase", format!("{:?}", after.status.unwrap().phase)),
                    );
                }
                Ok(Next::Done)
            })
        });
        manager.register(
            Controller::<Machine>::new("machine", reconciler).watches::<Cluster>(|cluster, stores| {
                stores
                    .get::<Machine>()
                    .by_cluster(&Key::of(cluster))
                    .iter()
                    .map(|m| Key::of(&**m))
                    .collect()
            }),
        );
        let running = Running::start(manager).await;
        for number in 0..20 {
            world.create::<Machine>(machine(&format!("m{number}"), "c")).await;
        }
        world.create::<Cluster>(cluster("c")).await;
        let widgets = world.dynamic("example.dev/v2", "Widget");
        for number in 0..20 {
            let name = format!("m{number}");
            let machine = Api::<Machine>::namespaced(world.client.clone(), "default")
                .get(&name)
                .await
                .unwrap();
            let object = json!({
                "apiVersion": "example.dev/v2", "kind": "Widget",
                "metadata": {"name": name, "ownerReferences": [meta::owner_reference(&machine)]},
            });
            widgets
                .create(&Default::default(), &serde_json::from_value(object).unwrap())
                .await
                .unwrap();
        }
        tokio::time::sleep(Duration::from_secs(400)).await;
        let machines = Api::<Machine>::namespaced(world.client.clone(), "default");
        for machine in machines.list(&ListParams::default()).await.unwrap() {
            assert_eq!(
                machine.status.unwrap().phase,
                Some(MachinePhase::Provisioned),
                "{:?}",
                machine.metadata.name
            );
        }
        running.stop().await;
        world.requests.all()
    }
    let first = run(7).await;
    assert!(first.len() > 60, "{}", first.len());
    assert_eq!(first, run(7).await);
}
