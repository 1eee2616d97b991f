//! Custom resource definitions out of Rust types: what the derive macro leaves open, files, and the comparison with
//! upstream's definitions.
//!
//! Other provider crates define their own kinds with the same parts: [`patterns`] and [`schemas`] in field attributes,
//! [`Builder`] for the definition, [`render`] for the files, [`parity`] in a test.

mod build;
mod older;
pub mod parity;
pub mod patterns;
mod render;
pub mod samples;
pub mod schemas;
mod shipped;

pub use build::Builder;
pub use older::{Versions, older};
pub use render::{file_name, render, to_yaml};
pub use shipped::{Shipped, crds, metadata_file_crd};

/// Why a definition could not be made, written or compared.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The schema of a kind is no schema that a definition can hold.
    #[error("the definition of {name} is not valid; check the schema attributes of its types")]
    Definition {
        /// The name of the definition.
        name: String,
        /// What does not fit.
        source: serde_json::Error,
    },
    /// A table of older versions holds a mistake.
    #[error("{place}: {what}")]
    Older {
        /// The table, kind and version.
        place: String,
        /// What is wrong.
        what: String,
    },
    /// A definition cannot be written as YAML.
    #[error("the definition of {name} cannot be written as YAML")]
    Write {
        /// The name of the definition.
        name: String,
        /// What the writer says.
        source: Box<serde_saphyr::ser_error::Error>,
    },
    /// A file of the folder to compare with cannot be read.
    #[error("{path} cannot be read; name a folder of CRD files")]
    Read {
        /// The file or folder.
        path: String,
        /// What the file system says.
        source: std::io::Error,
    },
    /// A file of the folder to compare with is no YAML.
    #[error("{path} is not valid YAML")]
    Parse {
        /// The file.
        path: String,
        /// What the parser says.
        source: Box<serde_saphyr::Error>,
    },
}
