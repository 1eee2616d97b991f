//! The invariants notice what they are for: each is broken once by hand.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "all of this is test code: a failure is a panic"
)]

use std::{future::Future, time::Duration};

use capi_runtime::Key;
use e2e::{
    invariants,
    observer::{Limits, Range},
    scenario::{self, CLUSTER, LARGE, SMALL, WORKERS},
    simulation::{self, MANAGER, NAMESPACE, Simulation, Start},
};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;

/// Breaks something in a cluster that is well, and expects the checks to name it.
fn notices<F>(expected: &str, break_it: impl FnOnce(Simulation) -> F)
where
    F: Future<Output = Result<Result<(), String>, String>>,
{
    let verdict = simulation::run(Start::seed(60), |simulation| async move {
        scenario::create(&simulation, SMALL, 3).await?;
        invariants::check(&simulation).await?;
        break_it(simulation).await
    });
    let complaint = verdict.unwrap().unwrap_err();
    assert!(complaint.contains(expected), "{complaint}");
}

#[test]
fn a_write_at_rest_is_noticed() {
    notices("1 write attempts", |s| async move {
        let maps: Api<ConfigMap> = Api::namespaced(s.server.client_as(MANAGER), NAMESPACE);
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(60)).await;
            let patch = Patch::Merge(json!({"data": {"a": "b"}}));
            // It does not even exist: attempts count.
            let _ = maps.patch("absent", &PatchParams::default(), &patch).await;
        });
        Ok(invariants::at_rest(&s, Duration::from_secs(120)).await)
    });
}

#[test]
fn a_write_to_the_workload_cluster_at_rest_is_noticed() {
    notices("workload", |s| async move {
        // Its label is carried to the Node.
        let machine = scenario::first(&s, false)?;
        let label = json!({"metadata": {"labels": {"node.cluster.x-k8s.io/a": "b"}}});
        let rest = invariants::at_rest(&s, Duration::from_secs(60));
        let change = async {
            tokio::time::sleep(Duration::from_secs(30)).await;
            scenario::patch(&s, "Machine", &machine, label).await
        };
        let (rest, changed) = futures::join!(rest, change);
        changed.map(|()| rest)
    });
}

#[test]
fn a_lost_owner_is_noticed() {
    notices("has no MachineDeployment as its owner", |s| async move {
        scenario::pause(&s, true).await?;
        let sets: Vec<String> = s.inventory().of_kind("MachineSet").map(|o| o.name()).collect();
        scenario::patch(
            &s,
            "MachineSet",
            &sets[0],
            json!({"metadata": {"ownerReferences": null}}),
        )
        .await?;
        Ok(invariants::check(&s).await)
    });
    notices("is not controlled by a KubeadmControlPlane", |s| async move {
        scenario::pause(&s, true).await?;
        let none = json!({"metadata": {"ownerReferences": null}});
        scenario::patch(&s, "Secret", "quickstart-ca", none).await?;
        Ok(invariants::check(&s).await)
    });
}

#[test]
fn a_machine_in_the_cloud_that_nobody_knows_is_noticed() {
    notices("in the cloud are", |s| async move {
        let cluster = Key::new(NAMESPACE, CLUSTER);
        s.world.create_machine(&Key::new(NAMESPACE, "orphan"), &cluster);
        Ok(invariants::check(&s).await)
    });
}

#[test]
fn too_few_available_and_too_many_machines_are_noticed() {
    for (range, expected) in [
        (Range::new(2, 3), "only 1 of 2 worker machines are Available"),
        (Range::new(0, 2), "more than 2 worker machines"),
    ] {
        notices(expected, |s| async move {
            s.journal.observer.limit(Some(Limits {
                control_plane: Range::new(1, 1),
                workers: range,
            }));
            let machine = scenario::first(&s, false)?;
            scenario::scale_workers(&s, 3).await?;
            scenario::delete_one(&s, "Machine", &machine).await?;
            scenario::replaced(&s, &machine, 4).await?;
            Ok(invariants::nothing_was_observed(&s))
        });
    }
}

#[test]
fn what_leaves_the_limits_of_the_control_plane_is_noticed() {
    for (range, expected) in [
        (
            Range::new(3, 5),
            "only 2 of 3 control-plane machines are Available",
        ),
        (Range::new(0, 3), "more than 3 control-plane machines"),
        (Range::new(0, 5), "several control-plane machines leave at once"),
    ] {
        let seen = simulation::run(Start::seed(62), |simulation| async move {
            let s = simulation.patient();
            scenario::create(&s, LARGE, 6).await?;
            s.journal.observer.limit(Some(Limits {
                control_plane: range,
                workers: Range::new(0, 9),
            }));
            scenario::scale_control_plane(&s, 5).await?;
            scenario::available_within(&s, 8, scenario::LONG).await?;
            for machine in scenario::machines(&s.inventory(), true).iter().take(3) {
                scenario::delete_one(&s, "Machine", machine).await?;
            }
            Ok::<_, String>(invariants::nothing_was_observed(&s))
        });
        let complaint = seen.unwrap().unwrap_err();
        assert!(complaint.contains(expected), "{expected}: {complaint}");
    }
}

#[test]
fn a_refused_write_is_noticed() {
    notices("what a controller wrote was refused", |s| async move {
        let maps: Api<ConfigMap> = Api::namespaced(s.server.client_as(MANAGER), NAMESPACE);
        let nameless = maps.create(&PostParams::default(), &ConfigMap::default()).await;
        assert!(nameless.is_err());
        Ok(invariants::nothing_was_observed(&s))
    });
}

#[test]
fn two_machines_for_one_purpose_are_noticed() {
    notices("have the same /spec/infrastructureRef/name", |s| async move {
        scenario::pause(&s, true).await?;
        let machines = scenario::dynamic(&s, "Machine");
        let first = machines
            .get(&scenario::first(&s, false)?)
            .await
            .map_err(|e| e.to_string())?;
        let mut twin = first.clone();
        twin.metadata = kube::api::ObjectMeta {
            name: Some("twin".to_owned()),
            ..kube::api::ObjectMeta::default()
        };
        machines
            .create(&PostParams::default(), &twin)
            .await
            .map_err(|e| e.to_string())?;
        Ok(invariants::nothing_was_observed(&s))
    });
}

#[test]
fn a_lost_quorum_is_noticed() {
    let seen = simulation::run(Start::seed(61), |simulation| async move {
        let s = simulation.patient();
        scenario::create(&s, LARGE, 6).await?;
        for machine in scenario::machines(&s.inventory(), true).iter().take(2) {
            scenario::break_machine(&s, machine, "etcd", "down").await?;
        }
        tokio::time::sleep(Duration::from_secs(60)).await;
        scenario::scale_workers(&s, 4).await?;
        Ok::<_, String>(invariants::nothing_was_observed(&s))
    });
    let complaint = seen.unwrap().unwrap_err();
    assert!(complaint.contains("has lost its quorum"), "{complaint}");
}

#[test]
fn a_silent_object_is_noticed() {
    notices("without a message", |s| async move {
        scenario::pause(&s, true).await?;
        let silent = json!([{"type": "Available", "status": "False", "reason": "NotAvailable", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
        let patch = Patch::Merge(json!({"status": {"conditions": silent}}));
        scenario::dynamic(&s, "MachineDeployment")
            .patch_status(WORKERS, &PatchParams::default(), &patch)
            .await
            .map_err(|e| e.to_string())?;
        invariants::every_object_says_why(&s, &s.inventory());
        Ok(invariants::nothing_was_observed(&s))
    });
}
