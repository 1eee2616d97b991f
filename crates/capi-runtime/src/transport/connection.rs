//! Connections to one API server over TLS: one with HTTP/2, dialled when needed and dialled again when lost, and others
//! with HTTP/1.1 for what HTTP/2 cannot do.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use kube::{
    Config,
    client::{Body, ConfigExt},
};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{net::TcpStream, sync::Mutex};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tower::BoxError;

use super::resumption::last_session;

/// How long dialling may take.
const DIAL_LIMIT: Duration = Duration::from_secs(10);
/// A connection on which nothing comes back for ping interval and limit is dead.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_LIMIT: Duration = Duration::from_secs(10);

/// Whether the connection itself looks after being alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pings {
    /// Nobody else does.
    Sent,
    /// Its user asks the server now and then, which tells more.
    Left,
}

/// The way to one API server.
pub(super) struct Connection {
    host: String,
    port: u16,
    server_name: ServerName<'static>,
    tls: Arc<ClientConfig>,
    pings: Pings,
    sender: Mutex<Option<SendRequest<Body>>>,
    http1_only: AtomicBool,
}

impl Connection {
    pub(super) fn new(config: &Config, pings: Pings) -> Result<Self, kube::Error> {
        let mut tls = config.rustls_client_config()?;
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        tls.resumption = last_session();
        let wrong = |error: BoxError| kube::Error::Service(error);
        let host = config.cluster_url.host().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = config.tls_server_name.clone().unwrap_or_else(|| host.clone());
        Ok(Self {
            port: config.cluster_url.port_u16().unwrap_or(443),
            server_name: ServerName::try_from(name).map_err(|error| wrong(error.into()))?,
            host,
            tls: Arc::new(tls),
            pings,
            sender: Mutex::new(None),
            http1_only: AtomicBool::new(false),
        })
    }

    /// The HTTP/2 connection, dialled if there is none; none if the server does not speak it.
    pub(super) async fn http2(&self) -> Result<Option<SendRequest<Body>>, BoxError> {
        if self.http1_only.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let mut current = self.sender.lock().await;
        if let Some(sender) = current.as_ref().filter(|sender| !sender.is_closed()) {
            return Ok(Some(sender.clone()));
        }
        *current = None;
        // Rarely needed and large: not a part of every request.
        let sender = Box::pin(self.dial_http2()).await?;
        current.clone_from(&sender);
        Ok(sender)
    }

    async fn dial_http2(&self) -> Result<Option<SendRequest<Body>>, BoxError> {
        let stream = self.dial(self.tls.clone()).await?;
        if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            self.http1_only.store(true, Ordering::Relaxed);
            return Ok(None);
        }
        let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
        if self.pings == Pings::Sent {
            builder
                .timer(TokioTimer::new())
                .keep_alive_interval(PING_INTERVAL)
                .keep_alive_timeout(PING_LIMIT)
                .keep_alive_while_idle(true);
        }
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "HTTP/2 connection ended");
            }
        });
        Ok(Some(sender))
    }

    /// A connection for HTTP/1.1.
    pub(super) async fn dial_http1(&self) -> Result<TlsStream<TcpStream>, BoxError> {
        let mut tls = (*self.tls).clone();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        self.dial(Arc::new(tls)).await
    }

    async fn dial(&self, tls: Arc<ClientConfig>) -> Result<TlsStream<TcpStream>, BoxError> {
        let dial = async {
            let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
            stream.set_nodelay(true)?;
            TlsConnector::from(tls)
                .connect(self.server_name.clone(), stream)
                .await
        };
        let address = || format!("{}:{}", self.host, self.port);
        match tokio::time::timeout(DIAL_LIMIT, dial).await {
            Ok(dialled) => dialled.map_err(|error| format!("no connection to {}: {error}", address()).into()),
            Err(_) => Err(format!("no connection to {} within {DIAL_LIMIT:?}", address()).into()),
        }
    }
}
