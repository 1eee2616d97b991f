//! (module)

pub mod v1beta2;
