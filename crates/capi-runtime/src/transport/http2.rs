//! One HTTP/2 connection over TLS, dialled when needed and dialled again when lost.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures::future::BoxFuture;
use http::{Request, Response};
use hyper::{body::Incoming, client::conn::http2::SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use kube::{
    Config,
    client::{Body, ConfigExt},
};
use rustls::pki_types::ServerName;
use tokio::{net::TcpStream, sync::Mutex};
use tokio_rustls::TlsConnector;
use tower::{BoxError, Service};

/// How long dialling may take.
const DIAL_LIMIT: Duration = Duration::from_secs(10);
/// A connection on which nothing comes back for ping interval and limit is dead.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_LIMIT: Duration = Duration::from_secs(10);

/// What the other side can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speaks {
    Http2,
    Http1Only,
}

/// A tower service over one connection.
#[derive(Clone)]
pub(super) struct Http2(Arc<Inner>);

struct Inner {
    host: String,
    port: u16,
    server_name: ServerName<'static>,
    tls: TlsConnector,
    sender: Mutex<Option<SendRequest<Body>>>,
    http1_only: AtomicBool,
}

impl Http2 {
    pub(super) fn new(config: &Config) -> Result<Self, kube::Error> {
        let mut tls = config.rustls_client_config()?;
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // One connection that lasts needs no memory of earlier ones, which takes 20 KiB.
        tls.resumption = rustls::client::Resumption::disabled();
        let wrong = |error: BoxError| kube::Error::Service(error);
        let host = config.cluster_url.host().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = config.tls_server_name.clone().unwrap_or_else(|| host.clone());
        Ok(Self(Arc::new(Inner {
            port: config.cluster_url.port_u16().unwrap_or(443),
            server_name: ServerName::try_from(name).map_err(|error| wrong(error.into()))?,
            host,
            tls: TlsConnector::from(Arc::new(tls)),
            sender: Mutex::new(None),
            http1_only: AtomicBool::new(false),
        })))
    }

    /// Makes sure that there is a connection, and tells what it can do.
    pub(super) async fn ensure(&self) -> Result<Speaks, BoxError> {
        if self.0.http1_only.load(Ordering::Relaxed) {
            return Ok(Speaks::Http1Only);
        }
        Ok(if self.sender().await?.is_some() {
            Speaks::Http2
        } else {
            Speaks::Http1Only
        })
    }

    async fn sender(&self) -> Result<Option<SendRequest<Body>>, BoxError> {
        let mut current = self.0.sender.lock().await;
        if let Some(sender) = current.as_ref().filter(|sender| !sender.is_closed()) {
            return Ok(Some(sender.clone()));
        }
        *current = None;
        let dialled = tokio::time::timeout(DIAL_LIMIT, self.dial()).await;
        let address = || format!("{}:{}", self.0.host, self.0.port);
        let dialled = dialled.map_err(|_| format!("no connection to {} within {DIAL_LIMIT:?}", address()))?;
        let sender = dialled.map_err(|error| format!("no connection to {}: {error}", address()))?;
        current.clone_from(&sender);
        Ok(sender)
    }

    async fn dial(&self) -> Result<Option<SendRequest<Body>>, BoxError> {
        let stream = TcpStream::connect((self.0.host.as_str(), self.0.port)).await?;
        stream.set_nodelay(true)?;
        let stream = self.0.tls.connect(self.0.server_name.clone(), stream).await?;
        if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            self.0.http1_only.store(true, Ordering::Relaxed);
            return Ok(None);
        }
        let (sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_LIMIT)
            .keep_alive_while_idle(true)
            .handshake(TokioIo::new(stream))
            .await?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "HTTP/2 connection ended");
            }
        });
        Ok(Some(sender))
    }
}

impl Service<Request<Body>> for Http2 {
    type Response = Response<Incoming>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let connection = self.clone();
        Box::pin(async move {
            let Some(mut sender) = connection.sender().await? else {
                return Err("the server speaks no HTTP/2".into());
            };
            sender.ready().await?;
            Ok(sender.send_request(request).await?)
        })
    }
}
