//! Kubernetes events about objects, for people who ask `kubectl describe`.
//!
//! An event is written once: its name follows from what it says, and what was said lately is not said again. Writing
//! happens behind the reconcile and its failure never matters to it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use k8s_openapi::{
    api::{core::v1::ObjectReference, events::v1::Event as ApiEvent},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use parking_lot::Mutex;
use seams::SharedClock;
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{error::describe, metrics::Metrics, ring::hash};

/// Whether an event is good or bad news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventType {
    /// Something went as it should.
    Normal,
    /// Somebody should look.
    Warning,
}

/// What happened to an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Good or bad news.
    pub type_: EventType,
    /// One word in UpperCamelCase, for example `SuccessfulCreate`.
    pub reason: String,
    /// A sentence for people.
    pub message: String,
}

impl Event {
    /// Good news.
    pub fn normal(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            type_: EventType::Normal,
            reason: reason.into(),
            message: message.into(),
        }
    }

    /// Bad news.
    pub fn warning(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            type_: EventType::Warning,
            reason: reason.into(),
            message: message.into(),
        }
    }
}

/// The same event is written again only after this time.
const SILENCE: Duration = Duration::from_secs(3600);
/// How many events may wait to be written, and how many are remembered.
const CAPACITY: usize = 4096;
/// What the API server accepts as a message.
const LONGEST_NOTE: usize = 1024;

/// Takes events from reconciles and writes them in order.
pub(crate) struct Recorder {
    reporter: String,
    clock: SharedClock,
    metrics: Arc<Metrics>,
    said: Mutex<BTreeMap<String, Instant>>,
    send: mpsc::Sender<ApiEvent>,
    receive: Mutex<Option<mpsc::Receiver<ApiEvent>>>,
}

impl Recorder {
    pub(crate) fn new(reporter: &str, clock: SharedClock, metrics: Arc<Metrics>) -> Self {
        let (send, receive) = mpsc::channel(CAPACITY);
        Self {
            reporter: reporter.to_owned(),
            clock,
            metrics,
            said: Mutex::default(),
            send,
            receive: Mutex::new(Some(receive)),
        }
    }

    /// Queues an event, unless it was said lately.
    pub(crate) fn record(&self, controller: &str, about: ObjectReference, event: Event) {
        let api_event = self.build(controller, about, event);
        let name = api_event.metadata.name.clone().unwrap_or_default();
        if !self.is_news(name) {
            return;
        }
        if self.send.try_send(api_event).is_err() {
            self.metrics.event_dropped("queue full");
        }
    }

    fn is_news(&self, name: String) -> bool {
        let now = Instant::now();
        let mut said = self.said.lock();
        if said
            .get(&name)
            .is_some_and(|at| now.duration_since(*at) < SILENCE)
        {
            return false;
        }
        if said.len() >= CAPACITY {
            said.retain(|_, at| now.duration_since(*at) < SILENCE);
            if said.len() >= CAPACITY {
                said.pop_first();
            }
        }
        said.insert(name, now);
        true
    }

    fn build(&self, controller: &str, about: ObjectReference, event: Event) -> ApiEvent {
        let type_ = match event.type_ {
            EventType::Normal => "Normal",
            EventType::Warning => "Warning",
        };
        let mut note = event.message;
        if note.len() > LONGEST_NOTE {
            note.truncate(
                (0..=LONGEST_NOTE - 3)
                    .rev()
                    .find(|at| note.is_char_boundary(*at))
                    .unwrap_or(0),
            );
            note.push_str("...");
        }
        let text = |part: &Option<String>| part.clone().unwrap_or_default();
        let identity = hash(&[
            text(&about.uid).as_bytes(),
            controller.as_bytes(),
            type_.as_bytes(),
            event.reason.as_bytes(),
            note.as_bytes(),
        ]);
        // Events about cluster-scoped objects live in the default namespace.
        let namespace = about
            .namespace
            .clone()
            .filter(|n| !n.is_empty())
            .unwrap_or_else(|| "default".to_owned());
        ApiEvent {
            metadata: ObjectMeta {
                name: Some(format!("{}.{identity:016x}", text(&about.name))),
                namespace: Some(namespace),
                ..ObjectMeta::default()
            },
            action: Some(event.reason.clone()),
            reason: Some(event.reason),
            note: Some(note),
            type_: Some(type_.to_owned()),
            event_time: Some(MicroTime(self.clock.now())),
            reporting_controller: Some(controller.to_owned()),
            reporting_instance: Some(self.reporter.clone()),
            regarding: Some(about),
            ..ApiEvent::default()
        }
    }

    /// Writes queued events until cancelled, then what is left.
    pub(crate) async fn run(self: Arc<Self>, client: Client, cancel: CancellationToken) {
        let Some(mut receive) = self.receive.lock().take() else {
            return;
        };
        loop {
            let event = tokio::select! {
                biased;
                event = receive.recv() => event,
                () = cancel.cancelled() => None,
            };
            let Some(event) = event else { return };
            self.write(&client, event).await;
        }
    }

    async fn write(&self, client: &Client, event: ApiEvent) {
        let namespace = event.metadata.namespace.clone().unwrap_or_default();
        let api: Api<ApiEvent> = Api::namespaced(client.clone(), &namespace);
        let result = api.create(&PostParams::default(), &event).await;
        let outcome = match &result {
            Ok(_) => "success",
            // Said before, perhaps by an earlier process.
            Err(kube::Error::Api(status)) if status.code == 409 => "exists",
            Err(error) => {
                tracing::debug!(namespace, error = %describe(error), "event was not written");
                self.metrics.event_dropped("refused");
                "error"
            }
        };
        self.metrics.wrote("Event", "create", outcome);
    }
}
