//! The template language of clusterctl: variables of the shell's form in any text.
//!
//! `${V}`, `${V:=default}` (also `:-`, `=`, `-`; the default may hold variables), `${#V}`, `${V^}`, `${V^^}`, `${V,}`, `${V,,}`,
//! `${V:offset}`, `${V:offset:length}`, `${V#p}`, `${V##p}`, `${V%p}`, `${V%%p}`, `${V/p/r}`, `${V//p/r}`, `${V/#p/r}`,
//! `${V/%p/r}`; `$$` is a dollar sign. Blanks inside the braces of a plain variable are accepted. A variable without a
//! value counts as empty where a form says what to do then, and is an error elsewhere.

use std::collections::BTreeMap;

/// What is wrong with a template, or missing.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// Variables that nobody set.
    #[error("these variables have no value and no default: {}; set them in the environment", .0.join(", "))]
    Missing(Vec<String>),
    /// A form that is not closed or not known.
    #[error("{0:?} is no variable of the form ${{NAME}}, ${{NAME:=default}} or the like")]
    Malformed(String),
}

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Variable(String, Form),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    Plain,
    Default(Vec<Piece>),
    Length,
    /// The characters after the name.
    Case(&'static str),
    Substring(usize, Option<usize>),
    /// Takes away a prefix (`#`) or suffix (`%`), the longest if doubled.
    Trim {
        suffix: bool,
        longest: bool,
        pattern: String,
    },
    Replace {
        place: Place,
        pattern: String,
        replacement: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    First,
    All,
    Prefix,
    Suffix,
}

/// A template that has been read.
#[derive(Clone, Debug)]
pub struct Template(Vec<Piece>);

impl Template {
    /// Reads a template.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut rest = text;
        let pieces = pieces(&mut rest, false)?;
        Ok(Self(pieces))
    }

    /// All variables with their defaults, if they have one.
    pub fn variables(&self) -> BTreeMap<String, Option<String>> {
        let mut found = BTreeMap::new();
        collect(&self.0, &mut found);
        found
    }

    /// The text with the values that `value` gives.
    pub fn render(&self, value: &dyn Fn(&str) -> Option<String>) -> Result<String, Error> {
        let mut missing = Vec::new();
        let text = render(&self.0, value, &mut missing);
        missing.sort();
        missing.dedup();
        match missing.is_empty() {
            true => Ok(text),
            false => Err(Error::Missing(missing)),
        }
    }
}

fn collect(pieces: &[Piece], found: &mut BTreeMap<String, Option<String>>) {
    for piece in pieces {
        let Piece::Variable(name, form) = piece else {
            continue;
        };
        let default = match form {
            Form::Default(default) => {
                collect(default, found);
                Some(render(default, &|_| None, &mut Vec::new()))
            }
            _ => None,
        };
        let known = found.entry(name.clone()).or_default();
        if known.is_none() {
            *known = default;
        }
    }
}

/// Reads until the end of the text or, inside of a form, to its closing brace, which is left.
fn pieces(rest: &mut &str, inside: bool) -> Result<Vec<Piece>, Error> {
    let mut pieces = Vec::new();
    let mut text = String::new();
    while let Some(next) = rest.chars().next() {
        if inside && next == '}' {
            break;
        }
        if let Some(after) = rest.strip_prefix("$$") {
            text.push('$');
            *rest = after;
            // What follows is no variable any more.
            if let Some(after) = rest.strip_prefix('{') {
                text.push('{');
                *rest = after;
            }
        } else if rest.starts_with("${") {
            if !text.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut text)));
            }
            pieces.push(variable(rest)?);
        } else {
            text.push(next);
            *rest = &rest[next.len_utf8()..];
        }
    }
    if !text.is_empty() {
        pieces.push(Piece::Text(text));
    }
    Ok(pieces)
}

/// Reads one `${...}`.
fn variable(rest: &mut &str) -> Result<Piece, Error> {
    let start = *rest;
    let wrong = || Error::Malformed(start.chars().take_while(|c| *c != '\n').take(60).collect());
    let mut inner = &start[2..];
    let length = inner.strip_prefix('#');
    inner = length.unwrap_or(inner).trim_start_matches(' ');
    let end = inner
        .find(|c: char| !(c.is_alphanumeric() || c == '_'))
        .ok_or_else(wrong)?;
    let (name, mut after) = inner.split_at(end);
    if name.is_empty() {
        return Err(wrong());
    }
    let form = match length {
        Some(_) => Form::Length,
        None => form(&mut after).ok_or_else(wrong)??,
    };
    after = after.trim_start_matches(' ');
    *rest = after.strip_prefix('}').ok_or_else(wrong)?;
    Ok(Piece::Variable(name.to_owned(), form))
}

/// Reads what follows a name, to the closing brace; none if no form begins like this.
fn form(rest: &mut &str) -> Option<Result<Form, Error>> {
    let text = *rest;
    for default in [":=", ":-", "=", "-"] {
        if let Some(mut after) = text.strip_prefix(default) {
            let default = pieces(&mut after, true);
            *rest = after;
            return Some(default.map(Form::Default));
        }
    }
    for case in ["^^", "^", ",,", ","] {
        if let Some(after) = text.strip_prefix(case) {
            *rest = after;
            return Some(Ok(Form::Case(case)));
        }
    }
    for (mark, suffix, longest) in [
        ("##", false, true),
        ("#", false, false),
        ("%%", true, true),
        ("%", true, false),
    ] {
        if let Some(after) = text.strip_prefix(mark) {
            let (pattern, after) = until(after, '}')?;
            *rest = after;
            return Some(Ok(Form::Trim {
                suffix,
                longest,
                pattern,
            }));
        }
    }
    for (mark, place) in [
        ("//", Place::All),
        ("/#", Place::Prefix),
        ("/%", Place::Suffix),
        ("/", Place::First),
    ] {
        if let Some(after) = text.strip_prefix(mark) {
            let (pattern, after) = until(after, '/')?;
            let (replacement, after) = until(&after[1..], '}')?;
            *rest = after;
            return Some(Ok(Form::Replace {
                place,
                pattern,
                replacement,
            }));
        }
    }
    if let Some(after) = text.strip_prefix(':') {
        let (numbers, after) = until(after, '}')?;
        *rest = after;
        let (offset, length) = match numbers.split_once(':') {
            Some((offset, length)) => (offset, Some(length.trim().parse().ok()?)),
            None => (numbers.as_str(), None),
        };
        return Some(Ok(Form::Substring(offset.trim().parse().ok()?, length)));
    }
    text.starts_with(['}', ' ']).then_some(Ok(Form::Plain))
}

/// The text before an unescaped character, and the rest from it on. A backslash escapes slashes and itself.
fn until(text: &str, end: char) -> Option<(String, &str)> {
    let mut found = String::new();
    let mut escaped = false;
    for (position, c) in text.char_indices() {
        if escaped {
            escaped = false;
        } else if c == '\\' && text[position + 1..].starts_with(['/', '\\']) {
            escaped = true;
            continue;
        } else if c == end {
            return Some((found, &text[position..]));
        }
        found.push(c);
    }
    None
}

fn render(pieces: &[Piece], value: &dyn Fn(&str) -> Option<String>, missing: &mut Vec<String>) -> String {
    let mut text = String::new();
    for piece in pieces {
        match piece {
            Piece::Text(part) => text.push_str(part),
            Piece::Variable(name, Form::Default(default)) => {
                match value(name).filter(|value| !value.is_empty()) {
                    Some(value) => text.push_str(&value),
                    None => text.push_str(&render(default, value, missing)),
                }
            }
            Piece::Variable(name, form) => match value(name) {
                Some(value) => text.push_str(&apply(form, value)),
                None => missing.push(name.clone()),
            },
        }
    }
    text
}

fn apply(form: &Form, value: String) -> String {
    match form {
        Form::Plain | Form::Default(_) => value,
        Form::Length => value.chars().count().to_string(),
        Form::Case("^^") => value.to_uppercase(),
        Form::Case(",,") => value.to_lowercase(),
        Form::Case(case) => {
            let mut characters = value.chars();
            let first = characters.next().map(String::from).unwrap_or_default();
            let first = if *case == "^" {
                first.to_uppercase()
            } else {
                first.to_lowercase()
            };
            first + characters.as_str()
        }
        Form::Substring(offset, length) => {
            let rest = value.chars().skip(*offset);
            match length {
                Some(length) => rest.take(*length).collect(),
                None => rest.collect(),
            }
        }
        Form::Trim {
            suffix,
            longest,
            pattern,
        } => trim(&value, pattern, *suffix, *longest),
        Form::Replace {
            place,
            pattern,
            replacement,
        } => match place {
            Place::First => value.replacen(pattern.as_str(), replacement, 1),
            Place::All => value.replace(pattern.as_str(), replacement),
            Place::Prefix => match value.strip_prefix(pattern.as_str()) {
                Some(rest) => format!("{replacement}{rest}"),
                None => value,
            },
            Place::Suffix => match value.strip_suffix(pattern.as_str()) {
                Some(rest) => format!("{rest}{replacement}"),
                None => value,
            },
        },
    }
}

/// Takes away what a shell pattern matches at one end.
fn trim(value: &str, pattern: &str, suffix: bool, longest: bool) -> String {
    let mut cuts: Vec<usize> = value
        .char_indices()
        .map(|(at, _)| at)
        .chain([value.len()])
        .collect();
    // Shortest first: from the beginning for a prefix, from the end for a suffix.
    if suffix != longest {
        cuts.reverse();
    }
    let matching = cuts.into_iter().find(|cut| {
        let part = if suffix { &value[*cut..] } else { &value[..*cut] };
        matches(pattern, part)
    });
    match matching {
        Some(cut) if suffix => value[..cut].to_owned(),
        Some(cut) => value[cut..].to_owned(),
        None => value.to_owned(),
    }
}

/// Whether a shell pattern (`*`, `?`) matches a text as a whole.
fn matches(pattern: &str, text: &str) -> bool {
    let mut characters = pattern.chars();
    match characters.next() {
        None => text.is_empty(),
        Some('*') => {
            let rest = characters.as_str();
            let mut cuts = text.char_indices().map(|(at, _)| at).chain([text.len()]);
            cuts.any(|cut| matches(rest, &text[cut..]))
        }
        Some(wanted) => {
            let mut found = text.chars();
            found.next().is_some_and(|c| wanted == '?' || wanted == c)
                && matches(characters.as_str(), found.as_str())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn eval(text: &str, values: &[(&str, &str)]) -> Result<String, Error> {
        let value = |name: &str| {
            values
                .iter()
                .find(|(n, _)| *n == name)
                .map(|(_, v)| (*v).to_owned())
        };
        Template::parse(text)?.render(&value)
    }

    #[test]
    fn every_form_means_what_it_means_in_a_shell() {
        let v = [
            ("v", "abcABC123ABCabc"),
            ("path", "path/to/file"),
            ("file", "bash.string.txt"),
            ("empty", ""),
        ];
        for (text, expected) in [
            ("no $variable here, 5$", "no $variable here, 5$"),
            ("a${v}b", "aabcABC123ABCabcb"),
            ("${ v }", "abcABC123ABCabc"),
            ("${#v}", "15"),
            ("${v^}", "AbcABC123ABCabc"),
            ("${v^^}", "ABCABC123ABCABC"),
            ("${v,,}", "abcabc123abcabc"),
            ("${v:3}", "ABC123ABCabc"),
            ("${v:3:3}", "ABC"),
            ("${v/abc/x}", "xABC123ABCabc"),
            ("${v//abc/x}", "xABC123ABCx"),
            ("${v/#abc/x}", "xABC123ABCabc"),
            ("${v/%abc/x}", "abcABC123ABCx"),
            (r"${path//\//-}", "path-to-file"),
            ("${path#*/}", "to/file"),
            ("${path##*/}", "file"),
            ("${file%.*}", "bash.string"),
            ("${file%%.*}", "bash"),
            ("${none:=x}${none:-y}${none=z}${none-}", "xyz"),
            ("${empty:=x}", "x"),
            ("${none:=a-${v:0:3}-${other:=b}}", "a-abc-b"),
            ("${none:=:8443}", ":8443"),
            ("$${v} $$", "${v} $"),
        ] {
            assert_eq!(eval(text, &v).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn all_missing_variables_are_named_at_once() {
        let missing = Error::Missing(vec!["A".into(), "B".into()]);
        assert_eq!(eval("${B} ${A} ${A:3} ${C:=${D:=x}}", &[]), Err(missing));
    }

    #[test]
    fn malformed_variables_are_refused() {
        for text in ["${", "${}", "${a", "${a!b}", "${a:x}", "${a/b}"] {
            assert!(
                matches!(eval(text, &[("a", "b")]), Err(Error::Malformed(_))),
                "{text}"
            );
        }
    }

    #[test]
    fn variables_are_listed_with_their_defaults() {
        let template = Template::parse("${A} ${B:=x} ${C:=${D}}").unwrap();
        let found: Vec<_> = template.variables().into_iter().collect();
        let entry = |name: &str, default: Option<&str>| (name.to_owned(), default.map(str::to_owned));
        assert_eq!(
            found,
            [
                entry("A", None),
                entry("B", Some("x")),
                entry("C", Some("")),
                entry("D", None)
            ]
        );
    }
}
