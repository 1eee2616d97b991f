//! Numeric rules of a schema: ranges of formats, bounds, multiples.

use serde_json::{Number, Value};

use super::errors::go_float;
use super::node::{Node, Type};
use super::validate::Outcome;

/// Whether a float is close enough to an integer to count as one.
pub(crate) fn is_json_integer(f: f64) -> bool {
    const LARGEST: f64 = 9_007_199_254_740_991.0;
    if !f.is_finite() || f.abs() > LARGEST {
        return false;
    }
    let whole = f.trunc();
    f == whole || (whole != 0.0 && (f - whole).abs() / (f.abs() + whole.abs()) < 1e-9)
}

/// Checks a number against the node's format and limits.
pub(crate) fn check(node: &Node, number: &Number, path: &str, outcome: &mut Outcome) {
    let integer = node.type_ == Some(Type::Integer) && !node.int_or_string;
    let as_float = number.as_f64().unwrap_or_default();
    let as_int = number.as_i64();
    let value = Value::Number(number.clone());
    in_range(node, integer, as_int, as_float, "Checked", path, outcome);
    if let Some(limits) = &node.limits {
        if let Some(factor) = limits.multiple_of {
            multiple_of(as_int, as_float, factor, &value, path, outcome);
        }
        if let Some(max) = limits.maximum {
            in_range(node, integer, whole(max), max, "Maximum boundary", path, outcome);
            let (over, shown) = match as_int {
                Some(i) => (
                    if limits.exclusive_maximum {
                        i >= max as i64
                    } else {
                        i > max as i64
                    },
                    (max as i64).to_string(),
                ),
                None => (
                    if limits.exclusive_maximum {
                        as_float >= max
                    } else {
                        as_float > max
                    },
                    go_float(max),
                ),
            };
            if over {
                let relation = if limits.exclusive_maximum {
                    "less than"
                } else {
                    "less than or equal to"
                };
                outcome.invalid(
                    path,
                    value.clone(),
                    format!("{path} in body should be {relation} {shown}"),
                );
            }
        }
        if let Some(min) = limits.minimum {
            in_range(node, integer, whole(min), min, "Minimum boundary", path, outcome);
            let (under, shown) = match as_int {
                Some(i) => (
                    if limits.exclusive_minimum {
                        i <= min as i64
                    } else {
                        i < min as i64
                    },
                    (min as i64).to_string(),
                ),
                None => (
                    if limits.exclusive_minimum {
                        as_float <= min
                    } else {
                        as_float < min
                    },
                    go_float(min),
                ),
            };
            if under {
                let relation = if limits.exclusive_minimum {
                    "greater than"
                } else {
                    "greater than or equal to"
                };
                outcome.invalid(
                    path,
                    value,
                    format!("{path} in body should be {relation} {shown}"),
                );
            }
        }
    }
    outcome.matched += 1;
}

fn whole(f: f64) -> Option<i64> {
    (f == f.trunc() && f.abs() < 9.2e18).then_some(f as i64)
}

fn in_range(
    node: &Node,
    integer: bool,
    int: Option<i64>,
    float: f64,
    what: &str,
    path: &str,
    outcome: &mut Outcome,
) {
    let int = int.or_else(|| whole(float));
    let fits = match (integer, node.format.as_str()) {
        (true, "int32") => int.is_some_and(|i| i32::try_from(i).is_ok()),
        (true, _) => int.is_some(),
        (false, "float") => float.abs() <= f64::from(f32::MAX),
        (false, _) => true,
    };
    if fits {
        return;
    }
    let type_name = if integer { "integer" } else { "number" };
    outcome.placeless(if node.format.is_empty() {
        format!("{what} value must be of type {type_name} (default format) in {path}")
    } else {
        format!(
            "{what} value must be of type {type_name} with format {} in {path}",
            node.format
        )
    });
}

fn multiple_of(int: Option<i64>, float: f64, factor: f64, value: &Value, path: &str, outcome: &mut Outcome) {
    if factor <= 0.0 || (int.is_some() && factor as i64 <= 0) {
        let shown = if int.is_some() {
            (factor as i64).to_string()
        } else {
            go_float(factor)
        };
        let text = format!("factor MultipleOf declared for {path} must be positive: {shown}");
        let number = serde_json::Number::from_f64(factor).map_or(Value::Null, Value::Number);
        outcome.invalid(path, number, text);
        return;
    }
    let (good, shown) = match int {
        Some(i) => (i % (factor as i64) == 0, (factor as i64).to_string()),
        None => {
            let quotient = if factor < 1.0 {
                1.0 / factor * float
            } else {
                float / factor
            };
            (is_json_integer(quotient), go_float(factor))
        }
    };
    if !good {
        outcome.invalid(
            path,
            value.clone(),
            format!("{path} in body should be a multiple of {shown}"),
        );
    }
}
