//! What is wrong with one field of an object: what admission rules find, in the words of API servers.

use std::fmt;

use serde::Serialize;

/// What is wrong with one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// The path of the field, for example `spec.version`.
    pub field: String,
    /// The kind of error.
    pub reason: Reason,
    /// The rest of the sentence after path and kind of error.
    pub detail: String,
}

/// Kinds of field errors, with the texts that API servers use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The value (given in JSON) is not allowed.
    Invalid(String),
    /// A value is missing.
    Required,
    /// The field must not be set or changed.
    Forbidden,
    /// The value (given in JSON) occurs twice.
    Duplicate(String),
    /// The value (given in JSON) is none of the supported ones.
    NotSupported(String),
    /// What is referred to does not exist.
    NotFound(String),
}

impl FieldError {
    /// The value of a field is not allowed.
    pub fn invalid(field: impl Into<String>, value: impl Serialize, detail: impl Into<String>) -> Self {
        let value = serde_json::to_string(&value).unwrap_or_default();
        Self {
            field: field.into(),
            reason: Reason::Invalid(value),
            detail: detail.into(),
        }
    }

    /// A field is missing.
    pub fn required(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            reason: Reason::Required,
            detail: detail.into(),
        }
    }

    /// A field must not be set or changed.
    pub fn forbidden(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            reason: Reason::Forbidden,
            detail: detail.into(),
        }
    }

    /// The machine-readable cause that goes into a status.
    pub fn cause(&self) -> &'static str {
        match self.reason {
            Reason::Invalid(_) => "FieldValueInvalid",
            Reason::Required => "FieldValueRequired",
            Reason::Forbidden => "FieldValueForbidden",
            Reason::Duplicate(_) => "FieldValueDuplicate",
            Reason::NotSupported(_) => "FieldValueNotSupported",
            Reason::NotFound(_) => "FieldValueNotFound",
        }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            Reason::Invalid(value) => write!(f, "{}: Invalid value: {value}", self.field)?,
            Reason::Required => write!(f, "{}: Required value", self.field)?,
            Reason::Forbidden => write!(f, "{}: Forbidden", self.field)?,
            Reason::Duplicate(value) => write!(f, "{}: Duplicate value: {value}", self.field)?,
            Reason::NotSupported(value) => write!(f, "{}: Unsupported value: {value}", self.field)?,
            Reason::NotFound(value) => write!(f, "{}: Not found: {value}", self.field)?,
        }
        if self.detail.is_empty() {
            Ok(())
        } else {
            write!(f, ": {}", self.detail)
        }
    }
}
