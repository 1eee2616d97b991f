//! Webhook configurations as the dispatcher needs them.

use std::time::Duration;

use serde_json::Value;

use super::client::ClientConfig;
use super::matching::Rule;
use crate::cel::Condition;
use crate::faults::{Fault, broken};
use crate::selector::LabelSelector;

/// One webhook of a configuration.
#[derive(Debug)]
pub(super) struct Hook {
    pub name: String,
    /// Unique among all hooks: configuration and name.
    pub id: String,
    pub client: ClientConfig,
    pub rules: Vec<Rule>,
    /// `failurePolicy: Ignore`.
    pub fails_open: bool,
    /// `matchPolicy: Equivalent`.
    pub equivalent: bool,
    /// The texts of errors stand for selectors that cannot be read.
    pub namespaces: Result<LabelSelector, String>,
    pub objects: Result<LabelSelector, String>,
    pub conditions: Vec<MatchCondition>,
    /// `reinvocationPolicy: IfNeeded`.
    pub reinvoked: bool,
    /// Whether a dry run may call it.
    pub harmless: bool,
    pub timeout: Duration,
    /// The version of reviews that both sides know: `v1` or `v1beta1`.
    pub review: Option<&'static str>,
}

/// One condition in CEL.
#[derive(Debug)]
pub(super) struct MatchCondition {
    pub expression: String,
    pub compiled: Result<Condition, String>,
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// An absent selector selects everything.
fn selector(value: &Value) -> Result<LabelSelector, String> {
    match value {
        Value::Null => Ok(LabelSelector::default()),
        given => LabelSelector::from_object(given),
    }
}

/// The hooks of a configuration.
pub(super) fn read(configuration: &Value, mutating: bool) -> Vec<Hook> {
    let owner = configuration["metadata"]["name"].as_str().unwrap_or_default();
    items(&configuration["webhooks"])
        .map(|hook| read_one(hook, owner, mutating))
        .collect()
}

fn read_one(hook: &Value, owner: &str, mutating: bool) -> Hook {
    let name = text(hook, "name").to_owned();
    let condition = |value: &Value| {
        let expression = text(value, "expression").to_owned();
        MatchCondition {
            compiled: Condition::parse(&expression),
            expression,
        }
    };
    Hook {
        id: format!("{owner}/{name}"),
        client: ClientConfig::read(&hook["clientConfig"]),
        rules: items(&hook["rules"]).map(Rule::read).collect(),
        fails_open: text(hook, "failurePolicy") == "Ignore" || broken(Fault::FailsOpen),
        equivalent: text(hook, "matchPolicy") != "Exact",
        namespaces: selector(&hook["namespaceSelector"]),
        objects: selector(&hook["objectSelector"]),
        conditions: items(&hook["matchConditions"]).map(condition).collect(),
        reinvoked: mutating
            && text(hook, "reinvocationPolicy") == "IfNeeded"
            && !broken(Fault::NoReinvocation),
        harmless: matches!(text(hook, "sideEffects"), "None" | "NoneOnDryRun"),
        timeout: Duration::from_secs(hook["timeoutSeconds"].as_u64().unwrap_or(10)),
        review: items(&hook["admissionReviewVersions"]).find_map(|version| match version.as_str() {
            Some("v1") => Some("v1"),
            Some("v1beta1") => Some("v1beta1"),
            _ => None,
        }),
        name,
    }
}
