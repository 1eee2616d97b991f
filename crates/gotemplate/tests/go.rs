//! What Go 1.26's text/template answers for a list of templates (`testdata/go.json`), and what this crate does.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here fails the test")]

use std::fmt::Write;

use gotemplate::{Functions, Limits, Template, Value};
use proptest::prelude::*;

fn render(template: &str, data: &Value) -> Result<String, gotemplate::Error> {
    Template::parse(template)?.render(data, Limits::default())
}

#[test]
fn every_template_renders_as_in_go() {
    let recorded: serde_json::Value = serde_json::from_str(include_str!("../testdata/go.json")).unwrap();
    let data = Value::from(recorded["data"].clone());
    let mut differences = String::new();
    let cases = recorded["cases"].as_array().unwrap();
    for case in cases {
        let template = case["template"].as_str().unwrap();
        let got = render(template, &data);
        let same = match &got {
            Ok(text) => case["fails"] != true && case["want"].as_str().unwrap_or_default() == text,
            Err(_) => case["fails"] == true,
        };
        if !same {
            writeln!(differences, "{template}\n  Go:   {case}\n  here: {got:?}").unwrap();
        }
    }
    assert!(cases.len() > 200);
    assert!(differences.is_empty(), "{differences}");
}

#[test]
fn an_error_names_the_line_and_the_culprit() {
    let data = Value::from(serde_json::json!({"list": [1]}));
    for (template, want) in [
        ("a\n{{ upper .x }}", "line 2: function \"upper\" not defined"),
        (
            "\n\n{{ index .list 3 }}",
            "line 3: error calling index: index out of range: 3",
        ),
        ("{{ $x }}", "line 1: undefined variable \"$x\""),
        (
            "{{ .list.x }}",
            "line 1: can't evaluate field x in type []interface {}",
        ),
        ("{{ if .list }}", "line 1: unexpected EOF: if has no {{end}}"),
    ] {
        assert_eq!(render(template, &data).unwrap_err().to_string(), want);
    }
}

#[test]
fn functions_can_be_added() {
    let functions = Functions::default().with("shout", |args| Ok(format!("{}!", args[0]).into()));
    let template = Template::parse_with("{{ .name | shout }}", functions).unwrap();
    let data = Value::from(serde_json::json!({"name": "x"}));
    assert_eq!(template.render(&data, Limits::default()).unwrap(), "x!");
}

#[test]
fn what_never_ends_is_ended() {
    let data = Value::default();
    for template in [
        "{{range 1000000000}}{{end}}",
        "{{range 1000000000}}xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx{{end}}",
        "{{define \"r\"}}{{template \"r\"}}{{end}}{{template \"r\"}}",
        "{{define \"r\"}}{{template \"r\"}}{{template \"r\"}}{{end}}{{template \"r\"}}",
        "{{printf \"%999999s\" \"\"}}{{printf \"%999999s\" \"\"}}",
    ] {
        assert!(render(template, &data).is_err(), "{template}");
    }
    let deep = format!("{}1{}", "(".repeat(100_000), ")".repeat(100_000));
    assert!(Template::parse(&format!("{{{{{deep}}}}}")).is_err());
}

proptest! {
    /// Whatever somebody writes, there is an answer.
    #[test]
    fn any_text_is_answered(text in "([a-z .\"`|:=$(){}\\-]|\\{\\{|\\}\\}|range |if |else |end |with |define |printf |[0-9])*") {
        let data = Value::from(serde_json::json!({"a": {"b": [1, "x", null]}}));
        let _ = render(&text, &data);
    }

    /// Text without braces is itself.
    #[test]
    fn text_without_actions_is_copied(text in "[^{]*") {
        prop_assert_eq!(render(&text, &Value::default()).unwrap(), text);
    }
}
