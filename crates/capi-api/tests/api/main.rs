//! Tests of the kinds as a whole: against upstream's definitions, against the files in `deploy`, and with sample objects.

mod files;
mod parity;
mod samples;
