//! Types of custom resources, from their structural schema.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Atom, Field, List, Map, PatchRule, Ref, Relation, Scalar, object_meta};
use crate::schema::{Additional, ListType, Node, Type};

/// The type of a whole resource.
pub(super) fn root(node: &Node) -> Ref {
    convert(node, false, true)
}

fn field(type_: Ref, default: Option<serde_json::Value>) -> Field {
    Field {
        type_,
        default,
        required: false,
        always: false,
        patch: PatchRule::default(),
    }
}

fn scalar(scalar: Scalar) -> Atom {
    Atom {
        scalar: Some(scalar),
        ..Atom::default()
    }
}

/// `preserve` is inherited: below a node that keeps unknown fields, unknown fields are fine everywhere.
fn convert(node: &Node, preserve: bool, resource: bool) -> Ref {
    let preserve = preserve || node.preserve_unknown;
    let atom = match node.type_ {
        _ if node.int_or_string => several(node, preserve),
        Some(Type::Object) => Atom {
            map: Some(map(node, preserve, resource || node.embedded)),
            ..Atom::default()
        },
        Some(Type::Array) => Atom {
            list: Some(list(node, preserve)),
            ..Atom::default()
        },
        Some(Type::Integer | Type::Number) => scalar(Scalar::Numeric),
        Some(Type::Boolean) => scalar(Scalar::Boolean),
        Some(Type::String) if node.format.is_empty() || node.format == "byte" => scalar(Scalar::Text),
        Some(Type::String) => scalar(Scalar::Untyped),
        None => several(node, preserve),
    };
    Ref::Inline(Arc::new(atom))
}

fn several(node: &Node, preserve: bool) -> Atom {
    Atom {
        scalar: Some(Scalar::Untyped),
        list: Some(list(node, preserve)),
        map: Some(map(node, preserve, node.embedded)),
    }
}

fn list(node: &Node, preserve: bool) -> List {
    let relation = match node.list_type {
        ListType::Map => Relation::Keys(node.list_map_keys.clone()),
        ListType::Set => Relation::Set,
        ListType::Atomic | ListType::Unset => Relation::Atomic,
    };
    let item = node
        .items
        .as_ref()
        .map_or(Ref::Untyped, |items| convert(items, preserve, false));
    List { relation, item }
}

fn map(node: &Node, preserve: bool, resource: bool) -> Map {
    let mut fields: BTreeMap<String, Field> = node
        .properties
        .iter()
        .map(|(name, property)| {
            (
                name.clone(),
                field(convert(property, preserve, false), property.default.clone()),
            )
        })
        .collect();
    if resource {
        let text = || Ref::Inline(Arc::new(scalar(Scalar::Text)));
        fields.insert("apiVersion".to_owned(), field(text(), None));
        fields.insert("kind".to_owned(), field(text(), None));
        fields.insert("metadata".to_owned(), field(object_meta(), None));
    }
    let other = match &node.additional {
        Some(Additional::Schema(schema)) => convert(schema, preserve, false),
        Some(Additional::Any(true)) => Ref::Deduced,
        Some(Additional::Any(false)) => Ref::Undeclared,
        None if preserve || (node.properties.is_empty() && !resource) => Ref::Deduced,
        None => Ref::Undeclared,
    };
    Map {
        atomic: node.map_type.as_deref() == Some("atomic"),
        fields,
        other,
    }
}
