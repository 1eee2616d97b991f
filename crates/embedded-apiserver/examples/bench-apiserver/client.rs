//! A client that costs little: one HTTP/1.1 connection over TLS, and bytes that are counted rather than read.

use anyhow::{Context, bail};
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::target::Target;

/// One connection; requests go one after the other.
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
}

impl Connection {
    pub async fn open(target: &Target) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(&target.address).await?;
        stream.set_nodelay(true)?;
        let name = rustls::pki_types::ServerName::try_from("localhost")?;
        let stream = tokio_rustls::TlsConnector::from(target.tls.clone())
            .connect(name, stream)
            .await
            .with_context(|| format!("cannot connect to {}", target.name))?;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self { sender })
    }

    /// Sends a request; the answer's body is still to be read.
    pub async fn send(
        &mut self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> anyhow::Result<Response<Incoming>> {
        let patch = method == Method::PATCH;
        let kind = if patch {
            "application/merge-patch+json"
        } else {
            "application/json"
        };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost")
            .header("accept", "application/json")
            .header("user-agent", "bench")
            .header("content-type", kind)
            .body(Full::new(body))?;
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        let (code, body) = (response.status(), response.collect().await?.to_bytes());
        bail!("{path}: {code}: {}", String::from_utf8_lossy(&body))
    }

    /// A request whose whole answer is read.
    pub async fn call(&mut self, method: Method, path: &str, body: Bytes) -> anyhow::Result<Bytes> {
        Ok(self.send(method, path, body).await?.collect().await?.to_bytes())
    }

    pub async fn get(&mut self, path: &str) -> anyhow::Result<Bytes> {
        self.call(Method::GET, path, Bytes::new()).await
    }

    pub async fn write(&mut self, method: &str, path: &str, body: &Value) -> anyhow::Result<Bytes> {
        self.call(method.parse()?, path, body.to_string().into()).await
    }
}
