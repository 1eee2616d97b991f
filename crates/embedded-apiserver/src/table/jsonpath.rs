//! kubectl's dialect of JSONPath, as far as columns and selectable fields use it.
//!
//! `.a.b`, `.a\.b/c`, `['a','b']`, `[0]`, `[-1]`, `[1:3]`, `[*]`, `.*`, `..a`, `[?(@.a=="b")]`. Missing keys are no error.

use serde_json::Value;

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Field(String),
    Wildcard,
    Recursive,
    Slice {
        start: Option<i64>,
        end: Option<i64>,
        step: Option<i64>,
    },
    Index(i64),
    Union(Vec<Step>),
    Filter {
        left: Operand,
        operator: Operator,
        right: Option<Operand>,
    },
}

#[derive(Clone, Debug, PartialEq)]
enum Operand {
    Path(Vec<Step>),
    Literal(Value),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Exists,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// A parsed path.
#[derive(Clone, Debug, PartialEq)]
pub struct JsonPath {
    steps: Vec<Step>,
}

impl JsonPath {
    /// Parses a path such as `.status.conditions[?(@.type=="Ready")].status`; the error tells what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let chars: Vec<char> = text.trim().chars().collect();
        let mut parser = Parser {
            chars: &chars,
            position: 0,
        };
        Ok(Self {
            steps: parser.steps()?,
        })
    }

    /// All values the path leads to.
    #[must_use]
    pub fn find<'a>(&self, object: &'a Value) -> Vec<&'a Value> {
        walk(&self.steps, object)
    }

    /// The first value the path leads to.
    #[must_use]
    pub fn first<'a>(&self, object: &'a Value) -> Option<&'a Value> {
        self.find(object).into_iter().next()
    }
}

struct Parser<'a> {
    chars: &'a [char],
    position: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.position).copied()
    }

    fn eat(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        self.position += usize::from(found);
        found
    }

    fn steps(&mut self) -> Result<Vec<Step>, String> {
        let mut steps = Vec::new();
        while let Some(c) = self.peek() {
            match c {
                '$' | '@' if steps.is_empty() => self.position += 1,
                '.' => {
                    self.position += 1;
                    if self.eat('.') {
                        steps.push(Step::Recursive);
                        if self.peek() == Some('[') {
                            continue;
                        }
                    }
                    match self.peek() {
                        Some('[') | None => {}
                        _ => steps.push(self.field()?),
                    }
                }
                '[' => {
                    self.position += 1;
                    steps.push(self.brackets()?);
                }
                c if steps.is_empty() && (c.is_alphanumeric() || c == '_' || c == '*') => {
                    steps.push(self.field()?)
                }
                other => return Err(format!("unrecognized character in action: {other:?}")),
            }
        }
        Ok(steps)
    }

    fn field(&mut self) -> Result<Step, String> {
        let mut name = String::new();
        while let Some(c) = self.peek() {
            match c {
                '\\' => {
                    self.position += 1;
                    name.push(self.peek().ok_or("unterminated escape")?);
                }
                ' ' | '.' | ',' | '[' | ']' | '$' | '@' | '{' | '}' => break,
                c => name.push(c),
            }
            self.position += 1;
        }
        match name.as_str() {
            "" => Err("empty field name".to_owned()),
            "*" => Ok(Step::Wildcard),
            _ => Ok(Step::Field(name)),
        }
    }

    /// The text up to the closing bracket, which is eaten; quotes and nested brackets are respected.
    fn until_bracket(&mut self) -> Result<Vec<char>, String> {
        let start = self.position;
        let (mut depth, mut quote) = (0usize, None);
        while let Some(c) = self.peek() {
            match (quote, c) {
                (Some(_), '\\') => self.position += 1,
                (Some(q), c) if q == c => quote = None,
                (Some(_), _) => {}
                (None, '"' | '\'') => quote = Some(c),
                (None, '[' | '(') => depth += 1,
                (None, ']') if depth == 0 => {
                    let inner = self.chars[start..self.position].to_vec();
                    self.position += 1;
                    return Ok(inner);
                }
                (None, ']' | ')') => depth = depth.saturating_sub(1),
                _ => {}
            }
            self.position += 1;
        }
        Err("unterminated array".to_owned())
    }

    fn brackets(&mut self) -> Result<Step, String> {
        let inner = self.until_bracket()?;
        let text: String = inner.iter().collect();
        let trimmed = text.trim();
        if trimmed.is_empty() || trimmed == "*" {
            return Ok(Step::Wildcard);
        }
        if let Some(filter) = trimmed.strip_prefix("?(") {
            return filter_step(filter.strip_suffix(')').ok_or("unterminated filter")?);
        }
        let parts = split_outside_quotes(trimmed, ',');
        let steps: Result<Vec<Step>, String> = parts.iter().map(|part| bracket_part(part.trim())).collect();
        let mut steps = steps?;
        Ok(if steps.len() == 1 {
            steps.remove(0)
        } else {
            Step::Union(steps)
        })
    }
}

fn split_outside_quotes(text: &str, separator: char) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut quote = None;
    for c in text.chars() {
        match quote {
            Some(q) if q == c => quote = None,
            None if c == '\'' || c == '"' => quote = Some(c),
            None if c == separator => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(last) = parts.last_mut() {
            last.push(c);
        }
    }
    parts
}

fn unquote(text: &str) -> Option<String> {
    let quote = text.chars().next().filter(|c| *c == '\'' || *c == '"')?;
    let inner = text.strip_prefix(quote)?.strip_suffix(quote)?;
    Some(inner.replace(&format!("\\{quote}"), &quote.to_string()))
}

fn bracket_part(text: &str) -> Result<Step, String> {
    if let Some(name) = unquote(text) {
        return Ok(Step::Field(name));
    }
    let number = |s: &str| -> Result<Option<i64>, String> {
        let s = s.trim();
        if s.is_empty() {
            return Ok(None);
        }
        s.parse()
            .map(Some)
            .map_err(|_| format!("invalid array index {text}"))
    };
    let parts: Vec<&str> = text.split(':').collect();
    match parts.as_slice() {
        [one] => Ok(Step::Index(
            number(one)?.ok_or_else(|| format!("invalid array index {text}"))?,
        )),
        [start, end] => Ok(Step::Slice {
            start: number(start)?,
            end: number(end)?,
            step: None,
        }),
        [start, end, step] => Ok(Step::Slice {
            start: number(start)?,
            end: number(end)?,
            step: number(step)?,
        }),
        _ => Err(format!("invalid array index {text}")),
    }
}

fn filter_step(text: &str) -> Result<Step, String> {
    const OPERATORS: [(&str, Operator); 6] = [
        ("==", Operator::Equal),
        ("!=", Operator::NotEqual),
        ("<=", Operator::LessOrEqual),
        (">=", Operator::GreaterOrEqual),
        ("<", Operator::Less),
        (">", Operator::Greater),
    ];
    let mut quote = None;
    for (i, c) in text.char_indices() {
        match quote {
            Some(q) => {
                if q == c {
                    quote = None;
                }
                continue;
            }
            None if c == '\'' || c == '"' => {
                quote = Some(c);
                continue;
            }
            None => {}
        }
        let rest = &text[i..];
        if let Some((symbol, operator)) = OPERATORS.iter().find(|(symbol, _)| rest.starts_with(symbol)) {
            let left = operand(text[..i].trim())?;
            let right = operand(rest[symbol.len()..].trim())?;
            return Ok(Step::Filter {
                left,
                operator: *operator,
                right: Some(right),
            });
        }
    }
    Ok(Step::Filter {
        left: operand(text.trim())?,
        operator: Operator::Exists,
        right: None,
    })
}

fn operand(text: &str) -> Result<Operand, String> {
    if let Some(literal) = unquote(text) {
        return Ok(Operand::Literal(Value::from(literal)));
    }
    if text.starts_with('@') || text.starts_with('$') || text.starts_with('.') {
        return Ok(Operand::Path(JsonPath::parse(text)?.steps));
    }
    serde_json::from_str(text)
        .map(Operand::Literal)
        .map_err(|_| format!("invalid filter operand {text}"))
}

fn walk<'a>(steps: &[Step], object: &'a Value) -> Vec<&'a Value> {
    let mut found = vec![object];
    for step in steps {
        found = found
            .into_iter()
            .flat_map(|value| one_step(step, value))
            .collect();
    }
    found
}

fn one_step<'a>(step: &Step, value: &'a Value) -> Vec<&'a Value> {
    match step {
        Step::Field(name) => value.get(name.as_str()).into_iter().collect(),
        Step::Wildcard => match value {
            Value::Array(list) => list.iter().collect(),
            Value::Object(map) => map.values().collect(),
            _ => Vec::new(),
        },
        Step::Recursive => {
            let mut all = vec![value];
            let mut i = 0;
            while i < all.len() {
                let children = one_step(&Step::Wildcard, all[i]);
                all.extend(children);
                i += 1;
            }
            all
        }
        Step::Index(index) => {
            let Value::Array(list) = value else {
                return Vec::new();
            };
            let place = if *index < 0 {
                index + list.len() as i64
            } else {
                *index
            };
            usize::try_from(place)
                .ok()
                .and_then(|i| list.get(i))
                .into_iter()
                .collect()
        }
        Step::Slice { start, end, step } => slice(value, *start, *end, step.unwrap_or(1)),
        Step::Union(steps) => steps.iter().flat_map(|step| one_step(step, value)).collect(),
        Step::Filter {
            left,
            operator,
            right,
        } => {
            let items = one_step(&Step::Wildcard, value);
            items
                .into_iter()
                .filter(|item| holds(left, *operator, right.as_ref(), item))
                .collect()
        }
    }
}

fn slice(value: &Value, start: Option<i64>, end: Option<i64>, step: i64) -> Vec<&Value> {
    let Value::Array(list) = value else {
        return Vec::new();
    };
    let length = list.len() as i64;
    let place = |i: i64| if i < 0 { i + length } else { i }.clamp(0, length) as usize;
    let (start, end) = (place(start.unwrap_or(0)), place(end.unwrap_or(length)));
    if start >= end || step < 1 {
        return Vec::new();
    }
    list[start..end].iter().step_by(step as usize).collect()
}

fn holds(left: &Operand, operator: Operator, right: Option<&Operand>, item: &Value) -> bool {
    let value = |operand: &Operand| -> Option<Value> {
        match operand {
            Operand::Literal(value) => Some(value.clone()),
            Operand::Path(steps) => walk(steps, item).first().copied().cloned(),
        }
    };
    let Some(left) = value(left) else { return false };
    let Some(right) = right else { return true };
    let Some(right) = value(right) else { return false };
    let order = match (&left, &right) {
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        (Value::Number(a), Value::Number(b)) => a.as_f64().partial_cmp(&b.as_f64()),
        _ => None,
    };
    match operator {
        Operator::Exists => true,
        Operator::Equal => left == right || order.is_some_and(|o| o.is_eq()),
        Operator::NotEqual => left != right && !order.is_some_and(|o| o.is_eq()),
        Operator::Less => order.is_some_and(|o| o.is_lt()),
        Operator::LessOrEqual => order.is_some_and(|o| o.is_le()),
        Operator::Greater => order.is_some_and(|o| o.is_gt()),
        Operator::GreaterOrEqual => order.is_some_and(|o| o.is_ge()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_lead_where_they_should() {
        let object = json!({
            "metadata": {"labels": {"a.b/c": "x", "plain": "y"}},
            "status": {"conditions": [{"type": "Ready", "status": "True", "n": 1}, {"type": "Paused", "status": "False", "n": 2}]},
            "spec": {"list": [1, 2, 3, 4]},
        });
        let cases = [
            (".metadata.labels.plain", json!(["y"])),
            (r".metadata.labels.a\.b/c", json!(["x"])),
            (".metadata.labels['a.b/c']", json!(["x"])),
            (
                r#".status.conditions[?(@.type=="Ready")].status"#,
                json!(["True"]),
            ),
            (".status.conditions[?(@.type=='Paused')].status", json!(["False"])),
            (".status.conditions[?(@.n>1)].type", json!(["Paused"])),
            (".status.conditions[?(@.missing)].type", json!([])),
            (".status.conditions[*].type", json!(["Ready", "Paused"])),
            (".status.conditions[0].type", json!(["Ready"])),
            (".status.conditions[-1].type", json!(["Paused"])),
            (".spec.list[1:3]", json!([2, 3])),
            (".spec.list[0,2]", json!([1, 3])),
            (".spec.list[::2]", json!([1, 3])),
            ("$.spec.list[0]", json!([1])),
            ("..type", json!(["Ready", "Paused"])),
            (".nope.deeper[0]", json!([])),
            (
                ".status.*",
                json!([[{"type": "Ready", "status": "True", "n": 1}, {"type": "Paused", "status": "False", "n": 2}]]),
            ),
        ];
        for (path, expected) in cases {
            let found: Vec<Value> = JsonPath::parse(path)
                .unwrap()
                .find(&object)
                .into_iter()
                .cloned()
                .collect();
            assert_eq!(Value::Array(found), expected, "{path}");
        }
        for path in [".a[", ".a[?(@.b]", ".a{}", "[x]"] {
            assert!(JsonPath::parse(path).is_err(), "{path}");
        }
    }
}
