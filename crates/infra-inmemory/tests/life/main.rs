//! The provider as a whole: its controllers on an embedded API server, with Cluster, Machines and Secrets made by hand
//! (there is no other provider here), in simulated time; and its endpoints on real sockets.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests may fail loudly"
)]

mod certificates;
mod definitions;
mod faults;
mod simulated;
mod sockets;
mod support;
