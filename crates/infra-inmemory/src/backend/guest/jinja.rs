//! The part of cloud-init's jinja rendering that bootstrap data uses: variables of the instance, comments and raw blocks.
//!
//! cloud-init renders user data only if its first line asks for it. A real machine prints a warning for an unknown
//! variable and goes on with a broken file; here it is an error, because it is always a mistake.

use std::collections::BTreeMap;

/// The line that asks for rendering; it must be the first one.
const HEADER: &str = "## template: jinja";

/// Why a template cannot be rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A `{{` or `{%` without its end.
    #[error("jinja: `{0}` is not closed")]
    Unclosed(&'static str),
    /// A variable that the machine's instance data does not hold.
    #[error("jinja: variable `{0}` is not part of the instance data (known: {1})")]
    UnknownVariable(String, String),
    /// A statement other than `raw`.
    #[error("jinja: statement `{0}` is not supported, only variables, comments and raw blocks are")]
    Statement(String),
}

/// The variables that templates may use, by their dotted names.
pub fn instance_data(hostname: &str, instance_id: &str) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    for scope in ["ds.meta_data.", "v1.", ""] {
        for name in ["local_hostname", "hostname"] {
            variables.insert(format!("{scope}{name}"), hostname.to_owned());
        }
        variables.insert(format!("{scope}instance_id"), instance_id.to_owned());
    }
    variables.insert("v1.cloud_name".to_owned(), "inmemory".to_owned());
    variables
}

/// `text` with its variables replaced, or unchanged where its first line does not ask for rendering.
pub fn render(text: &str, variables: &BTreeMap<String, String>) -> Result<String, TemplateError> {
    let Some(body) = text.strip_prefix(HEADER) else {
        return Ok(text.to_owned());
    };
    let mut rest = body.strip_prefix('\n').unwrap_or(body);
    let mut out = String::with_capacity(rest.len());
    while let Some(start) = rest.find('{') {
        let (before, tail) = rest.split_at(start);
        out.push_str(before);
        rest = match tail.as_bytes().get(1) {
            Some(b'{') => {
                let (expression, after) = enclosed(tail, "{{", "}}")?;
                out.push_str(lookup(expression, variables)?);
                after
            }
            Some(b'#') => enclosed(tail, "{#", "#}")?.1,
            Some(b'%') => {
                let (statement, after) = enclosed(tail, "{%", "%}")?;
                if statement != "raw" {
                    return Err(TemplateError::Statement(statement.to_owned()));
                }
                let (raw, after) = split_at_endraw(after).ok_or(TemplateError::Unclosed("{% raw %}"))?;
                out.push_str(raw);
                after
            }
            _ => {
                out.push('{');
                &tail[1..]
            }
        };
    }
    out.push_str(rest);
    Ok(out)
}

/// What stands between `open`, with which `text` begins, and `close`; and the text after it.
fn enclosed<'a>(text: &'a str, open: &'static str, close: &str) -> Result<(&'a str, &'a str), TemplateError> {
    let inside = &text[open.len()..];
    let end = inside.find(close).ok_or(TemplateError::Unclosed(open))?;
    let trimmed = inside[..end].trim_matches('-').trim();
    Ok((trimmed, &inside[end + close.len()..]))
}

fn split_at_endraw(text: &str) -> Option<(&str, &str)> {
    let mut from = 0;
    loop {
        let start = from + text[from..].find("{%")?;
        let (statement, after) = enclosed(&text[start..], "{%", "%}").ok()?;
        if statement == "endraw" {
            return Some((&text[..start], after));
        }
        from = start + 2;
    }
}

fn lookup<'a>(expression: &str, variables: &'a BTreeMap<String, String>) -> Result<&'a str, TemplateError> {
    variables.get(expression).map(String::as_str).ok_or_else(|| {
        let known = variables
            .keys()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(", ");
        TemplateError::UnknownVariable(expression.to_owned(), known)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, want: Result<&str, &str>) {
        let got = render(text, &instance_data("node-1", "i-1")).map_err(|e| e.to_string());
        match (got, want) {
            (Ok(got), Ok(want)) => assert_eq!(got, want),
            (Err(got), Err(want)) => assert!(got.contains(want), "{got}"),
            (got, want) => panic!("{text:?}: got {got:?}, want {want:?}"),
        }
    }

    #[test]
    fn only_text_that_asks_for_it_is_rendered() {
        check("#cloud-config\na: {{ x }}\n", Ok("#cloud-config\na: {{ x }}\n"));
        check(
            "## template: jinja\n#cloud-config\na: '{{ ds.meta_data.local_hostname }}'\n",
            Ok("#cloud-config\na: 'node-1'\n"),
        );
    }

    #[test]
    fn braces_comments_and_raw_blocks_are_understood() {
        check("## template: jinja\n{a: {}}{# gone #}!", Ok("{a: {}}!"));
        check(
            "## template: jinja\n{% raw %}{{ .Name }}{% x %}{%- endraw %}.",
            Ok("{{ .Name }}{% x %}."),
        );
        check("## template: jinja\n{{v1.instance_id}}", Ok("i-1"));
    }

    #[test]
    fn what_cannot_be_rendered_is_named() {
        check(
            "## template: jinja\n{{ ds.meta_data.zone }}",
            Err("`ds.meta_data.zone` is not part of the instance data"),
        );
        check("## template: jinja\n{{ a", Err("`{{` is not closed"));
        check("## template: jinja\n{% if a %}", Err("`if a` is not supported"));
        check("## template: jinja\n{% raw %}x", Err("`{% raw %}` is not closed"));
    }
}
