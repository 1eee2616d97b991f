//! The merge of an applied configuration into the live object: the right side wins, keyed lists merge item by item.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::set::{Element, show};
use super::typed::{Shape, atom_of, item_element, shape};
use crate::schema::types::{Atom, List, Ref, Relation};

/// Merges two values of a type; None when the result is nothing.
pub(super) fn merge(
    type_: &Ref,
    left: Option<&Value>,
    right: Option<&Value>,
) -> Result<Option<Value>, String> {
    let atom = atom_of(type_)?;
    // Where the shapes differ, the right side replaces the left.
    let chosen = if right.is_none() {
        shape(atom, left)
    } else {
        shape(atom, right)
    };
    handle(atom, chosen, left, right)
}

fn handle(
    atom: &Atom,
    chosen: Shape,
    left: Option<&Value>,
    right: Option<&Value>,
) -> Result<Option<Value>, String> {
    let leaf = || Ok(right.or(left).cloned());
    match chosen {
        Shape::Scalar => leaf(),
        Shape::List => {
            let Some(list) = &atom.list else { return leaf() };
            let (l, r) = (left.and_then(Value::as_array), right.and_then(Value::as_array));
            if list.relation == Relation::Atomic
                || (l.is_none_or(Vec::is_empty) && r.is_none_or(Vec::is_empty))
            {
                return leaf();
            }
            let out = items(list, l.map_or(&[], Vec::as_slice), r.map_or(&[], Vec::as_slice))?;
            Ok((!out.is_empty()).then_some(Value::Array(out)))
        }
        Shape::Map => {
            let Some(map) = &atom.map else { return leaf() };
            let (l, r) = (left.and_then(Value::as_object), right.and_then(Value::as_object));
            if map.atomic || (l.is_none_or(Map::is_empty) && r.is_none_or(Map::is_empty)) {
                return leaf();
            }
            let none = Map::new();
            let (l, r) = (l.unwrap_or(&none), r.unwrap_or(&none));
            let mut out = Map::new();
            for name in l.keys().chain(r.keys().filter(|name| !l.contains_key(*name))) {
                let merged = match map.field_type(name) {
                    Ref::Undeclared => r.get(name).or_else(|| l.get(name)).cloned(),
                    type_ => merge(type_, l.get(name), r.get(name))?,
                };
                if let Some(value) = merged {
                    out.insert(name.clone(), value);
                }
            }
            Ok((!out.is_empty()).then_some(Value::Object(out)))
        }
        Shape::Nothing => Err("schema error: invalid atom: inlined".to_owned()),
    }
}

/// The order of a list, and its items by their element.
type Indexed<'a> = (Vec<Element>, HashMap<Element, Option<&'a Value>>);

/// Items of one side with their elements; an item whose key appears twice stands for nothing.
fn index<'a>(list: &List, items: &'a [Value], duplicates: bool) -> Result<Indexed<'a>, String> {
    let mut order = Vec::new();
    let mut by_element: HashMap<Element, Option<&Value>> = HashMap::new();
    for (i, item) in items.iter().enumerate() {
        let element = item_element(list, item).map_err(|e| format!("element {i}: {e}"))?;
        if by_element.contains_key(&element) {
            if !duplicates {
                return Err(format!("duplicate entries for key {}", show(&element)));
            }
            by_element.insert(element.clone(), None);
        } else {
            by_element.insert(element.clone(), Some(item));
        }
        order.push(element);
    }
    Ok((order, by_element))
}

/// Merges keyed lists: the order of the right side holds for its items, items of the left side alone keep their places between them.
fn items(list: &List, left: &[Value], right: &[Value]) -> Result<Vec<Value>, String> {
    let (right_order, right_items) = index(list, right, false)?;
    let (left_order, left_items) = index(list, left, true)?;
    let mut shared = right_order
        .iter()
        .filter(|element| left_items.contains_key(*element));
    let mut next_shared = shared.next();
    let mut done: HashSet<&Element> = HashSet::new();
    let mut out = Vec::new();
    let mut add = |l: Option<&Value>, r: Option<&Value>| -> Result<(), String> {
        if (l.is_some() || r.is_some())
            && let Some(value) = merge(&list.item, l, r)?
        {
            out.push(value);
        }
        Ok(())
    };
    let both = |element: &Element| {
        (
            left_items.get(element).copied().flatten(),
            right_items.get(element).copied().flatten(),
        )
    };
    let (mut l, mut r) = (0, 0);
    while l < left_order.len() || r < right_order.len() {
        if let (Some(le), Some(re)) = (left_order.get(l), right_order.get(r)) {
            if le == re {
                done.insert(re);
                let (old, new) = both(re);
                add(old, new)?;
                l += 1;
                r += 1;
                next_shared = shared.next();
                continue;
            }
            if right_items.contains_key(le) && next_shared.is_some_and(|shared| shared != le) {
                // Shared, but not the next shared one: it comes where the right side has it.
                l += 1;
                continue;
            }
        }
        if let Some(le) = left_order.get(l) {
            if !right_items.contains_key(le) {
                add(left.get(l), None)?;
                l += 1;
                continue;
            }
            if done.contains(le) {
                l += 1;
            }
        }
        if let Some(re) = right_order.get(r) {
            done.insert(re);
            let (old, new) = both(re);
            add(old, new)?;
            r += 1;
            if next_shared.is_some_and(|shared| shared == re) {
                next_shared = shared.next();
            }
        }
    }
    Ok(out)
}
