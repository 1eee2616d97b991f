//! The command line: flags in, calls out. What the commands do is in the modules named after them.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context as _;
use clap::{Args as ClapArgs, Parser, Subcommand};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use seams::{Clock as _, SystemClock};

use crate::{describe, kubeconfig, quickstart};

/// Cluster API in Rust: bring clusters up, look into them.
#[derive(Debug, Parser)]
#[command(name = "capictl", version, propagate_version = true)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start an API server with all providers in this process and bring up a first cluster
    Quickstart(QuickstartArgs),
    /// Say why something is not ready
    #[command(subcommand)]
    Describe(Describe),
    /// Fetch something of a cluster
    #[command(subcommand)]
    Get(Get),
}

#[derive(Debug, Subcommand)]
enum Describe {
    /// The cause first, then the objects of a cluster as a tree
    Cluster {
        /// Name of the Cluster
        name: String,
        /// Show each ready Machine instead of folding many into one line
        #[arg(long)]
        show_all: bool,
        #[command(flatten)]
        target: Target,
    },
}

#[derive(Debug, Subcommand)]
enum Get {
    /// The kubeconfig of a workload cluster
    Kubeconfig {
        /// Name of the Cluster
        name: String,
        #[command(flatten)]
        target: Target,
    },
}

/// Which management cluster, and where in it.
#[derive(Debug, ClapArgs)]
struct Target {
    /// Path of the kubeconfig of the management cluster [default: $KUBECONFIG, then ~/.kube/config]
    #[arg(long)]
    kubeconfig: Option<PathBuf>,
    /// Context in the kubeconfig
    #[arg(long = "kubeconfig-context", visible_alias = "context")]
    context: Option<String>,
    /// Namespace of the Cluster [default: the context's, then "default"]
    #[arg(long, short)]
    namespace: Option<String>,
}

/// Flags of `quickstart`.
#[derive(Debug, Clone, ClapArgs)]
pub struct QuickstartArgs {
    /// Manifest to apply; without it, a highly available cluster of three control-plane machines and three workers
    #[arg(long, short = 'f')]
    pub manifest: Option<PathBuf>,
    /// End when every Cluster is Available (exit code 0), or when the time is over (exit code 1)
    #[arg(long)]
    pub exit: bool,
    /// How long to wait for the Clusters
    #[arg(long, default_value = "5m", value_parser = duration)]
    pub timeout: Duration,
    /// Where kubectl reaches the API server; port 0 takes any free one
    #[arg(long, default_value = "127.0.0.1:0")]
    pub listen: std::net::SocketAddr,
    /// Where to write the kubeconfig of the management API server
    #[arg(long, default_value = "quickstart.kubeconfig")]
    pub kubeconfig_out: PathBuf,
}

fn duration(text: &str) -> Result<Duration, String> {
    let parsed: jiff::SignedDuration = text
        .parse()
        .map_err(|e| format!("{e}; write for example 90s or 5m"))?;
    Duration::try_from(parsed).map_err(|_| "must not be negative".to_owned())
}

/// Runs a command to its end.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start tokio")?;
    runtime.block_on(async {
        match args.command {
            Command::Quickstart(args) => quickstart::run(args).await,
            Command::Describe(Describe::Cluster {
                name,
                show_all,
                target,
            }) => {
                let (client, namespace) = connect(target).await?;
                let description =
                    describe::cluster(&client, &namespace, &name, show_all, SystemClock.now()).await?;
                print(&description.text);
                Ok(ExitCode::SUCCESS)
            }
            Command::Get(Get::Kubeconfig { name, target }) => {
                let (client, namespace) = connect(target).await?;
                print(&kubeconfig::of_cluster(&client, &namespace, &name).await?);
                Ok(ExitCode::SUCCESS)
            }
        }
    })
}

async fn connect(target: Target) -> anyhow::Result<(Client, String)> {
    // Another crate may have set it already, which is as good.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let options = KubeConfigOptions {
        context: target.context,
        ..KubeConfigOptions::default()
    };
    let config = match target.kubeconfig {
        Some(path) => {
            let kubeconfig = Kubeconfig::read_from(&path)
                .with_context(|| format!("cannot read kubeconfig {}", path.display()))?;
            Config::from_custom_kubeconfig(kubeconfig, &options).await
        }
        None => Config::from_kubeconfig(&options).await,
    }
    .context("cannot tell which management cluster to ask; set KUBECONFIG or --kubeconfig")?;
    let namespace = target
        .namespace
        .unwrap_or_else(|| config.default_namespace.clone());
    Ok((
        Client::try_from(config).context("cannot set up the connection")?,
        namespace,
    ))
}

/// Prints to standard output; a closed pipe ends the output, not the program.
pub(crate) fn print(text: &str) {
    use std::io::Write as _;
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}

/// Prints an error with its causes, once each.
pub fn print_error(error: &anyhow::Error) {
    use std::io::Write as _;
    let _ = writeln!(
        std::io::stderr(),
        "{} {error:#}",
        console::style("error:").red().for_stderr()
    );
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn durations_are_written_as_in_go() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("1m30s"), Ok(Duration::from_secs(90)));
        assert!(duration("soon").unwrap_err().contains("90s or 5m"));
        assert!(duration("-5s").is_err());
    }
}
