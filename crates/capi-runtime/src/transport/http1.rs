//! HTTP/1.1 over the TLS settings of a [`Connection`](super::connection::Connection): for requests that upgrade the
//! connection, and for servers that speak nothing else.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures::future::BoxFuture;
use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::{
    client::legacy::{
        Client,
        connect::{Connected, Connection as Described},
    },
    rt::{TokioExecutor, TokioIo},
};
use kube::client::Body;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tower::{BoxError, Service};

use super::connection::Connection;

/// Sends requests, and keeps connections for the next ones while it lives.
pub(super) type Pool = Client<Dial, Body>;

/// An empty pool.
pub(super) fn pool(connection: Arc<Connection>) -> Pool {
    Client::builder(TokioExecutor::new()).build(Dial(connection))
}

/// Opens connections for a [`Pool`].
#[derive(Clone)]
pub(super) struct Dial(Arc<Connection>);

impl Service<Uri> for Dial {
    type Response = Socket;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Socket, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let connection = self.0.clone();
        Box::pin(async move { Ok(Socket(TokioIo::new(connection.dial_http1().await?))) })
    }
}

/// A connection of a [`Pool`].
pub(super) struct Socket(TokioIo<TlsStream<TcpStream>>);

impl Described for Socket {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl Write for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, parts)
    }
}
