//! The way between controllers and API servers is bad: requests and answers are lost, refused and late, watches break,
//! expire, lag and repeat themselves. All the same the system comes to the end that it reaches on a good day.
//!
//! `SIM_SEEDS` tries more of them (`make sim`).
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "all of this is test code: a failure is a panic"
)]

use std::time::Duration;

use e2e::{
    invariants, number,
    scenario::{self, LONG, SMALL},
    simulation::{self, Simulation, Start},
    transport::Rates,
};

/// The states of one life: created, scaled, upgraded, deleted.
async fn life(simulation: &Simulation, rates: Option<Rates>) -> Result<Vec<Vec<String>>, String> {
    let mut states = Vec::new();
    let calm = |states: Vec<Vec<String>>| async move {
        // Errors have left delays behind.
        simulation.weather.set(None);
        tokio::time::sleep(Duration::from_secs(60)).await;
        simulation
            .until("the end is reached", LONG, |i| {
                scenario::is_available(i, 3 + states.len().min(1))
            })
            .await?;
        invariants::check(simulation).await?;
        simulation.weather.set(rates);
        let mut states = states;
        states.push(scenario::final_state(simulation));
        Ok::<_, String>(states)
    };
    scenario::apply(simulation, SMALL).await?;
    scenario::available_within(simulation, 3, LONG).await?;
    states = calm(states).await?;
    scenario::scale_workers(simulation, 3).await?;
    scenario::available_within(simulation, 4, LONG).await?;
    states = calm(states).await?;
    scenario::upgrade(simulation, 4).await?;
    states = calm(states).await?;
    scenario::delete(simulation).await?;
    Ok(states)
}

fn states(seed: u64, rates: Option<Rates>) -> Result<Vec<Vec<String>>, String> {
    let start = Start {
        seed,
        rates,
        ..Start::default()
    };
    simulation::run(start, |simulation| async move { life(&simulation, rates).await })
}

fn same_end(name: &str, rates: Rates) {
    let expected = states(1, None).unwrap_or_else(|error| panic!("undisturbed: {error}"));
    for seed in 1..=number("SIM_SEEDS", 1) {
        let found = states(seed, Some(rates)).unwrap_or_else(|error| panic!("{name}, seed {seed}: {error}"));
        for (step, (expected, found)) in expected.iter().zip(&found).enumerate() {
            assert!(
                expected == found,
                "{name}, seed {seed}, step {step}: {}",
                scenario::difference(expected, found)
            );
        }
    }
}

#[test]
fn lost_requests_and_answers_do_no_harm() {
    same_end(
        "losses",
        Rates {
            lost_request: 0.05,
            lost_answer: 0.1,
            silent: 0.1,
            latency: Duration::from_millis(50),
            ..Rates::default()
        },
    );
}

#[test]
fn refused_requests_do_no_harm() {
    same_end(
        "refusals",
        Rates {
            conflict: 0.1,
            too_many: 0.05,
            internal: 0.1,
            latency: Duration::from_millis(50),
            ..Rates::default()
        },
    );
}

#[test]
fn broken_late_and_repeated_watches_do_no_harm() {
    same_end(
        "watches",
        Rates {
            watch_broken: 0.1,
            watch_expired: 0.03,
            watch_twice: 0.1,
            watch_late: 0.3,
            lateness: Duration::from_secs(5),
            latency: Duration::from_millis(50),
            ..Rates::default()
        },
    );
}

#[test]
fn all_of_it_at_once_does_no_harm() {
    same_end("storm", Rates::storm());
}

#[test]
fn one_seed_gives_one_storm() {
    let log = || {
        let start = Start {
            seed: 7,
            rates: Some(Rates::storm()),
            ..Start::default()
        };
        simulation::run(start, |simulation| async move {
            scenario::apply(&simulation, SMALL).await?;
            scenario::available_within(&simulation, 3, LONG).await?;
            Ok::<_, String>(simulation.journal.lines())
        })
    };
    let (first, again) = (log().unwrap(), log().unwrap());
    if let Some((i, (a, b))) = first.iter().zip(&again).enumerate().find(|(_, (a, b))| a != b) {
        panic!("line {i} differs:\n{a}\n{b}");
    }
    assert_eq!(first.len(), again.len());
}
