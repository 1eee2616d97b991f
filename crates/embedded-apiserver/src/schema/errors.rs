//! Field errors in the words and shapes of kube-apiserver's answers to invalid objects.
//!
//! Only data and formatting live here; the rules that find the errors are in the sibling modules.

use std::fmt;

use serde_json::{Value, json};

/// What is wrong with a field; each kind has a fixed reason (`metav1.Status` cause) and a fixed leading text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorKind {
    /// A required field is missing.
    Required,
    /// The value breaks a rule.
    Invalid,
    /// The value has another JSON type than the schema asks for.
    TypeInvalid,
    /// The value is not in the enumeration.
    NotSupported,
    /// The value may appear only once.
    Duplicate,
    /// The thing named by the value does not exist.
    NotFound,
    /// The value would be fine elsewhere, but not here.
    Forbidden,
    /// A string is too long.
    TooLong,
    /// A string is too short.
    TooShort,
    /// A list or map has too many entries.
    TooMany,
    /// A list or map has too few entries.
    TooFew,
    /// The rule itself could not be checked.
    Internal,
}

impl ErrorKind {
    /// The `reason` of the cause in a `metav1.Status`.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Required => "FieldValueRequired",
            Self::Invalid => "FieldValueInvalid",
            Self::TypeInvalid => "FieldValueTypeInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Duplicate => "FieldValueDuplicate",
            Self::NotFound => "FieldValueNotFound",
            Self::Forbidden => "FieldValueForbidden",
            Self::TooLong => "FieldValueTooLong",
            Self::TooShort => "FieldValueTooShort",
            Self::TooMany => "FieldValueTooMany",
            Self::TooFew => "FieldValueTooFew",
            Self::Internal => "InternalError",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Required => "Required value",
            Self::Invalid | Self::TypeInvalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Duplicate => "Duplicate value",
            Self::NotFound => "Not found",
            Self::Forbidden => "Forbidden",
            Self::TooLong => "Too long",
            Self::TooShort => "Too short",
            Self::TooMany => "Too many",
            Self::TooFew => "Too few",
            Self::Internal => "Internal error",
        }
    }
}

/// One invalid field. `Display` gives `path: body`, as it appears in the message of a 422.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldError {
    /// Field path, such as `spec.machines[0].name`; `<nil>` where upstream has no path.
    pub path: String,
    /// What is wrong.
    pub kind: ErrorKind,
    /// The offending value; None when it is not shown. Kinds that never show it ignore it.
    pub value: Option<Value>,
    /// Explanation after the value; may be empty.
    pub detail: String,
}

impl FieldError {
    /// An error of any kind.
    #[must_use]
    pub fn new(
        kind: ErrorKind,
        path: impl Into<String>,
        value: impl Into<Value>,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            path: path.into(),
            kind,
            value: Some(value.into()),
            detail: detail.into(),
        }
    }

    /// A required field is missing.
    #[must_use]
    pub fn required(path: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(ErrorKind::Required, path, "", detail)
    }

    /// A value breaks a rule.
    #[must_use]
    pub fn invalid(path: impl Into<String>, value: impl Into<Value>, detail: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, path, value, detail)
    }

    /// As [`Self::invalid`], with the value as it is to be shown: structs have an order that JSON maps do not keep.
    #[must_use]
    pub fn invalid_struct(path: impl Into<String>, shown: &str, detail: &str) -> Self {
        Self {
            path: path.into(),
            kind: ErrorKind::Invalid,
            value: None,
            detail: format!("{shown}: {detail}"),
        }
    }

    /// A value that is fine elsewhere is not allowed here.
    #[must_use]
    pub fn forbidden(path: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(ErrorKind::Forbidden, path, "", detail)
    }

    /// A value that may appear once appears again.
    #[must_use]
    pub fn duplicate(path: impl Into<String>, value: impl Into<Value>) -> Self {
        Self::new(ErrorKind::Duplicate, path, value, "")
    }

    /// A value is none of the supported ones.
    #[must_use]
    pub fn not_supported<S: AsRef<str>>(
        path: impl Into<String>,
        value: impl Into<Value>,
        supported: &[S],
    ) -> Self {
        let quoted: Vec<String> = supported.iter().map(|s| quote(s.as_ref())).collect();
        let detail = if quoted.is_empty() {
            String::new()
        } else {
            format!("supported values: {}", quoted.join(", "))
        };
        Self::new(ErrorKind::NotSupported, path, value, detail)
    }

    /// A string has more than `max` bytes.
    #[must_use]
    pub fn too_long(path: impl Into<String>, max: i64) -> Self {
        let detail = if max < 0 {
            "value is too long".to_owned()
        } else {
            format!(
                "may not be more than {max} {}",
                if max == 1 { "byte" } else { "bytes" }
            )
        };
        Self::new(ErrorKind::TooLong, path, "<value omitted>", detail)
    }

    /// A list or map has more than `max` entries.
    #[must_use]
    pub fn too_many(path: impl Into<String>, actual: i64, max: i64) -> Self {
        let detail = if max < 0 {
            "has too many items".to_owned()
        } else {
            format!(
                "must have at most {max} {}",
                if max == 1 { "item" } else { "items" }
            )
        };
        let value = if actual < 0 {
            Value::Null
        } else {
            Value::from(actual)
        };
        Self::new(ErrorKind::TooMany, path, value, detail)
    }

    /// The message without the path.
    #[must_use]
    pub fn body(&self) -> String {
        let mut text = match self.kind {
            ErrorKind::Required
            | ErrorKind::Forbidden
            | ErrorKind::TooLong
            | ErrorKind::TooShort
            | ErrorKind::Internal => self.kind.text().to_owned(),
            _ => match &self.value {
                Some(value) => format!("{}: {}", self.kind.text(), show(value)),
                None => self.kind.text().to_owned(),
            },
        };
        if !self.detail.is_empty() {
            text.push_str(": ");
            text.push_str(&self.detail);
        }
        text
    }

    /// The cause object for `metav1.Status.details.causes`.
    #[must_use]
    pub fn cause(&self) -> Value {
        json!({"reason": self.kind.reason(), "message": self.body(), "field": self.path})
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.body())
    }
}

/// Several errors as one text: alone as they are, otherwise `[a, b]` without repetitions (the tail of a 422's message).
#[must_use]
pub fn aggregate(errors: &[FieldError]) -> String {
    let mut seen: Vec<String> = Vec::new();
    for error in errors {
        let text = error.to_string();
        if !seen.contains(&text) {
            seen.push(text);
        }
    }
    match seen.as_slice() {
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
    }
}

/// A string in double quotes with Go's escapes (`%q`).
#[must_use]
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\u{b}' => out.push_str("\\v"),
            c if (c as u32) < 0x20 || c == '\u{7f}' => out.push_str(&format!("\\x{:02x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn show(value: &Value) -> String {
    match value {
        Value::String(s) => quote(s),
        Value::Number(n) => go_number(n),
        other => go_json(other),
    }
}

/// A number as Go's `%v` prints it (large and tiny floats in exponent form).
fn go_number(number: &serde_json::Number) -> String {
    match number.as_f64() {
        Some(f) if number.is_f64() => go_float(f),
        _ => number.to_string(),
    }
}

/// A float as Go's `strconv.FormatFloat(f, 'g', -1, 64)` with the exponent limits of `%v`.
#[must_use]
pub fn go_float(f: f64) -> String {
    if f == 0.0 {
        return "0".to_owned();
    }
    let exponent = f.abs().log10().floor();
    if !(-4.0..21.0).contains(&exponent) {
        let text = format!("{f:e}");
        let (mantissa, power) = text.split_once('e').unwrap_or((&text, "0"));
        let power: i32 = power.parse().unwrap_or_default();
        let sign = if power < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{:02}", power.abs());
    }
    format!("{f}")
}

/// Compact JSON with Go's HTML escapes, as `encoding/json` writes it.
#[must_use]
pub fn go_json(value: &Value) -> String {
    let text = value.to_string();
    if !text.contains(['<', '>', '&']) {
        return text;
    }
    text.replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
}
