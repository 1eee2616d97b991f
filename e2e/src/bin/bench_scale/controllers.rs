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

/// Runs until standard input ends, then says how many keys were taken from the pool.
pub fn run(kubeconfig: &Path) -> anyhow::Result<()> {
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
    runtime.block_on(serve(kubeconfig, keys.clone(), stop))?;
    crate::say(&format!("{}", keys.count()));
    Ok(())
}

async fn serve(kubeconfig: &Path, keys: Arc<PooledKeys>, stop: CancellationToken) -> anyhow::Result<()> {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).context("cannot read the kubeconfig")?;
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    config.headers.push((
        http::header::USER_AGENT,
        http::HeaderValue::from_static(CONTROLLERS),
    ));
    let client = transport::client(config, RetryLimits::default(), Arc::new(SystemRandomness))
        .context("cannot set up the connection")?;
    let mut manager = Manager::builder(client).name(CONTROLLERS).keys(keys).build()?;
    capi_core::register(&mut manager);
    bootstrap_kubeadm::register(&mut manager);
    controlplane_kubeadm::register(&mut manager);
    manager.run(stop).await.context("the controllers ended")
}
