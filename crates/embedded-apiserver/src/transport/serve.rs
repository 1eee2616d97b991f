//! Serving HTTP/1.1 and HTTP/2 over byte streams and TLS.

use std::convert::Infallible;
use std::sync::Arc;

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
use crate::http::request::User;
use crate::server::Server;

/// Serves one connection until it ends or `stop` is done; then requests in flight are finished.
pub(crate) async fn connection<I>(server: Server, io: TokioIo<I>, user: User, stop: impl Future<Output = ()>)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let shutdown = server.inner.shutdown.clone();
    let service = service_fn(move |request: http::Request<Incoming>| {
        let (inner, user) = (server.inner.clone(), user.clone());
        async move { Ok::<_, Infallible>(answer(&inner, request, user).await) }
    });
    let builder = auto::Builder::new(TokioExecutor::new());
    let serving = builder.serve_connection_with_upgrades(io, service);
    tokio::pin!(serving);
    tokio::pin!(stop);
    let result = tokio::select! {
        biased;
        result = serving.as_mut() => result,
        () = shutdown.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
        () = stop => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "connection ended");
    }
}

/// The user whom a client certificate names.
fn certificate_user(connection: &rustls::ServerConnection) -> User {
    let certificate = connection.peer_certificates().and_then(|chain| chain.first());
    match certificate {
        None => User {
            name: "system:anonymous".to_owned(),
            groups: vec!["system:unauthenticated".to_owned()],
        },
        Some(certificate) => super::subject::user(certificate.as_ref()),
    }
}

impl Server {
    /// Serves one client over a byte stream, HTTP/1.1 or HTTP/2, until either side ends it.
    pub async fn serve_pipe<I>(&self, io: I)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let user = User {
            name: "system:admin".to_owned(),
            groups: vec!["system:masters".to_owned()],
        };
        connection(self.clone(), TokioIo::new(io), user, std::future::pending()).await;
    }

    /// Serves HTTPS (HTTP/1.1 and, where the client offers it, HTTP/2) until `shutdown` is cancelled, then finishes what is in
    /// flight. Who may connect is what `tls` demands of clients; whoever connects may do everything.
    pub async fn serve_https(
        self,
        listener: TcpListener,
        tls: Arc<rustls::ServerConfig>,
        shutdown: CancellationToken,
    ) -> std::io::Result<()> {
        let acceptor = TlsAcceptor::from(tls);
        let stop = self.inner.shutdown.child_token();
        let tasks = TaskTracker::new();
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
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                    continue;
                }
            };
            let (server, acceptor, stop) = (self.clone(), acceptor.clone(), stop.clone());
            tasks.spawn(async move {
                let _ = stream.set_nodelay(true);
                match acceptor.accept(stream).await {
                    Ok(stream) => {
                        let user = certificate_user(stream.get_ref().1);
                        connection(server, TokioIo::new(stream), user, stop.cancelled_owned()).await;
                    }
                    Err(error) => tracing::debug!(%error, "TLS handshake failed"),
                }
            });
        }
        stop.cancel();
        tasks.close();
        // Watches would hold their connections for long; they are told to go, and the rest gets a moment.
        if tokio::time::timeout(std::time::Duration::from_secs(2), tasks.wait())
            .await
            .is_err()
        {
            tracing::debug!("connections were still open at shutdown");
        }
        Ok(())
    }
}
