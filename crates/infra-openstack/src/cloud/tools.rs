//! What every session shares: the way to the network, clock, chance, and how patient requests are.

use std::{sync::Arc, time::Duration};

use seams::{SharedClock, SharedRandomness};

use super::{RequestMetrics, RetryPolicy, Transports};

/// What every session shares.
#[derive(Clone, Debug)]
pub struct Tools {
    /// Makes the transport of each session.
    pub transports: Arc<dyn Transports>,
    /// The clock.
    pub clock: ClockHandle,
    /// Chance, for waiting times.
    pub randomness: RandomnessHandle,
    /// Where requests are counted.
    pub metrics: Option<RequestMetrics>,
    /// How often requests are repeated.
    pub retry: RetryPolicy,
    /// How long one attempt may take.
    pub timeout: Duration,
    /// How many requests of one identity may be under way.
    pub concurrency: usize,
}

/// A clock that can be shown in debug output.
#[derive(Clone)]
pub struct ClockHandle(pub SharedClock);

impl std::fmt::Debug for ClockHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("clock")
    }
}

/// A source of chance that can be shown in debug output.
#[derive(Clone)]
pub struct RandomnessHandle(pub SharedRandomness);

impl std::fmt::Debug for RandomnessHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("randomness")
    }
}

impl Tools {
    /// The usual settings.
    pub fn new(transports: Arc<dyn Transports>, clock: SharedClock, randomness: SharedRandomness) -> Self {
        Self {
            transports,
            clock: ClockHandle(clock),
            randomness: RandomnessHandle(randomness),
            metrics: None,
            retry: RetryPolicy::default(),
            timeout: Duration::from_secs(60),
            concurrency: 16,
        }
    }
}
