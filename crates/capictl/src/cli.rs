//! The command line: flags in, calls out. What the commands do is in the modules named after them.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context as _;
use clap::{Args as ClapArgs, Parser, Subcommand};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use seams::{Clock as _, SystemClock};

use crate::{describe, generate, init, kubeconfig, quickstart};

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
    /// Install providers
    Init(Box<InitArgs>),
    /// Delete providers
    Delete(Box<DeleteArgs>),
    /// Make manifests from templates
    #[command(subcommand)]
    Generate(Generate),
    /// Say why something is not ready
    #[command(subcommand)]
    Describe(Describe),
    /// Fetch something of a cluster
    #[command(subcommand)]
    Get(Get),
}

#[derive(Debug, ClapArgs)]
#[command(args_conflicts_with_subcommands = true)]
struct InitArgs {
    #[command(subcommand)]
    command: Option<InitCommand>,
    #[command(flatten)]
    selection: init::Selection,
    #[command(flatten)]
    source: init::Source,
    #[command(flatten)]
    options: init::Options,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Subcommand)]
enum InitCommand {
    /// Print the images of the providers that would be installed
    ListImages {
        #[command(flatten)]
        selection: init::Selection,
        #[command(flatten)]
        source: init::Source,
    },
}

#[derive(Debug, ClapArgs)]
struct DeleteArgs {
    #[command(flatten)]
    selection: init::Selection,
    /// Delete all providers
    #[arg(long)]
    all: bool,
    /// Delete their CustomResourceDefinitions too; refused while there are objects of their kinds
    #[arg(long)]
    include_crd: bool,
    /// Delete their namespaces with everything in them too
    #[arg(long)]
    include_namespace: bool,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Subcommand)]
enum Generate {
    /// The manifest of a cluster, from the template of an infrastructure provider
    Cluster {
        #[command(flatten)]
        args: generate::ClusterArgs,
        #[command(flatten)]
        source: init::Source,
        #[command(flatten)]
        target: Target,
    },
    /// The objects of a provider
    Provider {
        #[command(flatten)]
        selection: init::Selection,
        #[command(flatten)]
        source: init::Source,
        /// Namespace to run it in instead of its own
        #[arg(long, short = 'n')]
        target_namespace: Option<String>,
        /// Leave variables as they are
        #[arg(long)]
        raw: bool,
        /// Print what there is to know of it instead
        #[arg(long)]
        describe: bool,
    },
    /// Any text with its variables replaced
    Yaml {
        /// File to read, - for standard input
        #[arg(long, default_value = "-")]
        from: PathBuf,
        /// Print the variables only
        #[arg(long)]
        list_variables: bool,
    },
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

/// Which management cluster.
#[derive(Debug, ClapArgs)]
struct Connection {
    /// Path of the kubeconfig of the management cluster [default: $KUBECONFIG, then ~/.kube/config]
    #[arg(long)]
    kubeconfig: Option<PathBuf>,
    /// Context in the kubeconfig
    #[arg(long = "kubeconfig-context", visible_alias = "context")]
    context: Option<String>,
}

/// Which management cluster, and where in it.
#[derive(Debug, ClapArgs)]
struct Target {
    #[command(flatten)]
    connection: Connection,
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
            Command::Init(args) => {
                let args = *args;
                let text = match args.command {
                    Some(InitCommand::ListImages { selection, source }) => {
                        init::list_images(&selection, &source)?
                    }
                    None => {
                        let (client, _) = open(args.connection).await?;
                        init::init(client, &args.selection, &args.source, &args.options).await?
                    }
                };
                print(&text);
                Ok(ExitCode::SUCCESS)
            }
            Command::Delete(args) => {
                let args = *args;
                let (client, _) = open(args.connection).await?;
                let DeleteArgs {
                    selection,
                    all,
                    include_crd,
                    include_namespace,
                    ..
                } = args;
                print(&init::delete(client, &selection, all, include_crd, include_namespace).await?);
                Ok(ExitCode::SUCCESS)
            }
            Command::Generate(command) => {
                print(&generated(command).await?);
                Ok(ExitCode::SUCCESS)
            }
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

async fn generated(command: Generate) -> anyhow::Result<String> {
    match command {
        Generate::Cluster { args, source, target } => {
            let namespace = target.namespace.clone().unwrap_or_else(|| "default".to_owned());
            let client = async || Ok(open(target.connection).await?.0);
            generate::cluster(&args, &source, &namespace, client).await
        }
        Generate::Provider {
            selection,
            source,
            target_namespace,
            raw,
            describe,
        } => generate::provider(&selection, &source, target_namespace.as_deref(), raw, describe),
        Generate::Yaml { from, list_variables } => generate::yaml(&from, list_variables),
    }
}

async fn connect(target: Target) -> anyhow::Result<(Client, String)> {
    let (client, default) = open(target.connection).await?;
    Ok((client, target.namespace.unwrap_or(default)))
}

/// A client of the management cluster, and the namespace of its context.
async fn open(target: Connection) -> anyhow::Result<(Client, String)> {
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
    let namespace = config.default_namespace.clone();
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
