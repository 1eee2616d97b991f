//! (module)

mod ip_address;
mod ip_address_claim;

pub use ip_address::*;
pub use ip_address_claim::*;
