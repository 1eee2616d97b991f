//! The way between controllers and API servers is bad: requests and answers are lost, refused and late, watches break,
//! expire, lag and repeat themselves, port-forwards are refused, slow and cut. All the same the system comes to the end that it reaches on a good day.
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
    scenario::{self, CONTROL_PLANE, LARGE, LONG, NEW_VERSION, SMALL, WORKERS},
    simulation::{self, Simulation, Start},
    transport::Rates,
};
use futures::future::LocalBoxFuture;
use serde_json::json;

/// A life whose states are looked at, each once the weather is fair.
struct Life<'a> {
    simulation: &'a Simulation,
    rates: Option<Rates>,
    states: Vec<Vec<String>>,
}

impl Life<'_> {
    /// So many machines are Available, also when the weather has cleared up, and everything is as it should be.
    async fn calm(&mut self, machines: usize) -> Result<(), String> {
        // Errors have left delays behind.
        self.simulation.weather.set(None);
        tokio::time::sleep(Duration::from_secs(60)).await;
        scenario::available_within(self.simulation, machines, LONG).await?;
        invariants::check(self.simulation).await?;
        // Health checks may give up a machine that such weather keeps from being seen: what replaced it says so for life.
        let replaced = "\"controlplane.cluster.x-k8s.io/remediation-for\", ";
        let state = scenario::final_state(self.simulation).into_iter();
        let mut state: Vec<String> = state.map(|line| line.replace(replaced, "")).collect();
        state.sort();
        self.states.push(state);
        self.simulation.weather.set(self.rates);
        Ok(())
    }
}

/// What a life does, and what it finds; named for errors.
type Story = for<'a> fn(Life<'a>) -> LocalBoxFuture<'a, Result<Vec<Vec<String>>, String>>;

/// Usually nobody waits long for the Node of a machine that goes, and in such weather it would stay behind.
async fn wait_for_nodes(simulation: &Simulation) -> Result<(), String> {
    let patiently = json!({"spec": {"deletion": {"nodeDeletionTimeoutSeconds": 0}}});
    for (kind, name, part) in [
        ("KubeadmControlPlane", CONTROL_PLANE, "machineTemplate"),
        ("MachineDeployment", WORKERS, "template"),
    ] {
        scenario::patch(simulation, kind, name, json!({"spec": {part: patiently}})).await?;
    }
    Ok(())
}

/// Created, scaled, upgraded, deleted.
fn changed(mut life: Life<'_>) -> LocalBoxFuture<'_, Result<Vec<Vec<String>>, String>> {
    Box::pin(async move {
        let simulation = life.simulation;
        scenario::apply(simulation, SMALL).await?;
        scenario::available_within(simulation, 3, LONG).await?;
        wait_for_nodes(simulation).await?;
        life.calm(3).await?;
        scenario::scale_workers(simulation, 3).await?;
        scenario::available_within(simulation, 4, LONG).await?;
        life.calm(4).await?;
        scenario::upgrade(simulation, 4).await?;
        life.calm(4).await?;
        scenario::delete(simulation).await?;
        Ok(life.states)
    })
}

/// Three control-plane machines: a worker and one of them are replaced, then all of them are upgraded. Their etcd is only
/// reached through port-forwards.
fn healed(mut life: Life<'_>) -> LocalBoxFuture<'_, Result<Vec<Vec<String>>, String>> {
    Box::pin(async move {
        let simulation = life.simulation;
        scenario::apply(simulation, LARGE).await?;
        scenario::available_within(simulation, 6, LONG).await?;
        scenario::check_health(simulation).await?;
        wait_for_nodes(simulation).await?;
        life.calm(6).await?;
        for (control_plane, part, fault) in [(false, "node", "not-ready"), (true, "etcd", "lost")] {
            let machine = scenario::first(simulation, control_plane)?;
            scenario::break_machine(simulation, &machine, part, fault).await?;
            scenario::replaced(simulation, &machine, 6)
                .await
                .map_err(|e| format!("{part}: {fault}: {e}"))?;
            life.calm(6).await?;
        }
        scenario::upgrade_control_plane(simulation, NEW_VERSION).await?;
        scenario::upgraded(simulation, true, NEW_VERSION, 6).await?;
        life.calm(6).await?;
        Ok(life.states)
    })
}

fn states(story: Story, seed: u64, rates: Option<Rates>) -> Result<Vec<Vec<String>>, String> {
    let start = Start {
        seed,
        rates,
        ..Start::default()
    };
    simulation::run(start, |simulation| async move {
        let life = Life {
            simulation: &simulation,
            rates,
            states: Vec::new(),
        };
        story(life).await
    })
}

fn same_end(name: &str, story: Story, rates: Rates) {
    let expected = states(story, 1, None).unwrap_or_else(|error| panic!("undisturbed: {error}"));
    for seed in 1..=number("SIM_SEEDS", 1) {
        let found =
            states(story, seed, Some(rates)).unwrap_or_else(|error| panic!("{name}, seed {seed}: {error}"));
        assert_eq!(expected.len(), found.len(), "{name}, seed {seed}");
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
        changed,
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
        changed,
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
        changed,
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
    same_end("storm", changed, Rates::storm());
}

#[test]
fn machines_are_replaced_and_upgraded_while_all_of_it_happens() {
    same_end("storm over three control-plane machines", healed, Rates::storm());
}

#[test]
fn machines_are_replaced_and_upgraded_over_refused_slow_and_cut_port_forwards() {
    same_end(
        "tunnels",
        healed,
        Rates {
            tunnel_refused: 0.1,
            tunnel_cut: 0.005,
            tunnel_slow: 0.01,
            slowness: Duration::from_secs(20),
            ..Rates::default()
        },
    );
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
