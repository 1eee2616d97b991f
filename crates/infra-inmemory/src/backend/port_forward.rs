//! Streams to the ports of simulated pods: etcd members and API servers.

use std::{
    io,
    sync::{Arc, Weak},
};

use async_trait::async_trait;
use embedded_apiserver::{ByteStream, PortForward};
use futures::FutureExt;
use tokio_rustls::TlsAcceptor;

use super::{
    endpoints::Backend,
    etcd::SimulatedMember,
    static_pods::{API_SERVER, ETCD},
    workload::Shared,
};

/// How many bytes wait in a stream before its writer must.
const PIPE: usize = 64 * 1024;

/// etcd's port for clients.
const ETCD_PORT: u16 = 2379;

/// Leads port-forwards of one workload cluster to what runs in its pods.
pub struct ToPods(pub Weak<Shared>);

#[async_trait]
impl PortForward for ToPods {
    async fn connect(&self, namespace: &str, pod: &str, port: u16) -> io::Result<Box<dyn ByteStream>> {
        let refused = || {
            let text = format!("pod {namespace}/{pod}, port {port}: connection refused");
            io::Error::new(io::ErrorKind::ConnectionRefused, text)
        };
        let shared = self.0.upgrade().ok_or_else(refused)?;
        let (near, far) = tokio::io::duplex(PIPE);
        if namespace != "kube-system" {
            return Err(refused());
        }
        if let Some(node) = pod.strip_prefix(ETCD).and_then(|rest| rest.strip_prefix('-')) {
            let config = shared
                .etcd_tls(node)
                .filter(|_| port == ETCD_PORT)
                .ok_or_else(refused)?;
            let cluster = Arc::downgrade(&shared);
            let changed = move || {
                let cluster = cluster.clone();
                let settle = async move {
                    if let Some(cluster) = cluster.upgrade()
                        && let Err(error) = cluster.settle_door().await
                    {
                        tracing::warn!(%error, "the endpoint of a simulated cluster");
                    }
                };
                settle.boxed()
            };
            let member = SimulatedMember::new(shared.etcd(), node, Box::new(changed));
            tokio::spawn(async move {
                let Ok(stream) = TlsAcceptor::from(config).accept(far).await else {
                    return;
                };
                if let Err(error) = etcd_api::serve(stream, Arc::new(member)).await {
                    tracing::debug!(%error, "connection to a simulated etcd member ended");
                }
            });
        } else if let Some(node) = pod
            .strip_prefix(API_SERVER)
            .and_then(|rest| rest.strip_prefix('-'))
        {
            let config = shared.api_server_tls(node);
            let (config, server) = config.zip(shared.server()).ok_or_else(refused)?;
            tokio::spawn(async move {
                let Ok(stream) = TlsAcceptor::from(config).accept(far).await else {
                    return;
                };
                if stream.get_ref().1.peer_certificates().is_none() {
                    let _ = super::endpoints::refuse(stream).await;
                } else {
                    server.serve_pipe(stream).await;
                }
            });
        } else {
            return Err(refused());
        }
        Ok(Box::new(near))
    }
}
