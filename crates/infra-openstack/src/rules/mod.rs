//! The rules of this provider that need no cloud to be true: names, filters, security group rules, addresses, requests.
//!
//! What is made is found again by its name, so the names are wire format: they must be those of upstream's provider.

pub mod addresses;
pub mod filters;
pub mod names;
pub mod ports;
pub mod security_groups;
pub mod servers;
