//! The places where a program touches what cannot be repeated: the wall clock, randomness and fresh identifiers.
//!
//! Everything in this workspace takes time and chance from here, so that a whole system (API server, controllers,
//! simulated machines) can run from one seed on tokio's paused clock and do exactly the same thing twice.
//! Durations and timers need no seam: `tokio::time` already follows the paused clock.
//!
//! What must not be here: key generation (see `cluster-pki`) and anything that knows Kubernetes.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use rand::{Rng, RngCore, SeedableRng, rngs::StdRng};
use tokio::time::Instant;

/// Tells the wall-clock time.
pub trait Clock: Send + Sync + 'static {
    /// The current wall-clock time.
    fn now(&self) -> Timestamp;
}

/// A shared [`Clock`].
pub type SharedClock = Arc<dyn Clock>;

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(
        clippy::disallowed_methods,
        reason = "this is the one place that reads the machine's clock"
    )]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// A clock that starts at a given time and advances with tokio's clock, thus stands still while that is paused.
///
/// Create it inside the runtime whose time it follows.
#[derive(Debug, Clone, Copy)]
pub struct SimulatedClock {
    start: Timestamp,
    origin: Instant,
}

impl SimulatedClock {
    /// A clock that shows `start` now.
    pub fn starting_at(start: Timestamp) -> Self {
        Self {
            start,
            origin: Instant::now(),
        }
    }
}

impl Clock for SimulatedClock {
    fn now(&self) -> Timestamp {
        let elapsed = SignedDuration::try_from(self.origin.elapsed()).unwrap_or(SignedDuration::MAX);
        self.start.checked_add(elapsed).unwrap_or(Timestamp::MAX)
    }
}

/// Where chance comes from.
pub trait Randomness: Send + Sync + 'static {
    /// 64 random bits.
    fn next_u64(&self) -> u64;

    /// Fills `bytes`.
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let word = self.next_u64().to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }
}

/// A shared [`Randomness`].
pub type SharedRandomness = Arc<dyn Randomness>;

/// The operating system's randomness, fit for secrets.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemRandomness;

impl Randomness for SystemRandomness {
    #[allow(
        clippy::disallowed_methods,
        reason = "this is the one place that asks the operating system"
    )]
    fn next_u64(&self) -> u64 {
        rand::rng().next_u64()
    }
}

/// A repeatable sequence: the same seed gives the same numbers in the same order of calls.
#[derive(Debug)]
pub struct SeededRandomness(Mutex<StdRng>);

impl SeededRandomness {
    /// The sequence of `seed`.
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(StdRng::seed_from_u64(seed)))
    }
}

impl Randomness for SeededRandomness {
    fn next_u64(&self) -> u64 {
        self.0.lock().random()
    }
}

/// A random (version 4) UUID in its usual text form.
pub fn uuid(randomness: &dyn Randomness) -> String {
    let mut bytes = [0; 16];
    randomness.fill(&mut bytes);
    uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
}

/// The letters of Kubernetes' random name suffixes: no vowels, nothing that reads like another.
/// Source: `k8s.io/apimachinery/pkg/util/rand`.
pub const NAME_ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// A random suffix of `length` characters for names (`generateName` uses 5).
pub fn name_suffix(randomness: &dyn Randomness, length: usize) -> String {
    (0..length)
        .map(|_| NAME_ALPHABET[(randomness.next_u64() % 27) as usize] as char)
        .collect()
}

/// A number in `0.0..1.0`.
pub fn fraction(randomness: &dyn Randomness) -> f64 {
    // 53 bits are what a double can hold exactly.
    (randomness.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

/// `duration` lengthened by a random part of at most `factor` of it; spreads timers that were set at the same moment.
pub fn jittered(
    randomness: &dyn Randomness,
    duration: std::time::Duration,
    factor: f64,
) -> std::time::Duration {
    duration.mul_f64(1.0 + fraction(randomness) * factor.max(0.0))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn one_seed_gives_one_sequence() {
        let sequence = |seed| {
            let randomness = SeededRandomness::new(seed);
            (
                uuid(&randomness),
                name_suffix(&randomness, 5),
                fraction(&randomness),
            )
        };
        assert_eq!(sequence(7), sequence(7));
        assert_ne!(sequence(7).0, sequence(8).0);
    }

    #[test]
    fn a_uuid_is_of_version_4() {
        let text = uuid(&SystemRandomness);
        assert_eq!((text.len(), text.as_bytes()[14]), (36, b'4'));
    }

    #[tokio::test(start_paused = true)]
    async fn the_simulated_clock_follows_paused_time() {
        let clock = SimulatedClock::starting_at(Timestamp::UNIX_EPOCH);
        tokio::time::sleep(Duration::from_secs(90)).await;
        assert_eq!(clock.now(), "1970-01-01T00:01:30Z".parse::<Timestamp>().unwrap());
    }

    #[test]
    fn jitter_only_lengthens_and_is_bounded() {
        let randomness = SeededRandomness::new(1);
        for _ in 0..1000 {
            let d = jittered(&randomness, Duration::from_secs(10), 0.2);
            assert!((10.0..12.0).contains(&d.as_secs_f64()), "{d:?}");
        }
    }
}
