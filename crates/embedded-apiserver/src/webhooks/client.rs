//! The HTTPS client of webhooks: TLS with the configuration's own authorities, HTTP/1.1, idle connections kept.
//!
//! Errors are worded as the real server's HTTP client words them, since users read them in answers to their requests.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{ServiceResolver, answer};
use crate::server::Inner;
use crate::storage::{GroupResource, object_key};
use crate::transport::portforward::ByteStream;

/// The largest answer that is read.
const MAX_ANSWER: usize = 16 * 1024 * 1024;
/// Idle connections kept for one webhook.
const MAX_IDLE: usize = 4;

/// Where a webhook is, and whom to trust there.
#[derive(Debug, Clone, Default)]
pub(crate) struct ClientConfig {
    host: String,
    port: u16,
    path: String,
    /// Namespace and name, if the webhook is named by a service.
    service: Option<(String, String)>,
    /// Authorities in PEM.
    authorities: Vec<u8>,
    /// What is wrong with the configuration.
    fault: Option<String>,
}

impl ClientConfig {
    /// Reads `clientConfig` of a webhook.
    pub fn read(config: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let authorities = STANDARD.decode(text(&config["caBundle"])).unwrap_or_default();
        let service = &config["service"];
        if service.is_object() {
            let (namespace, name) = (text(&service["namespace"]), text(&service["name"]));
            return Self {
                host: format!("{name}.{namespace}.svc"),
                port: service["port"].as_u64().unwrap_or(443) as u16,
                path: text(&service["path"]),
                service: Some((namespace, name)),
                authorities,
                fault: None,
            };
        }
        let url = text(&config["url"]);
        let fault = |why: &str| Self {
            fault: Some(why.to_owned()),
            ..Self::default()
        };
        if url.is_empty() {
            return fault("webhook configuration must have either service or URL");
        }
        let Ok(parsed) = url.parse::<http::Uri>() else {
            return fault("Unparsable URL");
        };
        Self {
            host: parsed.host().unwrap_or_default().to_owned(),
            port: parsed.port_u16().unwrap_or(443),
            path: parsed.path().to_owned(),
            service: None,
            authorities,
            fault: None,
        }
    }

    /// The URL as messages show it; its port only where it was given or named by a service.
    fn shown(&self, timeout: Duration) -> String {
        let port = match (&self.service, self.port) {
            (None, 443) => String::new(),
            (_, port) => format!(":{port}"),
        };
        format!("https://{}{port}{}", self.host, self.path_and_query(timeout))
    }

    fn path_and_query(&self, timeout: Duration) -> String {
        let path = format!("/{}", self.path.trim_matches('/'));
        format!("{path}?timeout={}s", timeout.as_secs())
    }

    /// Connections with the same key may stand in for each other.
    fn key(&self) -> (String, u16, Vec<u8>) {
        (self.host.clone(), self.port, self.authorities.clone())
    }
}

type Key = (String, u16, Vec<u8>);
type Sender = SendRequest<Full<Bytes>>;

/// Idle connections.
#[derive(Default)]
pub(super) struct Connections {
    idle: Mutex<BTreeMap<Key, Vec<Sender>>>,
    trust: Mutex<BTreeMap<Vec<u8>, Arc<rustls::ClientConfig>>>,
}

fn connect_text(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
        io::ErrorKind::HostUnreachable => "connect: no route to host".to_owned(),
        io::ErrorKind::NetworkUnreachable => "connect: network is unreachable".to_owned(),
        io::ErrorKind::TimedOut => "i/o timeout".to_owned(),
        _ => error.to_string(),
    }
}

async fn dial(host: &str, port: u16) -> Result<TcpStream, String> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((bare, port)).await.map_err(|error| {
        let shown = if bare.contains(':') {
            format!("[{bare}]")
        } else {
            bare.to_owned()
        };
        format!("dial tcp {shown}:{port}: {}", connect_text(&error))
    })?;
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

/// Why a handshake failed, as Go's TLS tells it.
fn tls_text(error: &io::Error) -> String {
    let inner = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let x509 = |text: &str| format!("tls: failed to verify certificate: x509: {text}");
    match inner {
        Some(rustls::Error::InvalidCertificate(problem)) => match problem {
            rustls::CertificateError::UnknownIssuer | rustls::CertificateError::BadSignature => {
                x509("certificate signed by unknown authority")
            }
            rustls::CertificateError::Expired
            | rustls::CertificateError::ExpiredContext { .. }
            | rustls::CertificateError::NotValidYet
            | rustls::CertificateError::NotValidYetContext { .. } => {
                x509("certificate has expired or is not yet valid")
            }
            rustls::CertificateError::NotValidForNameContext { expected, presented } => x509(&format!(
                "certificate is valid for {}, not {}",
                presented.join(", "),
                expected.to_str()
            )),
            other => x509(&format!("{other:?}")),
        },
        Some(other) => other.to_string(),
        None => match error.kind() {
            io::ErrorKind::UnexpectedEof => "EOF".to_owned(),
            _ => error.to_string(),
        },
    }
}

impl Connections {
    /// TLS that trusts these authorities only.
    fn tls(&self, authorities: &[u8]) -> Result<Arc<rustls::ClientConfig>, String> {
        if let Some(known) = self.trust.lock().get(authorities) {
            return Ok(known.clone());
        }
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(authorities) {
            let certificate = certificate.map_err(|e| e.to_string())?;
            roots.add(certificate).map_err(|e| e.to_string())?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| e.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let config = Arc::new(config);
        self.trust.lock().insert(authorities.to_vec(), config.clone());
        Ok(config)
    }

    async fn open(
        &self,
        inner: &Inner,
        services: Option<&Arc<dyn ServiceResolver>>,
        config: &ClientConfig,
    ) -> Result<Sender, String> {
        let stream: Box<dyn ByteStream> = match (&config.service, services) {
            (None, _) => Box::new(dial(&config.host, config.port).await?),
            (Some((namespace, name)), Some(resolver)) => resolver
                .connect(namespace, name, config.port)
                .await
                .map_err(|e| connect_text(&e))?,
            (Some((namespace, name)), None) => {
                let (host, port) = endpoint(inner, namespace, name, config.port)?;
                Box::new(dial(&host, port).await?)
            }
        };
        let bare = config.host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(bare.to_owned()).map_err(|e| e.to_string())?;
        let connector = TlsConnector::from(self.tls(&config.authorities)?);
        let stream = connector.connect(name, stream).await.map_err(|e| tls_text(&e))?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to a webhook ended");
            }
        });
        Ok(sender)
    }

    fn take(&self, key: &Key) -> Option<Sender> {
        let mut idle = self.idle.lock();
        let list = idle.get_mut(key)?;
        while let Some(sender) = list.pop() {
            if sender.is_ready() {
                return Some(sender);
            }
        }
        None
    }

    fn keep(&self, key: Key, sender: Sender) {
        let mut idle = self.idle.lock();
        let list = idle.entry(key).or_default();
        if list.len() < MAX_IDLE {
            list.push(sender);
        }
    }

    /// Sends a body to a webhook and reads the JSON it answers.
    pub async fn post(
        &self,
        inner: &Inner,
        services: Option<&Arc<dyn ServiceResolver>>,
        config: &ClientConfig,
        body: &Value,
        timeout: Duration,
    ) -> Result<Value, String> {
        if let Some(fault) = &config.fault {
            return Err(fault.clone());
        }
        let body = Bytes::from(serde_json::to_vec(body).unwrap_or_default());
        let call = self.exchange(inner, services, config, body, timeout);
        let outcome = tokio::time::timeout(timeout, call)
            .await
            .unwrap_or_else(|_| Err("context deadline exceeded".to_owned()));
        let (parts, answer) = outcome.map_err(|why| format!("Post {:?}: {why}", config.shown(timeout)))?;
        answer::read(parts, &answer)
    }

    async fn exchange(
        &self,
        inner: &Inner,
        services: Option<&Arc<dyn ServiceResolver>>,
        config: &ClientConfig,
        body: Bytes,
        timeout: Duration,
    ) -> Result<(http::response::Parts, Bytes), String> {
        let key = config.key();
        let mut reused = self.take(&key);
        loop {
            let fresh = reused.is_none();
            let mut sender = match reused.take() {
                Some(sender) => sender,
                None => self.open(inner, services, config).await?,
            };
            let request = http::Request::builder()
                .method(http::Method::POST)
                .uri(config.path_and_query(timeout))
                .header(http::header::HOST, format!("{}:{}", config.host, config.port))
                .header(http::header::ACCEPT, "application/json, */*")
                .header(http::header::CONTENT_TYPE, "application/json")
                .header(http::header::USER_AGENT, "kube-apiserver-admission")
                .body(Full::new(body.clone()))
                .map_err(|e| e.to_string())?;
            let response = match sender.send_request(request).await {
                Ok(response) => response,
                // The other side may close an idle connection at any time; that says nothing about the webhook.
                Err(_) if !fresh => continue,
                Err(error) if error.is_incomplete_message() => return Err("EOF".to_owned()),
                Err(error) => return Err(error.to_string()),
            };
            let (parts, answer) = response.into_parts();
            let answer = Limited::new(answer, MAX_ANSWER)
                .collect()
                .await
                .map_err(|e| e.to_string())?
                .to_bytes();
            self.keep(key, sender);
            return Ok((parts, answer));
        }
    }
}

/// Where a service's port is served, by what is stored about the service.
fn endpoint(inner: &Inner, namespace: &str, name: &str, port: u16) -> Result<(String, u16), String> {
    let key = object_key(namespace, name);
    let missing = || format!("service {name:?} not found");
    let service = inner
        .read(&GroupResource::new("", "services"), &key)
        .ok_or_else(missing)?;
    let spec = &service["spec"];
    if spec["type"] == "ExternalName" {
        let host = spec["externalName"].as_str().unwrap_or_default();
        return Ok((host.to_owned(), port));
    }
    let listed = spec["ports"].as_array().into_iter().flatten();
    let served = listed
        .clone()
        .find(|p| p["port"] == u64::from(port))
        .ok_or_else(|| format!("no service port {port} found for service {name:?}"))?;
    let target = served["targetPort"].as_u64().unwrap_or(u64::from(port)) as u16;
    let none = || format!("no endpoints available for service {name:?}");
    let endpoints = inner
        .read(&GroupResource::new("", "endpoints"), &key)
        .ok_or_else(none)?;
    for subset in endpoints["subsets"].as_array().into_iter().flatten() {
        let address = subset["addresses"][0]["ip"].as_str();
        let ports = subset["ports"].as_array().into_iter().flatten();
        let port = ports
            .filter(|p| p.get("name") == served.get("name") || listed.clone().count() == 1)
            .find_map(|p| p["port"].as_u64());
        if let Some(address) = address {
            return Ok((address.to_owned(), port.unwrap_or(u64::from(target)) as u16));
        }
    }
    Err(none())
}
