//! Expressions over named values that no schema describes, such as match conditions of webhooks.

use std::sync::Arc;

use kube_cel::cel::Value as Cel;
use serde_json::Value;

use super::program::Expression;
use super::values::untyped;

/// A compiled condition; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Condition(Arc<Expression>);

impl Condition {
    /// Parses a condition; the error is the parser's text.
    pub fn parse(expression: &str) -> Result<Self, String> {
        Expression::parse(expression).map(Self)
    }

    /// Whether the condition holds for these values.
    pub fn holds(&self, values: &[(&str, &Value)]) -> Result<bool, String> {
        let values: Vec<(&str, Cel)> = values
            .iter()
            .map(|(name, value)| (*name, untyped(value)))
            .collect();
        match self.0.evaluate_over(&values)? {
            Cel::Bool(holds) => Ok(holds),
            other => Err(format!("cel expression evaluates to {}", other.type_of())),
        }
    }
}
