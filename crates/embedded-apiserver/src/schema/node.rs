//! The compiled form of one schema node, and its construction from `openAPIV3Schema` JSON.
//!
//! The same node type serves for structural parts and for what stands under allOf, anyOf, oneOf and not.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use regex::Regex;
use serde_json::{Map, Value};

use super::formats::Format;

/// A JSON schema type name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
}

impl Type {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Object => "object",
            Self::Array => "array",
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        [
            Self::Object,
            Self::Array,
            Self::String,
            Self::Integer,
            Self::Number,
            Self::Boolean,
        ]
        .into_iter()
        .find(|t| t.name() == name)
    }
}

/// `x-kubernetes-list-type`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ListType {
    #[default]
    Unset,
    Atomic,
    Set,
    Map,
}

/// What a map allows besides its named properties.
#[derive(Clone, Debug)]
pub(crate) enum Additional {
    /// `additionalProperties: true` or `false`.
    Any(bool),
    /// A schema for every value.
    Schema(Arc<Node>),
}

impl Additional {
    pub(crate) fn schema(&self) -> Option<&Arc<Node>> {
        match self {
            Self::Schema(node) => Some(node),
            Self::Any(_) => None,
        }
    }
}

/// One `x-kubernetes-validations` rule as written.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct RuleText {
    pub(crate) rule: String,
    pub(crate) message: String,
    pub(crate) message_expression: String,
    pub(crate) reason: Option<String>,
    pub(crate) field_path: String,
    pub(crate) optional_old_self: bool,
}

/// One schema node.
#[derive(Clone, Debug, Default)]
pub(crate) struct Node {
    pub(crate) type_: Option<Type>,
    /// The type as written, where it is none that JSON schema knows.
    pub(crate) unknown_type: Option<String>,
    pub(crate) format: String,
    pub(crate) nullable: bool,
    pub(crate) default: Option<Value>,
    pub(crate) described: bool,
    pub(crate) titled: bool,
    pub(crate) int_or_string: bool,
    pub(crate) preserve_unknown: bool,
    pub(crate) embedded: bool,
    pub(crate) list_type: ListType,
    pub(crate) list_map_keys: Vec<String>,
    pub(crate) map_type: Option<String>,
    pub(crate) properties: BTreeMap<String, Arc<Node>>,
    pub(crate) additional: Option<Additional>,
    pub(crate) items: Option<Arc<Node>>,
    pub(crate) required: Vec<String>,
    pub(crate) enumeration: Vec<Value>,
    pub(crate) limits: Option<Box<Limits>>,
    pub(crate) pattern: Option<Pattern>,
    pub(crate) all_of: Vec<Arc<Node>>,
    pub(crate) any_of: Vec<Arc<Node>>,
    pub(crate) one_of: Vec<Arc<Node>>,
    pub(crate) not: Option<Arc<Node>>,
    pub(crate) rules: Vec<RuleText>,
}

/// Numeric bounds; most nodes have none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Limits {
    pub(crate) maximum: Option<f64>,
    pub(crate) exclusive_maximum: bool,
    pub(crate) minimum: Option<f64>,
    pub(crate) exclusive_minimum: bool,
    pub(crate) multiple_of: Option<f64>,
    pub(crate) max_length: Option<i64>,
    pub(crate) min_length: Option<i64>,
    pub(crate) max_items: Option<i64>,
    pub(crate) min_items: Option<i64>,
    pub(crate) unique_items: bool,
    pub(crate) max_properties: Option<i64>,
    pub(crate) min_properties: Option<i64>,
}

/// A regular expression, compiled when first needed: most kinds of a server never see a value for it.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    pub(crate) text: String,
    compiled: Arc<OnceLock<Result<Regex, String>>>,
}

impl Pattern {
    fn new(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            compiled: Arc::new(OnceLock::new()),
        }
    }

    pub(crate) fn regex(&self) -> Result<&Regex, &str> {
        self.compiled
            .get_or_init(|| {
                Regex::new(&go_pattern(&self.text)).map_err(|e| go_error(&e.to_string(), &self.text))
            })
            .as_ref()
            .map_err(String::as_str)
    }
}

/// What Go's regexp package says, for the mistakes it has a word for.
fn go_error(error: &str, pattern: &str) -> String {
    let last = error
        .lines()
        .last()
        .unwrap_or(error)
        .trim_start_matches("error: ");
    let (word, part) = match last {
        "unclosed group" => ("missing closing )", pattern),
        "unopened group" => ("unexpected )", pattern),
        "unclosed character class" => (
            "missing closing ]",
            pattern.rfind('[').map_or(pattern, |at| &pattern[at..]),
        ),
        text if text.starts_with("look-around") => ("invalid or unsupported Perl syntax", pattern),
        text => return text.to_owned(),
    };
    format!("error parsing regexp: {word}: `{part}`")
}

/// Rewrites the few places where Go's RE2 syntax and the regex crate's differ.
pub(crate) fn go_pattern(pattern: &str) -> String {
    // In Go, \d \w \s and \b are ASCII; `[[:word:]]`, \Q..\E and \C are rare enough to be left alone. `\z` is the same in both.
    // Inside a class, the crate reads `[`, `&&`, `--` and `~~` as operators where Go reads plain characters.
    let mut out = String::with_capacity(pattern.len() + 8);
    let chars: Vec<char> = pattern.chars().collect();
    let mut in_class = false;
    let mut i = 0;
    while i < chars.len() {
        let c = chars[i];
        match c {
            '\\' => {
                match chars.get(i + 1) {
                    Some('d') => out.push_str(if in_class { "0-9" } else { "[0-9]" }),
                    Some('D') if !in_class => out.push_str("[^0-9]"),
                    Some('w') => out.push_str(if in_class { "0-9A-Za-z_" } else { "[0-9A-Za-z_]" }),
                    Some('W') if !in_class => out.push_str("[^0-9A-Za-z_]"),
                    Some('s') => out.push_str(if in_class {
                        "\\t\\n\\x0C\\r "
                    } else {
                        "[\\t\\n\\x0C\\r ]"
                    }),
                    Some('S') if !in_class => out.push_str("[^\\t\\n\\x0C\\r ]"),
                    Some('/') => out.push('/'),
                    Some('_') => out.push('_'),
                    Some(next) => {
                        out.push('\\');
                        out.push(*next);
                    }
                    None => out.push('\\'),
                }
                i += 2;
                continue;
            }
            '[' if in_class => {
                if chars.get(i + 1) == Some(&':') {
                    // A POSIX class such as [:alpha:] is copied whole.
                    let end = (i + 2..chars.len()).find(|&j| chars[j] == ']' && chars[j - 1] == ':');
                    if let Some(end) = end {
                        out.extend(&chars[i..=end]);
                        i = end + 1;
                        continue;
                    }
                }
                out.push_str("\\[");
            }
            '[' => {
                in_class = true;
                out.push('[');
                if chars.get(i + 1) == Some(&'^') {
                    out.push('^');
                    i += 1;
                }
                if chars.get(i + 1) == Some(&']') {
                    out.push_str("\\]");
                    i += 1;
                }
            }
            ']' if in_class => {
                in_class = false;
                out.push(']');
            }
            '&' | '~' if in_class && chars.get(i + 1) == Some(&c) => {
                out.push('\\');
                out.push(c);
            }
            '-' if in_class && chars.get(i + 1) == Some(&'-') => out.push_str("\\-"),
            c => out.push(c),
        }
        i += 1;
    }
    out
}

fn flag(map: &Map<String, Value>, key: &str) -> bool {
    map.get(key).and_then(Value::as_bool).unwrap_or_default()
}

fn text(map: &Map<String, Value>, key: &str) -> String {
    map.get(key)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

fn strings(map: &Map<String, Value>, key: &str) -> Vec<String> {
    map.get(key)
        .and_then(Value::as_array)
        .map(|list| list.iter().filter_map(Value::as_str).map(str::to_owned).collect())
        .unwrap_or_default()
}

fn nodes(map: &Map<String, Value>, key: &str) -> Vec<Arc<Node>> {
    map.get(key)
        .and_then(Value::as_array)
        .map(|list| list.iter().map(|v| Arc::new(Node::parse(v))).collect())
        .unwrap_or_default()
}

impl Node {
    /// Reads a schema; what is malformed is left out (the CRD's own validation reports it).
    pub(crate) fn parse(schema: &Value) -> Self {
        let empty = Map::new();
        let map = schema.as_object().unwrap_or(&empty);
        let type_name = text(map, "type");
        let type_ = Type::parse(&type_name);
        let int_or_string = flag(map, "x-kubernetes-int-or-string");
        let mut node = Self {
            type_,
            unknown_type: (type_.is_none() && !type_name.is_empty()).then_some(type_name),
            nullable: flag(map, "nullable"),
            default: map.get("default").filter(|v| !v.is_null()).cloned(),
            described: !text(map, "description").is_empty(),
            titled: !text(map, "title").is_empty(),
            int_or_string,
            preserve_unknown: flag(map, "x-kubernetes-preserve-unknown-fields"),
            embedded: flag(map, "x-kubernetes-embedded-resource"),
            list_type: match map.get("x-kubernetes-list-type").and_then(Value::as_str) {
                Some("map") => ListType::Map,
                Some("set") => ListType::Set,
                Some("atomic") => ListType::Atomic,
                _ => ListType::Unset,
            },
            list_map_keys: strings(map, "x-kubernetes-list-map-keys"),
            map_type: map
                .get("x-kubernetes-map-type")
                .and_then(Value::as_str)
                .map(str::to_owned),
            properties: map
                .get("properties")
                .and_then(Value::as_object)
                .map(|p| {
                    p.iter()
                        .map(|(k, v)| (k.clone(), Arc::new(Self::parse(v))))
                        .collect()
                })
                .unwrap_or_default(),
            additional: match map.get("additionalProperties") {
                None | Some(Value::Null) => None,
                Some(Value::Bool(b)) => Some(Additional::Any(*b)),
                Some(schema) => Some(Additional::Schema(Arc::new(Self::parse(schema)))),
            },
            items: map
                .get("items")
                .filter(|v| v.is_object())
                .map(|v| Arc::new(Self::parse(v))),
            required: strings(map, "required"),
            enumeration: map
                .get("enum")
                .and_then(Value::as_array)
                .cloned()
                .unwrap_or_default(),
            limits: Limits::parse(map),
            pattern: map
                .get("pattern")
                .and_then(Value::as_str)
                .filter(|p| !p.is_empty())
                .map(Pattern::new),
            all_of: nodes(map, "allOf"),
            any_of: nodes(map, "anyOf"),
            one_of: nodes(map, "oneOf"),
            not: map
                .get("not")
                .filter(|v| v.is_object())
                .map(|v| Arc::new(Self::parse(v))),
            rules: parse_rules(map),
            ..Self::default()
        };
        node.format = supported_format(&node, text(map, "format"));
        node
    }

    /// Type names joined as the real server shows them in messages.
    pub(crate) fn type_text(&self) -> &str {
        match (self.int_or_string, self.type_, &self.unknown_type) {
            (true, ..) => "integer,string",
            (_, Some(t), _) => t.name(),
            (_, None, Some(name)) => name,
            (_, None, None) => "",
        }
    }

    pub(crate) fn is_typed(&self) -> bool {
        self.int_or_string || self.type_.is_some() || self.unknown_type.is_some()
    }

    pub(crate) fn allows(&self, type_: Type) -> bool {
        if self.int_or_string {
            matches!(type_, Type::Integer | Type::String)
        } else {
            self.type_ == Some(type_)
        }
    }

    /// The schema of a field: its property, or that of all additional ones.
    pub(crate) fn field(&self, name: &str) -> Option<&Arc<Self>> {
        self.properties
            .get(name)
            .or_else(|| self.additional.as_ref().and_then(Additional::schema))
    }

    /// The format that values are checked for.
    pub(crate) fn checked_format(&self) -> Option<Format> {
        Format::named(&self.format)
    }
}

impl Limits {
    fn parse(map: &Map<String, Value>) -> Option<Box<Self>> {
        let number = |key| map.get(key).and_then(Value::as_f64);
        let count = |key| map.get(key).and_then(Value::as_i64);
        const KEYS: [&str; 10] = [
            "maximum",
            "minimum",
            "multipleOf",
            "maxLength",
            "minLength",
            "maxItems",
            "minItems",
            "uniqueItems",
            "maxProperties",
            "minProperties",
        ];
        if !KEYS.iter().any(|key| map.contains_key(*key)) {
            return None;
        }
        Some(Box::new(Self {
            maximum: number("maximum"),
            exclusive_maximum: flag(map, "exclusiveMaximum"),
            minimum: number("minimum"),
            exclusive_minimum: flag(map, "exclusiveMinimum"),
            multiple_of: number("multipleOf"),
            max_length: count("maxLength"),
            min_length: count("minLength"),
            max_items: count("maxItems"),
            min_items: count("minItems"),
            unique_items: flag(map, "uniqueItems"),
            max_properties: count("maxProperties"),
            min_properties: count("minProperties"),
        }))
    }
}

fn parse_rules(map: &Map<String, Value>) -> Vec<RuleText> {
    let Some(rules) = map.get("x-kubernetes-validations").and_then(Value::as_array) else {
        return Vec::new();
    };
    rules
        .iter()
        .filter_map(Value::as_object)
        .map(|rule| RuleText {
            rule: text(rule, "rule"),
            message: text(rule, "message"),
            message_expression: text(rule, "messageExpression"),
            reason: rule.get("reason").and_then(Value::as_str).map(str::to_owned),
            field_path: text(rule, "fieldPath"),
            optional_old_self: flag(rule, "optionalOldSelf"),
        })
        .collect()
}

/// Formats the server does not know are ignored, and so are those that do not go with the type.
fn supported_format(node: &Node, format: String) -> String {
    let keep = match node.type_ {
        _ if node.int_or_string => false,
        Some(Type::Integer) => matches!(format.as_str(), "int32" | "int64"),
        Some(Type::Number) => matches!(format.as_str(), "float" | "double"),
        Some(Type::String) | None if node.unknown_type.is_none() => Format::named(&format).is_some(),
        _ => false,
    };
    if keep { format } else { String::new() }
}
