//! The parts of `e2e/deployed` that are no shell: `pods` runs the pods of a cluster without a kubelet and without containers,
//! `rbac` compares granted permissions with an audit log, `failover` finds in one who took over from whom.

mod failover;
mod node;
mod pod;
mod pods;
mod sandbox;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::Parser;
use e2e::deploy::{providers::PROVIDERS, usage::Usage};
use jiff::SignedDuration;

/// What the script cannot do.
#[derive(Debug, Parser)]
enum Command {
    /// Run the managers' pods as processes, each with a network of its own, until told to stop
    Pods {
        /// Folder of the programs, named as the images are
        #[arg(long)]
        programs: PathBuf,
        /// Folder for logs and process ids, one file per pod
        #[arg(long)]
        state: PathBuf,
    },
    /// Say what the providers were refused and what they are granted without using it
    Rbac {
        /// Audit log with every request
        log: PathBuf,
    },
    /// Say how long it took until others did the work of killed replicas, and whether two wrote at once
    Failover {
        /// Audit log with every write
        log: PathBuf,
        /// Lines with the time and the pod of each kill
        kills: PathBuf,
        /// The longest time allowed, in seconds
        #[arg(long, default_value_t = 2)]
        limit: i64,
    },
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<ExitCode> {
    let _ = tracing_subscriber::fmt().with_writer(std::io::stderr).try_init();
    match Command::parse() {
        Command::Pods { programs, state } => {
            pods::run(&programs, &state).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Failover { log, kills, limit } => {
            let said = failover::judge(&log, &kills, SignedDuration::from_secs(limit))?;
            tracing::info!("{said}");
            Ok(ExitCode::SUCCESS)
        }
        Command::Rbac { log } => {
            let text = std::fs::read_to_string(&log).with_context(|| format!("read {}", log.display()))?;
            let usage = Usage::read(&text);
            let mut wrong = Vec::new();
            let hooks = e2e::deploy::hooks().await?;
            for provider in PROVIDERS {
                wrong.extend(usage.judge(provider, &hooks[provider.folder]));
            }
            for text in &wrong {
                tracing::error!("{text}");
            }
            Ok(if wrong.is_empty() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            })
        }
    }
}
