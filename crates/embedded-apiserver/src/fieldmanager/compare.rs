//! The difference of two values of a type, as sets of fields.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::set::{Element, Set, field};
use super::typed::{Shape, atom_of, item_element, shape};
use crate::schema::types::{Atom, List, Ref, Relation};

/// What changed between two values.
#[derive(Default)]
pub(super) struct Comparison {
    pub(super) removed: Set,
    pub(super) modified: Set,
    pub(super) added: Set,
}

impl Comparison {
    /// Leaves out fields that the server resets.
    pub(super) fn without(mut self, fields: &Set) -> Self {
        self.removed = self.removed.recursive_difference(fields);
        self.modified = self.modified.recursive_difference(fields);
        self.added = self.added.recursive_difference(fields);
        self
    }
}

/// Compares two values of a type. The error is a text for logs.
pub(super) fn compare(type_: &Ref, left: &Value, right: &Value) -> Result<Comparison, String> {
    let mut walk = Walk {
        path: Vec::new(),
        found: Comparison::default(),
    };
    walk.node(type_, Some(left), Some(right))?;
    Ok(walk.found)
}

struct Walk {
    path: Vec<Element>,
    found: Comparison,
}

impl Walk {
    fn node(&mut self, type_: &Ref, left: Option<&Value>, right: Option<&Value>) -> Result<(), String> {
        let atom = atom_of(type_)?;
        let (left_shape, right_shape) = (shape(atom, left), shape(atom, right));
        let leaf = if right.is_none() {
            self.handle(atom, left_shape, left, right)?
        } else {
            if left.is_some() && left_shape != right_shape {
                self.handle(atom, left_shape, left, right)?;
            }
            self.handle(atom, right_shape, left, right)?
        };
        if !leaf {
            match (left, right) {
                (None, _) => self.found.added.insert(&self.path),
                (_, None) => self.found.removed.insert(&self.path),
                _ => {}
            }
        }
        Ok(())
    }

    /// Compares as one shape; true when the node was taken as a whole.
    fn handle(
        &mut self,
        atom: &Atom,
        shape: Shape,
        left: Option<&Value>,
        right: Option<&Value>,
    ) -> Result<bool, String> {
        match shape {
            Shape::Scalar => {
                self.leaf(left, right);
                Ok(true)
            }
            Shape::List => {
                let Some(list) = &atom.list else { return Ok(false) };
                let (l, r) = (left.and_then(Value::as_array), right.and_then(Value::as_array));
                let empty = l.is_none_or(Vec::is_empty) && r.is_none_or(Vec::is_empty);
                if list.relation == Relation::Atomic || empty {
                    self.leaf(left, right);
                    return Ok(true);
                }
                self.items(list, l.map_or(&[], Vec::as_slice), r.map_or(&[], Vec::as_slice))?;
                Ok(false)
            }
            Shape::Map => {
                let Some(map) = &atom.map else { return Ok(false) };
                let (l, r) = (left.and_then(Value::as_object), right.and_then(Value::as_object));
                let empty = l.is_none_or(Map::is_empty) && r.is_none_or(Map::is_empty);
                if map.atomic || empty {
                    self.leaf(left, right);
                    return Ok(true);
                }
                let none = Map::new();
                let (l, r) = (l.unwrap_or(&none), r.unwrap_or(&none));
                for name in l.keys().chain(r.keys().filter(|name| !l.contains_key(*name))) {
                    self.path.push(field(name));
                    let result = match map.field_type(name) {
                        // Fields that no type declares are nobody's.
                        Ref::Undeclared => Ok(()),
                        type_ => self.node(type_, l.get(name), r.get(name)),
                    };
                    self.path.pop();
                    result?;
                }
                Ok(false)
            }
            Shape::Nothing => Err("schema error: invalid atom".to_owned()),
        }
    }

    fn leaf(&mut self, left: Option<&Value>, right: Option<&Value>) {
        match (left, right) {
            (None, _) => self.found.added.insert(&self.path),
            (_, None) => self.found.removed.insert(&self.path),
            (Some(l), Some(r)) if !same(l, r) => self.found.modified.insert(&self.path),
            _ => {}
        }
    }

    fn items(&mut self, list: &List, left: &[Value], right: &[Value]) -> Result<(), String> {
        let mut all: BTreeMap<Element, (Vec<&Value>, Vec<&Value>)> = BTreeMap::new();
        for (i, item) in left.iter().enumerate() {
            let element = item_element(list, item).map_err(|e| format!("element {i}: {e}"))?;
            all.entry(element).or_default().0.push(item);
        }
        for (i, item) in right.iter().enumerate() {
            let element = item_element(list, item).map_err(|e| format!("element {i}: {e}"))?;
            all.entry(element).or_default().1.push(item);
        }
        for (element, (l, r)) in all {
            self.path.push(element);
            let result = self.item(list, &l, &r);
            self.path.pop();
            result?;
        }
        Ok(())
    }

    /// Items of one key; several where the list has duplicates.
    fn item(&mut self, list: &List, left: &[&Value], right: &[&Value]) -> Result<(), String> {
        match (left, right) {
            ([] | [_], [] | [_]) => self.node(&list.item, left.first().copied(), right.first().copied()),
            ([_, _, ..], [_, _, ..]) => {
                if left.len() != right.len() || left.iter().zip(right).any(|(l, r)| !same(l, r)) {
                    self.found.modified.insert(&self.path);
                }
                Ok(())
            }
            ([_, _, ..], _) => {
                if let Some(only) = right.first() {
                    self.node(&list.item, None, Some(only))?;
                }
                self.found.removed.insert(&self.path);
                Ok(())
            }
            _ => {
                if let Some(only) = left.first() {
                    self.node(&list.item, Some(only), None)?;
                }
                self.found.added.insert(&self.path);
                Ok(())
            }
        }
    }
}

/// Equality in which `1` and `1.0` are the same.
pub(super) fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(k, v)| b.get(k).is_some_and(|w| same(v, w)))
        }
        _ => a == b,
    }
}
