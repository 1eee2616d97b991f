//! Counts of requests under the names that dashboards know.

use std::time::Duration;

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};

/// Requests to OpenStack: how many, how many failed, how long they took.
#[derive(Clone, Debug)]
pub struct RequestMetrics {
    requests: IntCounterVec,
    errors: IntCounterVec,
    seconds: HistogramVec,
}

impl RequestMetrics {
    /// Metrics in a registry.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let opts = |name: &str, help: &str| Opts::new(format!("capo_openstack_api_{name}"), help.to_owned());
        let metrics = Self {
            requests: IntCounterVec::new(opts("requests_total", "Requests to OpenStack"), &["request"])?,
            errors: IntCounterVec::new(
                opts("request_errors_total", "Requests to OpenStack that failed"),
                &["request"],
            )?,
            seconds: HistogramVec::new(
                HistogramOpts::new(
                    "capo_openstack_api_request_duration_seconds",
                    "Time that requests to OpenStack took",
                ),
                &["request"],
            )?,
        };
        registry.register(Box::new(metrics.requests.clone()))?;
        registry.register(Box::new(metrics.errors.clone()))?;
        registry.register(Box::new(metrics.seconds.clone()))?;
        Ok(metrics)
    }

    /// Counts one request.
    pub fn count(&self, request: &str, took: Duration, failed: bool) {
        self.requests.with_label_values(&[request]).inc();
        self.seconds
            .with_label_values(&[request])
            .observe(took.as_secs_f64());
        if failed {
            self.errors.with_label_values(&[request]).inc();
        }
    }

    /// How many requests of a name there were, and how many of them failed.
    pub fn counted(&self, request: &str) -> (u64, u64) {
        let value = |counter: &IntCounterVec| counter.with_label_values(&[request]).get();
        (value(&self.requests), value(&self.errors))
    }
}
