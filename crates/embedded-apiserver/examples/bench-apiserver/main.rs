//! Measures the embedded API server beside the real one: same requests, same payloads, same disk, in turns.
//!
//! `make bench-apiserver` builds both in release mode and runs this under `hack/envtest/run`, with an etcd that syncs. Three
//! servers are measured: kube-apiserver with etcd, the embedded one with its objects on disk (each write synced), and the
//! embedded one in memory. Ratios within one run count; times depend on what else the machine does.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program that reports what it measures"
)]

mod client;
mod fanout;
mod lists;
mod payload;
mod report;
mod target;
mod writes;

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use crate::report::{Better, Report};
use crate::target::Target;

/// Compares API servers.
#[derive(Debug, Parser)]
struct Arguments {
    /// Kubeconfig of kube-apiserver; without it only the embedded servers are measured.
    #[arg(long, env = "KUBECONFIG")]
    oracle: Option<PathBuf>,
    /// Processes of the oracle whose memory counts.
    #[arg(long, env = "ENVTEST_PIDS", value_delimiter = ' ')]
    oracle_pids: Vec<u32>,
    /// The program of the embedded server.
    #[arg(long, default_value = "target/release/embedded-apiserver")]
    embedded: PathBuf,
    /// Seconds per measure of writes.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Objects for the small and the large measure of memory; lists are of the small one.
    #[arg(long, value_delimiter = ',', default_value = "10000,50000")]
    objects: Vec<usize>,
    /// Watchers of the fan-out.
    #[arg(long, default_value_t = 100)]
    watchers: usize,
    /// How often each measure of writes, lists and fan-out is taken; the median is told.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Fails when the embedded server on disk is worse than the oracle in any measure.
    #[arg(long)]
    check: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut targets = Vec::new();
    if let Some(kubeconfig) = &arguments.oracle {
        targets.push(Target::oracle(kubeconfig, &arguments.oracle_pids)?);
    }
    targets.push(Target::embedded(&arguments.embedded, true).await?);
    targets.push(Target::embedded(&arguments.embedded, false).await?);
    let mut report = Report::new(&targets);
    for target in &targets {
        payload::prepare(target).await?;
        report.add("memory, empty [MiB]", Better::Less, target, target.memory()?);
    }
    stored(&arguments, &targets, &mut report).await?;
    written(&arguments, &targets, &mut report).await?;
    watched(&arguments, &targets, &mut report).await?;
    report.print();
    for target in targets {
        target.stop().await?;
    }
    match arguments.check && report.is_worse() {
        true => anyhow::bail!("a measure is worse than the oracle"),
        false => Ok(()),
    }
}

/// Memory with many objects, and lists of them.
async fn stored(arguments: &Arguments, targets: &[Target], report: &mut Report) -> anyhow::Result<()> {
    for (at, count) in arguments.objects.iter().enumerate() {
        let from = at.checked_sub(1).map_or(0, |before| arguments.objects[before]);
        for target in targets {
            let rate = writes::fill(target, from, *count).await?;
            report.add(
                &format!("filling to {count} objects [writes/s]"),
                Better::More,
                target,
                rate,
            );
        }
        // Garbage collectors have time to work.
        tokio::time::sleep(Duration::from_secs(10)).await;
        for target in targets {
            let name = format!("memory, {count} objects [MiB]");
            report.add(&name, Better::Less, target, target.memory()?);
        }
        if at > 0 {
            continue;
        }
        for _ in 0..arguments.rounds {
            for target in targets {
                let whole = lists::list(target, 0, *count).await?;
                report.add(&format!("list {count} objects [ms]"), Better::Less, target, whole);
                let pages = lists::list(target, 500, *count).await?;
                report.add(
                    &format!("list {count} objects by 500 [ms]"),
                    Better::Less,
                    target,
                    pages,
                );
            }
        }
        for target in targets {
            report.add("memory after lists [MiB]", Better::Less, target, target.memory()?);
        }
    }
    Ok(())
}

/// Writes by few and by many clients.
async fn written(arguments: &Arguments, targets: &[Target], report: &mut Report) -> anyhow::Result<()> {
    let time = Duration::from_secs_f64(arguments.seconds);
    for kind in [
        writes::Kind::CreateConfigMap,
        writes::Kind::CreateCustom,
        writes::Kind::PatchStatus,
    ] {
        for clients in [1, 16, 64] {
            for round in 0..arguments.rounds {
                for target in targets {
                    let seen = writes::measure(target, kind, clients, round, time).await?;
                    let name = |what| format!("{}, {clients} clients, {what}", kind.name());
                    report.add(&name("writes/s"), Better::More, target, seen.rate);
                    report.add(&name("p50 [ms]"), Better::Less, target, seen.p50);
                    report.add(&name("p99 [ms]"), Better::Less, target, seen.p99);
                }
            }
        }
    }
    Ok(())
}

/// One write, many watchers.
async fn watched(arguments: &Arguments, targets: &[Target], report: &mut Report) -> anyhow::Result<()> {
    let watchers = arguments.watchers;
    for round in 0..arguments.rounds {
        for target in targets {
            let seen = fanout::measure(target, watchers, round).await?;
            let name = |what| format!("{watchers} watchers, {what}");
            report.add(
                &name("write to last event p50 [ms]"),
                Better::Less,
                target,
                seen.p50,
            );
            report.add(
                &name("write to last event p99 [ms]"),
                Better::Less,
                target,
                seen.p99,
            );
            report.add(&name("events/s"), Better::More, target, seen.rate);
        }
    }
    Ok(())
}
