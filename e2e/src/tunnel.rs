//! Port-forwards through bad weather: refused, slow, silent, cut in the middle of a call.
//!
//! An upgraded connection cannot be looked into where it is asked for. Hence each upgrade is carried over a connection of
//! its own in memory: [`through`] answers it like a server, asks the true one like a client, and moves the bytes.

use std::sync::Arc;

use bytes::Bytes;
use futures::{FutureExt as _, future::BoxFuture};
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::{body::Incoming, service::service_fn, upgrade};
use hyper_util::rt::TokioIo;
use kube::{Client, client::Body};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tower::BoxError;

use crate::transport::{Answer, Weather};

/// How many bytes the connection in memory holds in each direction.
const PIPE: usize = 64 * 1024;

/// Whether a request asks for an upgrade.
pub fn is_asked(request: &Request<Body>) -> bool {
    request.headers().contains_key(header::UPGRADE)
}

/// Carries an upgrade to its server; what flows afterwards is in the weather's hands.
pub async fn through(
    weather: &Arc<Weather>,
    to: &Client,
    mut request: Request<Body>,
) -> Result<Response<Answer>, BoxError> {
    let (near, far) = tokio::io::duplex(PIPE);
    let (weather, to) = (weather.clone(), to.clone());
    let service = service_fn(move |request| forward(weather.clone(), to.clone(), request));
    let server = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(far), service);
    tokio::spawn(server.with_upgrades().map(drop));
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(near)).await?;
    tokio::spawn(connection.with_upgrades().map(drop));
    let headers = request.headers_mut();
    headers.insert(header::HOST, HeaderValue::from_static("tunnel"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    let response = sender.send_request(request).await?;
    Ok(response.map(|body| body.map_err(Into::into).boxed_unsync()))
}

/// The server's half: asks the true server and joins the two connections.
fn forward(
    weather: Arc<Weather>,
    to: Client,
    mut request: Request<Incoming>,
) -> BoxFuture<'static, Result<Response<Answer>, BoxError>> {
    async move {
        let asked = upgrade::on(&mut request);
        let (parts, _) = request.into_parts();
        let mut response = to.send(Request::from_parts(parts, Body::empty())).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(response.map(|body| body.map_err(Into::into).boxed_unsync()));
        }
        let given = upgrade::on(&mut response);
        tokio::spawn(async move {
            if let (Ok(asked), Ok(given)) = tokio::join!(asked, given) {
                flow(&weather, TokioIo::new(asked), TokioIo::new(given)).await;
            }
        });
        Ok(response.map(|_| {
            Empty::<Bytes>::new()
                .map_err(|never| match never {})
                .boxed_unsync()
        }))
    }
    .boxed()
}

/// Moves bytes both ways until both ends are done or the weather cuts.
async fn flow(weather: &Weather, near: impl AsyncRead + AsyncWrite, far: impl AsyncRead + AsyncWrite) {
    let (mut from_near, mut to_near) = tokio::io::split(near);
    let (mut from_far, mut to_far) = tokio::io::split(far);
    let there = pump(weather, &mut from_near, &mut to_far);
    let back = pump(weather, &mut from_far, &mut to_near);
    // The first error ends both directions, and with them the connections.
    let _ = futures::future::try_join(there, back).await;
}

async fn pump(
    weather: &Weather,
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
) -> std::io::Result<()> {
    let mut buffer = vec![0; PIPE];
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            return to.shutdown().await;
        }
        // Anywhere: what was on its way when the connection broke arrives in part.
        let (arrives, cut) = weather.tunnel(length).await;
        to.write_all(&buffer[..arrives]).await?;
        if cut {
            return Err(std::io::ErrorKind::ConnectionReset.into());
        }
    }
}
