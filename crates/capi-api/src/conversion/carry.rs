//! Carries an object along a table, up to v1beta2 or down from it.
//!
//! All values that a table speaks of are taken out first, the deepest paths first, and put back at their new places, the
//! shallowest first: so fields may trade places (`status.conditions` becomes `status.deprecated.v1beta1.conditions` while
//! `status.v1beta2.conditions` becomes `status.conditions`).

use serde_json::{Map, Value};

use super::{Around, Field, Rule, values};

/// An object of the older version as one of v1beta2.
pub fn up(table: &[Field], object: &mut Map<String, Value>) {
    move_all(
        table,
        object,
        |field| (field.0, field.1),
        |rule, value| match rule {
            Rule::Same => Some(value),
            Rule::Optional => values::optional(value),
            Rule::Seconds => values::seconds(&value),
            Rule::Reference => values::reference_up(&value),
            Rule::TemplateReference => values::template_reference_up(&value),
            Rule::NodeReference => values::node_reference_up(&value),
            Rule::Arguments => values::arguments_up(&value),
            Rule::FailureDomains => values::failure_domains_up(&value),
            Rule::MachinePhase => Some(value),
            Rule::Dropped => None,
            Rule::New | Rule::Code { .. } => Some(value),
            Rule::Within(table) => within(value, |object| up(table, object)),
            Rule::Each(table) => each(value, |object| up(table, object)),
        },
    );
    for Field(_, _, rule) in table {
        if let Rule::Code { up, .. } = rule {
            up(object);
        }
    }
}

/// An object of v1beta2 as one of the older version.
pub fn down(table: &[Field], object: &mut Map<String, Value>, around: &Around<'_>) {
    for Field(_, _, rule) in table {
        if let Rule::Code { down, .. } = rule {
            down(object);
        }
    }
    move_all(
        table,
        object,
        |field| (field.1, field.0),
        |rule, value| match rule {
            Rule::Same => Some(value),
            Rule::Optional => values::optional(value),
            Rule::Seconds => values::duration(&value),
            Rule::Reference => values::reference_down(&value, around),
            Rule::TemplateReference => values::template_reference_down(&value, around),
            Rule::NodeReference => values::node_reference_down(&value),
            Rule::Arguments => values::arguments_down(&value),
            Rule::FailureDomains => values::failure_domains_down(&value),
            Rule::MachinePhase if value == "Updating" => Some("Running".into()),
            Rule::MachinePhase => Some(value),
            Rule::New => None,
            Rule::Dropped | Rule::Code { .. } => Some(value),
            Rule::Within(table) => within(value, |object| down(table, object, around)),
            Rule::Each(table) => each(value, |object| down(table, object, around)),
        },
    );
}

fn within(mut value: Value, carry: impl Fn(&mut Map<String, Value>)) -> Option<Value> {
    let object = value.as_object_mut()?;
    let empty = object.is_empty();
    carry(object);
    // An object that held nothing but what is dropped is no object any more.
    (empty || !object.is_empty()).then_some(value)
}

fn each(mut value: Value, carry: impl Fn(&mut Map<String, Value>)) -> Option<Value> {
    for item in value.as_array_mut()? {
        if let Some(object) = item.as_object_mut() {
            carry(object);
        }
    }
    Some(value)
}

fn move_all(
    table: &[Field],
    object: &mut Map<String, Value>,
    way: impl Fn(&Field) -> (&'static str, &'static str),
    change: impl Fn(Rule, Value) -> Option<Value>,
) {
    let depth = |path: &str| path.split('.').count();
    let mut lines: Vec<_> = table
        .iter()
        .filter(|field| !matches!(field.2, Rule::Code { .. }))
        .map(|field| (way(field), field.2))
        .filter(|((from, _), _)| !from.is_empty())
        .collect();
    lines.sort_by_key(|((from, _), _)| std::cmp::Reverse(depth(from)));
    let mut moved = Vec::new();
    for ((from, to), rule) in lines {
        let Some(value) = take(object, from) else { continue };
        if let Some(value) = change(rule, value)
            && !to.is_empty()
        {
            moved.push((to, value));
        }
    }
    moved.sort_by_key(|(to, _)| depth(to));
    for (to, value) in moved {
        put(object, to, value);
    }
}

/// Takes a value out, and the objects on the way to it that are empty then.
fn take(object: &mut Map<String, Value>, path: &str) -> Option<Value> {
    match path.split_once('.') {
        None => object.remove(path),
        Some((first, rest)) => {
            let inner = object.get_mut(first)?.as_object_mut()?;
            let value = take(inner, rest)?;
            if inner.is_empty() {
                object.remove(first);
            }
            Some(value)
        }
    }
}

/// Puts a value in; objects are made on the way, and an object joins one that is there.
pub(super) fn put(object: &mut Map<String, Value>, path: &str, value: Value) {
    match path.split_once('.') {
        None => match (object.get_mut(path).and_then(Value::as_object_mut), value) {
            (Some(present), Value::Object(more)) => present.extend(more),
            (_, value) => {
                object.insert(path.to_owned(), value);
            }
        },
        Some((first, rest)) => {
            let inner = object.entry(first).or_insert_with(|| Value::Object(Map::new()));
            if let Some(inner) = inner.as_object_mut() {
                put(inner, rest, value);
            }
        }
    }
}
