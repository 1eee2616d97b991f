//! Tokens: one login for all who wait, renewal in time, replacement when refused.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use jiff::{SignedDuration, Timestamp};
use osauth::{AuthType, EndpointFilters, ErrorKind, InterfaceType};
use parking_lot::RwLock;
use reqwest::Url;
use seams::SharedClock;
use serde::Deserialize;
use tokio::{sync::Mutex, time::Instant};

use super::{Catalog, Login, login_body};
use crate::cloud::{
    CloudError, Fault, FaultKind, HttpRequest, HttpResponse, Operation, RetryPolicy, Transport, Verdict,
    retry::Attempt,
};

/// The header that carries a token.
pub const TOKEN_HEADER: &str = "x-auth-token";
/// A token is renewed this long before it ends.
const MARGIN: SignedDuration = SignedDuration::from_secs(120);
/// For so long a refused login is not tried again: hundreds of objects may share wrong credentials.
const REFUSAL: Duration = Duration::from_secs(10);
/// How long Keystone may take for an answer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A token and what came with it.
#[derive(Clone)]
pub struct Token {
    value: HeaderValue,
    /// Counts logins; tells whether somebody renewed the token meanwhile.
    generation: u64,
    expires: Timestamp,
    /// Where services are.
    pub catalog: Catalog,
    /// The project that the token is good for.
    pub project_id: Option<String>,
}

impl Token {
    /// The value of the header that carries it.
    pub fn header(&self) -> HeaderValue {
        self.value.clone()
    }

    fn is_good(&self, now: Timestamp) -> bool {
        now.saturating_add(MARGIN).is_ok_and(|then| then < self.expires)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "token {} until {}", self.generation, self.expires)
    }
}

#[derive(Default)]
struct Attempts {
    generation: u64,
    refused: Option<(Instant, CloudError)>,
}

/// Logs in to Keystone and keeps the token.
pub struct KeystoneAuth {
    transport: Arc<dyn Transport>,
    clock: SharedClock,
    login: Login,
    retry: RetryPolicy,
    current: RwLock<Option<Arc<Token>>>,
    /// Held while logging in.
    attempts: Mutex<Attempts>,
}

impl fmt::Debug for KeystoneAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeystoneAuth")
            .field("login", &self.login)
            .field("token", &*self.current.read())
            .finish_non_exhaustive()
    }
}

impl KeystoneAuth {
    /// Logs in this way, with the first request.
    pub fn new(transport: Arc<dyn Transport>, clock: SharedClock, login: Login) -> Self {
        Self {
            transport,
            clock,
            login,
            retry: RetryPolicy::default(),
            current: RwLock::default(),
            attempts: Mutex::default(),
        }
    }

    /// A token that is good for a while.
    pub async fn token(&self) -> Result<Arc<Token>, CloudError> {
        if let Some(token) = self.good() {
            return Ok(token);
        }
        let mut attempts = self.attempts.lock().await;
        if let Some(token) = self.good() {
            return Ok(token);
        }
        self.log_in(&mut attempts).await
    }

    /// A token in place of one that a service refused. Only one login is made, however many ask.
    pub async fn replace(&self, refused: &Token) -> Result<Arc<Token>, CloudError> {
        let mut attempts = self.attempts.lock().await;
        if let Some(token) = self.good().filter(|token| token.generation > refused.generation) {
            return Ok(token);
        }
        self.log_in(&mut attempts).await
    }

    fn good(&self) -> Option<Arc<Token>> {
        let now = self.clock.now();
        self.current.read().clone().filter(|token| token.is_good(now))
    }

    async fn log_in(&self, attempts: &mut Attempts) -> Result<Arc<Token>, CloudError> {
        if let Some((at, error)) = &attempts.refused
            && at.elapsed() < REFUSAL
        {
            return Err(error.clone());
        }
        attempts.refused = None;
        match self.request_token(attempts.generation + 1).await {
            Ok(token) => {
                attempts.generation = token.generation;
                let token = Arc::new(token);
                *self.current.write() = Some(token.clone());
                Ok(token)
            }
            Err(error) => {
                *self.current.write() = None;
                if matches!(error, CloudError::Login { .. }) {
                    attempts.refused = Some((Instant::now(), error.clone()));
                }
                Err(error)
            }
        }
    }

    async fn request_token(&self, generation: u64) -> Result<Token, CloudError> {
        let url = tokens_url(&self.login.url)?;
        let operation = Operation {
            method: Method::POST,
            service: "identity",
            path: url.path().to_owned(),
        };
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        let request = HttpRequest {
            method: Method::POST,
            url: url.clone(),
            headers,
            body: Bytes::from(login_body(&self.login).to_string()),
        };
        let answer = self.exchange(&operation, request).await?;
        match answer.status {
            StatusCode::CREATED | StatusCode::OK => parse_token(&operation, &answer, generation),
            StatusCode::BAD_REQUEST
            | StatusCode::UNAUTHORIZED
            | StatusCode::FORBIDDEN
            | StatusCode::NOT_FOUND => {
                let refusal = CloudError::of_answer(operation, &answer);
                Err(CloudError::Login {
                    url: self.login.url.clone(),
                    message: refusal.words(),
                })
            }
            _ => Err(CloudError::of_answer(operation, &answer)),
        }
    }

    /// A login leaves nothing behind, so it is repeated like a GET.
    async fn exchange(
        &self,
        operation: &Operation,
        request: HttpRequest,
    ) -> Result<HttpResponse, CloudError> {
        let mut made = 0;
        loop {
            made += 1;
            let sent = tokio::time::timeout(TIMEOUT, self.transport.send(request.clone())).await;
            let outcome = sent.unwrap_or_else(|_| {
                Err(Fault {
                    kind: FaultKind::Timeout,
                    message: format!("no answer within {} s", TIMEOUT.as_secs()),
                })
            });
            let attempt = match &outcome {
                Ok(answer) => {
                    Attempt::Answer(answer.status, crate::cloud::error::retry_after(&answer.headers))
                }
                Err(fault) => Attempt::Fault(fault.kind),
            };
            match (self.retry.verdict(&Method::GET, made, attempt), outcome) {
                (Verdict::After(wait), _) => tokio::time::sleep(wait).await,
                (Verdict::GiveUp, Ok(answer)) => return Ok(answer),
                (Verdict::GiveUp, Err(fault)) => {
                    return Err(CloudError::Unreachable {
                        operation: operation.clone(),
                        fault,
                    });
                }
            }
        }
    }
}

/// `auth_url` may name the service, version 3, or, in old files, version 2.
fn tokens_url(auth_url: &str) -> Result<Url, CloudError> {
    let base = auth_url.trim_end_matches('/');
    let base = base
        .strip_suffix("/v3")
        .or_else(|| base.strip_suffix("/v2.0"))
        .unwrap_or(base);
    Url::parse(&format!("{base}/v3/auth/tokens")).map_err(|error| CloudError::Config {
        what: format!("auth_url {auth_url}"),
        reason: error.to_string(),
    })
}

fn parse_token(operation: &Operation, answer: &HttpResponse, generation: u64) -> Result<Token, CloudError> {
    #[derive(Deserialize)]
    struct Body {
        token: Inner,
    }
    #[derive(Deserialize)]
    struct Inner {
        expires_at: Timestamp,
        #[serde(default)]
        catalog: Catalog,
        #[serde(default)]
        project: Option<Project>,
    }
    #[derive(Deserialize)]
    struct Project {
        id: String,
    }
    let wrong = |reason: String| CloudError::Answer {
        operation: operation.clone(),
        reason,
    };
    let body: Body = serde_json::from_slice(&answer.body).map_err(|error| wrong(error.to_string()))?;
    let mut value = answer
        .headers
        .get("x-subject-token")
        .cloned()
        .ok_or_else(|| wrong("the header X-Subject-Token is missing".to_owned()))?;
    value.set_sensitive(true);
    Ok(Token {
        value,
        generation,
        expires: body.token.expires_at,
        catalog: body.token.catalog,
        project_id: body.token.project.map(|project| project.id),
    })
}

fn osauth_error(error: &CloudError) -> osauth::Error {
    let kind = match error {
        CloudError::Login { .. } => ErrorKind::AuthenticationFailed,
        CloudError::NoEndpoint { .. } => ErrorKind::EndpointNotFound,
        CloudError::Config { .. } => ErrorKind::InvalidInput,
        CloudError::Unreachable { .. } => ErrorKind::ProtocolError,
        _ => ErrorKind::InvalidResponse,
    };
    osauth::Error::new(kind, error.to_string())
}

#[async_trait]
impl AuthType for KeystoneAuth {
    async fn authenticate(
        &self,
        _: &reqwest::Client,
        request: reqwest::RequestBuilder,
    ) -> Result<reqwest::RequestBuilder, osauth::Error> {
        let token = self.token().await.map_err(|error| osauth_error(&error))?;
        Ok(request.header(TOKEN_HEADER, token.header()))
    }

    async fn get_endpoint(
        &self,
        _: &reqwest::Client,
        service_type: &str,
        filters: &EndpointFilters,
    ) -> Result<Url, osauth::Error> {
        let token = self.token().await.map_err(|error| osauth_error(&error))?;
        let region = filters.region.as_deref();
        let interfaces: &[InterfaceType] = &filters.interfaces;
        let found = interfaces
            .iter()
            .find_map(|interface| token.catalog.url(service_type, *interface, region))
            .ok_or_else(|| {
                let known = token.catalog.known();
                let message = format!("no endpoint of {service_type} fits {filters:?}; known: {known}");
                osauth::Error::new(ErrorKind::EndpointNotFound, message)
            })?;
        Url::parse(found).map_err(|error| osauth::Error::new(ErrorKind::InvalidResponse, error.to_string()))
    }

    async fn refresh(&self, _: &reqwest::Client) -> Result<(), osauth::Error> {
        let current = self.current.read().clone();
        match current {
            Some(token) => self.replace(&token).await,
            None => self.token().await,
        }
        .map(drop)
        .map_err(|error| osauth_error(&error))
    }
}
