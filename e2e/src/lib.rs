//! Whole systems under test: all providers on the embedded API server, in simulated time, from one seed.
//!
//! - [`simulation`]: starts such a system, stops it in the middle, starts it again from what was stored.
//! - [`scenario`]: what a user does: create, scale, delete.
//! - [`invariants`]: what must hold after every scenario.
//!
//! `e2e/life-cycle` and `e2e/real-apiserver` beside this crate do the same with kubectl and real processes.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "all of this is test code: a failure is a panic"
)]

pub mod invariants;
pub mod scenario;
pub mod simulation;
