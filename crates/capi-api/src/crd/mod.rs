//! Custom resource definitions out of Rust types: the shared schema parts.

pub mod patterns;
pub mod schemas;
