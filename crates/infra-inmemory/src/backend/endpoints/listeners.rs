//! Endpoints as HTTPS listeners of this process.

use std::{collections::BTreeMap, io, net::IpAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::Full;
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::sync::CancellationToken;

use super::{Backend, Endpoint, Endpoints};
use crate::backend::tls::listen_address;

/// How long a client may take for its side of the TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How many connections may wait to be accepted.
const BACKLOG: u32 = 1024;

/// Listens on one address of the machine, a port per workload cluster.
pub struct Listeners {
    address: IpAddr,
    /// Ports that were promised but not opened yet: bound, so that no other process gets them meanwhile.
    reserved: Mutex<BTreeMap<u16, TcpSocket>>,
    open: Mutex<BTreeMap<u16, CancellationToken>>,
}

impl Listeners {
    /// Listeners on the address that `host` names; on all addresses if it is a name.
    pub fn on(host: &str) -> Self {
        Self {
            address: listen_address(host),
            reserved: Mutex::default(),
            open: Mutex::default(),
        }
    }
}

#[async_trait]
impl Endpoints for Listeners {
    fn reserve(&self, port: u16) -> bool {
        let socket = match self.address {
            IpAddr::V4(_) => TcpSocket::new_v4(),
            IpAddr::V6(_) => TcpSocket::new_v6(),
        };
        // Without SO_REUSEADDR: with it, two processes may both bind a port on which nobody listens yet.
        let Ok(socket) = socket else { return false };
        let free = socket.bind((self.address, port).into()).is_ok();
        if free {
            self.reserved.lock().insert(port, socket);
        }
        free
    }

    async fn open(&self, endpoint: &Endpoint, backend: Arc<dyn Backend>) -> io::Result<()> {
        if self.open.lock().contains_key(&endpoint.port) {
            return Ok(());
        }
        let reserved = self.reserved.lock().remove(&endpoint.port);
        let listener = match reserved.map(|socket| socket.listen(BACKLOG)) {
            Some(listening) => listening?,
            None => TcpListener::bind((self.address, endpoint.port)).await?,
        };
        let closed = CancellationToken::new();
        self.open.lock().insert(endpoint.port, closed.clone());
        tokio::spawn(accept(listener, backend, closed));
        Ok(())
    }

    fn close(&self, endpoint: &Endpoint) {
        self.reserved.lock().remove(&endpoint.port);
        if let Some(closed) = self.open.lock().remove(&endpoint.port) {
            closed.cancel();
        }
    }
}

impl Drop for Listeners {
    fn drop(&mut self) {
        self.open.lock().values().for_each(CancellationToken::cancel);
    }
}

async fn accept(listener: TcpListener, backend: Arc<dyn Backend>, closed: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = closed.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let (backend, closed) = (backend.clone(), closed.clone());
                tokio::spawn(async move {
                    tokio::select! {
                        biased;
                        () = closed.cancelled() => {}
                        result = serve(stream, &*backend) => {
                            if let Err(error) = result {
                                tracing::debug!(%error, "connection to a simulated API server ended");
                            }
                        }
                    }
                });
            }
            Err(error) => {
                // Most likely the process has no file descriptors left; do not spin.
                tracing::warn!(%error, "a connection to a simulated API server could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, backend: &dyn Backend) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (Some(config), Some(server)) = (backend.tls(), backend.server()) else {
        return Err(io::ErrorKind::ConnectionRefused.into());
    };
    let stream = tokio::time::timeout(HANDSHAKE, TlsAcceptor::from(config).accept(stream)).await??;
    if stream.get_ref().1.peer_certificates().is_none() {
        return refuse(stream).await;
    }
    server.serve_pipe(stream).await;
    Ok(())
}

/// Tells clients that show no certificate why they get nothing.
pub(crate) async fn refuse<I>(stream: TlsStream<I>) -> io::Result<()>
where
    I: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let answer = hyper::service::service_fn(|_| async {
        let status = r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"Unauthorized","reason":"Unauthorized","code":401}"#;
        http::Response::builder()
            .status(401)
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from_static(status.as_bytes())))
    });
    hyper_util::server::conn::auto::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), answer)
        .await
        .map_err(|error| io::Error::other(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserved_port_is_nobody_elses_until_it_is_closed() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let _guard = runtime.enter();
        let (ours, theirs) = (Listeners::on("127.0.0.1"), Listeners::on("127.0.0.1"));
        let port = (29_000..30_000).find(|port| ours.reserve(*port)).unwrap();
        assert!(!theirs.reserve(port));
        assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
        let host = "127.0.0.1".to_owned();
        ours.close(&Endpoint { host, port });
        assert!(theirs.reserve(port));
    }
}
