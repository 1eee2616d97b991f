//! The API server as a program: HTTPS on loopback, objects in memory or in a directory, and a kubeconfig for its administrator.

mod certificates;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, ValueEnum};
use embedded_apiserver::{Authentication, Authorization, Builder, DataDir, Server, ServiceAccounts};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::certificates::Keys;

/// Changes beyond the newest thousand of a resource are kept so long, for watches that come back or are slow.
const HISTORY: Duration = Duration::from_secs(300);

/// A Kubernetes-compatible API server for one node.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:6443")]
    listen: SocketAddr,
    /// Where objects and keys are kept; without this they end with the process.
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Where to write the administrator's kubeconfig [default: admin.kubeconfig in the data directory, or embedded.kubeconfig].
    #[arg(long)]
    kubeconfig: Option<PathBuf>,
    /// Whether roles and bindings decide what users may do, or everybody who connects may do everything.
    #[arg(long, value_enum, default_value_t = Mode::Rbac)]
    authorization_mode: Mode,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    #[value(name = "RBAC")]
    Rbac,
    #[value(name = "AlwaysAllow")]
    AlwaysAllow,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let arguments = Arguments::parse();
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let directory = arguments.data_dir.as_ref().map(DataDir::open).transpose()?;
    // The storage is locked first, so that two servers never share a directory's keys.
    let storage = directory.as_ref().map(DataDir::storage).transpose()?;
    let keys = match &directory {
        Some(directory) => Keys::kept(directory).context("cannot keep the server's keys")?,
        None => Keys::fresh().context("cannot make the server's keys")?,
    };
    let listener = TcpListener::bind(arguments.listen)
        .await
        .with_context(|| format!("cannot listen on {}", arguments.listen))?;
    let address = listener.local_addr()?;
    let (tls, kubeconfig) = keys.serve(address).context("cannot make certificates")?;
    let mut builder = builder(&keys, arguments.authorization_mode);
    if let Some(storage) = storage {
        builder = builder.storage(storage);
    }
    let server = builder.build().await?;
    let path = match (arguments.kubeconfig, &directory) {
        (Some(path), _) => path,
        (None, Some(directory)) => directory.file("admin.kubeconfig"),
        (None, None) => "embedded.kubeconfig".into(),
    };
    write_private(&path, &kubeconfig).with_context(|| format!("cannot write {}", path.display()))?;
    let shutdown = CancellationToken::new();
    stop_on_signals(shutdown.clone())?;
    tracing::info!(%address, kubeconfig = %path.display(), "serving");
    server
        .clone()
        .serve_https(listener, Arc::new(tls), shutdown)
        .await?;
    server.shutdown();
    Ok(())
}

fn builder(keys: &Keys, mode: Mode) -> Builder {
    Server::builder()
        .history_age(HISTORY)
        .authorization(match mode {
            Mode::Rbac => Authorization::Rbac,
            Mode::AlwaysAllow => Authorization::AlwaysAllow,
        })
        .authentication(Authentication {
            service_accounts: Some(ServiceAccounts::new(keys.service_accounts.clone())),
            ..Authentication::default()
        })
        .certificate_authority(keys.authority())
}

fn stop_on_signals(shutdown: CancellationToken) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        tokio::select! {
            biased;
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        shutdown.cancel();
    });
    Ok(())
}

/// Writes a file that only its owner may read.
fn write_private(path: &std::path::Path, text: &str) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())
}
