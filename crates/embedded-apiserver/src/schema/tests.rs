//! Validation as a whole: texts, reasons, ratcheting.

use serde_json::{Value, json};

use super::*;

fn schema(spec: Value) -> Structural {
    Structural::compile(&json!({"type": "object", "properties": {"spec": spec}})).unwrap()
}

fn texts(spec: Value, value: Value) -> Vec<String> {
    let mut texts: Vec<String> = schema(spec)
        .validate(&json!({"spec": value}), None)
        .iter()
        .map(ToString::to_string)
        .collect();
    texts.sort();
    texts
}

#[test]
fn each_rule_has_the_text_of_the_real_server() {
    let cases: Vec<(Value, Value, &[&str])> = vec![
        (
            json!({"type": "integer"}),
            json!("x"),
            &[r#"spec: Invalid value: "string": spec in body must be of type integer: "string""#],
        ),
        (
            json!({"type": "string"}),
            json!(1),
            &[r#"spec: Invalid value: "integer": spec in body must be of type string: "integer""#],
        ),
        (
            json!({"type": "boolean"}),
            json!("true"),
            &[r#"spec: Invalid value: "string": spec in body must be of type boolean: "string""#],
        ),
        (
            json!({"type": "string"}),
            json!(null),
            &[r#"spec: Invalid value: "null": spec in body must be of type string: "null""#],
        ),
        (json!({"type": "string", "nullable": true}), json!(null), &[]),
        (
            json!({"type": "object", "required": ["a", "b"], "properties": {"a": {"type": "string"}, "b": {"type": "string"}}}),
            json!({"a": ""}),
            &["spec.b: Required value"],
        ),
        (
            json!({"type": "string", "enum": ["A", "B"]}),
            json!("C"),
            &[r#"spec: Unsupported value: "C": supported values: "A", "B""#],
        ),
        (
            json!({"type": "integer", "enum": [1, 2]}),
            json!(3),
            &[r#"spec: Unsupported value: 3: supported values: "1", "2""#],
        ),
        (
            json!({"type": "integer", "minimum": 1}),
            json!(0),
            &["spec: Invalid value: 0: spec in body should be greater than or equal to 1"],
        ),
        (
            json!({"type": "integer", "maximum": 5, "exclusiveMaximum": true}),
            json!(5),
            &["spec: Invalid value: 5: spec in body should be less than 5"],
        ),
        (
            json!({"type": "number", "minimum": 0.5}),
            json!(0.25),
            &["spec: Invalid value: 0.25: spec in body should be greater than or equal to 0.5"],
        ),
        (
            json!({"type": "integer", "multipleOf": 3}),
            json!(4),
            &["spec: Invalid value: 4: spec in body should be a multiple of 3"],
        ),
        (
            json!({"type": "string", "maxLength": 2}),
            json!("äöü"),
            &["spec: Too long: may not be more than 2 bytes"],
        ),
        (
            json!({"type": "string", "minLength": 1}),
            json!(""),
            &[r#"spec: Invalid value: "": spec in body should be at least 1 chars long"#],
        ),
        (
            json!({"type": "string", "pattern": "^[a-z]+$"}),
            json!("A"),
            &[r#"spec: Invalid value: "A": spec in body should match '^[a-z]+$'"#],
        ),
        (
            json!({"type": "array", "maxItems": 1, "items": {"type": "string"}}),
            json!(["a", "b"]),
            &["spec: Too many: 2: must have at most 1 item"],
        ),
        (
            json!({"type": "array", "minItems": 1, "items": {"type": "string"}}),
            json!([]),
            &["spec: Invalid value: 0: spec in body should have at least 1 items"],
        ),
        (
            json!({"type": "object", "minProperties": 1, "properties": {"a": {"type": "string"}}}),
            json!({}),
            &["spec: Invalid value: 0: spec in body should have at least 1 properties"],
        ),
        (
            json!({"type": "object", "maxProperties": 1, "additionalProperties": {"type": "string"}}),
            json!({"a": "", "b": ""}),
            &["spec: Too many: 2: must have at most 1 item"],
        ),
        (
            json!({"type": "object", "additionalProperties": {"type": "string"}}),
            json!({"a": 1}),
            &[r#"spec.a: Invalid value: "integer": spec.a in body must be of type string: "integer""#],
        ),
        (
            json!({"type": "array", "items": {"type": "string"}}),
            json!(["a", 1]),
            &[r#"spec[1]: Invalid value: "integer": spec[1] in body must be of type string: "integer""#],
        ),
        (
            json!({"type": "string", "format": "date-time"}),
            json!("x"),
            &[r#"spec: Invalid value: "x": spec in body must be of type date-time: "x""#],
        ),
        (json!({"type": "string", "format": "unheard-of"}), json!("x"), &[]),
        (
            json!({"type": "integer", "format": "int32"}),
            json!(3_000_000_000i64),
            &[r#"<nil>: Invalid value: "": Checked value must be of type integer with format int32 in spec"#],
        ),
        (
            json!({"type": "integer", "format": "int32"}),
            json!(1.5),
            &[
                r#"<nil>: Invalid value: "": Checked value must be of type integer with format int32 in spec"#,
                r#"spec: Invalid value: "float64": spec in body must be of type int32: "float64""#,
            ],
        ),
        (json!({"type": "integer"}), json!(1.0), &[]),
        (json!({"type": "number"}), json!(1), &[]),
        (json!({"x-kubernetes-int-or-string": true}), json!("25%"), &[]),
        (
            json!({"x-kubernetes-int-or-string": true}),
            json!(true),
            &[r#"spec: Invalid value: "boolean": spec in body must be of type integer,string: "boolean""#],
        ),
        (
            json!({"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]}),
            json!(true),
            &[
                r#"<nil>: Invalid value: "": "spec" must validate at least one schema (anyOf)"#,
                r#"spec: Invalid value: "boolean": spec in body must be of type integer,string: "boolean""#,
                r#"spec: Invalid value: "boolean": spec in body must be of type integer: "boolean""#,
            ],
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}}, "oneOf": [{"required": ["a"]}, {"required": ["b"]}]}),
            json!({"a": "", "b": ""}),
            &[
                r#"<nil>: Invalid value: "": "spec" must validate one and only one schema (oneOf). Found 2 valid alternatives"#,
            ],
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}}, "oneOf": [{"required": ["a"]}, {"required": ["b"]}]}),
            json!({}),
            &[
                r#"<nil>: Invalid value: "": "spec" must validate one and only one schema (oneOf). Found none valid"#,
                "spec.a: Required value",
            ],
        ),
        (
            json!({"type": "integer", "allOf": [{"minimum": 3}, {"maximum": 1}]}),
            json!(2),
            &[
                r#"<nil>: Invalid value: "": "spec" must validate all the schemas (allOf). None validated"#,
                "spec: Invalid value: 2: spec in body should be greater than or equal to 3",
                "spec: Invalid value: 2: spec in body should be less than or equal to 1",
            ],
        ),
        (
            json!({"type": "integer", "not": {"minimum": 3}}),
            json!(3),
            &[r#"<nil>: Invalid value: "": "spec" must not validate the schema (not)"#],
        ),
        (
            json!({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}}),
            json!(["a", "a"]),
            &[r#"spec[1]: Duplicate value: "a""#],
        ),
        (
            json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"], "items": {"type": "object", "required": ["k"], "properties": {"k": {"type": "string"}}}}),
            json!([{"k": "a"}, {"k": "a"}]),
            &[r#"spec[1]: Duplicate value: {"k":"a"}"#],
        ),
        (
            json!({"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true}),
            json!({"kind": ""}),
            &[
                r#"spec.apiVersion: Required value"#,
                r#"spec.kind: Invalid value: "": must not be empty"#,
            ],
        ),
    ];
    for (spec, value, expected) in cases {
        assert_eq!(texts(spec.clone(), value.clone()), expected, "{spec} on {value}");
    }
}

#[test]
fn causes_carry_reason_message_and_field() {
    let errors = schema(json!({"type": "integer"})).validate(&json!({"spec": "x"}), None);
    assert_eq!(
        errors[0].cause(),
        json!({"reason": "FieldValueTypeInvalid", "message": "Invalid value: \"string\": spec in body must be of type integer: \"string\"", "field": "spec"})
    );
    assert_eq!(aggregate(&errors), errors[0].to_string());
    let twice = [
        errors[0].clone(),
        FieldError::required("a", ""),
        errors[0].clone(),
    ];
    assert_eq!(aggregate(&twice), format!("[{}, a: Required value]", errors[0]));
}

#[test]
fn unchanged_errors_are_let_through_on_update() {
    let schema = schema(json!({"type": "object", "properties": {
        "a": {"type": "string", "maxLength": 1},
        "b": {"type": "string"},
        "list": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
            "items": {"type": "object", "required": ["k"], "properties": {"k": {"type": "string"}, "v": {"type": "integer", "minimum": 1}}}},
        "atomic": {"type": "array", "items": {"type": "integer", "minimum": 1}},
    }}));
    let old = json!({"spec": {"a": "long", "b": "1", "list": [{"k": "x", "v": 0}], "atomic": [0]}});
    let cases = [
        (
            json!({"a": "long", "b": "2", "list": [{"k": "x", "v": 0}], "atomic": [0]}),
            vec![],
        ),
        (json!({"a": "longer", "b": "1"}), vec!["spec.a"]),
        (json!({"list": [{"k": "y", "v": 1}, {"k": "x", "v": 0}]}), vec![]),
        (json!({"list": [{"k": "y", "v": 0}]}), vec!["spec.list[0].v"]),
        (
            json!({"atomic": [0, 0]}),
            vec!["spec.atomic[0]", "spec.atomic[1]"],
        ),
    ];
    for (spec, expected) in cases {
        let errors = schema.validate(&json!({"spec": spec}), Some(&old));
        let paths: Vec<&str> = errors.iter().map(|e| e.path.as_str()).collect();
        assert_eq!(paths, expected, "{spec}");
    }
}

#[test]
fn status_is_validated_below_its_own_root() {
    let schema = Structural::compile(&json!({"type": "object", "required": ["spec"], "properties": {
        "status": {"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}}}}}))
    .unwrap();
    let errors = schema.validate_status(&json!({"status": {"n": 0}}), &json!({"status": {}}));
    assert_eq!(errors.len(), 1);
    assert_eq!(
        errors[0].to_string(),
        "status.n: Invalid value: 0: n in body should be greater than or equal to 1"
    );
}

#[test]
fn go_patterns_mean_the_same_here() {
    let cases = [
        (r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "a-b", true),
        (r"^\d+$", "٣", false),
        (r"^[\w.]+$", "a_b.c", true),
        (r"^[[:alpha:]]+$", "abc", true),
        (r"^[a[b]+$", "a[b", true),
        (r"^(?:https?)://[^\s/$.?#].[^\s]*$", "https://x.y", true),
        (r"^([0-9]+(\.[0-9]+)?(s|m|h))+$", "1h30m", true),
        (r"^[^\s]+$", "a b", false),
        (r"^a{2}\/$", "aa/", true),
        (r"^[&&]+$", "&", true),
    ];
    for (pattern, text, expected) in cases {
        let regex =
            regex::Regex::new(&node::go_pattern(pattern)).unwrap_or_else(|e| panic!("{pattern}: {e}"));
        assert_eq!(regex.is_match(text), expected, "{pattern} on {text}");
    }
}

#[test]
fn go_floats_and_quotes() {
    for (f, text) in [
        (0.5, "0.5"),
        (1e21, "1e+21"),
        (1e20, "100000000000000000000"),
        (1e-5, "1e-05"),
        (0.0, "0"),
    ] {
        assert_eq!(go_float(f), text);
    }
    assert_eq!(quote("a\"b\\\n\u{1}"), r#""a\"b\\\n\x01""#);
    assert_eq!(go_json(&json!({"a": "<&>"})), r#"{"a":"\u003c\u0026\u003e"}"#);
}

#[test]
fn garbage_never_panics() {
    let garbage = [
        json!(null),
        json!(1),
        json!("x"),
        json!([]),
        json!([null]),
        json!({"spec": null}),
        json!({"spec": [[{}]]}),
    ];
    let schemas = [
        json!({"type": "object", "properties": 1, "required": "x", "enum": {}}),
        json!({"type": "object", "properties": {"spec": {"type": "array", "items": {"type": "object", "required": [1], "properties": {"a": {"type": "string", "pattern": "a"}}}}}}),
        json!({"type": "object", "properties": {"spec": {"x-kubernetes-preserve-unknown-fields": true, "maximum": "x"}}}),
    ];
    for schema in schemas {
        if let Ok(compiled) = Structural::compile(&schema) {
            for value in &garbage {
                let mut copy = value.clone();
                compiled.prune(&mut copy);
                compiled.default(&mut copy);
                let _ = compiled.validate(&copy, Some(value));
                let _ = compiled.validate(value, None);
            }
        }
    }
}
