//! Compilation of one rule, with the checks that a CRD with a faulty rule fails.

use serde_json::json;

use super::Rule;
use super::program::Expression;
use crate::schema::{FieldError, Node, RuleText};

const REASONS: [&str; 4] = [
    "FieldValueDuplicate",
    "FieldValueForbidden",
    "FieldValueInvalid",
    "FieldValueRequired",
];

/// Compiles a rule. `at` is the path of the rule in the schema.
pub(super) fn compile(
    schema: &Node,
    text: &RuleText,
    at: &str,
    uncorrelatable: Option<&str>,
    errors: &mut Vec<FieldError>,
) -> Option<Rule> {
    let before = errors.len();
    texts(text, at, errors);
    let field_path = match field_path(&text.field_path, schema) {
        Ok(path) => path,
        Err(detail) => {
            errors.push(FieldError::invalid(
                format!("{at}.fieldPath"),
                text.field_path.as_str(),
                detail,
            ));
            String::new()
        }
    };
    if text.rule.trim().is_empty() {
        return None;
    }
    let shown = json!({
        "Rule": text.rule, "Message": text.message, "MessageExpression": text.message_expression,
        "Reason": text.reason, "FieldPath": text.field_path,
        "OptionalOldSelf": if text.optional_old_self { json!(true) } else { json!(null) },
    });
    let expression = match Expression::parse(&text.rule) {
        Ok(expression) => expression,
        Err(error) => {
            errors.push(FieldError::invalid(
                format!("{at}.rule"),
                shown,
                format!("compilation failed: {error}"),
            ));
            return None;
        }
    };
    let message = match text.message_expression.trim().is_empty() {
        true => None,
        false => match Expression::parse(&text.message_expression) {
            Ok(expression) => Some(expression),
            Err(error) => {
                let detail = format!("messageExpression compilation failed: {error}");
                errors.push(FieldError::invalid(
                    format!("{at}.messageExpression"),
                    shown,
                    detail,
                ));
                None
            }
        },
    };
    let uses_old_self = expression.uses_old_self;
    if let Some(list) = uncorrelatable.filter(|_| uses_old_self) {
        let detail =
            format!("oldSelf cannot be used on the uncorrelatable portion of the schema within {list}");
        errors.push(FieldError::invalid(
            format!("{at}.rule"),
            text.rule.as_str(),
            detail,
        ));
    }
    if text.optional_old_self && !uses_old_self {
        let detail = "may not be set if oldSelf is not used in rule";
        errors.push(FieldError::invalid(format!("{at}.optionalOldSelf"), true, detail));
    }
    (errors.len() == before).then(|| Rule {
        text: text.clone(),
        expression,
        message,
        uses_old_self,
        field_path,
    })
}

fn texts(text: &RuleText, at: &str, errors: &mut Vec<FieldError>) {
    let (rule, message) = (text.rule.trim(), text.message.trim());
    if rule.is_empty() {
        errors.push(FieldError::required(
            format!("{at}.rule"),
            "rule is not specified",
        ));
    } else if !text.message.is_empty() && message.is_empty() {
        let error = FieldError::invalid(
            format!("{at}.message"),
            text.message.as_str(),
            "must be non-empty if specified",
        );
        errors.push(error);
    } else if message.contains('\n') {
        let error = FieldError::invalid(
            format!("{at}.message"),
            text.message.as_str(),
            "must not contain line breaks",
        );
        errors.push(error);
    } else if rule.contains('\n') && message.is_empty() && text.message_expression.is_empty() {
        let detail = "message must be specified if rule contains line breaks";
        errors.push(FieldError::required(format!("{at}.message"), detail));
    }
    if !text.message_expression.is_empty() && text.message_expression.trim().is_empty() {
        let detail = "messageExpression must be non-empty if specified";
        errors.push(FieldError::required(format!("{at}.messageExpression"), detail));
    }
    if let Some(reason) = text.reason.as_deref().filter(|reason| !REASONS.contains(reason)) {
        errors.push(FieldError::not_supported(
            format!("{at}.reason"),
            reason,
            &REASONS,
        ));
    }
}

/// Normalises `.a.b['c']` to `a.b[c]` or `a.b.c`, as the schema says what `c` is.
fn field_path(path: &str, schema: &Node) -> Result<String, String> {
    let mut normal = String::new();
    let mut node = schema;
    let mut rest = path;
    while !rest.is_empty() {
        let (name, after) = if let Some(tail) = rest.strip_prefix("['") {
            let end = tail.find("']").ok_or("must be a valid path")?;
            (tail[..end].replace("\\'", "'"), &tail[end + 2..])
        } else if let Some(tail) = rest.strip_prefix('.') {
            let end = tail.find(['.', '[']).unwrap_or(tail.len());
            (tail[..end].to_owned(), &tail[end..])
        } else {
            return Err("must be a valid path".to_owned());
        };
        if node.properties.is_empty() {
            node = node
                .additional
                .as_ref()
                .and_then(|a| a.schema())
                .ok_or("must be a valid path")?;
            normal.push_str(&format!("[{name}]"));
        } else {
            node = node.properties.get(&name).ok_or("must be a valid path")?;
            if !normal.is_empty() {
                normal.push('.');
            }
            normal.push_str(&name);
        }
        rest = after;
    }
    Ok(normal)
}
