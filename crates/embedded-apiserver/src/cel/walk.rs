//! Evaluation of the rules over an object, node by node, with correlation to the old object.

use kube_cel::cel::Value as Cel;
use serde_json::Value;

use super::program::{OldSelf, Variables};
use super::values::to_cel;
use super::{Rule, RuleNode};
use crate::schema::{ErrorKind, FieldError, Node, Type, old_item, unchanged};

/// Where in the old object we are, to let unchanged errors through.
#[derive(Clone, Copy, Default)]
struct Ratchet<'a> {
    /// This node in new and old, when it can be correlated.
    current: Option<(&'a Node, &'a Value, &'a Value)>,
    /// The nearest node above that could be.
    parent: Option<(&'a Node, &'a Value, &'a Value)>,
}

impl<'a> Ratchet<'a> {
    fn lets_through(&self) -> bool {
        self.current
            .or(self.parent)
            .is_some_and(|(node, new, old)| unchanged(node, new, old))
    }

    fn down(self, to: Option<(&'a Node, &'a Value, &'a Value)>) -> Self {
        match self.current {
            None => self,
            Some(current) => Self {
                current: to,
                parent: Some(current),
            },
        }
    }

    fn key(self, name: &str) -> Self {
        if self.current.is_some() && self.parent.is_none() && matches!(name, "apiVersion" | "kind") {
            return Self::default();
        }
        let to = self
            .current
            .and_then(|(node, new, old)| Some((&**node.field(name)?, new.get(name)?, old.get(name)?)));
        self.down(to)
    }

    fn index(self, i: usize) -> Self {
        let to = self.current.and_then(|(node, new, old)| {
            let item = new.get(i)?;
            Some((node.items.as_deref()?, item, old_item(node, Some(old), item)?))
        });
        self.down(to)
    }
}

/// Evaluates all rules.
pub(super) fn validate(root: &RuleNode, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let ratchet = Ratchet {
        current: old.map(|old| (&*root.schema, object, old)),
        parent: None,
    };
    node(root, object, old, ratchet, "", &mut errors);
    errors
}

fn node(
    rules: &RuleNode,
    value: &Value,
    old: Option<&Value>,
    ratchet: Ratchet<'_>,
    path: &str,
    errors: &mut Vec<FieldError>,
) {
    if value.is_null() {
        return;
    }
    if !rules.rules.is_empty() {
        expressions(
            rules,
            value,
            old.filter(|old| !old.is_null()),
            ratchet,
            path,
            errors,
        );
    }
    match value {
        Value::Array(list) => {
            let Some(items) = &rules.items else { return };
            for (i, item) in list.iter().enumerate() {
                let before = old_item(&rules.schema, old, item);
                node(
                    items,
                    item,
                    before,
                    ratchet.index(i),
                    &format!("{path}[{i}]"),
                    errors,
                );
            }
        }
        Value::Object(map) => {
            let before = |name: &str| old.and_then(Value::as_object).and_then(|old| old.get(name));
            if let Some(additional) = &rules.additional {
                for (name, child) in map {
                    node(
                        additional,
                        child,
                        before(name),
                        ratchet.key(name),
                        &format!("{path}[{name}]"),
                        errors,
                    );
                }
            }
            for (name, child) in map {
                if let Some(property) = rules.properties.get(name) {
                    let child_path = if path.is_empty() {
                        name.clone()
                    } else {
                        format!("{path}.{name}")
                    };
                    node(
                        property,
                        child,
                        before(name),
                        ratchet.key(name),
                        &child_path,
                        errors,
                    );
                }
            }
        }
        _ => {}
    }
}

fn expressions(
    rules: &RuleNode,
    value: &Value,
    old: Option<&Value>,
    ratchet: Ratchet<'_>,
    path: &str,
    errors: &mut Vec<FieldError>,
) {
    let self_ = to_cel(value, &rules.schema, rules.resource_root);
    let needs_old = rules.rules.iter().any(|rule| rule.uses_old_self);
    let old_self = old
        .filter(|_| needs_old)
        .map(|old| to_cel(old, &rules.schema, rules.resource_root));
    for rule in &rules.rules {
        if rule.uses_old_self && old.is_none() && !rule.text.optional_old_self {
            continue;
        }
        let old_self = match (rule.uses_old_self, rule.text.optional_old_self, &old_self) {
            (false, ..) => OldSelf::Undefined,
            (true, true, value) => OldSelf::Optional(value.clone()),
            (true, false, Some(value)) => OldSelf::Plain(value.clone()),
            (true, false, None) => OldSelf::Undefined,
        };
        let variables = Variables {
            self_: self_.clone(),
            old_self,
        };
        if let Some((error, lenient)) = evaluate(rule, &rules.schema, value, &variables, path)
            && !(lenient && !rule.uses_old_self && ratchet.lets_through())
        {
            errors.push(error);
        }
    }
}

fn at(path: &str) -> String {
    if path.is_empty() {
        "<nil>".to_owned()
    } else {
        path.to_owned()
    }
}

/// Evaluates one rule; the flag says whether the error may be let through when nothing changed.
fn evaluate(
    rule: &Rule,
    schema: &Node,
    value: &Value,
    variables: &Variables,
    path: &str,
) -> Option<(FieldError, bool)> {
    let type_name = if schema.int_or_string {
        ""
    } else {
        schema.type_text()
    };
    let shown = if rule.text.message.is_empty() {
        rule.text.rule.trim()
    } else {
        rule.text.message.trim()
    };
    let detail = match rule.expression.evaluate(variables) {
        Ok(Cel::Bool(true)) => return None,
        Ok(Cel::Bool(false)) => None,
        Ok(_) => Some(format!(
            "'no such overload': call arguments did not match a supported operator, function or macro signature for rule: {shown}"
        )),
        Err(error) if error.starts_with("no such overload") => Some(format!(
            "'{error}': call arguments did not match a supported operator, function or macro signature for rule: {shown}"
        )),
        Err(error) => Some(format!("{error} evaluating rule: {shown}")),
    };
    if let Some(detail) = detail {
        return Some((FieldError::invalid(at(path), type_name, detail), false));
    }
    let field = match (path.is_empty(), rule.field_path.is_empty()) {
        (_, true) => at(path),
        (true, false) => rule.field_path.clone(),
        (false, false) => format!("{path}.{}", rule.field_path),
    };
    let detail = rule
        .message
        .as_ref()
        .and_then(|message| message_text(message.evaluate(variables)));
    let detail = detail.unwrap_or_else(|| {
        if rule.text.message.is_empty() {
            format!("failed rule: {shown}")
        } else {
            shown.to_owned()
        }
    });
    let hidden = matches!(schema.type_, Some(Type::Object | Type::Array));
    let bad = (!hidden).then(|| value.clone());
    let kind = match rule.text.reason.as_deref() {
        Some("FieldValueForbidden") => ErrorKind::Forbidden,
        Some("FieldValueRequired") => ErrorKind::Required,
        Some("FieldValueDuplicate") => ErrorKind::Duplicate,
        _ => ErrorKind::Invalid,
    };
    let detail = if kind == ErrorKind::Duplicate {
        String::new()
    } else {
        detail
    };
    Some((
        FieldError {
            path: field,
            kind,
            value: bad,
            detail,
        },
        true,
    ))
}

/// A message that is fit to be shown: one line, not empty, not too long.
fn message_text(result: Result<Cel, String>) -> Option<String> {
    const LONGEST: usize = 5120;
    match result {
        Ok(Cel::String(text)) => {
            let text = text.trim();
            (!text.is_empty() && text.len() <= LONGEST && !text.contains('\n')).then(|| text.to_owned())
        }
        _ => None,
    }
}
