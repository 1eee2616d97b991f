//! The manager of the in-memory infrastructure provider as a process of its own.

use std::{process::ExitCode, sync::Arc};

use capi_runtime::cli;
use cluster_pki::FreshKeys;
use infra_inmemory::World;
use seams::{SystemClock, SystemRandomness};

/// Flags besides those that all managers have.
#[derive(clap::Args)]
struct Flags {
    /// The address on which simulated workload clusters listen and under which they are reached.
    #[arg(long, env = "POD_IP", default_value = "127.0.0.1")]
    workload_host: String,
}

fn main() -> ExitCode {
    cli::run_with::<Flags>("infra-inmemory-controller-manager", |manager, flags| {
        let world = World::listening(
            Arc::new(SystemClock),
            Arc::new(SystemRandomness),
            Arc::new(FreshKeys),
            &flags.workload_host,
        );
        infra_inmemory::register(manager, world);
    })
}
