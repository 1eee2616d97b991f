//! Every request to the management API server, counted by who asked for what.

use std::collections::BTreeMap;

use embedded_apiserver::{Audit, AuditEvent};
use parking_lot::Mutex;
use tokio::time::Instant;

/// What the controllers call themselves.
pub const CONTROLLERS: &str = "bench-controllers";
/// What the provider of the simulated machines calls itself.
pub const MACHINES: &str = "bench-machines";
/// What the benchmark calls itself: its requests count for nobody.
pub const BENCH: &str = "bench";

/// Counts requests.
#[derive(Default)]
pub struct Ledger(Mutex<Counts>);

/// What was counted up to a moment.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    /// Writes that succeeded, by agent and what was written; Leases are left out.
    pub writes: BTreeMap<(&'static str, String), u64>,
    /// Writes that were refused, by agent and what and why.
    pub refused: BTreeMap<(&'static str, String), u64>,
    /// Gets, lists and new watches, by agent and what was read.
    pub reads: BTreeMap<(&'static str, String), u64>,
    last_write: Option<Instant>,
}

impl Counts {
    /// All successful writes.
    pub fn total(counts: &BTreeMap<(&'static str, String), u64>) -> u64 {
        counts.values().sum()
    }

    /// All of it, without what there was before.
    pub fn since_all(&self, before: &Self) -> Self {
        Self {
            writes: Self::since(&self.writes, &before.writes),
            refused: Self::since(&self.refused, &before.refused),
            reads: Self::since(&self.reads, &before.reads),
            last_write: self.last_write,
        }
    }

    /// What was added to `now` since `before`.
    pub fn since(
        now: &BTreeMap<(&'static str, String), u64>,
        before: &BTreeMap<(&'static str, String), u64>,
    ) -> BTreeMap<(&'static str, String), u64> {
        let added = now.iter().map(|(what, count)| {
            (
                what.clone(),
                count - before.get(what).copied().unwrap_or_default(),
            )
        });
        added.filter(|(_, count)| *count > 0).collect()
    }
}

impl Ledger {
    /// What was counted so far.
    pub fn counts(&self) -> Counts {
        self.0.lock().clone()
    }

    /// How long nothing has been written.
    pub fn quiet_for(&self) -> std::time::Duration {
        self.0
            .lock()
            .last_write
            .map_or(std::time::Duration::ZERO, |last| last.elapsed())
    }
}

fn agent(event: &AuditEvent) -> Option<&'static str> {
    [CONTROLLERS, MACHINES]
        .into_iter()
        .find(|agent| event.user_agent.starts_with(agent))
}

impl Audit for Ledger {
    fn observe(&self, event: &AuditEvent) {
        let Some(agent) = agent(event) else { return };
        if event.resource == "leases" {
            return;
        }
        let subresource = match event.subresource.is_empty() {
            true => String::new(),
            false => format!("/{}", event.subresource),
        };
        let what = format!("{} {}{subresource}", event.verb, event.resource);
        let mut counts = self.0.lock();
        if !event.is_write() {
            *counts.reads.entry((agent, what)).or_default() += 1;
        } else if event.code < 300 {
            *counts.writes.entry((agent, what)).or_default() += 1;
            counts.last_write = Some(Instant::now());
        } else {
            let what = format!("{what}: {}", event.code);
            *counts.refused.entry((agent, what)).or_default() += 1;
        }
    }
}
