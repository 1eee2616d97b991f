//! Foreign objects, read through their contract.
//!
//! A Cluster refers to objects of kinds this project has never heard of. What it may expect of them is the *contract*:
//! a set of field paths, in two versions. Here are the choice of contract and API version from a CRD's labels
//! ([`choose`]), and one accessor type per role of a foreign object: [`InfraCluster`], [`InfraMachine`],
//! [`BootstrapConfig`], [`ControlPlane`], [`Template`].
//!
//! Pure functions on [`DynamicObject`]; finding and watching the objects is the runtime's business.

mod control_plane;
mod infrastructure;
mod template;
mod version;

use std::fmt;

use kube::core::DynamicObject;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub use control_plane::ControlPlane;
pub use infrastructure::{BootstrapConfig, InfraCluster, InfraMachine};
pub use template::{NewClone, Template};
pub use version::{ContractVersion, choose, crd_name, newest, priority};

/// A field of a foreign object that does not hold what the contract says.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{object}: {path} should be {expected}; ask its provider, this breaks the contract")]
pub struct FieldError {
    /// `Kind name` of the object.
    pub object: String,
    /// The path of the field.
    pub path: String,
    /// What should be there.
    pub expected: &'static str,
}

/// An object together with the contract that tells where its fields are.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub object: &'a DynamicObject,
    pub contract: ContractVersion,
}

impl<'a> View<'a> {
    /// The value at a dotted path, nothing for null and missing.
    fn value(&self, path: &str) -> Option<&'a Value> {
        let mut at = &self.object.data;
        for step in path.split('.') {
            at = at.get(step)?;
        }
        (!at.is_null()).then_some(at)
    }

    fn wrong(&self, path: &str, expected: &'static str) -> FieldError {
        FieldError {
            object: described(self.object),
            path: path.to_owned(),
            expected,
        }
    }

    fn bool(&self, path: &str) -> Result<Option<bool>, FieldError> {
        self.value(path)
            .map(|v| v.as_bool().ok_or_else(|| self.wrong(path, "true or false")))
            .transpose()
    }

    /// A text; the empty one counts as absent.
    fn text(&self, path: &str) -> Result<Option<&'a str>, FieldError> {
        let text = self
            .value(path)
            .map(|v| v.as_str().ok_or_else(|| self.wrong(path, "a string")))
            .transpose()?;
        Ok(text.filter(|t| !t.is_empty()))
    }

    fn int(&self, path: &str) -> Result<Option<i32>, FieldError> {
        let number = |v: &Value| v.as_i64().and_then(|n| i32::try_from(n).ok());
        self.value(path)
            .map(|v| number(v).ok_or_else(|| self.wrong(path, "a 32-bit integer")))
            .transpose()
    }

    fn parsed<T: DeserializeOwned>(
        &self,
        path: &str,
        expected: &'static str,
    ) -> Result<Option<T>, FieldError> {
        self.value(path)
            .map(|v| T::deserialize(v).map_err(|_| self.wrong(path, expected)))
            .transpose()
    }

    fn failure_reason(&self) -> Option<&'a str> {
        self.text("status.failureReason").ok().flatten()
    }

    fn failure_message(&self) -> Option<&'a str> {
        self.text("status.failureMessage").ok().flatten()
    }

    /// One of two paths, by contract.
    fn path(&self, v1beta1: &'static str, v1beta2: &'static str) -> &'static str {
        match self.contract {
            ContractVersion::V1Beta1 => v1beta1,
            ContractVersion::V1Beta2 => v1beta2,
        }
    }
}

impl fmt::Debug for View<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", described(self.object), self.contract)
    }
}

/// `Kind namespace/name` of a foreign object, for messages.
pub fn described(object: &DynamicObject) -> String {
    let kind = object.types.as_ref().map_or("object", |t| t.kind.as_str());
    let name = object.metadata.name.as_deref().unwrap_or("?");
    match object.metadata.namespace.as_deref() {
        Some(namespace) => format!("{kind} {namespace}/{name}"),
        None => format!("{kind} {name}"),
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use kube::core::{DynamicObject, TypeMeta};
    use serde_json::Value;

    /// A foreign object from its JSON.
    pub fn object(kind: &str, data: Value) -> DynamicObject {
        let mut object: DynamicObject = serde_json::from_value(serde_json::json!({
            "apiVersion": "infrastructure.example.com/v1", "kind": kind, "metadata": {"name": "x", "namespace": "ns"}
        }))
        .unwrap();
        object.types = Some(TypeMeta {
            api_version: "infrastructure.example.com/v1".into(),
            kind: kind.into(),
        });
        object.data = data;
        object
    }
}
