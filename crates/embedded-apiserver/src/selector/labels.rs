//! Label selectors in both their forms: the query parameter and the `metav1.LabelSelector` object.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::names::{label_key_errors, label_value_errors};
use crate::faults::{Fault, broken};
use crate::schema::{FieldError, aggregate, quote};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
    GreaterThan,
    LessThan,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    operator: Operator,
    values: Vec<String>,
}

/// A parsed label selector: all requirements must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector {
    requirements: Vec<Requirement>,
    nothing: bool,
}

impl LabelSelector {
    /// Parses the query parameter (`a=b,c!=d,e in (f,g),h,!i,j>1`); empty selects everything. The error is the text of a
    /// 400 (`unable to parse requirement: ...`).
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut requirements = Parser {
            tokens: tokens(text),
            position: 0,
        }
        .parse()?;
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(Self {
            requirements,
            nothing: false,
        })
    }

    /// Reads a `metav1.LabelSelector` object (`matchLabels`, `matchExpressions`); an empty object selects everything,
    /// null nothing.
    pub fn from_object(selector: &Value) -> Result<Self, String> {
        let mut requirements = Vec::new();
        if let Some(labels) = selector.get("matchLabels").and_then(Value::as_object) {
            for (key, value) in labels {
                let value = value.as_str().unwrap_or_default().to_owned();
                requirements.push(requirement(key.clone(), Operator::In, vec![value], true)?);
            }
        }
        let expressions = selector.get("matchExpressions").and_then(Value::as_array);
        for expression in expressions.into_iter().flatten() {
            let text = |name: &str| expression.get(name).and_then(Value::as_str).unwrap_or_default();
            let operator = match text("operator") {
                "In" => Operator::In,
                "NotIn" => Operator::NotIn,
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                other => return Err(format!("{} is not a valid label selector operator", quote(other))),
            };
            let values = expression.get("values").and_then(Value::as_array);
            let values = values
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect();
            requirements.push(requirement(text("key").to_owned(), operator, values, false)?);
        }
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(Self {
            requirements,
            nothing: selector.is_null(),
        })
    }

    /// Whether everything is selected.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.requirements.is_empty() && !self.nothing
    }

    /// Whether an object with these `metadata.labels` is selected.
    #[must_use]
    pub fn matches(&self, labels: Option<&Map<String, Value>>) -> bool {
        broken(Fault::IgnoredSelector) || !self.nothing && self.requirements.iter().all(|r| r.matches(labels))
    }

    /// [`Self::matches`] on the labels of a whole object.
    #[must_use]
    pub fn matches_object(&self, object: &Value) -> bool {
        self.matches(
            object
                .get("metadata")
                .and_then(|m| m.get("labels"))
                .and_then(Value::as_object),
        )
    }
}

impl Requirement {
    fn matches(&self, labels: Option<&Map<String, Value>>) -> bool {
        let value = labels
            .and_then(|labels| labels.get(&self.key))
            .and_then(Value::as_str);
        let listed = |value: &str| self.values.iter().any(|v| v == value);
        match self.operator {
            Operator::In => value.is_some_and(listed),
            Operator::NotIn => value.is_none_or(|value| !listed(value)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::GreaterThan | Operator::LessThan => {
                let left = value.and_then(|v| v.parse::<i64>().ok());
                let right = self.values.first().and_then(|v| v.parse::<i64>().ok());
                match (left, right) {
                    (Some(l), Some(r)) => {
                        if self.operator == Operator::GreaterThan {
                            l > r
                        } else {
                            l < r
                        }
                    }
                    _ => false,
                }
            }
        }
    }
}

/// Checks and builds a requirement. `exact` tells `=` from `in`.
fn requirement(
    key: String,
    operator: Operator,
    values: Vec<String>,
    exact: bool,
) -> Result<Requirement, String> {
    let mut errors = Vec::new();
    let key_errors = label_key_errors(&key);
    if !key_errors.is_empty() {
        errors.push(FieldError::invalid("key", key.as_str(), key_errors.join("; ")));
    }
    let shown = Value::from(values.clone());
    match operator {
        Operator::In | Operator::NotIn if values.is_empty() && !exact => {
            let text = "for 'in', 'notin' operators, values set can't be empty";
            errors.push(FieldError::invalid("values", shown, text));
        }
        Operator::Exists | Operator::DoesNotExist if !values.is_empty() => {
            let text = "values set must be empty for exists and does not exist";
            errors.push(FieldError::invalid("values", shown, text));
        }
        Operator::GreaterThan | Operator::LessThan => {
            for (i, value) in values
                .iter()
                .enumerate()
                .filter(|(_, v)| v.parse::<i64>().is_err())
            {
                let text = "for 'Gt', 'Lt' operators, the value must be an integer";
                errors.push(FieldError::invalid(format!("values[{i}]"), value.as_str(), text));
            }
        }
        _ => {}
    }
    for (i, value) in values.iter().enumerate() {
        let value_errors = label_value_errors(value);
        if !value_errors.is_empty() {
            errors.push(FieldError::invalid(
                format!("values[{i}][{key}]"),
                value.as_str(),
                value_errors.join("; "),
            ));
        }
    }
    if errors.is_empty() {
        Ok(Requirement {
            key,
            operator,
            values,
        })
    } else {
        Err(aggregate(&errors))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Identifier,
    Close,
    Comma,
    Not,
    Equals,
    Greater,
    Less,
    In,
    NotEquals,
    NotIn,
    Open,
    End,
    Error,
}

fn is_symbol(c: char) -> bool {
    "=!(),><".contains(c)
}

fn is_space(c: char) -> bool {
    " \t\r\n".contains(c)
}

fn tokens(text: &str) -> Vec<(Token, String)> {
    let chars: Vec<char> = text.chars().collect();
    let mut found = Vec::new();
    let mut i = 0;
    while i < chars.len() {
        let c = chars[i];
        if is_space(c) {
            i += 1;
        } else if is_symbol(c) {
            let pair: String = chars[i..chars.len().min(i + 2)].iter().collect();
            let (token, length) = match (pair.as_str(), c) {
                ("==", _) => (Token::Equals, 2),
                ("!=", _) => (Token::NotEquals, 2),
                (_, '=') => (Token::Equals, 1),
                (_, '!') => (Token::Not, 1),
                (_, '(') => (Token::Open, 1),
                (_, ')') => (Token::Close, 1),
                (_, ',') => (Token::Comma, 1),
                (_, '>') => (Token::Greater, 1),
                (_, '<') => (Token::Less, 1),
                _ => (Token::Error, 1),
            };
            found.push((token, chars[i..i + length].iter().collect()));
            i += length;
        } else {
            let start = i;
            while i < chars.len() && !is_symbol(chars[i]) && !is_space(chars[i]) {
                i += 1;
            }
            let word: String = chars[start..i].iter().collect();
            let token = match word.as_str() {
                "in" => Token::In,
                "notin" => Token::NotIn,
                _ => Token::Identifier,
            };
            found.push((token, word));
        }
    }
    found.push((Token::End, String::new()));
    found
}

struct Parser {
    tokens: Vec<(Token, String)>,
    position: usize,
}

impl Parser {
    fn peek(&self) -> (Token, String) {
        self.tokens
            .get(self.position)
            .cloned()
            .unwrap_or((Token::End, String::new()))
    }

    /// The next token where words like `in` are just words.
    fn peek_value(&self) -> (Token, String) {
        let (token, text) = self.peek();
        (
            if matches!(token, Token::In | Token::NotIn) {
                Token::Identifier
            } else {
                token
            },
            text,
        )
    }

    fn take_value(&mut self) -> (Token, String) {
        let next = self.peek_value();
        self.position += 1;
        next
    }

    fn parse(&mut self) -> Result<Vec<Requirement>, String> {
        let mut requirements = Vec::new();
        loop {
            let (token, text) = self.peek_value();
            match token {
                Token::Identifier | Token::Not => {
                    let parsed = self
                        .requirement()
                        .map_err(|e| format!("unable to parse requirement: {e}"))?;
                    requirements.push(parsed);
                    let (token, text) = self.take_value();
                    match token {
                        Token::End => return Ok(requirements),
                        Token::Comma => {
                            let (token, text) = self.peek_value();
                            if !matches!(token, Token::Identifier | Token::Not) {
                                return Err(format!("found '{text}', expected: identifier after ','"));
                            }
                        }
                        _ => return Err(format!("found '{text}', expected: ',' or 'end of string'")),
                    }
                }
                Token::End => return Ok(requirements),
                _ => {
                    return Err(format!(
                        "found '{text}', expected: !, identifier, or 'end of string'"
                    ));
                }
            }
        }
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let (mut token, mut key) = self.take_value();
        let negated = token == Token::Not;
        if negated {
            (token, key) = self.take_value();
        }
        if token != Token::Identifier {
            return Err(format!("found '{key}', expected: identifier"));
        }
        let errors = label_key_errors(&key);
        if !errors.is_empty() {
            return Err(FieldError::invalid("<nil>", key, errors.join("; ")).to_string());
        }
        if negated {
            return requirement(key, Operator::DoesNotExist, Vec::new(), false);
        }
        if matches!(self.peek_value().0, Token::End | Token::Comma) {
            return requirement(key, Operator::Exists, Vec::new(), false);
        }
        let (token, text) = self.peek();
        self.position += 1;
        let (operator, exact) = match token {
            Token::In => (Operator::In, false),
            Token::NotIn => (Operator::NotIn, false),
            Token::Equals => (Operator::In, true),
            Token::NotEquals => (Operator::NotIn, true),
            Token::Greater => (Operator::GreaterThan, true),
            Token::Less => (Operator::LessThan, true),
            _ => return Err(format!("found '{text}', expected: in, notin, =, ==, !=, gt, lt")),
        };
        let values = if exact { self.one_value()? } else { self.values()? };
        requirement(key, operator, values, exact)
    }

    fn one_value(&mut self) -> Result<Vec<String>, String> {
        if matches!(self.peek_value().0, Token::End | Token::Comma) {
            return Ok(vec![String::new()]);
        }
        match self.take_value() {
            (Token::Identifier, text) => Ok(vec![text]),
            (_, text) => Err(format!("found '{text}', expected: identifier")),
        }
    }

    fn values(&mut self) -> Result<Vec<String>, String> {
        let (token, text) = self.take_value();
        if token != Token::Open {
            return Err(format!("found '{text}' expected: '('"));
        }
        let mut values = BTreeSet::new();
        match self.peek_value() {
            (Token::Close, _) => {
                self.position += 1;
                values.insert(String::new());
                return Ok(values.into_iter().collect());
            }
            (Token::Identifier | Token::Comma, _) => {}
            (_, text) => return Err(format!("found '{text}', expected: ',', ')' or identifier")),
        }
        loop {
            match self.take_value() {
                (Token::Identifier, text) => {
                    values.insert(text);
                    match self.peek_value() {
                        (Token::Comma, _) => {}
                        (Token::Close, _) => break,
                        (_, text) => return Err(format!("found '{text}', expected: ',' or ')'")),
                    }
                }
                (Token::Comma, _) => {
                    if values.is_empty() {
                        values.insert(String::new());
                    }
                    match self.peek_value().0 {
                        Token::Close => {
                            values.insert(String::new());
                            break;
                        }
                        Token::Comma => {
                            values.insert(String::new());
                        }
                        _ => {}
                    }
                }
                (_, text) => return Err(format!("found '{text}', expected: ',', or identifier")),
            }
        }
        self.position += 1;
        Ok(values.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn selectors_match_as_they_should() {
        let labels = json!({"a": "1", "b": "x", "example.com/c": "", "n": "7"});
        let cases = [
            ("", true),
            ("a", true),
            ("!a", false),
            ("z", false),
            ("!z", true),
            ("a=1", true),
            ("a==1", true),
            ("a = 2", false),
            ("a!=2", true),
            ("z!=2", true),
            ("a!=1", false),
            ("b in (x,y)", true),
            ("b in (y)", false),
            ("b notin (y)", true),
            ("z notin (y)", true),
            ("a=1,b=x", true),
            ("a=1,b=y", false),
            ("n>6", true),
            ("n<7", false),
            ("b>1", false),
            ("example.com/c=", true),
            ("example.com/c", true),
            ("example.com/c in (,q)", true),
            ("z in ()", false),
        ];
        for (text, expected) in cases {
            let selector = LabelSelector::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(selector.matches(labels.as_object()), expected, "{text}");
        }
    }

    #[test]
    fn malformed_selectors_are_explained() {
        let cases = [
            ("a=1,", "found '', expected: identifier after ','"),
            (",a", "found ',', expected: !, identifier, or 'end of string'"),
            (
                "a b",
                "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt",
            ),
            ("a in x", "unable to parse requirement: found 'x' expected: '('"),
            (
                "a in (x",
                "unable to parse requirement: found '', expected: ',' or ')'",
            ),
            ("a=1=2", "found '=', expected: ',' or 'end of string'"),
            (
                "a>x",
                "unable to parse requirement: values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators, the value must be an integer",
            ),
            (
                "a*=1",
                "unable to parse requirement: <nil>: Invalid value: \"a*\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(LabelSelector::parse(text).unwrap_err(), expected, "{text}");
        }
    }

    #[test]
    fn objects_are_read_too() {
        let labels = json!({"a": "1"});
        let cases = [
            (json!({}), true),
            (json!(null), false),
            (json!({"matchLabels": {"a": "1"}}), true),
            (
                json!({"matchExpressions": [{"key": "a", "operator": "In", "values": ["1", "2"]}]}),
                true,
            ),
            (
                json!({"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}),
                false,
            ),
        ];
        for (object, expected) in cases {
            assert_eq!(
                LabelSelector::from_object(&object)
                    .unwrap()
                    .matches(labels.as_object()),
                expected,
                "{object}"
            );
        }
        let bad = json!({"matchExpressions": [{"key": "a", "operator": "Like"}]});
        assert_eq!(
            LabelSelector::from_object(&bad).unwrap_err(),
            "\"Like\" is not a valid label selector operator"
        );
    }
}
