//! Many clusters at once: `bench_scale --clusters 100 --machines 1` (`make bench-scale N=100 MACHINES=1`).
//!
//! Two processes, so that memory and CPU can be told apart:
//! - this one holds what is not ours in production: the management API server, the simulated machines and workload
//!   clusters, and with them the provider of these machines (infra-inmemory), which must be where they are. Admission is
//!   called in place here, too;
//! - a child runs the controllers (capi-core, bootstrap-kubeadm, controlplane-kubeadm) in one process with one set of
//!   stores. It talks to the management API server and to every workload cluster over HTTPS on the loopback device, as it
//!   would over a network.
//!
//! [`plane`] is the first process, [`controllers`] the second, [`manifests`] what is created, [`ledger`] counts requests by
//! audit, [`usage`] reads the kernel's numbers, [`run`] is the course of the benchmark and [`report`] what is printed.

mod controllers;
mod ledger;
mod manifests;
mod plane;
mod report;
mod run;
mod usage;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::Parser;
use controllers::Providers;

/// Creates clusters in memory, waits until all are Available, measures how long it took and what it costs to keep them.
#[derive(Debug, Clone, Parser)]
#[command(name = "bench_scale")]
struct Args {
    /// How many clusters
    #[arg(long, short = 'n', default_value_t = 100)]
    clusters: usize,
    /// Machines of each: one of the control plane, the others workers
    #[arg(long, short, default_value_t = 1)]
    machines: usize,
    /// Clusters created at a time; the next ones follow when all of these are Available. 0 creates all at once
    #[arg(long, default_value_t = 100)]
    batch: usize,
    /// Seconds over which the idle system is watched
    #[arg(long, default_value_t = 60)]
    idle: u64,
    /// Seconds after which a batch that is not Available counts as failed
    #[arg(long, default_value_t = 600)]
    limit: u64,
    /// Runs the controllers under this program, as in `--under "perf record -g"`; their numbers are that program's then
    #[arg(long, default_value = "")]
    under: String,
    /// Which providers that process runs (used by the benchmark itself)
    #[arg(long, hide = true, value_enum, default_value = "all")]
    providers: Providers,
    /// Runs the controllers only, against this kubeconfig, until standard input ends (used by the benchmark itself)
    #[arg(long, hide = true)]
    controllers: Option<PathBuf>,
}

impl Args {
    fn idle(&self) -> Duration {
        Duration::from_secs(self.idle)
    }

    fn limit(&self) -> Duration {
        Duration::from_secs(self.limit)
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    init_logs();
    // Another crate may have set it already, which is as good.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let result = match &args.controllers {
        Some(kubeconfig) => controllers::run(kubeconfig, args.providers),
        None => run::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn init_logs() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("error"));
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .try_init();
}

/// Prints a line at once; a closed pipe ends the output, not the program.
fn say(line: &str) {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}
