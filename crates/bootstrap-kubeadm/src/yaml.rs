//! A small deterministic YAML writer in the dialect that Kubernetes' Go tools print: keys sorted by byte, two spaces of
//! indent, list items at their parent's indent, quotes only where a reader needs them.
//!
//! A general serializer is not used here, because bootstrap data is compared with golden files shared with the
//! Go implementation and is read by YAML 1.1 parsers (`y`, `on`, `1:30` and `0o7` must stay strings).
//! What must not be here: anything that knows kubeadm or cloud-init.

use std::fmt::Write;

use serde_json::Value;

/// `value` as a YAML document with a final newline and without a leading `---`.
pub fn to_string(value: &Value) -> String {
    let mut out = String::new();
    write_block(&mut out, value, 0);
    out
}

/// `text` as a one-line YAML scalar: plain where that reads back as the same string, else quoted.
pub fn scalar(text: &str) -> String {
    if text.chars().any(must_be_escaped) || text.contains(['\n', '\t']) {
        double_quoted(text)
    } else if reads_as_other_type(text) {
        format!("\"{text}\"")
    } else if is_plain(text) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "''"))
    }
}

/// `text` in double quotes, with every character escaped that cannot stand there.
pub fn double_quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if must_be_escaped(c) => {
                // Writing to a String cannot fail.
                let _ = match u32::from(c) {
                    code @ 0..=0xff => write!(out, "\\x{code:02x}"),
                    code @ 0x100..=0xffff => write!(out, "\\u{code:04x}"),
                    code => write!(out, "\\U{code:08x}"),
                };
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Whether a literal block (`|`) can carry `text` unchanged but for its final newlines.
pub fn fits_literal_block(text: &str) -> bool {
    !text.chars().any(must_be_escaped) && !text.trim_matches('\n').is_empty()
}

/// Whether a literal block needs an explicit indentation indicator, because its first line with text begins with a space.
pub fn needs_indentation_indicator(text: &str) -> bool {
    text.trim_start_matches('\n').starts_with(' ')
}

fn write_block(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by(|a, b| a.0.cmp(b.0));
            for (index, (key, value)) in entries.into_iter().enumerate() {
                if index > 0 {
                    push_indent(out, indent);
                }
                out.push_str(&scalar(key));
                out.push(':');
                write_mapped(out, value, indent);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    push_indent(out, indent);
                }
                out.push_str("- ");
                write_block(out, item, indent + 2);
            }
        }
        leaf => {
            write_leaf(out, leaf, indent);
            out.push('\n');
        }
    }
}

/// Writes what follows `key:` of a mapping whose keys stand at `indent`.
fn write_mapped(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            out.push('\n');
            push_indent(out, indent + 2);
            write_block(out, value, indent + 2);
        }
        Value::Array(items) if !items.is_empty() => {
            out.push('\n');
            push_indent(out, indent);
            write_block(out, value, indent);
        }
        leaf => {
            out.push(' ');
            write_leaf(out, leaf, indent + 2);
            out.push('\n');
        }
    }
}

fn write_leaf(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Value::Number(n) => {
            let _ = write!(out, "{n}");
        }
        Value::String(text)
            if text.contains('\n') && fits_literal_block(text) && !needs_indentation_indicator(text) =>
        {
            write_literal(out, text, indent);
        }
        Value::String(text) => out.push_str(&scalar(text)),
        Value::Array(_) => out.push_str("[]"),
        Value::Object(_) => out.push_str("{}"),
    }
}

/// A literal block without the newline of its last line; the caller ends it.
fn write_literal(out: &mut String, text: &str, indent: usize) {
    let (header, body) = match text.strip_suffix('\n') {
        None => ("|-", text),
        Some(body) if body.ends_with('\n') => ("|+", body),
        Some(body) => ("|", body),
    };
    out.push_str(header);
    for line in body.split('\n') {
        out.push('\n');
        if !line.is_empty() {
            push_indent(out, indent.max(2));
            out.push_str(line);
        }
    }
}

fn push_indent(out: &mut String, indent: usize) {
    out.extend(std::iter::repeat_n(' ', indent));
}

/// Characters that YAML readers refuse, fold or normalise when they stand there as such.
fn must_be_escaped(c: char) -> bool {
    (c.is_control() && c != '\n' && c != '\t') || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}')
}

/// Whether `text`, written plain, would be a string at all: not a nested structure, comment, alias ...
fn is_plain(text: &str) -> bool {
    let mut chars = text.chars();
    let (Some(first), second) = (chars.next(), chars.next()) else {
        return false;
    };
    let indicator = match first {
        '-' | '?' | ':' => second.is_none_or(|c| c == ' '),
        c => ",[]{}#&*!|>'\"%@`".contains(c),
    };
    !(indicator
        || text.starts_with(' ')
        || text.ends_with([' ', ':'])
        || text.contains(": ")
        || text.contains(" #")
        || text.starts_with("---")
        || text.starts_with("..."))
}

/// Whether some YAML 1.1 or 1.2 reader takes plain `text` for a null, boolean, number, date or merge key.
fn reads_as_other_type(text: &str) -> bool {
    const WORDS: &[&str] = &[
        "", "~", "<<", "=", "null", "true", "false", "yes", "no", "on", "off", "y", "n", ".nan", ".inf",
        "+.inf", "-.inf",
    ];
    WORDS.contains(&text.to_ascii_lowercase().as_str()) || is_number(text) || is_date(text)
}

fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return false;
    }
    let radix = |prefix: &str, set: fn(char) -> bool| {
        digits
            .strip_prefix(prefix)
            .is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| c == '_' || set(c)))
    };
    if radix("0x", |c| c.is_ascii_hexdigit())
        || radix("0o", |c| c.is_digit(8))
        || radix("0b", |c| c.is_digit(2))
    {
        return true;
    }
    let body = digits.replace('_', "");
    if body.contains(':') {
        return is_sexagesimal(&body);
    }
    let (mantissa, exponent) = match body.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (body.as_str(), None),
    };
    let exponent_fits = exponent.is_none_or(|e| {
        let e = e.strip_prefix(['+', '-']).unwrap_or(e);
        !e.is_empty() && e.chars().all(|c| c.is_ascii_digit())
    });
    let dots = mantissa.chars().filter(|c| *c == '.').count();
    exponent_fits
        && dots <= 1
        && mantissa.chars().any(|c| c.is_ascii_digit())
        && mantissa.chars().all(|c| c.is_ascii_digit() || c == '.')
}

/// `190:20:30` is a number of base 60 to readers of YAML 1.1.
fn is_sexagesimal(text: &str) -> bool {
    let mut parts = text.split(':');
    let all_digits = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_digit());
    let Some(first) = parts.next() else { return false };
    let below_sixty = |part: &str| {
        let whole = part.split_once('.').map_or(part, |(whole, _)| whole);
        all_digits(whole)
            && whole.len() <= 2
            && (whole.len() == 1 || whole.starts_with(['0', '1', '2', '3', '4', '5']))
    };
    all_digits(first) && parts.all(below_sixty)
}

/// `2026-11-20...`: readers of YAML 1.1 make a date of it.
fn is_date(text: &str) -> bool {
    let mut parts = text.splitn(3, '-');
    let (Some(year), Some(month), Some(rest)) = (parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    year.len() == 4
        && year.chars().all(|c| c.is_ascii_digit())
        && (1..=2).contains(&month.len())
        && month.chars().all(|c| c.is_ascii_digit())
        && rest.starts_with(|c: char| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn scalars_are_quoted_only_where_a_reader_needs_it() {
        for (text, want) in [
            ("plain", "plain"),
            ("v1.31.0", "v1.31.0"),
            ("10.0.0.0/16", "10.0.0.0/16"),
            ("192.168.1.1", "192.168.1.1"),
            ("sha256:ab", "sha256:ab"),
            ("a b", "a b"),
            ("-v", "-v"),
            ("", "\"\""),
            ("true", "\"true\""),
            ("Yes", "\"Yes\""),
            ("n", "\"n\""),
            ("10", "\"10\""),
            ("0640", "\"0640\""),
            ("1_000", "\"1_000\""),
            ("1e3", "\"1e3\""),
            ("1.5", "\"1.5\""),
            ("0x1F", "\"0x1F\""),
            ("1:30", "\"1:30\""),
            ("10.0.0.9:6443", "10.0.0.9:6443"),
            ("10:6443", "10:6443"),
            ("123456.1234567890123456", "\"123456.1234567890123456\""),
            ("2026-11-20T00:00:00Z", "\"2026-11-20T00:00:00Z\""),
            ("~", "\"~\""),
            ("- a", "'- a'"),
            ("a: b", "'a: b'"),
            ("a #b", "'a #b'"),
            ("[::]:6443", "'[::]:6443'"),
            ("'it", "'''it'"),
            ("{{ ds.meta_data.hostname }}", "'{{ ds.meta_data.hostname }}'"),
            ("tab\there", "\"tab\\there\""),
            ("bell\u{7}", "\"bell\\x07\""),
        ] {
            assert_eq!(scalar(text), want, "{text:?}");
            let back: Value = serde_saphyr::from_str(&format!("k: {want}\n")).unwrap();
            assert_eq!(back["k"], json!(text), "{want} must read back as {text:?}");
        }
    }

    #[test]
    fn documents_have_sorted_keys_and_lists_at_their_parents_indent() {
        let value = json!({
            "b": [{"name": "x", "value": "1"}, {"name": "y", "list": ["p", {"q": []}]}],
            "a": {},
            "B": {"null": null, "deep": {"yes": true, "n": 3}},
            "nested": [["u", "v"], []],
            "text": "one\n\n  two\n",
            "bare": "one\ntwo",
            "tail": "one\n\n",
        });
        let text = to_string(&value);
        let want = concat!(
            "B:\n  deep:\n    \"n\": 3\n    \"yes\": true\n  \"null\": null\na: {}\nb:\n- name: x\n  value: \"1\"\n",
            "- list:\n  - p\n  - q: []\n  name: \"y\"\nbare: |-\n  one\n  two\nnested:\n- - u\n  - v\n- []\n",
            "tail: |+\n  one\n\ntext: |\n  one\n\n    two\n",
        );
        assert_eq!(text, want);
        assert_eq!(serde_saphyr::from_str::<Value>(&text).unwrap(), value);
    }
}
