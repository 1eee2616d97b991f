//! The main function of a provider binary: flags, logs, signals, health and metrics pages.
//!
//! The flags are upstream's, so that its manifests and its users' overlays keep working; those that have no meaning here
//! are accepted and said to be ignored.

mod diagnostics;
mod flags;

use std::{path::Path, process::ExitCode, sync::Arc, time::Duration};

use kube::{
    Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use seams::SystemRandomness;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

pub use flags::{Flags, NoFlags};

use crate::{
    error::{Error, chain},
    key::Key,
    manager::Manager,
    ring::leases::Membership,
    transport::{self, RetryLimits},
    webhook::{WebhookOptions, WebhookServer, configuration::Names},
};

/// How long admission is answered after the end of a replica: until every API server knows that it is gone from its Service.
const LINGER: Duration = Duration::from_secs(5);

/// Runs a provider manager until it is told to stop. `name` is the name of its Deployment, for example
/// `capi-controller-manager`; the names of its webhook Service and configurations follow from it as upstream has them.
pub fn run(name: &'static str, register: impl FnOnce(&mut Manager)) -> ExitCode {
    run_with::<NoFlags>(name, |manager, _| register(manager))
}

/// Like [`run`], with flags of the provider's own.
pub fn run_with<F: clap::Args>(name: &'static str, register: impl FnOnce(&mut Manager, &F)) -> ExitCode {
    let (flags, own) = match Flags::parse::<F>(name, std::env::args_os()) {
        Ok(parsed) => parsed,
        Err(error) => error.exit(),
    };
    init_logs(flags.verbosity, flags.logging_format == "json");
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "no async runtime");
            return ExitCode::FAILURE;
        }
    };
    let shutdown = CancellationToken::new();
    let served = runtime.block_on(async {
        let stop = shutdown.clone();
        tokio::spawn(async move {
            signalled().await;
            tracing::info!("stopping");
            stop.cancel();
        });
        serve(name, &flags, |manager| register(manager, &own), shutdown).await
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = %chain(&error), "the manager ended");
            ExitCode::FAILURE
        }
    }
}

/// Runs a provider manager as the flags say, until `shutdown`.
pub async fn serve(
    name: &'static str,
    flags: &Flags,
    register: impl FnOnce(&mut Manager),
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let config = config(name, flags).await?;
    let own_namespace = own_namespace(&config);
    let client = transport::client(config, RetryLimits::default(), Arc::new(SystemRandomness))
        .map_err(|error| Error::config("kubeconfig", error))?;
    let mut builder = Manager::builder(client)
        .name(name)
        .namespace(flags.namespace.clone())
        .watch_filter(flags.watch_filter.clone())
        .features(flags.feature_gates.clone());
    if flags.leader_elect {
        builder = builder.replicas(Membership::of_pod(name, &own_namespace));
    }
    let mut manager = builder.build()?;
    register(&mut manager);
    for (controller, concurrency) in &flags.concurrency {
        if !manager.set_concurrency(controller, *concurrency) {
            let known = manager.controllers().join(", ");
            let reason = format!("there is no controller {controller}; there are: {known}");
            return Err(Error::config(format!("--{controller}-concurrency"), reason));
        }
    }
    let hooked = !manager.admission().kinds().is_empty() || !manager.conversions().definitions().is_empty();
    if flags.webhook_port != 0 && hooked {
        manager.serve_webhooks(WebhookServer::new(webhook_options(name, &own_namespace, flags)));
    }
    let pages = diagnostics::Pages {
        readiness: manager.readiness(),
        metrics: manager.metrics(),
        client: manager.client(),
        tls: manager.self_signed_tls()?,
    };
    diagnostics::serve(pages, flags, &shutdown).await?;
    tracing::info!(name, controllers = manager.controllers().join(", "), "starting");
    manager.run(shutdown).await
}

async fn config(name: &str, flags: &Flags) -> Result<Config, Error> {
    let mut config = match &flags.kubeconfig {
        Some(path) => {
            let wrong = |error| Error::config(format!("kubeconfig {}", path.display()), error);
            let kubeconfig = Kubeconfig::read_from(path).map_err(wrong)?;
            Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
                .await
                .map_err(wrong)?
        }
        None => Config::infer()
            .await
            .map_err(|error| Error::config("kubeconfig or service account", error))?,
    };
    if let Ok(agent) = http::HeaderValue::from_str(&format!("{name}/{}", env!("CARGO_PKG_VERSION"))) {
        config.headers.push((http::header::USER_AGENT, agent));
    }
    Ok(config)
}

/// The namespace this process runs in.
fn own_namespace(config: &Config) -> String {
    const MOUNTED: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";
    std::env::var("POD_NAMESPACE")
        .ok()
        .or_else(|| std::fs::read_to_string(Path::new(MOUNTED)).ok())
        .map(|text| text.trim().to_owned())
        .filter(|text| !text.is_empty())
        .unwrap_or_else(|| config.default_namespace.clone())
}

fn webhook_options(name: &str, namespace: &str, flags: &Flags) -> WebhookOptions {
    let names = Names::of(name, namespace);
    WebhookOptions {
        address: std::net::SocketAddr::from(([0, 0, 0, 0], flags.webhook_port)),
        names: names
            .hosts()
            .into_iter()
            .chain(["localhost".to_owned()])
            .collect(),
        secret: Key::new(namespace, names.secret()),
        mutating: vec![names.mutating()],
        validating: vec![names.validating()],
        certificate_folder: flags.webhook_cert_dir.clone(),
        // Alone there are no others who could be asked.
        linger: if flags.leader_elect {
            LINGER
        } else {
            Duration::ZERO
        },
    }
}

/// Logs to standard error: `RUST_LOG` decides, else the verbosity of klog's `-v`.
pub fn init_logs(verbosity: u8, json: bool) {
    let default = match verbosity {
        0..=3 => "info",
        4..=5 => "info,capi_runtime=debug,capi_core=debug,bootstrap_kubeadm=debug,controlplane_kubeadm=debug",
        _ => "debug",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    // An error says that the process has its logs already.
    let _ = if json {
        logs.json().flatten_event(true).try_init()
    } else {
        logs.try_init()
    };
}

/// Waits for the request to stop: SIGTERM, or Ctrl-C in a terminal.
pub async fn signalled() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        let _ = tokio::signal::ctrl_c().await;
        return;
    };
    tokio::select! {
        biased;
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}
