//! Follows the managers' pods and gives each a task that runs it.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context as _;
use futures::{StreamExt as _, pin_mut};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, ResourceExt as _,
    runtime::{WatchStreamExt as _, watcher},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use crate::{node, pod};

/// What all pods share.
pub struct Host {
    pub client: Client,
    pub programs: PathBuf,
    pub state: PathBuf,
    /// The port of the API server.
    pub api_port: u16,
}

/// Runs every pod that a provider's Deployment makes, until SIGTERM.
pub async fn run(programs: &Path, state: &Path) -> anyhow::Result<()> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    std::fs::create_dir_all(state).context("folder for logs")?;
    let config = kube::Config::infer().await.context("KUBECONFIG")?;
    let api_port = config.cluster_url.port_u16().context("the API server's port")?;
    let host = Arc::new(Host {
        client: Client::try_from(config).context("client")?,
        programs: programs.canonicalize().context("folder of the programs")?,
        state: state.canonicalize().context("folder for logs")?,
        api_port,
    });
    node::register(&host.client).await?;
    let heart = tokio::spawn(node::keep(host.client.clone()));
    let mut terminated = signal(SignalKind::terminate()).context("SIGTERM")?;
    let api: Api<Pod> = Api::all(host.client.clone());
    let selected = watcher::Config::default().labels("control-plane=controller-manager");
    let events = watcher(api, selected).default_backoff();
    pin_mut!(events);
    let mut running: BTreeMap<String, CancellationToken> = BTreeMap::new();
    let mut tasks = JoinSet::new();
    let mut number = 0_u16;
    loop {
        let event = tokio::select! {
            biased;
            _ = terminated.recv() => break,
            Some(ended) = tasks.join_next(), if !tasks.is_empty() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "a pod's task failed");
                }
                continue;
            }
            event = events.next() => event.context("the watch ended")?,
        };
        match event {
            Ok(watcher::Event::Apply(pod) | watcher::Event::InitApply(pod)) => {
                let uid = pod.uid().unwrap_or_default();
                if pod.metadata.deletion_timestamp.is_some() {
                    if let Some(stop) = running.remove(&uid) {
                        stop.cancel();
                    }
                } else if let Entry::Vacant(place) = running.entry(uid) {
                    number += 1;
                    let stop = place.insert(CancellationToken::new()).clone();
                    tasks.spawn(pod::run(host.clone(), pod, number, stop));
                }
            }
            Ok(watcher::Event::Delete(pod)) => {
                if let Some(stop) = running.remove(&pod.uid().unwrap_or_default()) {
                    stop.cancel();
                }
            }
            Ok(watcher::Event::Init | watcher::Event::InitDone) => {}
            Err(error) => tracing::warn!(%error, "watch of pods"),
        }
    }
    for stop in running.values() {
        stop.cancel();
    }
    while tasks.join_next().await.is_some() {}
    heart.abort();
    Ok(())
}
