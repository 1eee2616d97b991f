//! What became of the fields of v1beta1 (and v1alpha1) in v1beta2: one table per kind, and what carries objects along it.
//!
//! Tables know nothing of metadata, annotations or web servers, and they may lose what the other version has no word for;
//! who converts objects (capi-runtime) keeps the lost rest in the annotation `cluster.x-k8s.io/conversion-data`.
//! Other providers write tables for their own kinds from the same parts.

mod addons;
mod carry;
mod cluster_class;
mod core;
mod kubeadm;
mod nothing;
mod values;

pub use self::{
    addons::{ADDONS, IPAM, RUNTIME},
    carry::{down, up},
    core::{CORE, OLD_STATUS},
    kubeadm::{BOOTSTRAP, CONTROL_PLANE},
    nothing::Nothings,
};

use serde_json::{Map, Value};

/// A field in the older version, the same field in v1beta2, and how its value changes.
///
/// Paths are separated by dots and start at the object that the table is about. What no line speaks of is the same in
/// both versions.
#[derive(Clone, Copy, Debug)]
pub struct Field(pub &'static str, pub &'static str, pub Rule);

/// How a value changes.
#[derive(Clone, Copy, Debug)]
pub enum Rule {
    /// Not at all.
    Same,
    /// A zero, false or "" that could not be told from nothing becomes nothing.
    Optional,
    /// A Go duration (`10m0s`) becomes whole seconds.
    Seconds,
    /// An object reference becomes group, kind and name; on the way back the version comes from the definition of the kind.
    Reference,
    /// An object reference becomes apiVersion, kind and name.
    TemplateReference,
    /// An object reference to a Node becomes a name.
    NodeReference,
    /// A map of arguments becomes a list of names and values, sorted.
    Arguments,
    /// A map of failure domains becomes a list, sorted by name.
    FailureDomains,
    /// The phase "Updating" is "Running" in the older version.
    MachinePhase,
    /// The older version alone has it.
    Dropped,
    /// v1beta2 alone has it.
    New,
    /// An object with a table of its own.
    Within(&'static [Field]),
    /// A list of objects with a table of their own.
    Each(&'static [Field]),
    /// What no table can say, at the object at hand: after the lines on the way up, and before them on the way down.
    /// Paths are not used.
    Code {
        /// On the way to v1beta2.
        up: fn(&mut Map<String, Value>),
        /// On the way back.
        down: fn(&mut Map<String, Value>),
    },
}

/// A kind and its tables.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// The API group.
    pub group: &'static str,
    /// The kind.
    pub kind: &'static str,
    /// The resource.
    pub plural: &'static str,
    /// The older versions, each with its table.
    pub versions: &'static [(&'static str, &'static [Field])],
}

/// What a conversion needs besides the object.
pub struct Around<'a> {
    /// The namespace of the object; references of the older version name it.
    pub namespace: &'a str,
    /// The version of a kind (group, kind) that its provider serves for the contract, where it is known.
    pub version: &'a dyn Fn(&str, &str) -> Option<String>,
}
