//! What the benchmark found, as text. Says with each number what it is of.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use crate::{
    controllers::Providers,
    ledger::{CONTROLLERS, Counts, MACHINES},
    usage::Usage,
};

/// One batch of clusters.
pub struct Batch {
    /// How many.
    pub clusters: usize,
    /// How many there are with them.
    pub total: usize,
    /// How long it took to create their objects.
    pub created: Duration,
    /// How long it took from the first object until all were Available.
    pub wall: Duration,
    /// CPU time of the controllers in that time.
    pub controllers: Duration,
    /// CPU time of API server and simulation in that time.
    pub others: Duration,
    /// What both processes held at the end.
    pub resident: (Usage, Usage),
}

impl Batch {
    /// One line for the batch.
    pub fn line(&self) -> String {
        format!(
            "{:>6} clusters: +{} in {:.1} s (created in {:.1} s); CPU per cluster: controllers {:.0} ms, API server and \
             simulation {:.0} ms; memory: controllers {:.0} MiB, API server and simulation {:.0} MiB",
            self.total,
            self.clusters,
            self.wall.as_secs_f64(),
            self.created.as_secs_f64(),
            self.controllers.as_secs_f64() * 1000.0 / self.clusters as f64,
            self.others.as_secs_f64() * 1000.0 / self.clusters as f64,
            self.resident.0.mebibytes(),
            self.resident.1.mebibytes(),
        )
    }

    fn cost(&self) -> f64 {
        self.controllers.as_secs_f64() / self.clusters as f64
    }
}

/// The system at rest.
pub struct Idle {
    /// How long after the last Machine was Running the last write came.
    pub settled: Duration,
    /// How long it was watched.
    pub watched: Duration,
    /// The controllers' process, and its CPU time while it was watched.
    pub controllers: (Usage, Duration),
    /// The other process.
    pub others: (Usage, Duration),
    /// Writes in that time.
    pub writes: BTreeMap<(&'static str, String), u64>,
    /// Reads in that time.
    pub reads: BTreeMap<(&'static str, String), u64>,
}

/// All of it.
pub struct Report {
    /// How many clusters.
    pub clusters: usize,
    /// How many machines each.
    pub machines: usize,
    /// From the first object until all were Available and all Machines Running.
    pub wall: Duration,
    /// The processes before the first cluster.
    pub empty: (Usage, Usage),
    /// The batches.
    pub batches: Vec<Batch>,
    /// Requests until all were Available.
    pub counts: Counts,
    /// At rest.
    pub idle: Idle,
    /// What each provider takes in a process of its own before the first cluster.
    pub alone: Vec<(Providers, Usage)>,
    /// Keys taken from the pool.
    pub keys: u64,
    /// How many first writes came within so many seconds after their reconciles were due.
    pub reactions: Vec<(Option<f64>, u64)>,
}

/// The profile this program was built with.
pub fn profile() -> &'static str {
    if cfg!(debug_assertions) {
        "development"
    } else {
        "release"
    }
}

/// The limit that this share of the counted times stays within.
fn quantile(counts: &[(Option<f64>, u64)], share: f64) -> String {
    let all = counts.last().map_or(0, |(_, all)| *all);
    let wanted = (all as f64 * share).ceil() as u64;
    match counts.iter().find(|(_, count)| *count >= wanted) {
        Some((Some(limit), _)) => format!("<= {:.0} ms", limit * 1000.0),
        _ => "> 10 s".to_owned(),
    }
}

impl Report {
    /// The text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        self.write(&mut text);
        text
    }

    fn write(&self, out: &mut String) {
        let build = profile();
        let machines = (self.clusters * self.machines) as f64;
        let _ = writeln!(
            out,
            "\n{} clusters of {} machines ({build} build): all Available and Running after {:.1} s",
            self.clusters,
            self.machines,
            self.wall.as_secs_f64()
        );
        if let [first, .., last] = &self.batches[..] {
            let _ = writeln!(
                out,
                "growth: the last {} clusters took {:.2} times the wall time of the first {}, and {:.2} times the controllers' CPU",
                last.clusters,
                last.wall.as_secs_f64() / first.wall.as_secs_f64(),
                first.clusters,
                last.cost() / first.cost()
            );
        }
        let writes = Counts::total(&self.counts.writes) as f64;
        let _ = writeln!(
            out,
            "management writes until then, by audit, events included, Leases not: {:.1} per machine, {:.1} per cluster",
            writes / machines,
            writes / self.clusters as f64
        );
        self.list(out, &self.counts.writes);
        if !self.counts.refused.is_empty() {
            let _ = writeln!(out, "refused writes:");
            self.list(out, &self.counts.refused);
        }
        let _ = writeln!(
            out,
            "reads until then (lists and gets are per process, watches when they start):"
        );
        self.list(out, &self.counts.reads);
        self.write_idle(out);
        let counted = self.reactions.last().map_or(0, |(_, all)| *all);
        let _ = writeln!(
            out,
            "from when a reconcile is due to its first write ({counted} of them): p50 {}, p99 {}",
            quantile(&self.reactions, 0.5),
            quantile(&self.reactions, 0.99)
        );
        let alone: Vec<String> = self
            .alone
            .iter()
            .map(|(providers, usage)| {
                let anonymous = usage.anonymous as f64 / 1024.0;
                let (name, resident) = (providers.name(), usage.mebibytes());
                format!("{name} {resident:.1} MiB ({anonymous:.1} MiB of it anonymous)")
            })
            .collect();
        let _ = writeln!(
            out,
            "one idle provider in a process of its own: {}",
            alone.join(", ")
        );
        let _ = writeln!(
            out,
            "keys: {} taken from a pool of published ones instead of being generated (certificate authorities, \
             administrators, servers)",
            self.keys
        );
        let _ = writeln!(
            out,
            "controllers: one process with capi-core, bootstrap-kubeadm and controlplane-kubeadm, over HTTPS; infra-inmemory and \
             admission run with API server and simulation"
        );
    }

    fn write_idle(&self, out: &mut String) {
        let idle = &self.idle;
        let seconds = idle.watched.as_secs_f64();
        let _ = writeln!(
            out,
            "at rest (last write {:.0} s after, then watched for {seconds:.0} s): {} writes, {} reads",
            idle.settled.as_secs_f64(),
            Counts::total(&idle.writes),
            Counts::total(&idle.reads)
        );
        self.list(out, &idle.writes);
        self.list(out, &idle.reads);
        for (name, (usage, cpu), empty) in [
            ("controllers", idle.controllers, self.empty.0),
            ("API server and simulation", idle.others, self.empty.1),
        ] {
            let grown = usage.resident.saturating_sub(empty.resident) as f64;
            let _ = writeln!(
                out,
                "  {name}: {:.4} cores, {:.1} MiB resident ({:.1} MiB of it anonymous, {:.1} MiB when empty, {:.0} KiB per \
                 cluster), {} threads",
                cpu.as_secs_f64() / seconds,
                usage.mebibytes(),
                usage.anonymous as f64 / 1024.0,
                empty.mebibytes(),
                grown / self.clusters as f64,
                usage.threads
            );
        }
    }

    fn list(&self, out: &mut String, counts: &BTreeMap<(&'static str, String), u64>) {
        for agent in [CONTROLLERS, MACHINES] {
            let mut lines: Vec<_> = counts.iter().filter(|((who, _), _)| *who == agent).collect();
            lines.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
            let lines: Vec<_> = lines
                .iter()
                .map(|((_, what), count)| format!("{what} {:.2}", **count as f64 / self.clusters as f64))
                .collect();
            if !lines.is_empty() {
                let _ = writeln!(out, "  {agent}, per cluster: {}", lines.join(", "));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_the_limits_that_so_many_stay_within() {
        let counts = [(Some(0.01), 50), (Some(0.1), 98), (Some(10.0), 99), (None, 100)];
        for (share, expected) in [
            (0.5, "<= 10 ms"),
            (0.51, "<= 100 ms"),
            (0.99, "<= 10000 ms"),
            (1.0, "> 10 s"),
        ] {
            assert_eq!(quantile(&counts, share), expected, "{share}");
        }
        assert_eq!(quantile(&[], 0.5), "> 10 s");
    }
}
