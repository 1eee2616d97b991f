//! Cluster API's own kinds in their older versions and back: many random objects of every kind, and a few that people
//! could have written.
//!
//! `CONVERSION_ROUND_TRIPS` says how many objects of each kind go each way (300 without it, 10,000 in `make sim`).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod rounds;
mod samples;
