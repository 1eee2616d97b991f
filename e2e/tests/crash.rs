//! Stops a whole system after every single write of its controllers and starts it again from what was stored: it must
//! converge to the state that it reaches without the interruption.

use e2e::{
    invariants, scenario,
    simulation::{self, Saved, Simulation, Start},
};

const SEED: u64 = 42;

/// Creates the cluster and scales it; ends early when the system has been saved, as the process is killed then.
async fn create_and_scale(simulation: &Simulation) -> Result<(), String> {
    scenario::apply(simulation).await?;
    scenario::available(simulation, 3).await?;
    finish(simulation).await
}

/// Brings any intermediate state to the end of the story.
async fn finish(simulation: &Simulation) -> Result<(), String> {
    scenario::scale_workers(simulation, 3).await?;
    scenario::available(simulation, 4).await?;
    scenario::scale_workers(simulation, 1).await?;
    scenario::available(simulation, 2).await?;
    Ok(())
}

/// The undisturbed story: how many writes it takes and where it ends.
fn reference() -> (u64, Vec<String>) {
    simulation::run(Start { seed: SEED, ..Start::default() }, |simulation| async move {
        create_and_scale(&simulation).await.unwrap_or_else(|e| panic!("{e}"));
        invariants::check(&simulation).await.unwrap_or_else(|e| panic!("{e}"));
        (simulation.journal.writes(), scenario::final_state(&simulation).await)
    })
}

/// Runs the story until the given write and returns what is stored at that moment.
fn stopped_after(write: u64) -> Saved {
    simulation::run(Start { seed: SEED, trap: Some(write), from: None }, |simulation| async move {
        // The story goes on a little after the trap, but what was saved does not know of that.
        tokio::select! {
            biased;
            saved = async {
                loop {
                    if let Some(saved) = simulation.journal.take_saved() {
                        return saved;
                    }
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                }
            } => saved,
            result = create_and_scale(&simulation) => {
                let saved = simulation.journal.take_saved();
                saved.unwrap_or_else(|| panic!("the story ended before write {write}: {result:?}"))
            }
        }
    })
}

#[test]
fn a_system_stopped_after_any_write_converges_to_the_same_state() {
    let (writes, expected) = reference();
    assert!(writes > 30, "only {writes} writes");
    for write in 1..=writes {
        let saved = stopped_after(write);
        let after = saved.after.clone();
        let state = simulation::run(Start { seed: SEED + write, trap: None, from: Some(saved) }, |simulation| async move {
            let fail = |e: String| panic!("stopped after write {write} of {writes} ({after}): {e}");
            scenario::apply(&simulation).await.unwrap_or_else(fail);
            finish(&simulation).await.unwrap_or_else(fail);
            invariants::check(&simulation).await.unwrap_or_else(fail);
            scenario::final_state(&simulation).await
        });
        assert_eq!(state, expected, "stopped after write {write} of {writes}");
    }
}
