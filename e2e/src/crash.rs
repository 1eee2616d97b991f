//! Stories that are cut: the whole system stops after a write of its controllers and starts again from what was stored.
//! However often and wherever that happens, the story must come to the same end.

use futures::future::LocalBoxFuture;

use crate::{
    invariants,
    scenario::{difference, final_state},
    simulation::{self, Save, Saved, Simulation, Start},
};

/// What a story does with a system.
pub type Part = for<'a> fn(&'a Simulation) -> LocalBoxFuture<'a, Result<(), String>>;

/// A story in two parts.
#[derive(Clone, Copy)]
pub struct Story {
    /// Brings the system to where the story begins; never cut.
    pub prepare: Part,
    /// What is cut. It is done again, from the beginning, by who comes after: users apply manifests again too.
    pub perform: Part,
}

impl Story {
    async fn end(self, simulation: &Simulation) -> Result<Vec<String>, String> {
        (self.perform)(simulation).await?;
        invariants::check(simulation).await?;
        Ok(final_state(simulation))
    }

    /// The undisturbed story: where it ends, and what was stored on the way there.
    fn undisturbed(self, seed: u64, save: Save) -> Result<(Vec<String>, Vec<Saved>), String> {
        simulation::run(Start::seed(seed), |simulation| async move {
            (self.prepare)(&simulation).await?;
            simulation.journal.save(save);
            (self.perform)(&simulation).await?;
            simulation.journal.save(Save::Nothing);
            invariants::check(&simulation).await?;
            Ok((final_state(&simulation), simulation.journal.take_saved()))
        })
    }

    /// Cuts the story after each write that is saved, and compares the ends. Returns the sites of the cuts.
    pub fn cut(self, seed: u64, save: Save) -> Result<Vec<String>, String> {
        let (expected, saved) = self.undisturbed(seed, save)?;
        let (writes, mut sites, mut failures) = (saved.len(), Vec::new(), Vec::new());
        for (write, from) in saved.into_iter().enumerate() {
            let after = format!("{} (site: {})", from.after, from.site);
            sites.push(from.site.clone());
            let start = Start {
                seed: seed + write as u64,
                from: Some(from),
                ..Start::default()
            };
            let end = simulation::run(start, |simulation| async move { self.end(&simulation).await });
            let problem = match end {
                Err(error) => error,
                Ok(end) if end != expected => difference(&expected, &end),
                Ok(_) => continue,
            };
            failures.push(format!(
                "seed {seed}, stopped after write {write} of {writes}: {after}\n{problem}"
            ));
        }
        match failures.is_empty() {
            true => Ok(sites),
            false => Err(format!(
                "{} of {writes} restarts failed:\n{}",
                failures.len(),
                failures.join("\n\n")
            )),
        }
    }
}
