//! The values that templates work on, and what is the same about them everywhere: truth, kind, how they print.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use crate::printf;

/// A value.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    /// What a map has under a key that it does not have.
    #[default]
    Missing,
    /// Nothing, said so.
    Nil,
    /// A boolean.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Another number.
    Float(f64),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Value>),
    /// A map; its keys are seen in their order.
    Map(BTreeMap<String, Value>),
}

impl Value {
    /// Whether `if` takes it for true: it is there and not zero, not empty.
    pub fn is_true(&self) -> bool {
        match self {
            Self::Missing | Self::Nil => false,
            Self::Bool(value) => *value,
            Self::Int(value) => *value != 0,
            Self::Float(value) => *value != 0.0,
            Self::Text(value) => !value.is_empty(),
            Self::List(value) => !value.is_empty(),
            Self::Map(value) => !value.is_empty(),
        }
    }

    /// Whether there is nothing.
    pub fn is_nil(&self) -> bool {
        matches!(self, Self::Missing | Self::Nil)
    }

    /// The type in Go's words, for messages and `%T`.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Missing | Self::Nil => "<nil>",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float64",
            Self::Text(_) => "string",
            Self::List(_) => "[]interface {}",
            Self::Map(_) => "map[string]interface {}",
        }
    }
}

/// As `%v` prints it.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing | Self::Nil => f.write_str("<nil>"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "{value}"),
            Self::Float(value) => f.write_str(&printf::shortest(*value)),
            Self::Text(value) => f.write_str(value),
            Self::List(items) => {
                f.write_char('[')?;
                for (index, item) in items.iter().enumerate() {
                    let gap = if index > 0 { " " } else { "" };
                    write!(f, "{gap}{item}")?;
                }
                f.write_char(']')
            }
            Self::Map(entries) => {
                f.write_str("map[")?;
                for (index, (key, value)) in entries.iter().enumerate() {
                    let gap = if index > 0 { " " } else { "" };
                    write!(f, "{gap}{key}:{value}")?;
                }
                f.write_char(']')
            }
        }
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

/// Whole numbers become `Int`, as in data that a Go program builds by hand (one that it decodes has `float64` only).
impl From<serde_json::Value> for Value {
    fn from(value: serde_json::Value) -> Self {
        match value {
            serde_json::Value::Null => Self::Nil,
            serde_json::Value::Bool(value) => Self::Bool(value),
            serde_json::Value::Number(value) => match value.as_i64() {
                Some(whole) => Self::Int(whole),
                None => Self::Float(value.as_f64().unwrap_or(f64::NAN)),
            },
            serde_json::Value::String(value) => Self::Text(value),
            serde_json::Value::Array(items) => Self::List(items.into_iter().map(Self::from).collect()),
            serde_json::Value::Object(map) => Self::Map(
                map.into_iter()
                    .map(|(key, value)| (key, Self::from(value)))
                    .collect(),
            ),
        }
    }
}
