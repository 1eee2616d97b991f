//! Clients of real API servers: one HTTP/2 connection for all requests and watches, and retries that know what may be
//! repeated.
//!
//! kube's own client speaks HTTP/1.1 only, with a connection per watch, and repeats creates that may have succeeded.

mod connection;
mod http1;
mod line;
mod resumption;
mod retry;

use std::sync::Arc;

use futures::future::BoxFuture;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use kube::{Client, Config, client::Body, core::Status};
use seams::{SharedRandomness, SystemRandomness};
use tower::BoxError;

use connection::Pings;
pub use line::Answer;
use line::Line;
pub(crate) use line::Requests;
pub use resumption::last_session;
use retry::Retry;
pub use retry::RetryLimits;

/// Installs the cryptography all TLS of the process uses. Harmless if done before.
pub fn install_crypto() {
    // An error says that a provider is installed already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// A client for the management cluster.
pub fn management_client(config: Config) -> Result<Client, kube::Error> {
    client(config, RetryLimits::default(), Arc::new(SystemRandomness))
}

/// A client over one HTTP/2 connection; over HTTP/1.1 if the server wants it so, or the way leads through a proxy.
pub fn client(
    config: Config,
    limits: RetryLimits,
    randomness: SharedRandomness,
) -> Result<Client, kube::Error> {
    install_crypto();
    let namespace = config.default_namespace.clone();
    let way = Way::new(config, Pings::Sent)?;
    Ok(Client::new(Retry::new(way, limits, randomness), namespace))
}

/// A client that sends through another one, with the limits and repetitions of [`client`].
pub fn retrying(client: Client, limits: RetryLimits, randomness: SharedRandomness) -> Client {
    let namespace = client.default_namespace().to_owned();
    Client::new(Retry::new(client, limits, randomness), namespace)
}

/// The way to the API server of a workload cluster. It gives up sooner than a client of the management cluster, and holds
/// as little as possible while nobody uses it, as there are many such clusters.
pub(crate) struct WorkloadLine {
    way: Way,
    retry: Retry<Way>,
}

impl WorkloadLine {
    pub(crate) fn new(config: Config) -> Result<Self, kube::Error> {
        install_crypto();
        let way = Way::new(config, Pings::Left)?;
        let retry = Retry::new(way.clone(), RetryLimits::short(), Arc::new(SystemRandomness));
        Ok(Self { way, retry })
    }

    /// A client for ordinary requests.
    pub(crate) fn client(&self) -> Client {
        Client::new(self.retry.clone(), "default")
    }

    /// A client for requests that upgrade the connection (port-forward).
    pub(crate) fn upgrades(&self) -> Client {
        match &self.way {
            Way::Line(line) => line.upgrades(),
            Way::Client(client) => client.clone(),
        }
    }
}

impl Requests for WorkloadLine {
    fn send(&self, request: Request<Body>) -> BoxFuture<'_, Result<Response<Answer>, kube::Error>> {
        let sent = self.retry.clone().send(request);
        Box::pin(async move { sent.await.map_err(kube_error) })
    }
}

/// What kube's client makes of the errors of what it is made of.
fn kube_error(error: BoxError) -> kube::Error {
    error
        .downcast::<kube::Error>()
        .map(|error| *error)
        .or_else(|error| error.downcast().map(|error| kube::Error::HyperError(*error)))
        .unwrap_or_else(kube::Error::Service)
}

/// The two ways to send a request.
#[derive(Clone)]
enum Way {
    Line(Line),
    /// kube's own, with HTTP/1.1.
    Client(Client),
}

impl Way {
    fn new(mut config: Config, pings: Pings) -> Result<Self, kube::Error> {
        if let Some(line) = Line::new(&config, pings)? {
            return Ok(Self::Line(line));
        }
        config.default_retry = false;
        Client::try_from(config).map(Self::Client)
    }
}

impl retry::Sender for Way {
    async fn send(&self, request: Request<Body>) -> Result<Response<Answer>, BoxError> {
        match self {
            Self::Line(line) => line.send(request).await,
            Self::Client(client) => Ok(Requests::send(client, request).await?),
        }
    }
}

/// The whole body of an answer.
pub(crate) async fn collect(answer: Response<Answer>) -> Result<bytes::Bytes, kube::Error> {
    let body = answer.into_body().collect().await.map_err(kube_error)?;
    Ok(body.to_bytes())
}

/// What an answer that is no success says.
pub(crate) fn refusal(status: StatusCode, body: &[u8]) -> kube::Error {
    let said = serde_json::from_slice::<Status>(body)
        .ok()
        .filter(|said| said.code != 0);
    let said = said.unwrap_or_else(|| {
        let text = String::from_utf8_lossy(body);
        Status::failure(text.trim(), status.canonical_reason().unwrap_or_default()).with_code(status.as_u16())
    });
    kube::Error::Api(said.boxed())
}
