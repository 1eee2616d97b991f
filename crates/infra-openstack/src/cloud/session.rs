//! Sends requests of one identity: token, endpoint, time limit, repetitions, microversion, counts.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use osauth::InterfaceType;
use reqwest::Url;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::{
    sync::{OnceCell, Semaphore},
    time::Instant,
};

use super::{
    Call, CloudError, Fault, FaultKind, HttpRequest, HttpResponse, Microversion, Tools, Verdict,
    clouds_yaml::Cloud,
    keystone::{KeystoneAuth, Token},
    retry::{self, Attempt},
};

/// Requests in the name of one identity. All who use the identity share one session.
#[derive(Debug)]
pub struct Session {
    transport: Arc<dyn super::Transport>,
    auth: Arc<KeystoneAuth>,
    region: Option<String>,
    interface: InterfaceType,
    tools: Tools,
    permits: Semaphore,
    compute_limit: OnceCell<Microversion>,
    extensions: OnceCell<Arc<std::collections::BTreeSet<String>>>,
    server_list: super::server_list::ServerList,
    watches: Arc<super::watch::Watches>,
}

impl Session {
    /// A session; it logs in with the first request.
    pub fn new(cloud: Cloud, tools: Tools) -> Result<Self, CloudError> {
        let transport = tools.transports.transport(&cloud.tls)?;
        Ok(Self {
            auth: Arc::new(KeystoneAuth::new(
                transport.clone(),
                tools.clock.0.clone(),
                cloud.login,
            )),
            transport,
            region: cloud.region,
            interface: cloud.interface,
            permits: Semaphore::new(tools.concurrency.max(1)),
            tools,
            compute_limit: OnceCell::new(),
            extensions: OnceCell::new(),
            server_list: Default::default(),
            watches: Arc::new(super::watch::Watches::new()),
        })
    }

    /// The login, which is an authentication type of `osauth`.
    pub fn auth(&self) -> Arc<KeystoneAuth> {
        self.auth.clone()
    }

    /// Logs in if that has not happened yet.
    pub async fn log_in(&self) -> Result<(), CloudError> {
        self.auth.token().await.map(drop)
    }

    /// The project that requests are about.
    pub async fn project_id(&self) -> Result<Option<String>, CloudError> {
        Ok(self.auth.token().await?.project_id.clone())
    }

    /// The highest microversion that Nova speaks; asked for once.
    pub(super) fn compute_limit(&self) -> &OnceCell<Microversion> {
        &self.compute_limit
    }

    /// The extensions that Neutron has; asked for once.
    pub(super) fn extensions(&self) -> &OnceCell<Arc<std::collections::BTreeSet<String>>> {
        &self.extensions
    }

    /// The servers of the project, shared by all who watch one.
    pub(super) fn server_list(&self) -> &super::server_list::ServerList {
        &self.server_list
    }

    /// Who watches what in this project.
    pub fn watches(&self) -> &Arc<super::watch::Watches> {
        &self.watches
    }

    /// A time that is a little longer each time, so that nothing happens in step.
    pub(super) fn jittered(&self, time: Duration) -> Duration {
        seams::jittered(&*self.tools.randomness.0, time, 0.2)
    }

    /// The wall-clock time.
    pub(super) fn now(&self) -> jiff::Timestamp {
        self.tools.clock.0.now()
    }

    /// Sends a request and reads the JSON of the answer.
    pub async fn json<T: DeserializeOwned>(&self, call: Call) -> Result<T, CloudError> {
        let operation = call.operation();
        let answer = self.send(call).await?;
        serde_json::from_slice(&answer.body).map_err(|error| CloudError::Answer {
            operation,
            reason: error.to_string(),
        })
    }

    /// Sends a request and reads one member of the JSON of the answer.
    pub async fn member<T: DeserializeOwned>(&self, call: Call, member: &str) -> Result<T, CloudError> {
        let operation = call.operation();
        let mut answer: Value = self.json(call).await?;
        let mut inner = answer.get_mut(member).map(Value::take).unwrap_or_default();
        drop_nulls(&mut inner);
        serde_json::from_value(inner).map_err(|error| CloudError::Answer {
            operation,
            reason: format!("{member}: {error}"),
        })
    }

    /// Sends a GET; nothing if there is no such thing.
    pub async fn found<T: DeserializeOwned>(
        &self,
        call: Call,
        member: &str,
    ) -> Result<Option<T>, CloudError> {
        match self.member(call, member).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sends a DELETE; what is gone already is no error. Says whether there was something.
    pub async fn gone(&self, call: Call) -> Result<bool, CloudError> {
        match self.send(call).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Reads a list to its end.
    pub async fn list<T: DeserializeOwned>(
        &self,
        call: Call,
        collection: &str,
    ) -> Result<Vec<T>, CloudError> {
        let mut found = Vec::new();
        let mut next = None;
        loop {
            let operation = call.operation();
            let answer = self.send_to(&call, next.as_ref()).await?;
            let wrong = |reason: String| CloudError::Answer {
                operation: operation.clone(),
                reason,
            };
            let mut page: Value =
                serde_json::from_slice(&answer.body).map_err(|error| wrong(error.to_string()))?;
            let mut items = page.get_mut(collection).map(Value::take).unwrap_or_default();
            drop_nulls(&mut items);
            let items = serde_json::from_value::<Vec<T>>(items)
                .map_err(|error| wrong(format!("{collection}: {error}")))?;
            let empty = items.is_empty();
            found.extend(items);
            let Some(link) = next_link(&page, collection).filter(|_| !empty) else {
                return Ok(found);
            };
            let base = self.url(&call).await?;
            let link = base
                .join(&link)
                .map_err(|error| wrong(format!("next page {link}: {error}")))?;
            // Behind a proxy services may call themselves by other names than the catalog does.
            next = Some(with_origin(link, &base));
        }
    }

    /// Sends a request; an answer that says no is an error.
    pub async fn send(&self, call: Call) -> Result<HttpResponse, CloudError> {
        self.send_to(&call, None).await
    }

    async fn send_to(&self, call: &Call, url: Option<&Url>) -> Result<HttpResponse, CloudError> {
        // The semaphore is never closed.
        let _permit = self.permits.acquire().await.ok();
        let started = Instant::now();
        let outcome = self.with_token(call, url).await;
        let failed = match &outcome {
            Ok(_) => false,
            Err(error) => !(error.is_not_found() && [Method::GET, Method::DELETE].contains(&call.method)),
        };
        if let Some(metrics) = &self.tools.metrics {
            metrics.count(call.name, started.elapsed(), failed);
        }
        outcome
    }

    /// Sends with the present token, and once more with a new one if it is refused.
    async fn with_token(&self, call: &Call, url: Option<&Url>) -> Result<HttpResponse, CloudError> {
        let token = self.auth.token().await?;
        let answer = self.repeatedly(call, url, &token).await?;
        let answer = match answer.status {
            StatusCode::UNAUTHORIZED => {
                let token = self.auth.replace(&token).await?;
                self.repeatedly(call, url, &token).await?
            }
            _ => answer,
        };
        // Nova's list of versions answers 300.
        match answer.status.is_success() || answer.status == StatusCode::MULTIPLE_CHOICES {
            true => Ok(answer),
            false => Err(CloudError::of_answer(call.operation(), &answer)),
        }
    }

    async fn repeatedly(
        &self,
        call: &Call,
        url: Option<&Url>,
        token: &Token,
    ) -> Result<HttpResponse, CloudError> {
        let request = self.request(call, url, token)?;
        let mut made = 0;
        loop {
            made += 1;
            let limit = self.tools.timeout;
            let sent = tokio::time::timeout(limit, self.transport.send(request.clone())).await;
            let outcome = sent.unwrap_or_else(|_| {
                Err(Fault {
                    kind: FaultKind::Timeout,
                    message: format!("no answer within {} s", limit.as_secs()),
                })
            });
            let attempt = match &outcome {
                Ok(answer) => Attempt::Answer(answer.status, super::error::retry_after(&answer.headers)),
                Err(fault) => Attempt::Fault(fault.kind),
            };
            let verdict = self.tools.retry.verdict(&call.method, made, attempt);
            tracing::debug!(operation = %call.operation(), made, ?attempt, ?verdict, "request to OpenStack");
            match (verdict, outcome) {
                (retry::Verdict::After(wait), _) => {
                    tokio::time::sleep(seams::jittered(&*self.tools.randomness.0, wait, 0.25)).await;
                }
                (Verdict::GiveUp, Ok(answer)) => return Ok(answer),
                (Verdict::GiveUp, Err(fault)) => {
                    return Err(CloudError::Unreachable {
                        operation: call.operation(),
                        fault,
                    });
                }
            }
        }
    }

    fn request(&self, call: &Call, url: Option<&Url>, token: &Token) -> Result<HttpRequest, CloudError> {
        let mut headers = HeaderMap::new();
        headers.insert("x-auth-token", token.header());
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        if call.body.is_some() {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if let Some(version) = call.microversion {
            for (name, value) in [
                ("openstack-api-version", format!("compute {version}")),
                ("x-openstack-nova-api-version", version.to_string()),
            ] {
                if let Ok(value) = HeaderValue::from_str(&value) {
                    headers.insert(name, value);
                }
            }
        }
        let url = match url {
            Some(url) => url.clone(),
            None => self.url_in(call, token)?,
        };
        Ok(HttpRequest {
            method: call.method.clone(),
            url,
            headers,
            body: call
                .body
                .as_ref()
                .map(|body| Bytes::from(body.to_string()))
                .unwrap_or_default(),
        })
    }

    async fn url(&self, call: &Call) -> Result<Url, CloudError> {
        let token = self.auth.token().await?;
        self.url_in(call, &token)
    }

    fn url_in(&self, call: &Call, token: &Token) -> Result<Url, CloudError> {
        let service = call.service.catalog_type();
        let found = token.catalog.url(service, self.interface, self.region.as_deref());
        let base = found.ok_or_else(|| CloudError::NoEndpoint {
            service,
            interface: self.interface.to_string(),
            region: self.region.clone(),
            known: token.catalog.known(),
        })?;
        let mut base = base.trim_end_matches('/').to_owned();
        let version = call.service.version();
        if call.unversioned && !version.is_empty() {
            base = base.trim_end_matches(&format!("/{version}")).to_owned();
        }
        if !call.unversioned && !version.is_empty() && !base.ends_with(&format!("/{version}")) {
            base = format!("{base}/{version}");
        }
        let mut url = Url::parse(&format!("{base}{}", call.path)).map_err(|error| CloudError::Config {
            what: format!("endpoint of {service} in the catalog"),
            reason: format!("{base}: {error}"),
        })?;
        if !call.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&call.query);
        }
        Ok(url)
    }
}

/// Takes away fields that are null: for the services an absent value, an empty one and null are often the same.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// Where a list goes on: `<collection>_links` or `links` (Nova, Neutron, Octavia, Cinder), `next` (Glance).
fn next_link(page: &Value, collection: &str) -> Option<String> {
    if let Some(next) = page.get("next").and_then(Value::as_str) {
        return Some(next.to_owned());
    }
    let links = page
        .get(format!("{collection}_links"))
        .or_else(|| page.get("links"))?;
    let links = links.as_array()?;
    let next = links
        .iter()
        .find(|link| link.get("rel").and_then(Value::as_str) == Some("next"))?;
    next.get("href").and_then(Value::as_str).map(str::to_owned)
}

fn with_origin(mut link: Url, base: &Url) -> Url {
    // These fail only for URLs without a host, which no endpoint has.
    let _ = link.set_scheme(base.scheme());
    let _ = link.set_host(base.host_str());
    let _ = link.set_port(base.port());
    link
}
