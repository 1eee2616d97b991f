//! Field selectors: terms on a few fields that each kind chooses.

use serde_json::Value;

/// One term of a field selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldRequirement {
    /// Field label, such as `metadata.name`.
    pub field: String,
    /// True for `=`/`==`, false for `!=`.
    pub equals: bool,
    /// The value compared with; unescaped.
    pub value: String,
}

/// A parsed field selector: all requirements must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector {
    /// The terms, sorted by their text.
    pub requirements: Vec<FieldRequirement>,
}

impl FieldSelector {
    /// Parses the query parameter (`metadata.name=x,status.phase!=Running`); empty selects everything. The error is the text of a 400.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut terms = split_terms(text);
        terms.sort_unstable();
        let mut requirements = Vec::new();
        for term in terms.into_iter().filter(|term| !term.is_empty()) {
            let Some((field, equals, value)) = split_term(term) else {
                return Err(format!("invalid selector: '{text}'; can't understand '{term}'"));
            };
            requirements.push(FieldRequirement {
                field: field.to_owned(),
                equals,
                value: unescape(value)?,
            });
        }
        Ok(Self { requirements })
    }

    /// Whether everything is selected.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Checks that all fields are supported; the error is the text of a 400 (`field label not supported: x`). Kinds with a
    /// text of their own look at [`Self::first_unsupported`].
    pub fn check_supported(&self, supported: &[&str]) -> Result<(), String> {
        self.first_unsupported(supported)
            .map_or(Ok(()), |field| Err(format!("field label not supported: {field}")))
    }

    /// The first field that is none of the supported ones.
    #[must_use]
    pub fn first_unsupported(&self, supported: &[&str]) -> Option<&str> {
        self.requirements
            .iter()
            .map(|r| r.field.as_str())
            .find(|field| !supported.contains(field))
    }

    /// Whether an object is selected; paths such as `metadata.name` are read from the object, missing fields are empty strings.
    #[must_use]
    pub fn matches_object(&self, object: &Value) -> bool {
        self.matches_with(|field| {
            let found = field.split('.').try_fold(object, |value, key| value.get(key));
            match found {
                Some(Value::String(text)) => text.clone(),
                Some(Value::Null) | None => String::new(),
                Some(other) => other.to_string(),
            }
        })
    }

    /// [`Self::matches_object`] with the fields' values given by a function.
    pub fn matches_with(&self, value_of: impl Fn(&str) -> String) -> bool {
        self.requirements
            .iter()
            .all(|r| (value_of(&r.field) == r.value) == r.equals)
    }

    /// The value that `metadata.name` is required to have, if any: lets a list become a get.
    #[must_use]
    pub fn required_name(&self) -> Option<&str> {
        self.requirements
            .iter()
            .find(|r| r.equals && r.field == "metadata.name")
            .map(|r| r.value.as_str())
    }
}

fn split_terms(text: &str) -> Vec<&str> {
    let mut terms = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (i, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                terms.push(&text[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    terms.push(&text[start..]);
    terms
}

fn split_term(term: &str) -> Option<(&str, bool, &str)> {
    for (i, _) in term.char_indices() {
        let rest = &term[i..];
        for (operator, equals) in [("!=", false), ("==", true), ("=", true)] {
            if let Some(value) = rest.strip_prefix(operator) {
                return Some((&term[..i], equals, value));
            }
        }
    }
    None
}

fn unescape(text: &str) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut escaped = false;
    for c in text.chars() {
        match (escaped, c) {
            (true, '\\' | ',' | '=') => {
                out.push(c);
                escaped = false;
            }
            (true, _) => return Err(format!("invalid field selector: invalid escape sequence: \\{c}")),
            (false, '\\') => escaped = true,
            (false, ',' | '=') => {
                return Err(format!(
                    "invalid field selector: unescaped character in value: {}",
                    c as u32
                ));
            }
            (false, c) => out.push(c),
        }
    }
    if escaped {
        return Err("invalid field selector: invalid escape sequence: \\".to_owned());
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn terms_are_parsed_and_matched() {
        let object = json!({"metadata": {"name": "a,b", "namespace": "ns"}, "spec": {"unschedulable": true}});
        let cases = [
            ("", true),
            ("metadata.namespace=ns", true),
            ("metadata.namespace==ns,spec.unschedulable=true", true),
            ("metadata.namespace!=ns", false),
            ("metadata.name=a\\,b", true),
            ("spec.nodeName=", true),
            ("spec.nodeName!=", false),
        ];
        for (text, expected) in cases {
            assert_eq!(
                FieldSelector::parse(text).unwrap().matches_object(&object),
                expected,
                "{text}"
            );
        }
        assert_eq!(
            FieldSelector::parse("metadata.name=x").unwrap().required_name(),
            Some("x")
        );
    }

    #[test]
    fn malformed_terms_are_explained() {
        let cases = [
            (
                "metadata.name",
                "invalid selector: 'metadata.name'; can't understand 'metadata.name'",
            ),
            (
                "a=b=c",
                "invalid field selector: unescaped character in value: 61",
            ),
            ("a=\\x", "invalid field selector: invalid escape sequence: \\x"),
            ("a=b\\", "invalid field selector: invalid escape sequence: \\"),
        ];
        for (text, expected) in cases {
            assert_eq!(FieldSelector::parse(text).unwrap_err(), expected, "{text}");
        }
        let selector = FieldSelector::parse("spec.x=1").unwrap();
        assert_eq!(
            selector.check_supported(&["metadata.name"]).unwrap_err(),
            "field label not supported: spec.x"
        );
    }
}
