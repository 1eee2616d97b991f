//! Trouble of every kind at every request of a server with volumes, trunk and two ports: one server, and after its deletion
//! nothing.

use std::time::Duration;

use capi_runtime::Next;
use http::StatusCode;

use super::{
    remove,
    tests::{Bench, crate_session, rich},
};
use crate::fake::{FakeCloud, FaultAction, FaultRule};

fn counts(cloud: &FakeCloud) -> Vec<usize> {
    cloud.inventory().iter().map(|(_, names)| names.len()).collect()
}

fn once(action: &FaultAction, index: usize) -> FaultRule {
    FaultRule::new("*", "", action.clone()).skip(index).times(1)
}

/// How many requests a server takes, and how many its deletion.
async fn requests() -> (usize, usize, Vec<usize>) {
    let mut calm = Bench::new(rich());
    calm.settle().await;
    let (expected, made) = (counts(&calm.cloud), calm.cloud.log().len());
    calm.cloud.clear_log();
    calm.take_away().await;
    assert!(made > 15);
    (made, calm.cloud.log().len(), expected)
}

#[tokio::test(start_paused = true)]
async fn a_failure_at_any_request_makes_no_second_server_and_no_leak() {
    let (made, removed, expected) = requests().await;
    for action in [
        FaultAction::LoseAnswer,
        FaultAction::NoConnection,
        FaultAction::Silence,
        FaultAction::Refuse(StatusCode::INTERNAL_SERVER_ERROR, None),
        FaultAction::Refuse(StatusCode::SERVICE_UNAVAILABLE, Some(3)),
        FaultAction::Refuse(StatusCode::TOO_MANY_REQUESTS, Some(30)),
        FaultAction::Refuse(StatusCode::UNAUTHORIZED, None),
    ] {
        for index in 0..made + removed {
            let mut bench = Bench::new(rich());
            let before = bench.cloud.inventory();
            if index < made {
                bench.cloud.disturb(once(&action, index));
            }
            bench.settle().await;
            assert_eq!(counts(&bench.cloud), expected, "{action:?} at request {index}");
            if index >= made {
                bench.cloud.disturb(once(&action, index - made));
            }
            bench.take_away().await;
            assert_eq!(bench.cloud.inventory(), before, "{action:?} at request {index}");
        }
    }
}

/// What a process does until one of its requests gets no answer: there it dies, and what it knew is lost.
async fn until_killed(bench: &mut Bench, deleting: bool) {
    let limit = Duration::from_secs(30);
    for _ in 0..100 {
        let before = bench.object.clone();
        let wait = match deleting {
            false => match tokio::time::timeout(limit, bench.once()).await {
                Ok(progress) => match (progress.result, progress.next) {
                    (Ok(()), Next::After(wait)) => wait,
                    _ => Duration::from_secs(1),
                },
                Err(_) => {
                    bench.object = before;
                    return;
                }
            },
            true => match tokio::time::timeout(limit, remove(&bench.session, &bench.object)).await {
                Ok(Ok(None)) | Err(_) => return,
                Ok(Ok(Some(remains))) => remains.wait,
                Ok(Err(_)) => Duration::from_secs(1),
            },
        };
        if bench.object.status.as_ref().is_some_and(|status| status.ready) && !deleting {
            return;
        }
        tokio::time::sleep(wait).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_process_that_is_killed_at_any_request_makes_nothing_twice_and_leaves_nothing() {
    let (made, removed, expected) = requests().await;
    for action in [FaultAction::Silence, FaultAction::Deafness] {
        for index in 0..made + removed {
            let mut bench = Bench::new(rich());
            let before = bench.cloud.inventory();
            let deleting = index >= made;
            if deleting {
                bench.settle().await;
            }
            let index = if deleting { index - made } else { index };
            bench.cloud.disturb(once(&action, index));
            until_killed(&mut bench, deleting).await;
            bench.cloud.calm();
            bench.session = crate_session(&bench.cloud);
            if !deleting {
                bench.settle().await;
                assert_eq!(counts(&bench.cloud), expected, "{action:?} at request {index}");
            }
            bench.take_away().await;
            assert_eq!(
                bench.cloud.inventory(),
                before,
                "{action:?} at request {index}, deleting: {deleting}"
            );
        }
    }
}
