//! Rules as a whole: results, texts, transitions, ratcheting.

use serde_json::{Value, json};

use super::*;

fn rules(spec: Value) -> Rules {
    let schema = Structural::compile(&json!({"type": "object", "properties": {"spec": spec}})).unwrap();
    Rules::compile(&schema).unwrap()
}

fn texts(spec: Value, new: Value, old: Option<Value>) -> Vec<String> {
    let old = old.map(|old| json!({"spec": old}));
    rules(spec)
        .validate(&json!({"spec": new}), old.as_ref())
        .iter()
        .map(ToString::to_string)
        .collect()
}

fn object(rule: Value) -> Value {
    json!({"type": "object", "x-kubernetes-validations": [rule], "properties": {
        "min": {"type": "integer"}, "max": {"type": "integer"}, "name": {"type": "string"}, "namespace": {"type": "string"},
        "a_b": {"type": "string"}, "x-y": {"type": "string"}, "__c": {"type": "string"},
        "when": {"type": "string", "format": "date-time"}, "span": {"type": "string", "format": "duration"},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "port": {"x-kubernetes-int-or-string": true}, "ratio": {"type": "number"},
        "list": {"type": "array", "items": {"type": "string"}},
        "nullable": {"type": "string", "nullable": true},
    }})
}

#[test]
fn rules_pass_and_fail_with_the_texts_of_the_real_server() {
    let cases: Vec<(Value, Value, &[&str])> = vec![
        (
            json!({"rule": "self.min <= self.max"}),
            json!({"min": 1, "max": 2}),
            &[],
        ),
        (
            json!({"rule": "self.min <= self.max"}),
            json!({"min": 3, "max": 2}),
            &["spec: Invalid value: failed rule: self.min <= self.max"],
        ),
        (
            json!({"rule": "self.min <= self.max", "message": " too big "}),
            json!({"min": 3, "max": 2}),
            &["spec: Invalid value: too big"],
        ),
        (
            json!({"rule": "self.min <= self.max", "messageExpression": "'min ' + string(self.min) + ' is above max'"}),
            json!({"min": 3, "max": 2}),
            &["spec: Invalid value: min 3 is above max"],
        ),
        (
            json!({"rule": "self.min <= self.max", "message": "m", "messageExpression": "self.name"}),
            json!({"min": 3, "max": 2}),
            &["spec: Invalid value: m"],
        ),
        (
            json!({"rule": "self.min <= self.max", "reason": "FieldValueForbidden", "fieldPath": ".max", "message": "m"}),
            json!({"min": 3, "max": 2}),
            &["spec.max: Forbidden: m"],
        ),
        (
            json!({"rule": "self.min <= self.max", "message": "m"}),
            json!({"min": 3}),
            &["spec: Invalid value: \"object\": no such key: max evaluating rule: m"],
        ),
        (json!({"rule": "has(self.name) == has(self.min)"}), json!({}), &[]),
        (
            json!({"rule": "self.__namespace__ == 'x' && self.x__dash__y == 'y' && self.a_b == 'z' && self.__underscores__c == 'c'"}),
            json!({"namespace": "x", "x-y": "y", "a_b": "z", "__c": "c"}),
            &[],
        ),
        (
            json!({"rule": "self.when < timestamp('2025-01-01T00:00:00Z')"}),
            json!({"when": "2024-01-01T00:00:00Z"}),
            &[],
        ),
        (
            json!({"rule": "self.span > duration('1m')"}),
            json!({"span": "1h"}),
            &[],
        ),
        (
            json!({"rule": "self.labels['a-b'] == 'x' && 'a-b' in self.labels"}),
            json!({"labels": {"a-b": "x"}}),
            &[],
        ),
        (
            json!({"rule": "type(self.port) == int ? self.port < 10 : self.port.endsWith('%')"}),
            json!({"port": "5%"}),
            &[],
        ),
        (json!({"rule": "self.?name.orValue('x') == 'x'"}), json!({}), &[]),
        (
            json!({"rule": "quantity(self.name).compareTo(quantity('1Gi')) < 0"}),
            json!({"name": "1Mi"}),
            &[],
        ),
        (
            json!({"rule": "!format.dns1123Label().validate(self.name).hasValue()"}),
            json!({"name": "a-b"}),
            &[],
        ),
        (json!({"rule": "self.ratio == 1.0"}), json!({"ratio": 1}), &[]),
        (
            json!({"rule": "self.list.all(x, x.size() > 1) && self.list.exists_one(x, x == 'bb')"}),
            json!({"list": ["aa", "bb"]}),
            &[],
        ),
        (
            json!({"rule": "self.name.matches('^[a-z]+$')"}),
            json!({"name": "abc"}),
            &[],
        ),
        (
            json!({"rule": "!has(self.nullable) || self.nullable == null"}),
            json!({"nullable": null}),
            &[],
        ),
    ];
    for (rule, value, expected) in cases {
        assert_eq!(
            texts(object(rule.clone()), value.clone(), None),
            expected,
            "{rule} on {value}"
        );
    }
}

#[test]
fn scalars_show_their_value() {
    let spec = json!({"type": "string", "x-kubernetes-validations": [{"rule": "self == 'a'", "message": "must be a"}]});
    assert_eq!(
        texts(spec, json!("b"), None),
        [r#"spec: Invalid value: "b": must be a"#]
    );
}

#[test]
fn transition_rules_need_an_old_value() {
    let immutable = json!({"type": "string", "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "immutable"}]});
    assert!(texts(immutable.clone(), json!("a"), None).is_empty());
    assert!(texts(immutable.clone(), json!("a"), Some(json!("a"))).is_empty());
    assert_eq!(
        texts(immutable, json!("a"), Some(json!("b"))),
        [r#"spec: Invalid value: "a": immutable"#]
    );

    let optional = json!({"type": "string", "x-kubernetes-validations": [
        {"rule": "oldSelf.hasValue() || self == 'first'", "optionalOldSelf": true, "message": "starts with first"}]});
    assert!(texts(optional.clone(), json!("first"), None).is_empty());
    assert_eq!(
        texts(optional.clone(), json!("x"), None),
        [r#"spec: Invalid value: "x": starts with first"#]
    );
    assert!(texts(optional, json!("x"), Some(json!("first"))).is_empty());
}

#[test]
fn items_of_keyed_lists_meet_their_old_selves() {
    let list = |list_type: &str| {
        let keys = if list_type == "map" {
            json!(["k"])
        } else {
            json!([])
        };
        json!({"type": "array", "x-kubernetes-list-type": list_type, "x-kubernetes-list-map-keys": keys, "items": {"type": "object", "required": ["k"], "properties": {
            "k": {"type": "string"}, "v": {"type": "string", "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "immutable"}]}}}})
    };
    let old = json!([{"k": "a", "v": "1"}, {"k": "b", "v": "2"}]);
    let new = json!([{"k": "c", "v": "9"}, {"k": "b", "v": "3"}, {"k": "a", "v": "1"}]);
    assert_eq!(
        texts(list("map"), new, Some(old)),
        [r#"spec[1].v: Invalid value: "3": immutable"#]
    );
    let schema =
        Structural::compile(&json!({"type": "object", "properties": {"spec": list("atomic")}})).unwrap();
    let errors = Rules::compile(&schema).unwrap_err();
    assert_eq!(errors.len(), 1);
    assert!(errors[0].detail.starts_with(
        "oldSelf cannot be used on the uncorrelatable portion of the schema within properties[spec]"
    ));
}

#[test]
fn unchanged_failures_are_let_through() {
    let spec = json!({"type": "object", "properties": {
        "a": {"type": "string", "x-kubernetes-validations": [{"rule": "self != 'bad'"}]}, "b": {"type": "string"}}});
    assert!(
        texts(
            spec.clone(),
            json!({"a": "bad", "b": "2"}),
            Some(json!({"a": "bad", "b": "1"}))
        )
        .is_empty()
    );
    assert_eq!(
        texts(spec, json!({"a": "bad"}), Some(json!({"a": "good"}))).len(),
        1
    );
}

#[test]
fn root_rules_see_type_and_names() {
    let schema = Structural::compile(&json!({"type": "object", "x-kubernetes-validations": [
        {"rule": "self.metadata.name.size() < 4 && self.kind == 'K' && !has(self.metadata.labels)", "message": "m"}]}))
    .unwrap();
    let rules = Rules::compile(&schema).unwrap();
    let ok = json!({"apiVersion": "v1", "kind": "K", "metadata": {"name": "abc", "labels": {"a": "b"}}});
    assert!(rules.validate(&ok, None).is_empty());
    let bad = json!({"apiVersion": "v1", "kind": "K", "metadata": {"name": "abcd"}});
    assert_eq!(
        rules.validate(&bad, None)[0].to_string(),
        "<nil>: Invalid value: m"
    );
}

#[test]
fn faulty_rules_are_refused_at_compilation() {
    let cases = [
        (
            json!({"rule": "self.a ="}),
            "properties[spec].x-kubernetes-validations[0].rule",
        ),
        (
            json!({"rule": " "}),
            "properties[spec].x-kubernetes-validations[0].rule",
        ),
        (
            json!({"rule": "true", "message": "a\nb"}),
            "properties[spec].x-kubernetes-validations[0].message",
        ),
        (
            json!({"rule": "true", "reason": "X"}),
            "properties[spec].x-kubernetes-validations[0].reason",
        ),
        (
            json!({"rule": "true", "fieldPath": ".nope"}),
            "properties[spec].x-kubernetes-validations[0].fieldPath",
        ),
        (
            json!({"rule": "true", "optionalOldSelf": true}),
            "properties[spec].x-kubernetes-validations[0].optionalOldSelf",
        ),
        (
            json!({"rule": "true", "messageExpression": "'a"}),
            "properties[spec].x-kubernetes-validations[0].messageExpression",
        ),
    ];
    for (rule, path) in cases {
        let schema =
            Structural::compile(&json!({"type": "object", "properties": {"spec": object(rule.clone())}}))
                .unwrap();
        let errors = Rules::compile(&schema).unwrap_err();
        assert_eq!(errors[0].path, path, "{rule}");
    }
}

#[test]
fn all_rules_of_the_cluster_api_schemas_parse() {
    // A sample of rules in use there; their evaluation is covered by the conformance tests.
    for rule in [
        "!has(oldSelf.replicas) || has(self.replicas)",
        "self.all(x, self.exists_one(y, x.name == y.name))",
        "self.split(',').size() > 0",
        "isQuantity(self) && quantity(self).compareTo(quantity('0')) > 0",
        "!format.dns1123Label().validate(self).hasValue()",
        "self.?a.orValue('x') == 'x'",
    ] {
        assert!(Expression::parse(rule).is_ok(), "{rule}");
    }
}

#[test]
fn odd_expressions_are_errors_not_panics() {
    for rule in [
        "",
        "(",
        "self[",
        "1 +",
        "self.",
        "'\\q'",
        "{}[0]",
        "self.?",
        "-9223372036854775808",
        "0x",
        "a?b",
        "\u{0}",
        "[1][?9]",
        "1u - 2u",
        "self.all(x)",
    ] {
        if let Ok(expression) = Expression::parse(rule) {
            let variables = program::Variables {
                self_: kube_cel::cel::Value::Null,
                old_self: program::OldSelf::Undefined,
            };
            let _ = expression.evaluate(&variables);
        }
    }
}
