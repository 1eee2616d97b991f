//! `metav1.Table`: what `kubectl get` shows, for custom and built-in kinds.
//!
//! The server renders all columns, those of `-o wide` too; ages are rendered for the time given.

mod age;
mod builtin;
mod cells;
mod events;
mod jsonpath;
mod nodes;
mod pods;
mod services;
#[cfg(test)]
mod tests;
mod volumes;
mod workloads;

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::schema::{FieldError, go_float, go_json};

pub use age::{human_age, human_duration};
pub use jsonpath::JsonPath;

/// What each row carries besides its cells (`includeObject` of the request).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IncludeObject {
    /// Nothing.
    None,
    /// PartialObjectMetadata (the default).
    #[default]
    Metadata,
    /// The whole object.
    Object,
}

impl IncludeObject {
    /// Reads the query parameter; empty means the default. The error is the text of a 400.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "" | "Metadata" => Ok(Self::Metadata),
            "None" => Ok(Self::None),
            "Object" => Ok(Self::Object),
            other => Err(format!(
                "Unable to convert to Table as requested: includeObject: Invalid value: {}: must be 'Metadata', 'Object', 'None', or empty",
                crate::schema::quote(other)
            )),
        }
    }
}

/// How a cell is made from an object.
#[derive(Clone, Debug)]
enum Cell {
    /// A path into the object; the column's type decides how the value is shown.
    Path(JsonPath),
    /// A rule of a built-in kind.
    Rule(fn(&Value, Timestamp) -> Value),
}

#[derive(Clone, Debug)]
struct Column {
    name: String,
    type_: String,
    format: String,
    description: String,
    /// 0 is always shown, 1 with `-o wide`.
    priority: i64,
    cell: Cell,
}

/// The columns of one kind; cheap to clone.
#[derive(Clone, Debug)]
pub struct Columns {
    columns: Arc<[Column]>,
    /// Completed and failed pods are marked, so that clients can tell them apart.
    pods: bool,
}

impl Columns {
    /// Columns of a custom resource version: `additionalPrinterColumns` of the CRD version (null or empty: the default Age column).
    pub fn custom(additional_printer_columns: &Value) -> Result<Self, Vec<FieldError>> {
        let mut columns = vec![cells::name()];
        let mut errors = Vec::new();
        let given = additional_printer_columns
            .as_array()
            .filter(|list| !list.is_empty());
        for (i, definition) in given.into_iter().flatten().enumerate() {
            let text = |key: &str| definition.get(key).and_then(Value::as_str).unwrap_or_default();
            let path = text("jsonPath");
            match JsonPath::parse(path) {
                Ok(parsed) => columns.push(Column {
                    name: text("name").to_owned(),
                    type_: text("type").to_owned(),
                    format: text("format").to_owned(),
                    description: match text("description") {
                        "" => format!("Custom resource definition column (in JSONPath format): {path}"),
                        description => description.to_owned(),
                    },
                    priority: definition
                        .get("priority")
                        .and_then(Value::as_i64)
                        .unwrap_or_default(),
                    cell: Cell::Path(parsed),
                }),
                Err(error) => errors.push(FieldError::invalid(format!("[{i}].jsonPath"), path, error)),
            }
        }
        if given.is_none() {
            columns.push(cells::age("date"));
        }
        if errors.is_empty() {
            Ok(Self {
                columns: columns.into(),
                pods: false,
            })
        } else {
            Err(errors)
        }
    }

    /// Columns of a built-in kind; kinds without columns of their own get Name and Created At.
    #[must_use]
    pub fn builtin(group: &str, kind: &str) -> Self {
        Self {
            columns: builtin::columns(group, kind).into(),
            pods: group.is_empty() && kind == "Pod",
        }
    }

    /// A Table. `version` is `v1` or `v1beta1` of meta.k8s.io; of `list_metadata`, resourceVersion, continue and
    /// remainingItemCount go into the table's metadata; `headers` false leaves out the column definitions (watch events
    /// after the first).
    #[must_use]
    pub fn render(
        &self,
        items: &[&Value],
        list_metadata: &Value,
        now: Timestamp,
        include: IncludeObject,
        version: &str,
        headers: bool,
    ) -> Value {
        let mut metadata = Map::new();
        for key in ["resourceVersion", "continue", "remainingItemCount"] {
            if let Some(value) = list_metadata.get(key) {
                metadata.insert(key.to_owned(), value.clone());
            }
        }
        let api_version = format!("meta.k8s.io/{version}");
        let rows: Vec<Value> = items
            .iter()
            .map(|item| self.row(item, now, include, &api_version))
            .collect();
        let definitions = if headers {
            Value::Array(self.definitions())
        } else {
            Value::Null
        };
        json!({
            "kind": "Table", "apiVersion": api_version, "metadata": metadata,
            "columnDefinitions": definitions, "rows": rows,
        })
    }

    fn definitions(&self) -> Vec<Value> {
        let definition = |c: &Column| {
            json!({
                "name": c.name, "type": c.type_, "format": c.format,
                "description": c.description, "priority": c.priority,
            })
        };
        self.columns.iter().map(definition).collect()
    }

    fn row(&self, object: &Value, now: Timestamp, include: IncludeObject, api_version: &str) -> Value {
        let cells: Vec<Value> = self
            .columns
            .iter()
            .map(|column| column.cell(object, now))
            .collect();
        let mut row = Map::new();
        row.insert("cells".to_owned(), Value::Array(cells));
        if self.pods
            && let Some(condition) = pods::row_condition(object)
        {
            row.insert("conditions".to_owned(), Value::Array(vec![condition]));
        }
        let shown = match include {
            IncludeObject::None => Value::Null,
            IncludeObject::Object => object.clone(),
            IncludeObject::Metadata => json!({
                "kind": "PartialObjectMetadata", "apiVersion": api_version,
                "metadata": object.get("metadata").cloned().unwrap_or_else(|| json!({})),
            }),
        };
        row.insert("object".to_owned(), shown);
        Value::Object(row)
    }
}

impl Column {
    fn cell(&self, object: &Value, now: Timestamp) -> Value {
        let path = match &self.cell {
            Cell::Rule(rule) => return rule(object, now),
            Cell::Path(path) => path,
        };
        let Some(value) = path.first(object) else {
            return Value::Null;
        };
        match self.type_.as_str() {
            "string" => Value::from(as_text(value)),
            "integer" => match value.as_i64() {
                Some(i) => Value::from(i),
                None => value.as_f64().map_or(Value::Null, |f| Value::from(f as i64)),
            },
            "number" => value.as_f64().map_or(Value::Null, Value::from),
            "boolean" => value.as_bool().map_or(Value::Null, Value::from),
            "date" => value
                .as_str()
                .map_or(Value::Null, |text| Value::from(age::cell(Some(text), now))),
            _ => Value::Null,
        }
    }
}

/// A value as text: scalars as they are, the rest as JSON.
fn as_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "<nil>".to_owned(),
        Value::Number(n) => match n.as_i64() {
            Some(i) => i.to_string(),
            None => n.as_f64().map_or_else(String::new, go_float),
        },
        Value::Bool(b) => b.to_string(),
        other => go_json(other),
    }
}
