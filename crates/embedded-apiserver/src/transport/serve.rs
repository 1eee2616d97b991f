//! Serving HTTP/1.1 and HTTP/2 over byte streams and TLS.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::client::answer;
use crate::http::body::ApiBody;
use crate::http::request::User;
use crate::server::Server;

/// How long requests in flight may take when serving ends.
const GRACE: Duration = Duration::from_secs(2);

/// Serves one connection until it ends or `stop` is cancelled; then watches end and requests in flight are finished.
pub(crate) async fn connection<I>(
    server: Server,
    io: TokioIo<I>,
    caller: Option<User>,
    stop: CancellationToken,
) where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (shutdown, stopped) = (server.inner.shutdown.clone(), stop.clone());
    let service = service_fn(move |request: http::Request<Incoming>| {
        let (inner, caller, stop) = (server.inner.clone(), caller.clone(), stop.clone());
        async move {
            let response = answer(&inner, request, caller).await;
            Ok::<_, Infallible>(response.map(|body| match body {
                ApiBody::Stream(stream) => {
                    ApiBody::Stream(Box::pin(stream.take_until(stop.cancelled_owned())))
                }
                whole => whole,
            }))
        }
    });
    let builder = auto::Builder::new(TokioExecutor::new());
    let serving = builder.serve_connection_with_upgrades(io, service);
    tokio::pin!(serving);
    let result = tokio::select! {
        biased;
        result = serving.as_mut() => result,
        () = shutdown.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
        () = stopped.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "connection ended");
    }
}

/// The user whom a client certificate names, if there is one.
fn certificate_user(connection: &rustls::ServerConnection) -> Option<User> {
    let certificate = connection.peer_certificates().and_then(|chain| chain.first());
    User::from_certificate(certificate?.as_ref())
}

impl Server {
    /// Serves one client, who may do everything, over a byte stream, HTTP/1.1 or HTTP/2, until either side ends it.
    pub async fn serve_pipe<I>(&self, io: I)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        self.serve_pipe_for(io, Some(User::administrator())).await;
    }

    /// As [`Server::serve_pipe`] for a client who is taken for `caller` (see [`User::from_certificate`]); `None`: for one who
    /// is nobody unless a request carries a bearer token.
    pub async fn serve_pipe_for<I>(&self, io: I, caller: Option<User>)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        connection(self.clone(), TokioIo::new(io), caller, CancellationToken::new()).await;
    }

    /// Serves HTTPS (HTTP/1.1 and, where the client offers it, HTTP/2) until `shutdown` is cancelled, then finishes what is in
    /// flight. Who may connect is what `tls` demands of clients: bearer tokens need one that lets clients without a certificate
    /// in.
    pub async fn serve_https(
        self,
        listener: TcpListener,
        tls: Arc<rustls::ServerConfig>,
        shutdown: CancellationToken,
    ) -> std::io::Result<()> {
        let acceptor = TlsAcceptor::from(tls);
        let stop = self.inner.shutdown.child_token();
        let (tasks, kill) = (TaskTracker::new(), CancellationToken::new());
        loop {
            let accepted = tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                () = stop.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of descriptors, most likely; the next connection may find one again.
                    tracing::warn!(%error, "accepting a connection failed");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let (server, acceptor, stop) = (self.clone(), acceptor.clone(), stop.clone());
            tasks.spawn(kill.clone().run_until_cancelled_owned(async move {
                let _ = stream.set_nodelay(true);
                match acceptor.accept(stream).await {
                    Ok(stream) => {
                        let user = certificate_user(stream.get_ref().1);
                        connection(server, TokioIo::new(stream), user, stop).await;
                    }
                    Err(error) => tracing::debug!(%error, "TLS handshake failed"),
                }
            }));
        }
        stop.cancel();
        tasks.close();
        if tokio::time::timeout(GRACE, tasks.wait()).await.is_err() {
            tracing::debug!("connections were still open at shutdown");
            kill.cancel();
            tasks.wait().await;
        }
        Ok(())
    }
}
