//! Knows when the machine stood still: a thread that wants to wake every few milliseconds, and counts when it could not.
#![allow(clippy::disallowed_methods)]

use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

static COUNT: AtomicU64 = AtomicU64::new(0);
static START: Once = Once::new();
const STEP: Duration = Duration::from_millis(10);
/// Cases give the embedded server 50 milliseconds where it needs none but its turn.
const LATE: Duration = Duration::from_millis(30);

/// How often the machine stalled so far.
pub fn count() -> u64 {
    START.call_once(|| {
        std::thread::spawn(|| {
            loop {
                let before = Instant::now();
                std::thread::sleep(STEP);
                if before.elapsed() > STEP + LATE {
                    COUNT.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
    });
    COUNT.load(Ordering::Relaxed)
}
