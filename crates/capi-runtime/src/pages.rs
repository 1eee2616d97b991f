//! A small HTTP server for the few pages of a manager: webhooks, health, metrics.

use std::{convert::Infallible, future::Future, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::error::Error;

/// The largest request body that is read.
const LARGEST_BODY: usize = 8 << 20;
/// How long a TLS handshake may take.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// How long answers may take that are asked for when the server ends.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// An answer to a request.
pub(crate) type Page = Response<Full<Bytes>>;

/// Answers requests.
pub(crate) type Handler = Arc<dyn Fn(Request<Bytes>) -> BoxFuture<'static, Page> + Send + Sync>;

/// A handler from an async function.
pub(crate) fn handler<F>(handle: impl Fn(Request<Bytes>) -> F + Send + Sync + 'static) -> Handler
where
    F: Future<Output = Page> + Send + 'static,
{
    Arc::new(move |request| Box::pin(handle(request)))
}

/// A text answer.
pub(crate) fn text(status: StatusCode, text: impl Into<String>) -> Page {
    page(status, "text/plain; charset=utf-8", text.into().into_bytes())
}

/// A JSON answer.
pub(crate) fn json(value: &impl serde::Serialize) -> Page {
    match serde_json::to_vec(value) {
        Ok(body) => page(StatusCode::OK, "application/json", body),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

fn page(status: StatusCode, kind: &'static str, body: Vec<u8>) -> Page {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, http::HeaderValue::from_static(kind));
    response
}

/// An address as upstream's flags write it: the host may be missing.
pub(crate) fn address(flag: &str, text: &str) -> Result<SocketAddr, Error> {
    let full = if text.starts_with(':') {
        format!("0.0.0.0{text}")
    } else {
        text.replace("localhost:", "127.0.0.1:")
    };
    full.parse().map_err(|_| {
        Error::config(
            flag,
            format!("{text:?} is no address like :8080 or 127.0.0.1:8080"),
        )
    })
}

/// Opens a port.
pub(crate) async fn listen(address: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(address).await.map_err(|source| Error::Io {
        what: format!("listen on {address}"),
        source,
    })
}

/// Serves until cancelled, and a little longer what has been asked by then.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    handler: Handler,
    cancel: CancellationToken,
) {
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = cancel.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            // Out of file descriptors, for example: give others time to close theirs.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let (tls, handler, cancel) = (tls.clone(), handler.clone(), cancel.clone());
        connections.spawn(async move {
            match tls {
                None => serve_connection(stream, handler, cancel).await,
                Some(tls) => {
                    if let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_LIMIT, tls.accept(stream)).await {
                        serve_connection(stream, handler, cancel).await;
                    }
                }
            }
        });
    }
    drop(listener);
    connections.close();
    // Whoever has not got its answer by then gets none.
    let _ = tokio::time::timeout(LAST_ANSWERS, connections.wait()).await;
}

/// Answers what comes over a connection; once cancelled, tells the client that this is its end, and ends what it has asked.
async fn serve_connection(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    handler: Handler,
    cancel: CancellationToken,
) {
    let service = service_fn(move |request: Request<Incoming>| {
        let handler = handler.clone();
        async move { Ok::<_, Infallible>(answer(request, handler).await) }
    });
    let builder = auto::Builder::new(TokioExecutor::new());
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let served = tokio::select! {
        biased;
        () = cancel.cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(LAST_ANSWERS, connection).await.unwrap_or(Ok(()))
        }
        served = connection.as_mut() => served,
    };
    if let Err(error) = served {
        tracing::debug!(error, "connection ended");
    }
}

async fn answer(request: Request<Incoming>, handler: Handler) -> Page {
    let (parts, body) = request.into_parts();
    match Limited::new(body, LARGEST_BODY).collect().await {
        Ok(body) => handler(Request::from_parts(parts, body.to_bytes())).await,
        Err(error) => text(StatusCode::PAYLOAD_TOO_LARGE, error.to_string()),
    }
}
