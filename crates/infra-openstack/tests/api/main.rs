//! Tests of the kinds as a whole: against upstream's definitions and with sample objects.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests fail like tests"
)]

mod conversion;
mod generate;
mod parity;
mod samples;
