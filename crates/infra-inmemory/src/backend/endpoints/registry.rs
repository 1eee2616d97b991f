//! Endpoints as names in this process, and the connector that leads controllers to them: no sockets, no TLS.

use std::{
    collections::BTreeMap,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use async_trait::async_trait;
use bytes::Bytes;
use capi_runtime::{Key, WorkloadConnection, WorkloadConnector, workload::ConnectError};
use cluster_pki::Kubeconfig;
use embedded_apiserver::Server;
use futures::StreamExt;
use http_body::Frame;
use http_body_util::{BodyExt, BodyStream, StreamBody};
use hyper_util::rt::TokioIo;
use kube::client::Body;
use parking_lot::Mutex;
use seams::SharedClock;
use tokio_util::sync::CancellationToken;
use tower::{BoxError, Service, ServiceExt};

use super::{Backend, Endpoint, Endpoints};
use crate::backend::tls::check_client;

/// How many bytes wait in a pipe before its writer must.
const PIPE: usize = 64 * 1024;

/// The open endpoints of a simulated world, by `host:port`.
pub struct Registry {
    clock: SharedClock,
    open: Mutex<BTreeMap<String, Open>>,
}

#[derive(Clone)]
struct Open {
    backend: Arc<dyn Backend>,
    closed: CancellationToken,
}

impl Registry {
    /// A network without endpoints.
    pub fn new(clock: SharedClock) -> Arc<Self> {
        Arc::new(Self {
            clock,
            open: Mutex::default(),
        })
    }

    fn find(&self, address: &str) -> io::Result<Open> {
        let refused = || {
            io::Error::new(
                io::ErrorKind::ConnectionRefused,
                format!("{address}: connection refused"),
            )
        };
        self.open.lock().get(address).cloned().ok_or_else(refused)
    }
}

#[async_trait]
impl Endpoints for Arc<Registry> {
    fn reserve(&self, _: u16) -> bool {
        true
    }

    async fn open(&self, endpoint: &Endpoint, backend: Arc<dyn Backend>) -> io::Result<()> {
        let open = || Open {
            backend,
            closed: CancellationToken::new(),
        };
        self.open.lock().entry(endpoint.to_string()).or_insert_with(open);
        Ok(())
    }

    fn close(&self, endpoint: &Endpoint) {
        if let Some(open) = self.open.lock().remove(&endpoint.to_string()) {
            open.closed.cancel();
        }
    }
}

/// Leads kubeconfigs to the endpoints of a [`Registry`].
pub struct RegistryConnector(pub Arc<Registry>);

#[async_trait]
impl WorkloadConnector for RegistryConnector {
    async fn connect(&self, _: &Key, kubeconfig: &str) -> Result<WorkloadConnection, ConnectError> {
        let kubeconfig = Kubeconfig::parse(kubeconfig)?;
        let address = kubeconfig
            .server
            .strip_prefix("https://")
            .unwrap_or_default()
            .trim_end_matches('/')
            .to_owned();
        let open = self.0.find(&address)?;
        authenticate(&kubeconfig, &*open.backend, &self.0.clock).map_err(io::Error::other)?;
        let client = kube::Client::new(
            ToEndpoint {
                registry: self.0.clone(),
                address,
            },
            "default",
        );
        Ok(WorkloadConnection {
            upgrades: client.clone(),
            client,
        })
    }
}

/// What TLS would check: that client and server trust each other.
fn authenticate(kubeconfig: &Kubeconfig, backend: &dyn Backend, clock: &SharedClock) -> Result<(), String> {
    let authority = backend
        .client_authority()
        .ok_or("the API server has no certificate yet")?;
    let trusted = kubeconfig.certificate_authority.as_deref().unwrap_or_default();
    if !trusted.split_whitespace().eq(authority.split_whitespace()) {
        return Err("the API server's certificate is signed by an unknown authority".to_owned());
    }
    let client = kubeconfig
        .client
        .as_ref()
        .ok_or("the kubeconfig holds no client certificate")?;
    check_client(&client.certificate, &authority, clock.now())
        .map_err(|error| format!("the API server does not accept the client certificate: {error}"))
}

/// Sends requests to an endpoint for as long as it is open, and cuts what is under way when it closes.
#[derive(Clone)]
struct ToEndpoint {
    registry: Arc<Registry>,
    address: String,
}

type Answer = http::Response<http_body_util::combinators::UnsyncBoxBody<Bytes, BoxError>>;

impl Service<http::Request<Body>> for ToEndpoint {
    type Response = Answer;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Answer, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let me = self.clone();
        Box::pin(async move {
            let open = me.registry.find(&me.address)?;
            let server = open.backend.server().ok_or_else(reset)?;
            let answer = async {
                // An upgrade needs a byte stream beneath it.
                match request.headers().contains_key(http::header::UPGRADE) {
                    true => over_pipe(server, request, open.closed.clone()).await,
                    false => Ok(server
                        .service()
                        .oneshot(request)
                        .await?
                        .map(|body| until(body, open.closed.clone()))),
                }
            };
            tokio::select! {
                biased;
                () = open.closed.cancelled() => Err(reset().into()),
                answer = answer => answer,
            }
        })
    }
}

fn reset() -> io::Error {
    io::Error::new(
        io::ErrorKind::ConnectionReset,
        "connection reset: the API server stopped",
    )
}

/// The body, ending with an error as soon as the endpoint is closed.
fn until<B>(body: B, closed: CancellationToken) -> http_body_util::combinators::UnsyncBoxBody<Bytes, BoxError>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    if body.size_hint().exact().is_some() {
        // All of it is here; there is nothing to wait for.
        return body.map_err(Into::into).boxed_unsync();
    }
    let end = futures::stream::once(async move {
        closed.cancelled_owned().await;
        Some(Err::<Frame<Bytes>, BoxError>(reset().into()))
    });
    let frames = BodyStream::new(body)
        .map(|frame| Some(frame.map_err(Into::into)))
        .chain(futures::stream::once(async { None }));
    // Whichever ends first ends the body; an ended body is not kept waiting for the endpoint to close.
    let merged = futures::stream::select(Box::pin(frames), Box::pin(end))
        .take_while(|frame| std::future::ready(frame.is_some()))
        .filter_map(std::future::ready);
    StreamBody::new(merged).boxed_unsync()
}

/// One request over a connection of its own, so that it can be upgraded.
async fn over_pipe(
    server: Server,
    mut request: http::Request<Body>,
    closed: CancellationToken,
) -> Result<Answer, BoxError> {
    let (near, far) = tokio::io::duplex(PIPE);
    tokio::spawn(
        closed
            .clone()
            .run_until_cancelled_owned(async move { server.serve_pipe(far).await }),
    );
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(near)).await?;
    tokio::spawn(closed.run_until_cancelled_owned(async move {
        // An error also reaches the request.
        let _ = connection.with_upgrades().await;
    }));
    request
        .headers_mut()
        .insert(http::header::HOST, http::HeaderValue::from_static("simulated"));
    let answer = sender.send_request(request).await?;
    Ok(answer.map(|body| body.map_err(Into::into).boxed_unsync()))
}
