//! Structural schemas of custom resources: pruning, defaulting and validation, with kube-apiserver's rules and texts.
//!
//! Pure functions on `serde_json::Value`. Rules written in CEL are in [`crate::cel`]; nothing here does I/O.

mod correlate;
mod default;
mod definition;
mod embedded;
mod errors;
mod formats;
mod lists;
mod node;
mod number;
mod prune;
mod scale;
mod structural;
#[cfg(test)]
mod tests;
pub mod types;
mod validate;

use std::sync::Arc;

use serde_json::Value;

use crate::faults::{Fault, broken};

pub(crate) use correlate::{old_item, unchanged};
pub use errors::{ErrorKind, FieldError, aggregate, go_float, go_json, quote};
pub(crate) use node::{Additional, ListType, Node, RuleText, Type};

/// A compiled `openAPIV3Schema`; cheap to clone.
#[derive(Clone, Debug)]
pub struct Structural {
    root: Arc<Node>,
}

impl Structural {
    /// Compiles a schema; the errors are those that a CRD with this schema is refused for (paths below
    /// `spec.versions[i].schema.openAPIV3Schema` are the caller's to prefix).
    pub fn compile(schema: &Value) -> Result<Self, Vec<FieldError>> {
        let root = Node::parse(schema);
        let mut errors = structural::violations(&root);
        if errors.is_empty() {
            errors = definition::defaults(&root);
        }
        errors.extend(definition::violations(schema));
        if errors.is_empty() {
            Ok(Self { root: Arc::new(root) })
        } else {
            Err(errors)
        }
    }

    pub(crate) fn root(&self) -> &Arc<Node> {
        &self.root
    }

    /// Removes fields the schema does not know and returns their paths, sorted (`spec.x`, `spec.list[0].y`).
    /// `apiVersion`, `kind` and `metadata` of the root stay. Nulls that can be neither kept nor defaulted go too, silently.
    pub fn prune(&self, object: &mut Value) -> Vec<String> {
        if broken(Fault::NoPruning) {
            return Vec::new();
        }
        let unknown = prune::prune(object, &self.root);
        default::drop_nulls(object, Some(&self.root));
        unknown
    }

    /// Fills in defaults; nulls of fields that have a default and are not nullable are replaced by it.
    pub fn default(&self, object: &mut Value) {
        if !broken(Fault::SkippedDefault) {
            default::fill(object, &self.root);
        }
    }

    /// Checks an object against the schema without its CEL rules. `old` switches on ratcheting: what was wrong before
    /// and did not change is let through.
    #[must_use]
    pub fn validate(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let mut errors = validate::validate(&self.root, object, old, "");
        errors.extend(embedded::check(&self.root, object));
        errors.extend(self.duplicates(object, old));
        errors
    }

    /// [`Self::validate`] for an update of the status subresource: only `status` is looked at.
    #[must_use]
    pub fn validate_status(&self, object: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = match (object.get("status"), self.root.properties.get("status")) {
            (Some(status), Some(node)) => validate::validate(node, status, old.get("status"), "status"),
            _ => Vec::new(),
        };
        errors.extend(self.duplicates(object, Some(old)));
        errors
    }

    /// What makes an object unreadable rather than invalid (a 400, not a 422): metadata, apiVersion and kind of embedded
    /// resources that have another type than they must have.
    #[must_use]
    pub fn unreadable(&self, object: &Value) -> Option<String> {
        embedded::unreadable(&self.root, object)
    }

    /// Duplicates in sets and list maps, unless the old object had some already.
    fn duplicates(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let errors = lists::duplicates(&self.root, object);
        if errors.is_empty()
            || broken(Fault::Duplicates)
            || old.is_some_and(|old| !lists::duplicates(&self.root, old).is_empty())
        {
            return Vec::new();
        }
        errors
    }
}

/// Where the scale subresource finds its numbers, as JSON paths (`.spec.replicas`).
#[derive(Clone, Copy, Debug)]
pub struct ScaleFields<'a> {
    /// `specReplicasPath`.
    pub spec_replicas: &'a str,
    /// `statusReplicasPath`.
    pub status_replicas: &'a str,
    /// `labelSelectorPath`.
    pub label_selector: Option<&'a str>,
}

/// Checks the fields that the scale subresource stands on. `status_only` for writes to the status subresource.
#[must_use]
pub fn validate_scale(fields: &ScaleFields<'_>, object: &Value, status_only: bool) -> Vec<FieldError> {
    scale::check(fields, object, status_only)
}

/// `unknown field "spec.x"` for each path that [`Structural::prune`] returned: the texts of fieldValidation Warn and Strict.
#[must_use]
pub fn unknown_field_texts(paths: &[String]) -> Vec<String> {
    paths
        .iter()
        .map(|path| format!("unknown field \"{path}\""))
        .collect()
}

/// Which part of a custom resource a request may change, and so which part is validated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The main resource.
    Whole,
    /// The status subresource.
    Status,
}

/// All checks of a custom resource in the order of the real server: schema, list types, then CEL unless an earlier error blocks it.
#[must_use]
pub fn validate_custom_resource(
    schema: &Structural,
    rules: &crate::cel::Rules,
    object: &Value,
    old: Option<&Value>,
    part: Part,
) -> Vec<FieldError> {
    let mut errors = match (part, old) {
        (Part::Status, Some(old)) => schema.validate_status(object, old),
        _ => schema.validate(object, old),
    };
    if rules.is_empty() || broken(Fault::SkippedRules) {
        return errors;
    }
    let blocking = errors.iter().any(|e| {
        matches!(
            e.kind,
            ErrorKind::NotSupported
                | ErrorKind::Required
                | ErrorKind::TooLong
                | ErrorKind::TooMany
                | ErrorKind::TypeInvalid
        )
    });
    if blocking {
        errors.push(FieldError::invalid(
            "<nil>",
            Value::Null,
            "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation",
        ));
    } else {
        errors.extend(rules.validate(object, old));
    }
    errors
}
