//! (module)

mod extension_config;

pub use extension_config::*;
