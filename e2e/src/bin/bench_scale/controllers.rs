//! The process with the controllers: started by the benchmark, ended by the end of its standard input.

use std::{io::Read as _, path::Path, sync::Arc};

use anyhow::Context as _;
use capi_runtime::{
    Manager,
    transport::{self, RetryLimits},
};
use cluster_pki::PooledKeys;
use kube::{
    Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use seams::SystemRandomness;
use tokio_util::sync::CancellationToken;

use crate::ledger::CONTROLLERS;

/// What the process says at its end.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Farewell {
    /// How many keys were taken from the pool.
    pub keys: u64,
    /// How many reconciles sent their first write within so many seconds after they were due; none is for ever.
    pub reactions: Vec<(Option<f64>, u64)>,
}

/// Which providers a process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Providers {
    /// All of them.
    All,
    /// Clusters, Machines and their sets.
    Core,
    /// KubeadmConfigs.
    Bootstrap,
    /// KubeadmControlPlanes.
    ControlPlane,
}

impl Providers {
    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Core => "core",
            Self::Bootstrap => "bootstrap",
            Self::ControlPlane => "control-plane",
        }
    }

    fn register(self, manager: &mut Manager) {
        let is = |one| self == Self::All || self == one;
        if is(Self::Core) {
            capi_core::register(manager);
        }
        if is(Self::Bootstrap) {
            bootstrap_kubeadm::register(manager);
        }
        if is(Self::ControlPlane) {
            controlplane_kubeadm::register(manager);
        }
    }
}

/// Runs until standard input ends, then says its [`Farewell`].
pub fn run(kubeconfig: &Path, providers: Providers) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start tokio")?;
    let stop = CancellationToken::new();
    let ended = stop.clone();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        ended.cancel();
    });
    let keys = Arc::new(PooledKeys::new());
    let reactions = runtime.block_on(serve(kubeconfig, providers, keys.clone(), stop))?;
    let limit = |seconds: f64| seconds.is_finite().then_some(seconds);
    let farewell = Farewell {
        keys: keys.count(),
        reactions: reactions
            .into_iter()
            .map(|(seconds, count)| (limit(seconds), count))
            .collect(),
    };
    crate::say(&serde_json::to_string(&farewell)?);
    Ok(())
}

async fn serve(
    kubeconfig: &Path,
    providers: Providers,
    keys: Arc<PooledKeys>,
    stop: CancellationToken,
) -> anyhow::Result<Vec<(f64, u64)>> {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).context("cannot read the kubeconfig")?;
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    config.headers.push((
        http::header::USER_AGENT,
        http::HeaderValue::from_static(CONTROLLERS),
    ));
    let client = transport::client(config, RetryLimits::default(), Arc::new(SystemRandomness))
        .context("cannot set up the connection")?;
    let mut manager = Manager::builder(client).name(CONTROLLERS).keys(keys).build()?;
    providers.register(&mut manager);
    let metrics = manager.metrics();
    manager.run(stop).await.context("the controllers ended")?;
    Ok(metrics.reactions())
}
