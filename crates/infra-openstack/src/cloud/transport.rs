//! One HTTP exchange, over the network or within the process.

use std::{fmt::Debug, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use reqwest::Url;

use super::CloudError;

/// A request as it goes over the wire.
#[derive(Clone, Debug)]
pub struct HttpRequest {
    /// The method.
    pub method: Method,
    /// The whole URL.
    pub url: Url,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, empty if there is none.
    pub body: Bytes,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct HttpResponse {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// What kept an answer away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// No connection came about: the request was not sent.
    Connect,
    /// The answer took too long: the request may have been carried out.
    Timeout,
    /// The connection broke: the request may have been carried out.
    Broken,
}

/// There was no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// What kept it away.
    pub kind: FaultKind,
    /// The words of whoever noticed.
    pub message: String,
}

/// Sends requests, without knowing what they mean.
#[async_trait]
pub trait Transport: Debug + Send + Sync {
    /// Sends one request and reads the whole answer.
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, Fault>;
}

/// How far a cloud's certificate is trusted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Certificates of authorities in PEM, trusted besides those of the system.
    pub authorities: Option<Vec<u8>>,
    /// True if any certificate is good enough.
    pub insecure: bool,
}

/// Makes transports.
pub trait Transports: Debug + Send + Sync {
    /// A transport that trusts what `tls` says.
    fn transport(&self, tls: &Tls) -> Result<Arc<dyn Transport>, CloudError>;
}

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long connections are kept for the next request.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// Transports over the network.
#[derive(Clone, Debug)]
pub struct ReqwestTransports {
    user_agent: String,
}

impl ReqwestTransports {
    /// Transports that introduce themselves with this name.
    pub fn new(user_agent: impl Into<String>) -> Self {
        // Somebody else may have chosen already; the first one counts.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        Self {
            user_agent: user_agent.into(),
        }
    }

    /// A client with these settings, for osauth and for [`Self::transport`].
    pub fn client(&self, tls: &Tls) -> Result<reqwest::Client, CloudError> {
        let unusable = |error: reqwest::Error| CloudError::Config {
            what: "cacert".to_owned(),
            reason: chain(&error),
        };
        let mut builder = reqwest::Client::builder()
            .user_agent(&self.user_agent)
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .redirect(reqwest::redirect::Policy::limited(3))
            .min_tls_version(reqwest::tls::Version::TLS_1_2)
            .danger_accept_invalid_certs(tls.insecure);
        if let Some(pem) = &tls.authorities {
            for certificate in reqwest::Certificate::from_pem_bundle(pem).map_err(unusable)? {
                builder = builder.add_root_certificate(certificate);
            }
        }
        builder.build().map_err(unusable)
    }
}

impl Transports for ReqwestTransports {
    fn transport(&self, tls: &Tls) -> Result<Arc<dyn Transport>, CloudError> {
        Ok(Arc::new(ReqwestTransport(self.client(tls)?)))
    }
}

#[derive(Debug)]
struct ReqwestTransport(reqwest::Client);

#[async_trait]
impl Transport for ReqwestTransport {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, Fault> {
        let sent = self
            .0
            .request(request.method, request.url)
            .headers(request.headers)
            .body(request.body)
            .send()
            .await
            .map_err(|error| fault(&error))?;
        let (status, headers) = (sent.status(), sent.headers().clone());
        let body = sent.bytes().await.map_err(|error| fault(&error))?;
        Ok(HttpResponse {
            status,
            headers,
            body,
        })
    }
}

fn fault(error: &reqwest::Error) -> Fault {
    let kind = match error {
        error if error.is_connect() => FaultKind::Connect,
        error if error.is_timeout() => FaultKind::Timeout,
        _ => FaultKind::Broken,
    };
    Fault {
        kind,
        message: chain(error),
    }
}

/// An error with its causes; reqwest's own text stops at the first.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let part = next.to_string();
        if !text.contains(&part) {
            text = format!("{text}: {part}");
        }
        cause = next.source();
    }
    text
}
