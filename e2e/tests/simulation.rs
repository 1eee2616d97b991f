//! The life of a small cluster in simulated time.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "all of this is test code: a failure is a panic"
)]

use std::time::Duration;

use e2e::{
    invariants, number,
    scenario::{self, SMALL},
    simulation::{self, Simulation, Start, passes},
};

/// What upstream's delays add up to on the path to Available: VM 10 s, node 2 s, etcd and API server 2 s, and for the
/// workers, which can only join then, VM 10 s and node 2 s.
const SIMULATED_DELAYS: Duration = Duration::from_secs(26);

async fn life(simulation: &Simulation) -> Result<(), String> {
    scenario::create(simulation, SMALL, 3).await?;
    scenario::scale_workers(simulation, 4).await?;
    scenario::available(simulation, 5).await?;
    scenario::scale_workers(simulation, 1).await?;
    scenario::available(simulation, 2).await?;
    scenario::delete(simulation).await?;
    Ok(())
}

#[test]
fn a_cluster_comes_up_within_three_seconds_beyond_the_simulated_delays() {
    passes(Start::seed(1), |simulation| async move {
        let took = scenario::create(&simulation, SMALL, 3).await?;
        assert!(took <= SIMULATED_DELAYS + Duration::from_secs(3), "{took:?}");
        invariants::check(&simulation).await?;
        simulation.stop().await;
        Ok(())
    });
}

#[test]
fn workers_scale_up_and_down_and_rest_in_between() {
    passes(Start::seed(2), |simulation| async move {
        scenario::apply(&simulation, SMALL).await?;
        for (workers, machines) in [(2, 3), (4, 5), (1, 2), (0, 1), (2, 3)] {
            scenario::scale_workers(&simulation, workers).await?;
            scenario::available(&simulation, machines).await?;
            invariants::check(&simulation)
                .await
                .map_err(|e| format!("{workers} workers: {e}"))?;
        }
        Ok(())
    });
}

#[test]
fn deletion_leaves_nothing_behind() {
    passes(Start::seed(3), |simulation| async move {
        life(&simulation).await?;
        assert!(scenario::nodes(&simulation).await.is_empty());
        invariants::at_rest(&simulation, Duration::from_secs(120)).await
    });
}

#[test]
fn a_cluster_deleted_half_way_leaves_nothing_behind() {
    // Nothing owns the other objects before the controllers have seen them.
    for milliseconds in [50, 200, 500, 5_000, 11_000, 13_000, 15_000, 20_000] {
        passes(Start::seed(4), |simulation| async move {
            scenario::apply(&simulation, SMALL).await?;
            tokio::time::sleep(Duration::from_millis(milliseconds)).await;
            let deleted = scenario::delete(&simulation).await;
            deleted
                .map(drop)
                .map_err(|e| format!("deleted after {milliseconds} ms: {e}"))
        });
    }
}

/// `SIM_SEEDS` and `SIM_RUNS` choose how much is compared; `make sim` compares 100 runs.
#[test]
fn one_seed_gives_one_request_log() {
    let story = |seed| {
        simulation::run(Start::seed(seed), |simulation| async move {
            life(&simulation)
                .await
                .unwrap_or_else(|e| panic!("seed {seed}: {e}"));
            simulation.journal.lines()
        })
    };
    for seed in 0..number("SIM_SEEDS", 10) {
        let first = story(seed);
        assert!(
            first.len() > 100,
            "the log of seed {seed} has only {} lines",
            first.len()
        );
        for run in 1..number("SIM_RUNS", 2) {
            let again = story(seed);
            if let Some((i, (a, b))) = first.iter().zip(&again).enumerate().find(|(_, (a, b))| a != b) {
                panic!("seed {seed}, run {run} differs from the first in line {i}:\n{a}\n{b}");
            }
            assert_eq!(first.len(), again.len(), "seed {seed}, run {run}");
        }
    }
}
