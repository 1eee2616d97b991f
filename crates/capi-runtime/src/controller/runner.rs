//! Runs a controller: takes keys from its queue, reconciles them, and decides what failures mean.

use std::{any::Any, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt;
use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::Reconciler;
use crate::{
    context::Context,
    error::{Class, Failure, Next},
    external::{Subscriber, Waiter},
    key::Key,
    manager::Shared,
    queue::{Priority, Taken, WorkQueue},
    ring::ShardKey,
    store::{AnyStore, SYNC_LIMIT, StoreNotReady},
    workload::{OfCluster, WorkloadSubscriber, WorkloadWatch},
    writes::WriteLog,
};

/// What waits for an event is looked at again after this time anyway, should the event have been missed.
const LAST_RESORT: Duration = Duration::from_secs(10 * 60);
/// How long a shutdown waits for reconciles in flight.
const DRAIN_LIMIT: Duration = Duration::from_secs(20);

/// What decides whether an object is ours to reconcile.
pub(crate) struct Belonging {
    pub(crate) shard: ShardKey,
    /// The value of its watch-filter label.
    pub(crate) filter: Option<String>,
}

type Look = Box<dyn Fn(&Key) -> Option<Belonging> + Send + Sync>;

/// What the runner asks the store of the controller's own kind.
pub(crate) struct Primary {
    pub(crate) look: Look,
    pub(crate) keys: Box<dyn Fn() -> Vec<Key> + Send + Sync>,
    pub(crate) of_cluster: OfCluster,
}

/// A controller ready to run.
pub(crate) struct Runner {
    pub(crate) name: Arc<str>,
    pub(crate) reconciler: Arc<dyn Reconciler>,
    pub(crate) concurrency: usize,
    pub(crate) deadline: Duration,
    pub(crate) queue: Arc<WorkQueue>,
    pub(crate) primary: Primary,
    pub(crate) subscriber: Subscriber,
    pub(crate) uses_workloads: bool,
    pub(crate) workload_watches: Vec<WorkloadWatch>,
}

/// How one reconcile ended.
enum Outcome {
    Done(Next),
    Failed(Failure),
    Panicked(String),
    /// A store was asked for that is not filled yet.
    NotReady(Arc<dyn AnyStore>),
    /// The object is not ours to reconcile.
    Skipped,
}

impl Runner {
    /// Connects the controller with what can wake it apart from stores.
    pub(crate) fn subscribe(&self, shared: &Shared) {
        shared
            .externals
            .subscribe(self.name.clone(), self.subscriber.clone());
        if self.uses_workloads {
            shared.workloads.subscribe(WorkloadSubscriber {
                queue: self.queue.clone(),
                of_cluster: self.primary.of_cluster.clone(),
                watches: self.workload_watches.clone(),
            });
        }
    }

    /// Runs until cancelled, then lets reconciles in flight come to their end.
    pub(crate) async fn run(self, shared: Arc<Shared>, cancel: CancellationToken) {
        let runner = Arc::new(self);
        let log = Arc::new(WriteLog::default());
        let mut in_flight: JoinSet<()> = JoinSet::new();
        let mut generation = shared.ring.generation();
        loop {
            tokio::select! {
                biased;
                () = cancel.cancelled() => break,
                _ = in_flight.join_next(), if !in_flight.is_empty() => {}
                now = shared.ring.changed_from(generation) => {
                    let kept = shared.ring.kept_since(generation);
                    generation = now;
                    for key in (runner.primary.keys)() {
                        if !kept.covers(&runner.belonging(&key).shard) {
                            runner.queue.add(key, Priority::Low);
                        }
                    }
                }
                next = runner.queue.take_next(), if in_flight.len() < runner.concurrency => {
                    let Some(taken) = next else { break };
                    let span = tracing::info_span!("reconcile", controller = %runner.name, object = %taken.key);
                    let work = runner.clone().work(shared.clone(), log.clone(), taken);
                    in_flight.spawn(work.instrument(span));
                }
            }
        }
        runner.queue.close();
        let drained = async { while in_flight.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN_LIMIT, drained).await.is_err() {
            tracing::warn!(controller = %runner.name, "reconciles still in flight are broken off");
        }
    }

    async fn work(self: Arc<Self>, shared: Arc<Shared>, log: Arc<WriteLog>, taken: Taken) {
        let (waited, _) = log.caught_up(&taken.key, &shared.stores).await;
        for kind in waited {
            shared.metrics.waited_for_store(&self.name, &kind);
        }
        let started = Instant::now();
        let outcome = self.reconcile(&shared, &log, &taken).await;
        let result = match &outcome {
            Outcome::Done(Next::Done) => "success",
            Outcome::Done(Next::After(_)) => "requeue_after",
            Outcome::Failed(Failure {
                class: Class::Conflict | Class::Waiting,
                ..
            }) => "requeue",
            Outcome::Failed(_) | Outcome::Panicked(_) => "error",
            Outcome::NotReady(_) => "requeue",
            Outcome::Skipped => "",
        };
        if !result.is_empty() {
            tracing::trace!(result, "reconciled");
            shared.metrics.reconciled(&self.name, result, started.elapsed());
        }
        self.settle(&shared, &taken.key, outcome);
    }

    /// Where an object belongs; one that is gone to nothing but itself.
    fn belonging(&self, key: &Key) -> Belonging {
        (self.primary.look)(key).unwrap_or_else(|| Belonging {
            shard: ShardKey::of_cluster(key),
            filter: None,
        })
    }

    async fn reconcile(&self, shared: &Arc<Shared>, log: &WriteLog, taken: &Taken) -> Outcome {
        let key = &taken.key;
        let belonging = self.belonging(key);
        let Some(_work) = shared.ring.enter(&belonging.shard) else {
            return Outcome::Skipped;
        };
        if shared.watch_filter.is_some() && shared.watch_filter != belonging.filter {
            return Outcome::Skipped;
        }
        let waiter = Waiter {
            controller: self.name.clone(),
            key: key.clone(),
            queue: self.queue.clone(),
        };
        let ctx = Context::new(shared.clone(), self.name.clone(), key.clone(), Some(waiter)).taken(taken);
        let reconcile = AssertUnwindSafe(self.reconciler.reconcile(&ctx, key)).catch_unwind();
        let ended = tokio::time::timeout(self.deadline, reconcile).await;
        log.record(key, ctx.take_written());
        match ended {
            Ok(Ok(Ok(next))) => Outcome::Done(next),
            Ok(Ok(Err(failure))) => Outcome::Failed(failure),
            Ok(Err(panic)) => match panic.downcast::<StoreNotReady>() {
                Ok(not_ready) => Outcome::NotReady(not_ready.0),
                Err(panic) => Outcome::Panicked(panic_text(&*panic)),
            },
            Err(_) => {
                let seconds = self.deadline.as_secs();
                Outcome::Failed(Failure::transient(format!(
                    "broken off after its deadline of {seconds} s"
                )))
            }
        }
    }

    fn settle(&self, shared: &Arc<Shared>, key: &Key, outcome: Outcome) {
        match outcome {
            Outcome::Done(next) => {
                self.queue.succeeded(key);
                if let Next::After(delay) = next {
                    self.queue.add_after(key.clone(), Priority::Low, delay);
                }
            }
            Outcome::Skipped => self.queue.succeeded(key),
            Outcome::Failed(failure) => match failure.class {
                Class::Transient => {
                    tracing::error!(controller = %self.name, object = %key, error = %failure, "reconcile failed");
                    self.queue.failed(key);
                }
                Class::Conflict => {
                    tracing::debug!(controller = %self.name, object = %key, error = %failure, "conflict");
                    self.queue.failed(key);
                }
                Class::Terminal => {
                    tracing::error!(controller = %self.name, object = %key, error = %failure, "reconcile failed for good");
                    self.queue.succeeded(key);
                }
                Class::Waiting => {
                    tracing::debug!(controller = %self.name, object = %key, waits_for = %failure, "waiting");
                    self.queue.succeeded(key);
                    let delay = seams::jittered(&*shared.randomness, LAST_RESORT, 0.5);
                    self.queue.add_after(key.clone(), Priority::Low, delay);
                }
            },
            Outcome::Panicked(message) => {
                shared.metrics.panicked(&self.name);
                tracing::error!(controller = %self.name, object = %key, message, "reconcile panicked");
                self.queue.failed(key);
            }
            Outcome::NotReady(store) => {
                self.queue.succeeded(key);
                let (queue, key) = (self.queue.clone(), key.clone());
                // Not within the reconcile: a store that never fills must not take a place others need.
                shared.spawn(async move {
                    while store.wait_synced(SYNC_LIMIT).await.is_err() {
                        tracing::warn!(kind = %store.kind(), object = %key, "still waiting for the first list");
                    }
                    queue.add(key, Priority::High);
                });
            }
        }
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}
