//! Cuts a manager off at a chosen write: the write is done, but the manager does not hear of it, and nothing it sends
//! gets through any more. That is what a crash looks like from outside.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use embedded_apiserver::Server;
use kube::Client;
use tower::Service;

#[derive(Clone, Default)]
pub struct Gate(Arc<State>);

#[derive(Default)]
struct State {
    last: Option<usize>,
    writes: AtomicUsize,
    closed: AtomicBool,
}

impl Gate {
    /// Closes at the `last`th write.
    pub fn closing_at(last: usize) -> Self {
        Self(Arc::new(State {
            last: Some(last),
            ..State::default()
        }))
    }

    pub fn is_closed(&self) -> bool {
        self.0.closed.load(Ordering::SeqCst)
    }

    pub fn writes(&self) -> usize {
        self.0.writes.load(Ordering::SeqCst)
    }

    /// Counts a write; true if it is the last.
    fn count(&self) -> bool {
        let last = Some(self.0.writes.fetch_add(1, Ordering::SeqCst) + 1) == self.0.last;
        self.0.closed.fetch_or(last, Ordering::SeqCst);
        last
    }

    /// A client of `server` behind the gate.
    pub fn client(&self, server: &Server, user_agent: &'static str) -> Client {
        let (gate, service) = (self.clone(), server.service());
        let pass = move |mut request: http::Request<kube::client::Body>| {
            let (gate, mut service) = (gate.clone(), service.clone());
            async move {
                let cut_off = || Box::<dyn std::error::Error + Send + Sync>::from("cut off");
                if gate.is_closed() {
                    return Err(cut_off());
                }
                let write = request.method() != http::Method::GET;
                // Events are nobody's state.
                let counts = write && !request.uri().path().contains("/events");
                let agent = http::HeaderValue::from_static(user_agent);
                request.headers_mut().insert(http::header::USER_AGENT, agent);
                let response = match service.call(request).await {
                    Ok(response) => response,
                    Err(never) => match never {},
                };
                if counts && gate.count() {
                    Err(cut_off())
                } else {
                    Ok(response)
                }
            }
        };
        Client::new(tower::service_fn(pass), "default")
    }
}
