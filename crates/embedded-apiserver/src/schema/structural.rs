//! Whether a schema is structural: what `apiextensions.k8s.io/v1` demands of `openAPIV3Schema`.
//!
//! Only the shape of schemas is judged here, never objects.

use super::errors::{ErrorKind, FieldError};
use super::node::{Additional, ListType, Node, Type};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Item,
    Field,
}

/// All violations, sorted by their text.
pub(crate) fn violations(root: &Node) -> Vec<FieldError> {
    let mut errors = Vec::new();
    node(root, Level::Root, "", &mut errors);
    completeness(root, "", &mut errors);
    errors.sort_by_key(ToString::to_string);
    errors
}

fn child(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

fn node(node_: &Node, level: Level, path: &str, errors: &mut Vec<FieldError>) {
    if node_.type_ == Some(Type::Array) && node_.items.is_none() {
        errors.push(FieldError::required(child(path, "items"), "must be specified"));
    }
    if let Some(items) = &node_.items {
        node(items, Level::Item, &child(path, "items"), errors);
    }
    for (name, property) in &node_.properties {
        node(
            property,
            Level::Field,
            &format!("{}[{name}]", child(path, "properties")),
            errors,
        );
    }
    if let Some(additional) = &node_.additional {
        if level == Level::Root {
            errors.push(FieldError::forbidden(
                child(path, "additionalProperties"),
                "must not be used at the root",
            ));
        }
        if let Additional::Schema(schema) = additional {
            node(schema, Level::Field, &child(path, "additionalProperties"), errors);
        }
    }
    extensions(node_, path, errors);
    let any_of = is_int_or_string_any_of(node_);
    let all_of = node_
        .all_of
        .first()
        .is_some_and(|first| is_int_or_string_any_of(first));
    value_validation(node_, any_of, all_of, path, errors);
    types(node_, level, path, errors);
    metadata(node_, level, path, errors);
}

/// The `anyOf: [{type: integer}, {type: string}]` idiom.
fn is_int_or_string_any_of(node: &Node) -> bool {
    let only = |n: &Node, type_: Type| {
        n.type_ == Some(type_)
            && n.properties.is_empty()
            && n.items.is_none()
            && n.limits.is_none()
            && n.pattern.is_none()
            && n.enumeration.is_empty()
            && n.any_of.is_empty()
            && n.all_of.is_empty()
            && n.one_of.is_empty()
            && n.not.is_none()
            && n.format.is_empty()
    };
    match node.any_of.as_slice() {
        [a, b] => only(a, Type::Integer) && only(b, Type::String),
        _ => false,
    }
}

fn extensions(node: &Node, path: &str, errors: &mut Vec<FieldError>) {
    const TEXT: &str = "must be false if x-kubernetes-int-or-string is true";
    if node.int_or_string && node.preserve_unknown {
        errors.push(FieldError::invalid(
            child(path, "x-kubernetes-preserve-unknown-fields"),
            true,
            TEXT,
        ));
    }
    if node.int_or_string && node.embedded {
        errors.push(FieldError::invalid(
            child(path, "x-kubernetes-embedded-resource"),
            true,
            TEXT,
        ));
    }
}

fn types(node: &Node, level: Level, path: &str, errors: &mut Vec<FieldError>) {
    let type_path = child(path, "type");
    let type_text: &str = match node.type_ {
        Some(type_) => type_.name(),
        None => node.unknown_type.as_deref().unwrap_or_default(),
    };
    let untyped = type_text.is_empty();
    if node.embedded && node.type_ != Some(Type::Object) {
        let text = "must be object if x-kubernetes-embedded-resource is true";
        errors.push(if untyped {
            FieldError::required(type_path.clone(), text)
        } else {
            FieldError::invalid(type_path.clone(), type_text, text)
        });
    } else if untyped && !node.int_or_string && !node.preserve_unknown {
        let text = match level {
            Level::Root => "must not be empty at the root",
            Level::Item => "must not be empty for specified array items",
            Level::Field => "must not be empty for specified object fields",
        };
        errors.push(FieldError::required(type_path.clone(), text));
    }
    if node.embedded && node.additional.is_some() {
        let text = "must not be used if x-kubernetes-embedded-resource is set";
        errors.push(FieldError::forbidden(child(path, "additionalProperties"), text));
    }
    if level == Level::Root && !untyped && node.type_ != Some(Type::Object) {
        errors.push(FieldError::invalid(
            type_path,
            type_text,
            "must be object at the root",
        ));
    }
    if node.embedded && !node.preserve_unknown && node.properties.is_empty() {
        let text = "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields";
        errors.push(FieldError::required(child(path, "properties"), text));
    }
}

/// At the root and in embedded resources, apiVersion, kind and metadata have their fixed types, and metadata may only restrict names.
fn metadata(node: &Node, level: Level, path: &str, errors: &mut Vec<FieldError>) {
    let check = level == Level::Root || node.embedded;
    let properties = child(path, "properties");
    for name in ["kind", "apiVersion"] {
        if let Some(property) = node
            .properties
            .get(name)
            .filter(|p| check && p.type_ != Some(Type::String))
        {
            let path = format!("{properties}[{name}].type");
            errors.push(FieldError::invalid(path, property.type_text(), "must be string"));
        }
    }
    let Some(metadata) = node.properties.get("metadata") else {
        return;
    };
    let path = format!("{properties}[metadata]");
    if check && metadata.type_ != Some(Type::Object) {
        errors.push(FieldError::invalid(
            child(&path, "type"),
            metadata.type_text(),
            "must be object",
        ));
    }
    if level != Level::Root {
        return;
    }
    let only_names = metadata
        .properties
        .keys()
        .all(|k| k == "name" || k == "generateName");
    let plain = metadata.items.is_none()
        && metadata.additional.is_none()
        && !metadata.described
        && !metadata.titled
        && !metadata.nullable
        && !metadata.preserve_unknown
        && !metadata.embedded
        && !metadata.int_or_string
        && metadata.list_type == ListType::Unset
        && metadata.map_type.is_none()
        && metadata.rules.is_empty()
        && metadata.limits.is_none()
        && metadata.required.is_empty()
        && metadata.enumeration.is_empty()
        && metadata.all_of.is_empty()
        && metadata.any_of.is_empty()
        && metadata.one_of.is_empty()
        && metadata.not.is_none();
    if !(only_names && plain) {
        errors.push(FieldError::forbidden(
            path,
            "must not specify anything other than name and generateName, but metadata is implicitly specified",
        ));
    }
}

fn value_validation(
    node: &Node,
    skip_any_of: bool,
    skip_first_all_of: bool,
    path: &str,
    errors: &mut Vec<FieldError>,
) {
    if !skip_any_of {
        for (i, schema) in node.any_of.iter().enumerate() {
            nested(
                schema,
                false,
                false,
                &format!("{}[{i}]", child(path, "anyOf")),
                errors,
            );
        }
    }
    for (i, schema) in node.all_of.iter().enumerate() {
        nested(
            schema,
            skip_first_all_of && i == 0,
            true,
            &format!("{}[{i}]", child(path, "allOf")),
            errors,
        );
    }
    for (i, schema) in node.one_of.iter().enumerate() {
        nested(
            schema,
            false,
            false,
            &format!("{}[{i}]", child(path, "oneOf")),
            errors,
        );
    }
    if let Some(schema) = &node.not {
        nested(schema, false, false, &child(path, "not"), errors);
    }
    if let Some(pattern) = &node.pattern
        && let Err(error) = pattern.regex()
    {
        let text = format!("must be a valid regular expression, but isn't: {error}");
        errors.push(FieldError::invalid(
            child(path, "pattern"),
            pattern.text.as_str(),
            text,
        ));
    }
}

fn nested(node: &Node, skip_any_of: bool, _in_all_of: bool, path: &str, errors: &mut Vec<FieldError>) {
    value_validation(node, skip_any_of, false, path, errors);
    if let Some(items) = &node.items {
        nested(items, false, false, &child(path, "items"), errors);
    }
    for (name, property) in &node.properties {
        nested(
            property,
            false,
            false,
            &format!("{}[{name}]", child(path, "properties")),
            errors,
        );
    }
    let mut forbid = |wrong: bool, field: &str, text: &str| {
        if wrong {
            errors.push(FieldError::new(
                ErrorKind::Forbidden,
                child(path, field),
                "",
                text,
            ));
        }
    };
    forbid(
        node.type_.is_some() || node.unknown_type.is_some(),
        "type",
        "must be empty to be structural",
    );
    forbid(
        node.additional.is_some(),
        "additionalProperties",
        "must be undefined to be structural",
    );
    forbid(
        node.default.is_some(),
        "default",
        "must be undefined to be structural",
    );
    forbid(node.titled, "title", "must be empty to be structural");
    forbid(node.described, "description", "must be empty to be structural");
    forbid(node.nullable, "nullable", "must be false to be structural");
    forbid(
        node.preserve_unknown,
        "x-kubernetes-preserve-unknown-fields",
        "must be false to be structural",
    );
    forbid(
        node.embedded,
        "x-kubernetes-embedded-resource",
        "must be false to be structural",
    );
    forbid(
        node.int_or_string,
        "x-kubernetes-int-or-string",
        "must be false to be structural",
    );
    forbid(
        !node.list_map_keys.is_empty(),
        "x-kubernetes-list-map-keys",
        "must be empty to be structural",
    );
    forbid(
        node.list_type != ListType::Unset,
        "x-kubernetes-list-type",
        "must be undefined to be structural",
    );
    forbid(
        node.map_type.is_some(),
        "x-kubernetes-map-type",
        "must be undefined to be structural",
    );
    forbid(
        !node.rules.is_empty(),
        "x-kubernetes-validations",
        "must be empty to be structural",
    );
    forbid(
        node.properties.contains_key("metadata"),
        "properties[metadata]",
        "must not be specified in a nested context",
    );
}

/// Everything that is restricted under a junctor must be specified outside of it too.
fn completeness(node: &Node, path: &str, errors: &mut Vec<FieldError>) {
    junctors(node, Some(node), path, path, errors);
}

fn junctors(
    value: &Node,
    structure: Option<&Node>,
    s_path: &str,
    v_path: &str,
    errors: &mut Vec<FieldError>,
) {
    if let Some(not) = &value.not {
        nested_completeness(not, structure, s_path, &child(v_path, "not"), errors);
    }
    for (name, list) in [
        ("allOf", &value.all_of),
        ("anyOf", &value.any_of),
        ("oneOf", &value.one_of),
    ] {
        for (i, schema) in list.iter().enumerate() {
            nested_completeness(
                schema,
                structure,
                s_path,
                &format!("{}[{i}]", child(v_path, name)),
                errors,
            );
        }
    }
}

fn nested_completeness(
    value: &Node,
    structure: Option<&Node>,
    s_path: &str,
    v_path: &str,
    errors: &mut Vec<FieldError>,
) {
    let Some(structure) = structure else {
        errors.push(FieldError::required(
            s_path,
            format!("because it is defined in {v_path}"),
        ));
        return;
    };
    junctors(value, Some(structure), s_path, v_path, errors);
    if let Some(items) = &value.items {
        let (s, v) = (child(s_path, "items"), child(v_path, "items"));
        nested_completeness(items, structure.items.as_deref(), &s, &v, errors);
    }
    for (name, property) in &value.properties {
        let s = format!("{}[{name}]", child(s_path, "properties"));
        let v = format!("{}[{name}]", child(v_path, "properties"));
        nested_completeness(
            property,
            structure.properties.get(name).map(|n| &**n),
            &s,
            &v,
            errors,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn texts(schema: serde_json::Value) -> Vec<String> {
        violations(&Node::parse(&schema))
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn structural_schemas_pass() {
        let good = json!({"type": "object", "properties": {
            "metadata": {"type": "object", "properties": {"name": {"type": "string", "maxLength": 63}}},
            "port": {"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]},
            "any": {"x-kubernetes-preserve-unknown-fields": true},
            "list": {"type": "array", "items": {"type": "string"}},
        }, "anyOf": [{"required": ["port"]}, {"properties": {"list": {"minItems": 1}}}]});
        assert_eq!(texts(good), Vec::<String>::new());
    }

    #[test]
    fn each_violation_is_named() {
        let cases = [
            (json!({}), "type: Required value: must not be empty at the root"),
            (
                json!({"type": "array", "items": {"type": "string"}}),
                "type: Invalid value: \"array\": must be object at the root",
            ),
            (
                json!({"type": "object", "properties": {"a": {}}}),
                "properties[a].type: Required value: must not be empty for specified object fields",
            ),
            (
                json!({"type": "object", "properties": {"a": {"type": "array"}}}),
                "properties[a].items: Required value: must be specified",
            ),
            (
                json!({"type": "object", "properties": {"a": {"type": "object"}}, "anyOf": [{"properties": {"a": {"type": "object"}}}]}),
                "anyOf[0].properties[a].type: Forbidden: must be empty to be structural",
            ),
            (
                json!({"type": "object", "anyOf": [{"properties": {"b": {"minimum": 1}}}]}),
                "properties[b]: Required value: because it is defined in anyOf[0].properties[b]",
            ),
            (
                json!({"type": "object", "properties": {"metadata": {"type": "object", "properties": {"labels": {"type": "object"}}}}}),
                "properties[metadata]: Forbidden: must not specify anything other than name and generateName, but metadata is implicitly specified",
            ),
            (
                json!({"type": "object", "additionalProperties": {"type": "string"}}),
                "additionalProperties: Forbidden: must not be used at the root",
            ),
        ];
        for (schema, expected) in cases {
            let found = texts(schema.clone());
            assert!(
                found.iter().any(|t| t == expected),
                "{schema}: {found:?} lacks {expected}"
            );
        }
    }
}
