//! The life of the connection to one workload cluster: try, connect, probe, lose, try again.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use http::{Request, StatusCode};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::client::Body;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{KeptConnection, WorkloadClient, Workloads};
use crate::{
    error::{Disconnected, chain, describe},
    key::Key,
    store::Stores,
    transport::{self, Requests},
};

/// How workload clusters are probed.
#[derive(Clone, Copy, Debug)]
pub struct ProbeSettings {
    /// Time between probes while all is well; lengthened by up to a fifth at random.
    pub interval: Duration,
    /// Time between probes after one failed.
    pub retry: Duration,
    /// How long a probe, or a try to connect, may take.
    pub timeout: Duration,
    /// So many failures in a row end the connection.
    pub failures: u32,
    /// Time before the second try to connect; doubles with each further one.
    pub first_delay: Duration,
    /// Longest time between tries to connect. A question for the client asks for an earlier try.
    pub longest_delay: Duration,
}

impl Default for ProbeSettings {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(30),
            retry: Duration::from_secs(5),
            timeout: Duration::from_secs(5),
            failures: 5,
            first_delay: Duration::from_millis(500),
            longest_delay: Duration::from_secs(30),
        }
    }
}

/// What probing a workload cluster found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Probe {
    /// True while there is a connection.
    pub connected: bool,
    /// The last probe that succeeded.
    pub last_success: Option<Timestamp>,
    /// The last probe or try to connect that failed.
    pub last_failure: Option<Timestamp>,
    /// Failures since the last success.
    pub consecutive_failures: u32,
    /// What the last failure said.
    pub last_error: Option<String>,
}

/// One workload cluster.
pub(super) struct Connection {
    cluster: Key,
    /// The version of the Secret with the kubeconfig, and what makes its content another one.
    kubeconfig: Mutex<Identity>,
    state: Mutex<State>,
    wanted: Notify,
    cancel: CancellationToken,
}

/// Which kubeconfig a connection was made for. The text itself stays in the Secret: it would be kept twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    /// The number of the Secret's resource version.
    pub(super) version: u64,
    /// A hash of the text.
    pub(super) hash: u64,
}

struct State {
    since: Timestamp,
    reason: String,
    open: Option<(KeptConnection, Stores)>,
    probe: Probe,
}

impl Connection {
    pub(super) fn new(
        cluster: Key,
        kubeconfig: Identity,
        now: Timestamp,
        cancel: CancellationToken,
    ) -> Arc<Self> {
        let state = State {
            since: now,
            reason: "not tried yet".to_owned(),
            open: None,
            probe: Probe::default(),
        };
        Arc::new(Self {
            cluster,
            kubeconfig: Mutex::new(kubeconfig),
            state: Mutex::new(state),
            wanted: Notify::new(),
            cancel,
        })
    }

    pub(super) fn kubeconfig(&self) -> Identity {
        *self.kubeconfig.lock()
    }

    /// Another version of the Secret holds the same text.
    pub(super) fn note_version(&self, version: u64) {
        self.kubeconfig.lock().version = version;
    }

    /// Asks for a try soon.
    pub(super) fn nudge(&self) {
        if self.state.lock().open.is_none() {
            self.wanted.notify_one();
        }
    }

    pub(super) fn close(&self) {
        self.cancel.cancel();
    }

    pub(super) fn probe(&self) -> Probe {
        self.state.lock().probe.clone()
    }

    pub(super) fn client(&self) -> Result<WorkloadClient, Disconnected> {
        let state = self.state.lock();
        match &state.open {
            Some((connection, stores)) => Ok(WorkloadClient {
                cluster: self.cluster.clone(),
                connection: connection.clone(),
                stores: stores.clone(),
                probe: state.probe.clone(),
            }),
            None => {
                self.wanted.notify_one();
                Err(Disconnected {
                    cluster: self.cluster.clone(),
                    since: state.since,
                    reason: state.reason.clone(),
                })
            }
        }
    }

    /// Keeps the connection until closed.
    pub(super) async fn run(self: Arc<Self>, workloads: Weak<Workloads>) {
        let cancel = self.cancel.clone();
        let me = self.clone();
        tokio::select! {
            biased;
            () = cancel.cancelled() => {}
            () = self.keep(workloads.clone()) => {}
        }
        let open = me.state.lock().open.take();
        if let Some((_, stores)) = open {
            stores.clear();
            if let Some(workloads) = workloads.upgrade() {
                workloads.announce(&me.cluster, None);
            }
        }
    }

    async fn keep(&self, workloads: Weak<Workloads>) {
        let mut failures = 0;
        loop {
            let Some(shared) = workloads.upgrade() else { return };
            let settings = shared.settings;
            // Boxed, as it is large and over soon, while this future stays for good.
            match Box::pin(self.connect(&shared)).await {
                Ok((connection, stores, tasks_end)) => {
                    failures = 0;
                    tracing::info!(cluster = %self.cluster, "workload cluster is connected");
                    shared.announce(&self.cluster, Some(&stores));
                    drop(shared);
                    let reason = self.watch_over(&connection, &workloads).await;
                    tracing::warn!(cluster = %self.cluster, reason, "connection to workload cluster is lost");
                    tasks_end.cancel();
                    stores.clear();
                    let Some(shared) = workloads.upgrade() else { return };
                    {
                        let mut state = self.state.lock();
                        state.open = None;
                        state.probe.connected = false;
                        state.since = shared.clock.now();
                        state.reason = reason;
                    }
                    shared.announce(&self.cluster, None);
                }
                Err(reason) => {
                    tracing::debug!(cluster = %self.cluster, reason, "workload cluster cannot be reached yet");
                    self.failed(&shared, &reason);
                    self.state.lock().reason = reason;
                    let delay = settings
                        .first_delay
                        .saturating_mul(1 << failures.min(16))
                        .min(settings.longest_delay);
                    let delay = seams::jittered(&*shared.randomness, delay, 0.2);
                    failures += 1;
                    drop(shared);
                    // However often it is asked for, a dead address is not tried more often than this.
                    let at_least = settings.first_delay.min(delay);
                    tokio::time::sleep(at_least).await;
                    tokio::select! {
                        biased;
                        () = self.wanted.notified() => {}
                        () = tokio::time::sleep(delay - at_least) => {}
                    }
                }
            }
        }
    }

    async fn connect(
        &self,
        shared: &Arc<Workloads>,
    ) -> Result<(KeptConnection, Stores, CancellationToken), String> {
        let (text, _) = shared.kubeconfig(&self.cluster).ok_or("its kubeconfig is gone")?;
        let text = String::from_utf8(text).map_err(|_| "its kubeconfig is not text".to_owned())?;
        let connect = async {
            let connection = shared
                .connector
                .keep(&self.cluster, &text)
                .await
                .map_err(|error| chain(error.as_ref()))?;
            ask(&connection).await.map_err(|failure| failure.reason)?;
            Ok::<_, String>(connection)
        };
        let connection = tokio::time::timeout(shared.settings.timeout * 2, connect)
            .await
            .map_err(|_| "no answer in time".to_owned())??;
        let stores = shared.management.beside(Arc::new(connection.clone()));
        stores.trim::<Node>(|node| {
            // Lists every image of every node; nobody here reads it.
            if let Some(status) = &mut node.status {
                status.images = None;
            }
        });
        // A workload cluster can have a hundred thousand pods; only the static ones of its control plane are of interest
        // as a store, all others are read live.
        stores.select::<Pod>("tier=control-plane");
        // What they do counts, not what they are made of.
        stores.trim::<Pod>(|pod| {
            pod.spec = None;
            pod.metadata.annotations = None;
        });
        for prepare in shared.prepare.lock().iter() {
            prepare(&stores);
        }
        let tasks_end = self.cancel.child_token();
        stores.start(&tasks_end, &TaskTracker::new());
        self.succeeded(shared);
        let mut state = self.state.lock();
        state.open = Some((connection.clone(), stores.clone()));
        state.probe.connected = true;
        state.since = shared.clock.now();
        Ok((connection, stores, tasks_end))
    }

    /// Probes until the connection counts as lost; returns why.
    async fn watch_over(&self, connection: &KeptConnection, workloads: &Weak<Workloads>) -> String {
        loop {
            let Some(shared) = workloads.upgrade() else {
                return "shut down".to_owned();
            };
            let settings = shared.settings;
            let pause = if self.state.lock().probe.consecutive_failures == 0 {
                seams::jittered(&*shared.randomness, settings.interval, 0.2)
            } else {
                settings.retry
            };
            drop(shared);
            tokio::time::sleep(pause).await;
            let answer = tokio::time::timeout(settings.timeout, Box::pin(ask(connection))).await;
            let Some(shared) = workloads.upgrade() else {
                return "shut down".to_owned();
            };
            let error = match answer {
                Ok(Ok(())) => {
                    self.succeeded(&shared);
                    continue;
                }
                Ok(Err(failure)) if failure.status == Some(StatusCode::UNAUTHORIZED) => {
                    let reason = "its API server does not accept the kubeconfig's credentials".to_owned();
                    self.failed(&shared, &reason);
                    return reason;
                }
                Ok(Err(failure)) => failure.reason,
                Err(_) => format!("no answer within {} s", settings.timeout.as_secs()),
            };
            if self.failed(&shared, &error) >= settings.failures {
                return error;
            }
        }
    }

    fn succeeded(&self, shared: &Workloads) {
        shared.metrics.probed(&self.cluster, true);
        let mut state = self.state.lock();
        state.probe.last_success = Some(shared.clock.now());
        state.probe.consecutive_failures = 0;
        state.probe.last_error = None;
    }

    fn failed(&self, shared: &Workloads, error: &str) -> u32 {
        shared.metrics.probed(&self.cluster, false);
        let mut state = self.state.lock();
        state.probe.last_failure = Some(shared.clock.now());
        state.probe.last_error = Some(error.to_owned());
        state.probe.consecutive_failures = state.probe.consecutive_failures.saturating_add(1);
        state.probe.consecutive_failures
    }
}

/// Why a probe failed.
struct ProbeFailure {
    status: Option<StatusCode>,
    reason: String,
}

/// The cheapest question every API server answers to everybody who is logged in.
async fn ask(connection: &KeptConnection) -> Result<(), ProbeFailure> {
    let failure = |error: kube::Error| ProbeFailure {
        status: None,
        reason: describe(&error),
    };
    let request = Request::get("/version")
        .body(Body::empty())
        .map_err(|error| failure(kube::Error::HttpError(error)))?;
    let answer = connection.send(request).await.map_err(failure)?;
    let status = answer.status();
    let body = transport::collect(answer).await.map_err(failure)?;
    if status.is_success() {
        return Ok(());
    }
    Err(ProbeFailure {
        status: Some(status),
        reason: describe(&transport::refusal(status, &body)),
    })
}
