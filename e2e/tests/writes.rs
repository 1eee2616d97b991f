//! How many writes to the management API a machine costs, Events and refused writes included, Leases not.
//!
//! `WRITES_TRACE=1` and `--nocapture` print each write with what it changed.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::panic,
    reason = "all of this is test code: a failure is a panic, and tables are for people"
)]

use std::time::Duration;

use e2e::{
    ledger::{self, Write},
    scenario::{self, SMALL},
    simulation::{self, Simulation, Start},
};

/// The writes about a machine: those of the objects that have its name, and of what is made for them.
fn of_machine<'a>(writes: &'a [Write], machine: &str) -> Vec<&'a Write> {
    writes.iter().filter(|write| write.name == machine).collect()
}

fn report(what: &str, writes: &[&Write]) -> usize {
    println!(
        "{what}: {} writes: {}",
        writes.len(),
        ledger::table(writes.iter().copied())
    );
    if std::env::var_os("WRITES_TRACE").is_some() {
        for write in writes {
            let at = write.at.as_secs_f64();
            println!(
                "  {at:>8.3} {} {} {} {}",
                write.what, write.name, write.code, write.body
            );
        }
    }
    writes.len()
}

fn names(simulation: &Simulation, control_plane: bool) -> Vec<String> {
    scenario::machines(&simulation.inventory(), control_plane)
}

/// Until nothing is written any more.
async fn rest(simulation: &Simulation) {
    let mut seen = usize::MAX;
    while simulation.journal.ledger.len() != seen {
        seen = simulation.journal.ledger.len();
        tokio::time::sleep(Duration::from_secs(15)).await;
    }
}

#[test]
fn a_machine_costs_at_most_twelve_writes_to_ready_and_twenty_in_its_life() {
    simulation::run(Start::seed(1), |simulation| async move {
        let ledger = &simulation.journal.ledger;
        scenario::create(&simulation, SMALL, 3).await.unwrap();
        rest(&simulation).await;
        let created = ledger.since(0);
        let control_plane = names(&simulation, true).remove(0);
        let first = names(&simulation, false);
        let control_plane_cost = report(
            "control-plane machine to Ready",
            &of_machine(&created, &control_plane),
        );
        report(
            "worker created before its control plane, to Ready",
            &of_machine(&created, &first[0]),
        );
        let whole = report("cluster of 3 machines", &created.iter().collect::<Vec<_>>());

        let start = ledger.len();
        scenario::scale_workers(&simulation, 4).await.unwrap();
        scenario::available(&simulation, 5).await.unwrap();
        rest(&simulation).await;
        let scaled = ledger.since(start);
        let all = names(&simulation, false);
        let new: Vec<&String> = all.iter().filter(|name| !first.contains(name)).collect();
        let worker = report("worker scaled up, to Ready", &of_machine(&scaled, new[0]));
        let share = report(
            "two workers scaled up, with sets and Cluster",
            &scaled.iter().collect::<Vec<_>>(),
        ) / 2;

        let start = ledger.len();
        scenario::scale_workers(&simulation, 2).await.unwrap();
        scenario::available(&simulation, 3).await.unwrap();
        rest(&simulation).await;
        let gone = ledger.since(start);
        let left = names(&simulation, false);
        let victim = all.iter().find(|name| !left.contains(name)).unwrap();
        let end = report("worker scaled down", &of_machine(&gone, victim));
        report(
            "two workers scaled down, with sets and Cluster",
            &gone.iter().collect::<Vec<_>>(),
        );

        let start = ledger.len();
        scenario::delete(&simulation).await.unwrap();
        rest(&simulation).await;
        let deleted = ledger.since(start);
        let farewell = report(
            "control-plane machine deleted with its cluster",
            &of_machine(&deleted, &control_plane),
        );
        report(
            "cluster of 3 machines deleted",
            &deleted.iter().collect::<Vec<_>>(),
        );
        assert!(worker <= 12, "{worker} writes for a worker to Ready");
        assert!(worker + end <= 20, "{} writes in a worker's life", worker + end);
        assert!(
            share <= 20,
            "{share} writes for a worker, with its share of sets and Cluster"
        );
        assert!(
            control_plane_cost <= 20,
            "{control_plane_cost} writes for a control-plane machine"
        );
        assert!(farewell <= 7, "{farewell} writes for its end");
        assert!(whole <= 105, "{whole} writes for a cluster of 3 machines");
    });
}
