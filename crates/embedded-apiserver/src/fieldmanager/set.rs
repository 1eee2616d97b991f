//! Sets of field paths: the content of `fieldsV1`.
//!
//! Path elements are kept in their wire form (`f:name`, `k:{"name":"x"}`, `v:"x"`, `i:0`), so that sets serialise as they
//! are and compare as strings.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::schema::types::{Atom, Ref};
use crate::schema::{go_json, quote};

/// One step of a path, in wire form.
pub(super) type Element = Arc<str>;

/// A set of field paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Set {
    entries: BTreeMap<Element, Entry>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Entry {
    /// The path that ends here is in the set.
    member: bool,
    /// Longer paths.
    children: Set,
}

/// The element of a field.
pub(super) fn field(name: &str) -> Element {
    format!("f:{name}").into()
}

/// The element of a list item with keys.
pub(super) fn keyed(keys: &Map<String, Value>) -> Element {
    format!("k:{}", go_json(&Value::Object(keys.clone()))).into()
}

/// The element of a set's item.
pub(super) fn valued(value: &Value) -> Element {
    format!("v:{}", go_json(value)).into()
}

/// An element as conflict messages show it.
pub(super) fn show(element: &str) -> String {
    let scalar = |value: &Value| match value {
        Value::String(text) => quote(text),
        other => other.to_string(),
    };
    let (kind, rest) = element.split_at(2.min(element.len()));
    match (kind, serde_json::from_str::<Value>(rest)) {
        ("f:", _) => format!(".{rest}"),
        ("k:", Ok(Value::Object(keys))) => {
            let keys: Vec<String> = keys
                .iter()
                .map(|(name, value)| format!("{name}={}", scalar(value)))
                .collect();
            format!("[{}]", keys.join(","))
        }
        ("v:", Ok(value)) => format!("[={}]", scalar(&value)),
        _ => format!("[{rest}]"),
    }
}

impl Set {
    /// A set of paths that are made of field names.
    pub(super) fn of_fields(paths: &[&[&str]]) -> Self {
        let mut set = Self::default();
        for path in paths {
            let path: Vec<Element> = path.iter().map(|name| field(name)).collect();
            set.insert(&path);
        }
        set
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn insert(&mut self, path: &[Element]) {
        match path {
            [] => {}
            [last] => self.entries.entry(last.clone()).or_default().member = true,
            [first, rest @ ..] => self
                .entries
                .entry(first.clone())
                .or_default()
                .children
                .insert(rest),
        }
    }

    /// Whether the path of one element is in the set.
    pub(super) fn has(&self, element: &str) -> bool {
        self.entries.get(element).is_some_and(|entry| entry.member)
    }

    /// Paths below an element, without it.
    pub(super) fn below(&self, element: &str) -> Option<&Self> {
        self.entries
            .get(element)
            .map(|entry| &entry.children)
            .filter(|set| !set.is_empty())
    }

    pub(super) fn union(&self, other: &Self) -> Self {
        let mut result = self.clone();
        for (element, entry) in &other.entries {
            let mine = result.entries.entry(element.clone()).or_default();
            mine.member |= entry.member;
            mine.children = mine.children.union(&entry.children);
        }
        result
    }

    /// Builds a set from this one's entries; empty ones are dropped.
    fn map_entries(&self, change: impl Fn(&Element, &Entry) -> Entry) -> Self {
        let entries = self
            .entries
            .iter()
            .map(|(element, entry)| (element.clone(), change(element, entry)))
            .filter(|(_, entry)| entry.member || !entry.children.is_empty())
            .collect();
        Self { entries }
    }

    pub(super) fn intersection(&self, other: &Self) -> Self {
        self.map_entries(|element, entry| match other.entries.get(element) {
            Some(theirs) => Entry {
                member: entry.member && theirs.member,
                children: entry.children.intersection(&theirs.children),
            },
            None => Entry::default(),
        })
    }

    pub(super) fn difference(&self, other: &Self) -> Self {
        self.map_entries(|element, entry| match other.entries.get(element) {
            Some(theirs) => Entry {
                member: entry.member && !theirs.member,
                children: entry.children.difference(&theirs.children),
            },
            None => entry.clone(),
        })
    }

    /// [`Self::difference`], where a path takes all longer ones with it.
    pub(super) fn recursive_difference(&self, other: &Self) -> Self {
        self.map_entries(|element, entry| match other.entries.get(element) {
            Some(theirs) if theirs.member => Entry::default(),
            Some(theirs) => Entry {
                member: entry.member,
                children: entry.children.recursive_difference(&theirs.children),
            },
            None => entry.clone(),
        })
    }

    /// The set with every declared field on the way to a path added.
    pub(super) fn with_named_fields(&self, type_: &Ref) -> Self {
        let undeclared = Atom::default();
        let atom = type_.atom().unwrap_or(&undeclared);
        self.map_entries(|element, entry| {
            let name = element.strip_prefix("f:");
            let (declared, child) = match (name, &atom.map, &atom.list) {
                (Some(name), Some(map), _) => (map.fields.contains_key(name), map.field_type(name)),
                (None, _, Some(list)) if element.starts_with("k:") => (false, &list.item),
                _ => (false, &Ref::Undeclared),
            };
            Entry {
                member: entry.member || (declared && !entry.children.is_empty()),
                children: entry.children.with_named_fields(child),
            }
        })
    }

    /// All paths, shorter ones first on each level.
    pub(super) fn paths(&self) -> Vec<Vec<Element>> {
        let mut found = Vec::new();
        self.collect(&mut Vec::new(), &mut found);
        found
    }

    fn collect(&self, prefix: &mut Vec<Element>, found: &mut Vec<Vec<Element>>) {
        for (element, _) in self.entries.iter().filter(|(_, entry)| entry.member) {
            let mut path = prefix.clone();
            path.push(element.clone());
            found.push(path);
        }
        for (element, entry) in &self.entries {
            prefix.push(element.clone());
            entry.children.collect(prefix, found);
            prefix.pop();
        }
    }

    /// The `fieldsV1` object.
    pub(super) fn to_json(&self) -> Value {
        let mut object = Map::new();
        for (element, entry) in &self.entries {
            let mut child = match entry.children.to_json() {
                Value::Object(child) => child,
                _ => Map::new(),
            };
            if entry.member && !entry.children.is_empty() {
                child.insert(".".to_owned(), Value::Object(Map::new()));
            }
            object.insert(element.to_string(), Value::Object(child));
        }
        Value::Object(object)
    }

    /// Reads a `fieldsV1` object; elements of unknown kinds are dropped. None when it is malformed.
    pub(super) fn from_json(json: &Value) -> Option<Self> {
        let mut set = Self::default();
        for (key, child) in json.as_object()? {
            if key == "." {
                continue;
            }
            let element: Element = match key.get(..2)? {
                "f:" => key.as_str().into(),
                "k:" | "v:" | "i:" => {
                    let value: Value = serde_json::from_str(&key[2..]).ok()?;
                    format!("{}{}", &key[..2], go_json(&value)).into()
                }
                kind if kind.ends_with(':') => continue,
                _ => return None,
            };
            let children = Self::from_json(child)?;
            let member = children.is_empty() || child.get(".").is_some();
            set.entries.insert(element, Entry { member, children });
        }
        Some(set)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn set(json: Value) -> Set {
        Set::from_json(&json).unwrap()
    }

    #[test]
    fn sets_survive_their_wire_form() {
        let json = json!({"f:metadata": {"f:labels": {".": {}, "f:a": {}}}, "f:spec": {"f:list": {"k:{\"b\":1,\"a\":\"x\"}": {".": {}, "f:v": {}}, "v:\"s\"": {}}}});
        let expected = json!({"f:metadata": {"f:labels": {".": {}, "f:a": {}}}, "f:spec": {"f:list": {"k:{\"a\":\"x\",\"b\":1}": {".": {}, "f:v": {}}, "v:\"s\"": {}}}});
        assert_eq!(set(json).to_json(), expected);
        assert!(Set::from_json(&json!({"nonsense": {}})).is_none());
        assert!(Set::from_json(&json!([])).is_none());
    }

    #[test]
    fn the_algebra_holds() {
        let a = set(json!({"f:a": {}, "f:b": {".": {}, "f:x": {}, "f:y": {}}}));
        let b = set(json!({"f:b": {"f:x": {}}, "f:c": {}}));
        assert_eq!(
            a.union(&b).to_json(),
            json!({"f:a": {}, "f:b": {".": {}, "f:x": {}, "f:y": {}}, "f:c": {}})
        );
        assert_eq!(a.intersection(&b).to_json(), json!({"f:b": {"f:x": {}}}));
        assert_eq!(
            a.difference(&b).to_json(),
            json!({"f:a": {}, "f:b": {".": {}, "f:y": {}}})
        );
        let b = set(json!({"f:b": {}}));
        assert_eq!(
            a.difference(&b).to_json(),
            json!({"f:a": {}, "f:b": {"f:x": {}, "f:y": {}}})
        );
        assert_eq!(a.recursive_difference(&b).to_json(), json!({"f:a": {}}));
    }

    #[test]
    fn elements_are_shown_as_in_messages() {
        for (element, text) in [
            ("f:spec", ".spec"),
            ("k:{\"name\":\"x\",\"port\":80}", "[name=\"x\",port=80]"),
            ("v:\"s\"", "[=\"s\"]"),
            ("i:3", "[3]"),
        ] {
            assert_eq!(show(element), text);
        }
    }
}
