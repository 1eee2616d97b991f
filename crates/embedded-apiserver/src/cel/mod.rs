//! `x-kubernetes-validations`: CEL rules of custom resources, compiled once per schema.
//!
//! Evaluation only; there is no static type checker, so a rule that upstream refuses for its types is refused here
//! at the first evaluation instead.

mod condition;
mod crd_checks;
mod program;
#[cfg(test)]
mod tests;
mod values;
mod walk;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::schema::{FieldError, Node, RuleText, Structural};
pub(crate) use condition::Condition;
use program::Expression;

/// The compiled rules of one schema; cheap to clone.
#[derive(Clone, Debug)]
pub struct Rules {
    root: Option<Arc<RuleNode>>,
}

/// Rules at one schema node and below; nodes without any are left out.
#[derive(Debug)]
struct RuleNode {
    schema: Arc<Node>,
    resource_root: bool,
    rules: Vec<Rule>,
    items: Option<Box<RuleNode>>,
    additional: Option<Box<RuleNode>>,
    properties: BTreeMap<String, RuleNode>,
}

/// One compiled rule.
#[derive(Debug)]
struct Rule {
    text: RuleText,
    expression: Arc<Expression>,
    message: Option<Arc<Expression>>,
    uses_old_self: bool,
    /// `fieldPath` in the form of error paths.
    field_path: String,
}

impl Rules {
    /// Compiles all rules of a schema. Errors carry paths below `openAPIV3Schema`.
    pub fn compile(schema: &Structural) -> Result<Self, Vec<FieldError>> {
        Self::compile_at(schema, "")
    }

    /// [`Self::compile`] with error paths that start with `path`, the place of the schema in its definition.
    pub fn compile_at(schema: &Structural, path: &str) -> Result<Self, Vec<FieldError>> {
        let mut errors = Vec::new();
        let root = build(schema.root(), true, path, None, &mut errors);
        if errors.is_empty() {
            Ok(Self {
                root: root.map(Arc::new),
            })
        } else {
            Err(errors)
        }
    }

    /// Whether there are no rules.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.root.is_none()
    }

    /// Evaluates the rules; transition rules (`oldSelf`) only where an old value can be correlated.
    /// With `old`, what failed before and did not change is let through.
    #[must_use]
    pub fn validate(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        match &self.root {
            Some(root) => walk::validate(root, object, old),
            None => Vec::new(),
        }
    }
}

/// Compiles the rules of a node and those below. `uncorrelatable` is the path of the list above that has no keys.
fn build(
    schema: &Arc<Node>,
    resource_root: bool,
    path: &str,
    uncorrelatable: Option<&str>,
    errors: &mut Vec<FieldError>,
) -> Option<RuleNode> {
    let child = |name: &str| {
        if path.is_empty() {
            name.to_owned()
        } else {
            format!("{path}.{name}")
        }
    };
    let mut rules = Vec::new();
    for (i, text) in schema.rules.iter().enumerate() {
        let at = format!("{}[{i}]", child("x-kubernetes-validations"));
        if let Some(rule) = crd_checks::compile(schema, text, &at, uncorrelatable, errors) {
            rules.push(rule);
        }
    }
    let items = schema.items.as_ref().and_then(|items| {
        let at = child("items");
        let keyed = schema.list_type == crate::schema::ListType::Map;
        let uncorrelatable = if keyed {
            uncorrelatable
        } else {
            uncorrelatable.or(Some(path))
        };
        build(items, items.embedded, &at, uncorrelatable, errors).map(Box::new)
    });
    let additional = schema
        .additional
        .as_ref()
        .and_then(|a| a.schema())
        .and_then(|node| {
            build(
                node,
                node.embedded,
                &child("additionalProperties"),
                uncorrelatable,
                errors,
            )
            .map(Box::new)
        });
    let mut properties = BTreeMap::new();
    for (name, node) in &schema.properties {
        let at = format!("{}[{name}]", child("properties"));
        if let Some(rule_node) = build(node, node.embedded, &at, uncorrelatable, errors) {
            properties.insert(name.clone(), rule_node);
        }
    }
    if rules.is_empty() && items.is_none() && additional.is_none() && properties.is_empty() {
        return None;
    }
    Some(RuleNode {
        schema: schema.clone(),
        resource_root,
        rules,
        items,
        additional,
        properties,
    })
}
