//! Label selectors: matching, and the text that the scale subresource shows.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

/// Whether `labels` are selected. An empty selector selects everything, an operator nobody knows nothing.
pub fn matches(selector: &LabelSelector, labels: Option<&BTreeMap<String, String>>) -> bool {
    let value = |key: &str| labels.and_then(|l| l.get(key));
    let equal = selector
        .match_labels
        .iter()
        .flatten()
        .all(|(k, v)| value(k) == Some(v));
    equal
        && selector
            .match_expressions
            .iter()
            .flatten()
            .all(|e| expression_matches(e, value(&e.key)))
}

fn expression_matches(expression: &LabelSelectorRequirement, value: Option<&String>) -> bool {
    let listed = |value: &String| expression.values.iter().flatten().any(|v| v == value);
    match expression.operator.as_str() {
        "In" => value.is_some_and(listed),
        "NotIn" => !value.is_some_and(listed),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        _ => false,
    }
}

/// Whether an API server would take the selector: known operators, with values where they need some and only there.
pub fn is_valid(selector: &LabelSelector) -> bool {
    let expressions = selector.match_expressions.iter().flatten();
    expressions.into_iter().all(|e| {
        let values = e.values.as_ref().is_some_and(|v| !v.is_empty());
        match e.operator.as_str() {
            "In" | "NotIn" => values,
            "Exists" | "DoesNotExist" => !values,
            _ => false,
        }
    })
}

/// Whether a selector selects everything because it says nothing.
pub fn is_empty(selector: &LabelSelector) -> bool {
    selector.match_labels.as_ref().is_none_or(BTreeMap::is_empty)
        && selector.match_expressions.as_ref().is_none_or(Vec::is_empty)
}

/// The selector as `kubectl --selector` takes it, requirements sorted by key.
pub fn text(selector: &LabelSelector) -> String {
    let mut parts: Vec<(String, String)> = selector
        .match_labels
        .iter()
        .flatten()
        .map(|(k, v)| (k.clone(), format!("{k}={v}")))
        .collect();
    for e in selector.match_expressions.iter().flatten() {
        let mut values = e.values.clone().unwrap_or_default();
        values.sort();
        let values = values.join(",");
        let text = match e.operator.as_str() {
            "In" => format!("{} in ({values})", e.key),
            "NotIn" => format!("{} notin ({values})", e.key),
            "DoesNotExist" => format!("!{}", e.key),
            _ => e.key.clone(),
        };
        parts.push((e.key.clone(), text));
    }
    parts.sort();
    parts
        .into_iter()
        .map(|(_, text)| text)
        .collect::<Vec<_>>()
        .join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requirement(key: &str, operator: &str, values: &[&str]) -> LabelSelectorRequirement {
        LabelSelectorRequirement {
            key: key.into(),
            operator: operator.into(),
            values: Some(values.iter().map(|v| (*v).to_owned()).collect()),
        }
    }

    #[test]
    fn all_requirements_must_hold() {
        let labels: BTreeMap<String, String> = [("a".into(), "1".into()), ("b".into(), "2".into())].into();
        let cases = [
            (LabelSelector::default(), true),
            (
                LabelSelector {
                    match_labels: Some([("a".into(), "1".into())].into()),
                    match_expressions: None,
                },
                true,
            ),
            (
                LabelSelector {
                    match_labels: Some([("a".into(), "2".into())].into()),
                    match_expressions: None,
                },
                false,
            ),
            (
                LabelSelector {
                    match_labels: None,
                    match_expressions: Some(vec![requirement("b", "In", &["2", "3"])]),
                },
                true,
            ),
            (
                LabelSelector {
                    match_labels: None,
                    match_expressions: Some(vec![requirement("b", "NotIn", &["2"])]),
                },
                false,
            ),
            (
                LabelSelector {
                    match_labels: None,
                    match_expressions: Some(vec![requirement("c", "DoesNotExist", &[])]),
                },
                true,
            ),
            (
                LabelSelector {
                    match_labels: None,
                    match_expressions: Some(vec![requirement("c", "Exists", &[])]),
                },
                false,
            ),
        ];
        for (selector, expected) in cases {
            assert_eq!(matches(&selector, Some(&labels)), expected, "{selector:?}");
        }
    }

    #[test]
    fn the_text_is_sorted() {
        let selector = LabelSelector {
            match_labels: Some([("b".into(), "2".into()), ("d".into(), "x".into())].into()),
            match_expressions: Some(vec![
                requirement("c", "In", &["2", "1"]),
                requirement("a", "DoesNotExist", &[]),
            ]),
        };
        assert_eq!(text(&selector), "!a,b=2,c in (1,2),d=x");
    }
}
