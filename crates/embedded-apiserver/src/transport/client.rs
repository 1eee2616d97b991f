//! Calls in this process: the server as a tower service, and kube clients on top of it. No sockets, no serialized HTTP.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONNECTION, HeaderValue, UPGRADE, USER_AGENT};
use http::{Request, Response};
use http_body_util::{BodyExt, Either};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;

use tokio_util::sync::CancellationToken;

use super::{portforward, serve};
use crate::auth;
use crate::http::body::ApiBody;
use crate::http::handle;
use crate::http::request::{Request as ApiRequest, User};
use crate::http::respond;
use crate::http::status::ApiError;
use crate::server::{Inner, Server};

type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// A body from this process or from the in-memory connection of an upgrade.
type EitherBody = Either<ApiBody, Incoming>;

/// The server as a tower service: one call per request.
///
/// Requests that ask for an upgrade (port-forward) must come over a connection that can be upgraded: use
/// [`Server::client`] or [`Server::serve_pipe`] for those.
#[derive(Clone, Debug)]
pub struct ApiService {
    server: Server,
    agent: Option<HeaderValue>,
    /// Who calls; nobody: bearer tokens decide.
    caller: Option<User>,
}

impl Server {
    /// The server as a tower service, for a caller who may do everything.
    pub fn service(&self) -> ApiService {
        self.service_for(Some(User::administrator()))
    }

    /// The server as a tower service for a caller who is taken for `caller`; `None`: for one who is nobody unless a request
    /// carries a bearer token.
    pub fn service_for(&self, caller: Option<User>) -> ApiService {
        ApiService {
            server: self.clone(),
            agent: None,
            caller,
        }
    }

    /// A client in this process, for the namespace `default`.
    pub fn client(&self) -> kube::Client {
        self.client_as("embedded-client")
    }

    /// A client in this process with a user agent of its own, which audit and field management record.
    pub fn client_as(&self, user_agent: &str) -> kube::Client {
        self.client_for(user_agent, Some(User::administrator()))
    }

    /// A client in this process that acts as `user`.
    pub fn client_as_user(&self, user: User) -> kube::Client {
        self.client_for("embedded-client", Some(user))
    }

    /// A client in this process with a user agent of its own for a caller who is taken for `caller`; `None`: for one who is
    /// nobody unless a request carries a bearer token.
    pub fn client_for(&self, user_agent: &str, caller: Option<User>) -> kube::Client {
        let mut service = self.service_for(caller);
        service.agent = HeaderValue::from_str(user_agent).ok();
        kube::Client::new(InProcess { service }, "default")
    }
}

/// The largest body that is read.
const MAX_BODY: usize = 8 * 1024 * 1024;

/// Answers one request, whoever carried it here.
pub(crate) async fn answer<B>(
    inner: &Arc<Inner>,
    request: Request<B>,
    caller: Option<User>,
) -> Response<ApiBody>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let (mut parts, body) = request.into_parts();
    let path = parts
        .uri
        .path_and_query()
        .map(|p| p.as_str().to_owned())
        .unwrap_or_default();
    let mut asked = ApiRequest::read(&parts, Bytes::new(), User::default());
    if let Err(error) = auth::admit(inner, &parts.headers, caller, &mut asked) {
        handle::audit(inner, &asked, &path, error.code);
        return respond::error(&error, &asked);
    }
    if portforward::is_asked(&parts) {
        let request = asked;
        return portforward::start(inner, &mut parts, &request)
            .unwrap_or_else(|error| respond::error(&error, &request));
    }
    let body = match http_body_util::Limited::new(body, MAX_BODY).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => {
            let error = match error.downcast_ref::<http_body_util::LengthLimitError>() {
                Some(_) => ApiError::new(
                    413,
                    "RequestEntityTooLarge",
                    format!("Request entity too large: limit is {MAX_BODY}"),
                ),
                None => ApiError::bad_request(format!("the body could not be read: {error}")),
            };
            return respond::error(&error, &asked);
        }
    };
    asked.body = body;
    handle::handle(inner, asked, &path).await
}

impl<B> tower::Service<Request<B>> for ApiService
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<ApiBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<ApiBody>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        if let Some(agent) = &self.agent {
            request.headers_mut().insert(USER_AGENT, agent.clone());
        }
        let (inner, caller) = (self.server.inner.clone(), self.caller.clone());
        Box::pin(async move { Ok(answer(&inner, request, caller).await) })
    }
}

/// What kube's client talks to: calls, but upgrades go over a connection in memory.
struct InProcess {
    service: ApiService,
}

impl tower::Service<Request<kube::client::Body>> for InProcess {
    type Response = Response<EitherBody>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<EitherBody>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<kube::client::Body>) -> Self::Future {
        if request.headers().contains_key(UPGRADE) {
            let (server, caller) = (self.service.server.clone(), self.service.caller.clone());
            return Box::pin(upgrade(server, caller, request));
        }
        let mut service = self.service.clone();
        Box::pin(async move {
            let response = tower::Service::call(&mut service, request)
                .await
                .unwrap_or_else(|never| match never {});
            Ok(response.map(Either::Left))
        })
    }
}

/// How many bytes an in-memory connection holds in each direction.
const PIPE: usize = 256 * 1024;

async fn upgrade(
    server: Server,
    caller: Option<User>,
    mut request: Request<kube::client::Body>,
) -> Result<Response<EitherBody>, BoxError> {
    let (near, far) = tokio::io::duplex(PIPE);
    tokio::spawn(async move {
        serve::connection(server, TokioIo::new(far), caller, CancellationToken::new()).await
    });
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(near)).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "in-process connection ended");
        }
    });
    request
        .headers_mut()
        .insert(http::header::HOST, HeaderValue::from_static("embedded"));
    request
        .headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    let response = sender.send_request(request).await?;
    Ok(response.map(Either::Right))
}
