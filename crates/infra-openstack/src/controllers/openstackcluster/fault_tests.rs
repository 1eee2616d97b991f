//! Trouble of every kind at every request: it ends in the same cluster, and after its deletion in nothing.

use std::time::Duration;

use http::StatusCode;

use super::tests::Bench;
use crate::fake::{FakeCloud, FaultAction, FaultRule};

fn counts(cloud: &FakeCloud) -> Vec<(String, usize)> {
    let inventory = cloud.inventory();
    inventory
        .into_iter()
        .map(|(collection, names)| (collection, names.len()))
        .collect()
}

/// What can happen to a request.
fn troubles() -> [FaultAction; 8] {
    [
        FaultAction::LoseAnswer,
        FaultAction::NoConnection,
        FaultAction::Silence,
        FaultAction::Refuse(StatusCode::INTERNAL_SERVER_ERROR, None),
        FaultAction::Refuse(StatusCode::SERVICE_UNAVAILABLE, Some(3)),
        FaultAction::Refuse(StatusCode::TOO_MANY_REQUESTS, Some(30)),
        FaultAction::Refuse(StatusCode::UNAUTHORIZED, None),
        FaultAction::Delay(Duration::from_secs(45)),
    ]
}

/// Which requests a kind of trouble meets. All of them with `EVERY_FAULT`, else every third one, each kind others.
fn met(requests: usize, kind: usize) -> impl Iterator<Item = usize> {
    match std::env::var_os("EVERY_FAULT") {
        Some(_) => (0..requests).step_by(1),
        None => (kind % 3..requests).step_by(3),
    }
}

fn once(action: FaultAction, index: usize) -> FaultRule {
    FaultRule::new("*", "", action).skip(index).times(1)
}

#[tokio::test(start_paused = true)]
async fn a_failure_at_any_request_ends_in_the_same_cluster_without_leaks() {
    let mut calm = Bench::usual();
    calm.settle().await;
    let expected = counts(&calm.cloud);
    let requests = calm.cloud.log().len();
    assert!(requests > 30);
    for (kind, action) in troubles().into_iter().enumerate() {
        for index in met(requests, kind) {
            let mut bench = Bench::usual();
            let before = bench.cloud.inventory();
            bench.cloud.disturb(once(action.clone(), index));
            bench.settle().await;
            assert_eq!(counts(&bench.cloud), expected, "{action:?} at request {index}");
            bench.take_away().await;
            assert_eq!(bench.cloud.inventory(), before, "{action:?} at request {index}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_while_deleting_leaves_nothing() {
    let mut calm = Bench::usual();
    calm.settle().await;
    calm.cloud.clear_log();
    calm.take_away().await;
    for (kind, action) in troubles().into_iter().enumerate() {
        for index in met(calm.cloud.log().len(), kind) {
            let mut bench = Bench::usual();
            let before = bench.cloud.inventory();
            bench.settle().await;
            bench.cloud.disturb(once(action.clone(), index));
            bench.take_away().await;
            assert_eq!(bench.cloud.inventory(), before, "{action:?} at request {index}");
        }
    }
}

/// The process is killed while a request is under way, before or after it is carried out: nothing that came of the
/// reconcile is stored, and whoever comes next logs in anew.
#[tokio::test(start_paused = true)]
async fn a_process_that_is_killed_at_any_request_makes_nothing_twice_and_leaves_nothing() {
    let mut calm = Bench::usual();
    calm.settle().await;
    let expected = counts(&calm.cloud);
    let made = calm.cloud.log().len();
    calm.cloud.clear_log();
    calm.take_away().await;
    let removed = calm.cloud.log().len();
    for action in [FaultAction::Silence, FaultAction::Deafness] {
        for index in 0..made + removed {
            let mut bench = Bench::usual();
            let before = bench.cloud.inventory();
            if index >= made {
                bench.settle().await;
                bench.cloud.disturb(once(action.clone(), index - made));
                bench.take_away_until_killed().await;
            } else {
                bench.cloud.disturb(once(action.clone(), index));
                bench.settle_until_killed().await;
            }
            bench.cloud.calm();
            bench.restart();
            if index < made {
                bench.settle().await;
                assert_eq!(counts(&bench.cloud), expected, "{action:?} at request {index}");
            }
            bench.take_away().await;
            assert_eq!(bench.cloud.inventory(), before, "{action:?} at request {index}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_busy_cloud_is_quoted_and_not_hammered() {
    let mut bench = Bench::usual();
    let trouble = FaultAction::Refuse(StatusCode::TOO_MANY_REQUESTS, Some(60));
    bench.cloud.disturb(FaultRule::new("*", "/network/", trouble));
    assert!(bench.once().await.result.is_err());
    let (status, _, message) = bench.message("NetworkReady");
    assert_eq!(status, "False");
    assert!(
        message.contains("429") && message.contains("disturbed"),
        "{message}"
    );
    assert!(
        bench
            .cloud
            .log()
            .iter()
            .filter(|logged| logged.status == 429)
            .count()
            < 3
    );
    bench.cloud.calm();
    bench.settle().await;
}
