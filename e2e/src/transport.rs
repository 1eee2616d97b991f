//! The way between controllers and API servers, and everything that may go wrong on it.
//!
//! [`Weather`] disturbs requests and watches at seeded rates, never more than Kubernetes and a network may:
//! - a request is lost before it arrives, or its answer on the way back; at once (reset) or without a word (hang);
//! - 429 with Retry-After, 500, and 409 for writes, without the request having been done;
//! - a port-forward is refused, slow, or cut in the middle of a call (`tunnel`);
//! - a watch breaks off (between events or in the middle of one), expires with 410, tells events late or twice.
//!   Events of one watch stay in order; since each watch is late on its own, kinds overtake each other.
//!
//! [`Way`] is the tower service that asks the weather; it also tells the journal about workload clusters.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use capi_runtime::{
    Key, WorkloadConnection, WorkloadConnector,
    transport::{RetryLimits, retrying},
    workload::ConnectError,
};
use futures::{StreamExt as _, future::BoxFuture, stream};
use http::{Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyDataStream, BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use kube::{Client, client::Body};
use parking_lot::Mutex;
use seams::{SeededRandomness, SharedRandomness, fraction};
use serde_json::json;
use tower::{BoxError, Service};

use crate::{journal::Journal, tunnel};

/// The body of an answer.
pub(crate) type Answer = UnsyncBoxBody<Bytes, BoxError>;

/// How often what goes wrong: probabilities per request, or per portion of events of a watch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    /// The request is reset before it arrives.
    pub lost_request: f64,
    /// The request is done, its answer is lost.
    pub lost_answer: f64,
    /// Of those two, the part that is not reset but never answered.
    pub silent: f64,
    /// 409 for a write.
    pub conflict: f64,
    /// 429 with Retry-After.
    pub too_many: f64,
    /// 500.
    pub internal: f64,
    /// Longest time a request takes.
    pub latency: Duration,
    /// A watch breaks off.
    pub watch_broken: f64,
    /// A watch expires.
    pub watch_expired: f64,
    /// Events come twice.
    pub watch_twice: f64,
    /// Events come late.
    pub watch_late: f64,
    /// At most so late.
    pub lateness: Duration,
    /// A port-forward is refused: nobody listens in the pod.
    pub tunnel_refused: f64,
    /// A port-forward is cut; per portion of bytes.
    pub tunnel_cut: f64,
    /// A port-forward is slow; per portion of bytes.
    pub tunnel_slow: f64,
    /// At most so slow.
    pub slowness: Duration,
}

impl Rates {
    /// Everything, often.
    pub fn storm() -> Self {
        Self {
            lost_request: 0.02,
            lost_answer: 0.03,
            silent: 0.1,
            conflict: 0.03,
            too_many: 0.02,
            internal: 0.03,
            latency: Duration::from_millis(30),
            watch_broken: 0.03,
            watch_expired: 0.01,
            watch_twice: 0.05,
            watch_late: 0.2,
            lateness: Duration::from_secs(3),
            tunnel_refused: 0.03,
            tunnel_cut: 0.01,
            tunnel_slow: 0.03,
            slowness: Duration::from_secs(20),
        }
    }
}

/// What the way is like at the moment.
pub struct Weather {
    rates: Mutex<Option<Rates>>,
    randomness: SharedRandomness,
}

impl Weather {
    /// Fair, until rates are set.
    pub fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self {
            rates: Mutex::default(),
            randomness: Arc::new(SeededRandomness::new(seed ^ 0x57ea_74e2)),
        })
    }

    /// Disturbs at these rates from now on, or not at all.
    pub fn set(&self, rates: Option<Rates>) {
        *self.rates.lock() = rates;
    }

    fn rates(&self) -> Option<Rates> {
        *self.rates.lock()
    }

    fn happens(&self, rate: f64) -> bool {
        rate > 0.0 && fraction(&*self.randomness) < rate
    }

    fn part_of(&self, duration: Duration) -> Duration {
        duration.mul_f64(fraction(&*self.randomness))
    }

    /// What becomes of so many bytes in a port-forward: how many arrive, and whether they are the last.
    pub(crate) async fn tunnel(&self, length: usize) -> (usize, bool) {
        let Some(rates) = self.rates() else {
            return (length, false);
        };
        if self.happens(rates.tunnel_cut) {
            let part = fraction(&*self.randomness) * length as f64;
            return (part as usize, true);
        }
        if self.happens(rates.tunnel_slow) {
            tokio::time::sleep(self.part_of(rates.slowness)).await;
        }
        (length, false)
    }

    async fn lose(&self, rates: &Rates, what: &str) -> BoxError {
        if self.happens(rates.silent) {
            std::future::pending::<()>().await;
        }
        format!("connection reset: the {what} is lost").into()
    }

    /// Brings a request to its server, or not.
    async fn carry(
        self: &Arc<Self>,
        to: &Client,
        request: Request<Body>,
    ) -> Result<Response<Answer>, BoxError> {
        let watch = is_watch(request.uri()).then(|| request.uri().to_string());
        let Some(rates) = self.rates() else {
            return self.answer(watch, to.send(request).await?);
        };
        tokio::time::sleep(self.part_of(rates.latency)).await;
        if self.happens(rates.lost_request) {
            return Err(self.lose(&rates, "request").await);
        }
        if self.happens(rates.too_many) {
            return refusal(429, "TooManyRequests", "the server is busy, try again later");
        }
        if self.happens(rates.internal) {
            return refusal(500, "InternalError", "the server is out of sorts");
        }
        if request.method() != Method::GET && self.happens(rates.conflict) {
            return refusal(409, "Conflict", "the object has been modified, try again");
        }
        if tunnel::is_asked(&request) {
            if self.happens(rates.tunnel_refused) {
                return refusal(500, "InternalError", "error dialing backend: connection refused");
            }
            return tunnel::through(self, to, request).await;
        }
        let response = to.send(request).await?;
        tokio::time::sleep(self.part_of(rates.latency)).await;
        if self.happens(rates.lost_answer) {
            return Err(self.lose(&rates, "answer").await);
        }
        self.answer(watch, response)
    }

    /// The answer as it is, but the events of a watch go through the weather.
    fn answer(
        self: &Arc<Self>,
        watch: Option<String>,
        response: Response<Body>,
    ) -> Result<Response<Answer>, BoxError> {
        let watch = watch.filter(|_| response.status().is_success());
        Ok(response.map(|body| match watch {
            Some(what) => {
                StreamBody::new(events(self.clone(), what, body).map(|b| b.map(Frame::data))).boxed_unsync()
            }
            None => body.map_err(Into::into).boxed_unsync(),
        }))
    }
}

fn is_watch(uri: &http::Uri) -> bool {
    let pairs = uri.query().unwrap_or_default().split('&');
    pairs
        .into_iter()
        .any(|pair| matches!(pair, "watch=true" | "watch=1"))
}

fn refusal(code: u16, reason: &str, message: &str) -> Result<Response<Answer>, BoxError> {
    let body = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": message,
        "code": code});
    let mut response = Response::builder()
        .status(StatusCode::from_u16(code)?)
        .header(http::header::CONTENT_TYPE, "application/json");
    if code == 429 {
        response = response.header(http::header::RETRY_AFTER, "1");
    }
    let body = Full::from(body.to_string()).map_err(|never| match never {});
    Ok(response.body(body.boxed_unsync())?)
}

enum Watch {
    Open(BodyDataStream<Body>),
    /// These events once more, then on.
    Again(Bytes, BodyDataStream<Body>),
    Over,
}

/// The portions of a watch as they arrive.
fn events(
    weather: Arc<Weather>,
    what: String,
    body: Body,
) -> impl futures::Stream<Item = Result<Bytes, BoxError>> + Send + 'static {
    let start = (Watch::Open(BodyDataStream::new(body)), weather, what);
    stream::unfold(start, |(watch, weather, what)| async move {
        let portion = portion(watch, &weather).await;
        let Some((bytes, next)) = portion else {
            tracing::trace!(what, "the watch ends");
            return None;
        };
        tracing::trace!(what, events = ?bytes, "a watch goes on");
        Some((bytes, (next, weather, what)))
    })
}

async fn portion(watch: Watch, weather: &Weather) -> Option<(Result<Bytes, BoxError>, Watch)> {
    let mut lines = match watch {
        Watch::Over => return None,
        Watch::Again(bytes, lines) => return Some((Ok(bytes), Watch::Open(lines))),
        Watch::Open(lines) => lines,
    };
    let bytes = match lines.next().await? {
        Ok(bytes) => bytes,
        Err(error) => return Some((Err(error.into()), Watch::Over)),
    };
    let Some(rates) = weather.rates() else {
        return Some((Ok(bytes), Watch::Open(lines)));
    };
    if weather.happens(rates.watch_expired) {
        let gone = json!({"type": "ERROR", "object": {"kind": "Status", "apiVersion": "v1", "status": "Failure",
            "reason": "Expired", "message": "too old resource version", "code": 410}});
        return Some((Ok(format!("{gone}\n").into()), Watch::Over));
    }
    if weather.happens(rates.watch_broken) {
        // Anywhere: before the events, after some, in the middle of one; with an error or without.
        if weather.happens(0.5) {
            return Some((Err("connection reset: the watch is lost".into()), Watch::Over));
        }
        let cut = fraction(&*weather.randomness) * bytes.len() as f64;
        return Some((Ok(bytes.slice(..cut as usize)), Watch::Over));
    }
    if weather.happens(rates.watch_late) {
        tokio::time::sleep(weather.part_of(rates.lateness)).await;
    }
    let next = match weather.happens(rates.watch_twice) {
        true => Watch::Again(bytes.clone(), lines),
        false => Watch::Open(lines),
    };
    Some((Ok(bytes), next))
}

/// A client whose requests go through the weather, and are repeated as those over a network are.
pub fn through(weather: &Arc<Weather>, to: Client, limits: RetryLimits) -> Client {
    let namespace = to.default_namespace().to_owned();
    let way = Way {
        to,
        weather: weather.clone(),
        journal: None,
    };
    retrying(Client::new(way, namespace), limits, weather.randomness.clone())
}

/// One way to one API server.
#[derive(Clone)]
struct Way {
    to: Client,
    weather: Arc<Weather>,
    /// Is told what arrived, where the server itself does not tell.
    journal: Option<Arc<Journal>>,
}

impl Way {
    async fn go(self, request: Request<Body>) -> Result<Response<Answer>, BoxError> {
        let Some(journal) = self.journal else {
            return self.weather.carry(&self.to, request).await;
        };
        let (parts, body) = request.into_parts();
        let bytes = body.collect_bytes().await?;
        let (method, uri) = (parts.method.clone(), parts.uri.clone());
        let request = Request::from_parts(parts, Body::from(bytes.clone()));
        let response = self.weather.carry(&self.to, request).await?;
        journal.note_workload(&method, &uri, &bytes, response.status().as_u16());
        Ok(response)
    }
}

impl Service<Request<Body>> for Way {
    type Response = Response<Answer>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.clone().go(request))
    }
}

/// Connects to workload clusters through the weather, with the journal looking on.
pub struct Ways {
    /// How connections are made in fair weather.
    pub connector: Arc<dyn WorkloadConnector>,
    /// What happens to their requests.
    pub weather: Arc<Weather>,
    /// Who is told.
    pub journal: Arc<Journal>,
}

#[async_trait]
impl WorkloadConnector for Ways {
    async fn connect(&self, cluster: &Key, kubeconfig: &str) -> Result<WorkloadConnection, ConnectError> {
        let connection = self.connector.connect(cluster, kubeconfig).await?;
        let way = |to: Client| {
            let way = Way {
                to,
                weather: self.weather.clone(),
                journal: Some(self.journal.clone()),
            };
            Client::new(way, "default")
        };
        let randomness = self.weather.randomness.clone();
        Ok(WorkloadConnection {
            client: retrying(way(connection.client), RetryLimits::short(), randomness),
            upgrades: way(connection.upgrades),
        })
    }
}
