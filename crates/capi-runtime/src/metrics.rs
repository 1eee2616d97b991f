//! What the manager counts, under upstream's names where upstream has one.

use std::{collections::HashMap, time::Duration};

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder};

use crate::{error::Error, key::Key};

/// Seconds; the aim is 0.1 for 99 of 100.
const REACTION_BUCKETS: [f64; 16] = [
    0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// The metrics of one manager.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    reconciles: IntCounterVec,
    reconcile_time: HistogramVec,
    reaction_time: HistogramVec,
    panics: IntCounterVec,
    stale_waits: IntCounterVec,
    writes: IntCounterVec,
    apply_hits: IntCounterVec,
    apply_misses: IntCounterVec,
    watch_errors: IntCounterVec,
    undecodable: IntCounterVec,
    events_dropped: IntCounterVec,
    connection_up: IntGaugeVec,
    health_checks: IntCounterVec,
}

impl Metrics {
    /// Fresh metrics with their own registry.
    pub fn new() -> Result<Self, Error> {
        Self::build(Registry::new()).map_err(|error| Error::config("metrics", error))
    }

    fn build(registry: Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str, labels: &[&str]| -> Result<IntCounterVec, prometheus::Error> {
            let counter = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let reconcile_time = HistogramVec::new(
            HistogramOpts::new("capi_reconcile_time_seconds", "Length of time per reconcile").buckets(vec![
                0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
            ]),
            &["controller"],
        )?;
        registry.register(Box::new(reconcile_time.clone()))?;
        let reaction_time = HistogramVec::new(
            HistogramOpts::new(
                "capi_event_to_write_seconds",
                "Time from when an object is due for a look to the first write that comes of it",
            )
            .buckets(REACTION_BUCKETS.to_vec()),
            &["controller"],
        )?;
        registry.register(Box::new(reaction_time.clone()))?;
        let connection_up = IntGaugeVec::new(
            Opts::new(
                "capi_cluster_cache_connection_up",
                "1 if the workload cluster is connected",
            ),
            &["cluster_name", "cluster_namespace"],
        )?;
        registry.register(Box::new(connection_up.clone()))?;
        Ok(Self {
            reconciles: counter(
                "capi_reconcile_total",
                "Reconciles per controller and result",
                &["controller", "result"],
            )?,
            reconcile_time,
            reaction_time,
            panics: counter(
                "capi_reconcile_panics_total",
                "Reconciles that panicked",
                &["controller"],
            )?,
            stale_waits: counter(
                "capi_reconcile_stale_cache_skips_total",
                "Reconciles that waited until a store had seen an earlier write",
                &["controller", "cached_kind"],
            )?,
            writes: counter(
                "capi_api_writes_total",
                "Write requests per kind, verb and result",
                &["kind", "verb", "result"],
            )?,
            apply_hits: counter(
                "capi_ssa_cache_hits_total",
                "Server-side applies skipped because they would change nothing",
                &["kind", "controller"],
            )?,
            apply_misses: counter(
                "capi_ssa_cache_misses_total",
                "Server-side applies sent",
                &["kind", "controller"],
            )?,
            watch_errors: counter(
                "capi_watch_errors_total",
                "Watches that failed and were repeated",
                &["kind"],
            )?,
            undecodable: counter(
                "capi_undecodable_objects_total",
                "Objects that were not understood",
                &["kind"],
            )?,
            events_dropped: counter(
                "capi_events_dropped_total",
                "Events that were not written",
                &["reason"],
            )?,
            connection_up,
            health_checks: counter(
                "capi_cluster_cache_healthchecks_total",
                "Probes of workload clusters",
                &["cluster_name", "cluster_namespace", "status"],
            )?,
            registry,
        })
    }

    /// The registry, for metrics of a provider's own.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// All metrics in Prometheus' text format.
    pub fn text(&self) -> String {
        TextEncoder::new()
            .encode_to_string(&self.registry.gather())
            .unwrap_or_default()
    }

    /// All write requests so far: (kind, verb, result) and count, sorted.
    pub fn writes(&self) -> Vec<((String, String, String), u64)> {
        let mut counts = Vec::new();
        for family in self.registry.gather() {
            if family.name() != "capi_api_writes_total" {
                continue;
            }
            for metric in family.get_metric() {
                let labels: HashMap<&str, &str> = metric
                    .get_label()
                    .iter()
                    .map(|label| (label.name(), label.value()))
                    .collect();
                let label = |name: &str| labels.get(name).copied().unwrap_or_default().to_owned();
                counts.push((
                    (label("kind"), label("verb"), label("result")),
                    metric.get_counter().get_value() as u64,
                ));
            }
        }
        counts.sort();
        counts
    }

    pub(crate) fn reconciled(&self, controller: &str, result: &str, time: Duration) {
        self.reconciles.with_label_values(&[controller, result]).inc();
        self.reconcile_time
            .with_label_values(&[controller])
            .observe(time.as_secs_f64());
    }

    /// A reconcile sent its first write this long after it was due.
    pub(crate) fn reacted(&self, controller: &str, time: Duration) {
        self.reaction_time
            .with_label_values(&[controller])
            .observe(time.as_secs_f64());
    }

    /// The times from when a reconcile was due to its first write, over all controllers: how many took at most so many
    /// seconds. The last limit is infinite.
    pub fn reactions(&self) -> Vec<(f64, u64)> {
        let mut counts = vec![0; REACTION_BUCKETS.len() + 1];
        for family in self.registry.gather() {
            if family.name() != "capi_event_to_write_seconds" {
                continue;
            }
            for metric in family.get_metric() {
                let histogram = metric.get_histogram();
                for (count, bucket) in counts.iter_mut().zip(histogram.get_bucket()) {
                    *count += bucket.cumulative_count();
                }
                if let Some(all) = counts.last_mut() {
                    *all += histogram.get_sample_count();
                }
            }
        }
        REACTION_BUCKETS
            .into_iter()
            .chain([f64::INFINITY])
            .zip(counts)
            .collect()
    }

    pub(crate) fn panicked(&self, controller: &str) {
        self.panics.with_label_values(&[controller]).inc();
    }

    pub(crate) fn waited_for_store(&self, controller: &str, kind: &str) {
        self.stale_waits.with_label_values(&[controller, kind]).inc();
    }

    pub(crate) fn wrote(&self, kind: &str, verb: &str, result: &str) {
        self.writes.with_label_values(&[kind, verb, result]).inc();
    }

    pub(crate) fn applied(&self, kind: &str, controller: &str, skipped: bool) {
        let counter = if skipped {
            &self.apply_hits
        } else {
            &self.apply_misses
        };
        counter.with_label_values(&[kind, controller]).inc();
    }

    pub(crate) fn watch_error(&self, kind: &str) {
        self.watch_errors.with_label_values(&[kind]).inc();
    }

    pub(crate) fn undecodable(&self, kind: &str) {
        self.undecodable.with_label_values(&[kind]).inc();
    }

    pub(crate) fn event_dropped(&self, reason: &str) {
        self.events_dropped.with_label_values(&[reason]).inc();
    }

    pub(crate) fn connection(&self, cluster: &Key, up: bool) {
        self.connection_up
            .with_label_values(&[&cluster.name, &cluster.namespace])
            .set(i64::from(up));
    }

    pub(crate) fn probed(&self, cluster: &Key, ok: bool) {
        let status = if ok { "success" } else { "error" };
        self.health_checks
            .with_label_values(&[&cluster.name, &cluster.namespace, status])
            .inc();
    }

    pub(crate) fn forget_cluster(&self, cluster: &Key) {
        let names = [cluster.name.as_str(), cluster.namespace.as_str()];
        let _ = self.connection_up.remove_label_values(&names);
        for status in ["success", "error"] {
            let _ = self
                .health_checks
                .remove_label_values(&[names[0], names[1], status]);
        }
    }
}
