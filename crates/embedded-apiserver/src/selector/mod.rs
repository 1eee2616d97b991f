//! Label selectors and field selectors: parsing, errors, matching.
//!
//! `names.rs` has the rules for label keys and values, which metadata validation needs as well.

mod fields;
mod labels;
mod names;

pub use fields::{FieldRequirement, FieldSelector};
pub use labels::LabelSelector;
pub use names::{label_key_errors, label_value_errors};
