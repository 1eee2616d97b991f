//! Repeating requests that the API server did not take.
//!
//! 429 and 503 with a Retry-After header say that nothing was done: any request may be repeated. 429, 503 and 504
//! without it leave that open: only reads are repeated. Everything has a deadline; of watches, the beginning of the
//! answer has.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::future::BoxFuture;
use http::{Method, Request, Response, StatusCode, header::RETRY_AFTER};
use kube::{Client, client::Body};
use seams::SharedRandomness;
use tokio::time::Instant;
use tower::{BoxError, Service};

use super::line::{Answer, Requests};

/// Limits of one request with its repetitions.
#[derive(Clone, Copy, Debug)]
pub struct RetryLimits {
    /// How long one try may take until the answer begins.
    pub request: Duration,
    /// No further try is begun after this time.
    pub total: Duration,
    /// Delay before the second try if the server names none; doubles with each further one.
    pub first_delay: Duration,
}

impl Default for RetryLimits {
    fn default() -> Self {
        Self {
            request: Duration::from_secs(60),
            total: Duration::from_secs(60),
            first_delay: Duration::from_millis(50),
        }
    }
}

impl RetryLimits {
    /// Limits for servers that may well be gone.
    pub fn short() -> Self {
        Self {
            request: Duration::from_secs(10),
            total: Duration::from_secs(15),
            ..Self::default()
        }
    }
}

/// What requests are sent through.
pub(super) trait Sender: Clone + Send + Sync + 'static {
    fn send(&self, request: Request<Body>)
    -> impl Future<Output = Result<Response<Answer>, BoxError>> + Send;
}

impl Sender for Client {
    async fn send(&self, request: Request<Body>) -> Result<Response<Answer>, BoxError> {
        Ok(Requests::send(self, request).await?)
    }
}

/// A tower service that repeats.
#[derive(Clone)]
pub(super) struct Retry<S> {
    inner: Arc<(S, RetryLimits, SharedRandomness)>,
}

impl<S: Sender> Retry<S> {
    pub(super) fn new(sender: S, limits: RetryLimits, randomness: SharedRandomness) -> Self {
        Self {
            inner: Arc::new((sender, limits, randomness)),
        }
    }

    pub(super) async fn send(self, request: Request<Body>) -> Result<Response<Answer>, BoxError> {
        let (sender, limits, randomness) = &*self.inner;
        let give_up = Instant::now() + limits.total;
        let mut delay = limits.first_delay;
        let mut request = request;
        loop {
            let spare = copy(&request);
            let method = request.method().clone();
            let path = request.uri().path().to_owned();
            let sent = sender.send(request);
            // A watch is endless, but its answer begins at once.
            let response = tokio::time::timeout(limits.request, sent)
                .await
                .map_err(|_| format!("{method} {path}: no answer within {} s", limits.request.as_secs()))??;
            let Some(pause) = pause(&method, &response, delay) else {
                return Ok(response);
            };
            let pause = seams::jittered(&**randomness, pause, 0.1);
            let Some(again) = spare.filter(|_| Instant::now() + pause < give_up) else {
                return Ok(response);
            };
            tracing::debug!(%method, path, status = %response.status(), ?pause, "trying again");
            tokio::time::sleep(pause).await;
            delay *= 2;
            request = again;
        }
    }
}

/// How long to wait before the next try; none if there should be none.
fn pause<B>(method: &Method, response: &Response<B>, delay: Duration) -> Option<Duration> {
    let reads = method == Method::GET;
    let named = response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.trim().parse().ok());
    match (response.status(), named.map(Duration::from_secs)) {
        (StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE, Some(named)) => {
            Some(named.max(delay))
        }
        (
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT,
            _,
        ) if reads => Some(delay),
        _ => None,
    }
}

fn copy(request: &Request<Body>) -> Option<Request<Body>> {
    let mut copy = Request::new(request.body().try_clone()?);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    *copy.extensions_mut() = request.extensions().clone();
    Some(copy)
}

impl<S: Sender> Service<Request<Body>> for Retry<S> {
    type Response = Response<Answer>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<Answer>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.clone().send(request))
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;
    use seams::SeededRandomness;

    use super::{
        super::line::{Answer, boxed},
        *,
    };

    /// Answers with a script of (status, Retry-After), then with 200.
    #[derive(Clone)]
    struct Script(Arc<Mutex<Vec<Said>>>, Arc<Mutex<Vec<String>>>);

    type Said = (u16, Option<&'static str>);

    impl Sender for Script {
        async fn send(&self, request: Request<Body>) -> Result<Response<Answer>, BoxError> {
            self.1
                .lock()
                .push(format!("{} {}", request.method(), request.uri()));
            let (status, after) = self.0.lock().pop().unwrap_or((200, None));
            let mut response = Response::builder().status(status);
            if let Some(after) = after {
                response = response.header(RETRY_AFTER, after);
            }
            Ok(boxed(response.body(Body::empty())?))
        }
    }

    async fn run(method: Method, mut script: Vec<Said>) -> (u16, usize) {
        script.reverse();
        let sender = Script(Arc::new(Mutex::new(script)), Arc::default());
        let retry = Retry::new(
            sender.clone(),
            RetryLimits::default(),
            Arc::new(SeededRandomness::new(1)),
        );
        let request = Request::builder()
            .method(method)
            .uri("/x")
            .body(Body::from(b"body".to_vec()))
            .unwrap();
        let response = retry.send(request).await.unwrap();
        let tries = sender.1.lock().len();
        (response.status().as_u16(), tries)
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_repeated_depends_on_verb_status_and_header() {
        for (method, script, expected) in [
            (Method::GET, vec![(429, None), (503, None), (504, None)], (200, 4)),
            (Method::POST, vec![(429, Some("1")), (503, Some("2"))], (200, 3)),
            (Method::POST, vec![(429, None)], (429, 1)),
            (Method::POST, vec![(504, Some("1"))], (504, 1)),
            (Method::PATCH, vec![(504, None)], (504, 1)),
            (Method::GET, vec![(500, None)], (500, 1)),
            (Method::DELETE, vec![(409, None)], (409, 1)),
        ] {
            assert_eq!(
                run(method.clone(), script.clone()).await,
                expected,
                "{method} {script:?}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn repetition_ends_with_the_deadline() {
        let start = Instant::now();
        let (status, tries) = run(Method::GET, vec![(503, Some("20")); 10]).await;
        assert_eq!((status, tries), (503, 3));
        assert!(start.elapsed() < RetryLimits::default().total);
    }
}
