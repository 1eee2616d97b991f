//! A line to one API server: what the kubeconfig says about address and identity, over the connections that there are.
//!
//! It is what clients are made of. A kube client comes with a task and a queue of 10 KiB, so there is none while nobody
//! uses one: the many lines to workload clusters carry watches and probes by themselves.

use std::sync::{Arc, OnceLock};

use futures::{TryFutureExt, future::BoxFuture};
use http::{Request, Response};
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use kube::{
    Client, Config,
    client::{
        Body, ConfigExt,
        middleware::{AuthLayer, BaseUriLayer, ExtraHeadersLayer},
    },
};
use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};

use super::{
    connection::{Connection, Pings},
    http1::{self, Pool},
};

/// The way of a request and its answer.
pub(super) type Sending<B> = BoxFuture<'static, Result<Response<B>, BoxError>>;

/// The body of an answer.
pub type Answer = UnsyncBoxBody<bytes::Bytes, BoxError>;

/// What takes requests to one API server.
pub(crate) trait Requests: Send + Sync + 'static {
    /// The answer, whatever its status; its body may be endless.
    fn send(&self, request: Request<Body>) -> BoxFuture<'_, Result<Response<Answer>, kube::Error>>;
}

impl Requests for Client {
    fn send(&self, request: Request<Body>) -> BoxFuture<'_, Result<Response<Answer>, kube::Error>> {
        Box::pin(async move { Ok(boxed(Client::send(self, request).await?)) })
    }
}

/// The answer with its kind of body forgotten.
pub(super) fn boxed<B>(response: Response<B>) -> Response<Answer>
where
    B: http_body::Body<Data = bytes::Bytes, Error: Into<BoxError>> + Send + 'static,
{
    response.map(|body| body.map_err(Into::into).boxed_unsync())
}

/// A line over TLS. Cloning shares it.
#[derive(Clone)]
pub(super) struct Line(Arc<Inner>);

struct Inner {
    connection: Arc<Connection>,
    base: BaseUriLayer,
    auth: Option<AuthLayer>,
    headers: ExtraHeadersLayer,
    /// For servers that speak no HTTP/2.
    pool: OnceLock<Pool>,
}

impl Line {
    /// None if the way there is not one that we go by ourselves: without TLS, or through a proxy.
    pub(super) fn new(config: &Config, pings: Pings) -> Result<Option<Self>, kube::Error> {
        if config.proxy_url.is_some() || config.cluster_url.scheme_str() != Some("https") {
            return Ok(None);
        }
        Ok(Some(Self(Arc::new(Inner {
            connection: Arc::new(Connection::new(config, pings)?),
            base: config.base_uri_layer(),
            auth: config.auth_layer()?,
            headers: config.extra_headers_layer()?,
            pool: OnceLock::new(),
        }))))
    }

    /// Sends a request over the one HTTP/2 connection, or over HTTP/1.1 if the server speaks nothing else.
    pub(super) fn send(&self, request: Request<Body>) -> Sending<Answer> {
        self.dress(request, |inner, request| {
            Box::pin(async move {
                Ok(match inner.connection.http2().await? {
                    Some(mut sender) => {
                        sender.ready().await?;
                        sender.send_request(request).await?
                    }
                    None => {
                        let pool = inner.pool.get_or_init(|| http1::pool(inner.connection.clone()));
                        pool.request(request).await?
                    }
                })
            })
        })
    }

    /// Sends a request over an HTTP/1.1 connection of its own, which its answer may upgrade.
    pub(super) fn send_alone(&self, request: Request<Body>) -> Sending<Answer> {
        self.dress(request, |inner, request| {
            Box::pin(async move { Ok(http1::pool(inner.connection.clone()).request(request).await?) })
        })
    }

    /// Sends a request with the address and the identity of this line.
    fn dress(
        &self,
        request: Request<Body>,
        send: impl Fn(Arc<Inner>, Request<Body>) -> Sending<Incoming> + Clone + Send + 'static,
    ) -> Sending<Answer> {
        let inner = self.0.clone();
        let service = ServiceBuilder::new()
            .layer(&self.0.base)
            .option_layer(self.0.auth.as_ref())
            .layer(&self.0.headers)
            .service_fn(move |request| send(inner.clone(), request));
        Box::pin(service.oneshot(request).map_ok(boxed::<Incoming>))
    }

    /// A client for requests that upgrade the connection.
    pub(super) fn upgrades(&self) -> Client {
        let line = self.clone();
        Client::new(service_fn(move |request| line.send_alone(request)), "default")
    }
}
