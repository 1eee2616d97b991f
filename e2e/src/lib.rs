//! Whole systems under test: all providers on the embedded API server, in simulated time, from one seed.
//!
//! - [`simulation`]: starts such a system, stops it in the middle, starts it again from what was stored.
//! - [`scenario`]: what a user does: create, scale, upgrade, break, repair, delete.
//! - [`invariants`]: what must hold after every scenario; [`observer`]: what must hold after every single write.
//! - [`journal`]: every request of the controllers; [`ledger`]: their writes, to be counted; [`transport`]: what may happen to
//!   requests on their way.
//! - [`deploy`]: what of `deploy/` is generated.
//! - [`crash`]: stories that are cut after a write and must come to the same end.
//!
//! `e2e/life-cycle` and `e2e/real-apiserver` beside this crate do the same with kubectl and real processes.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "all of this is test code: a failure is a panic"
)]

pub mod crash;
pub mod deploy;
pub mod invariants;
pub mod journal;
pub mod ledger;
pub mod observer;
pub mod scenario;
pub mod simulation;
pub mod transport;
mod tunnel;

/// The number in an environment variable, by which `make sim` asks for more than `make test`.
pub fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{variable}={text} is no number"))
    })
}
