//! Stops a whole system after every single write of its controllers and starts it again from what was stored: it must
//! converge to the state that it reaches without the interruption.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "all of this is test code: a failure is a panic"
)]

use std::{collections::VecDeque, sync::Mutex, thread};

use e2e::{
    invariants, scenario,
    simulation::{self, Saved, Simulation, Start},
};

const SEED: u64 = 42;

/// Brings any state after the first write of the manifest to the end of the story.
async fn finish(simulation: &Simulation) -> Result<Vec<String>, String> {
    scenario::apply(simulation).await?;
    scenario::scale_workers(simulation, 3).await?;
    scenario::available(simulation, 4).await?;
    scenario::scale_workers(simulation, 1).await?;
    scenario::available(simulation, 2).await?;
    invariants::check(simulation).await?;
    Ok(scenario::final_state(simulation).await)
}

/// The undisturbed story: where it ends, and what was stored after each write on the way there.
fn undisturbed() -> (Vec<String>, Vec<Saved>) {
    simulation::run(
        Start {
            seed: SEED,
            save: true,
            from: None,
        },
        |simulation| async move {
            scenario::apply(&simulation).await.unwrap();
            scenario::available(&simulation, 3)
                .await
                .unwrap_or_else(|e| panic!("{e}"));
            let end = finish(&simulation).await.unwrap_or_else(|e| panic!("{e}"));
            (end, simulation.journal.take_saved())
        },
    )
}

/// One restart per write; two at a time, as each runs on one thread.
#[test]
fn a_system_stopped_after_any_write_converges_to_the_same_state() {
    let (expected, saved) = undisturbed();
    let writes = saved.len();
    assert!(writes > 30, "only {writes} writes");
    let queue = Mutex::new(saved.into_iter().enumerate().collect::<VecDeque<_>>());
    let failures = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some((write, from)) = { queue.lock().unwrap().pop_front() } {
                    let after = from.after.clone();
                    let start = Start {
                        seed: SEED + write as u64,
                        save: false,
                        from: Some(from),
                    };
                    let end = simulation::run(start, |simulation| async move { finish(&simulation).await });
                    let problem = match end {
                        Err(error) => error,
                        Ok(end) if end != expected => difference(&expected, &end),
                        Ok(_) => continue,
                    };
                    failures.lock().unwrap().push(format!(
                        "stopped after write {write} of {writes} ({after}):\n{problem}"
                    ));
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(
        failures.is_empty(),
        "{} of {writes} restarts failed:\n{}",
        failures.len(),
        failures.join("\n\n")
    );
}

fn difference(expected: &[String], end: &[String]) -> String {
    let missing = expected
        .iter()
        .filter(|line| !end.contains(line))
        .map(|line| format!("- {line}"));
    let extra = end
        .iter()
        .filter(|line| !expected.contains(line))
        .map(|line| format!("+ {line}"));
    format!(
        "another end:\n{}",
        missing.chain(extra).collect::<Vec<_>>().join("\n")
    )
}
