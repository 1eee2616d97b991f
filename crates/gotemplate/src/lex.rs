//! Cuts a template into text and the tokens of its actions.

use crate::Error;

/// A piece of a template.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    /// What is copied.
    Text(String),
    /// `{{`
    Open,
    /// `}}`
    Close,
    /// A word: a keyword, a constant or a function.
    Word(String),
    /// `.name`
    Field(String),
    /// `$name`, or `$` alone.
    Variable(String),
    /// `.`
    Dot,
    /// A string in double quotes or backquotes, unquoted.
    Quoted(String),
    /// A whole number or a character.
    Int(i64),
    /// Another number.
    Float(f64),
    /// `|`
    Pipe,
    /// `,`
    Comma,
    /// `(`
    Left,
    /// `)`
    Right,
    /// `=`
    Assign,
    /// `:=`
    Declare,
    /// The end of the template.
    End,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Token {
    pub kind: Kind,
    pub line: usize,
    /// Whether white space stands before it, which tells a chain of fields from two arguments.
    pub spaced: bool,
}

const SPACE: [char; 4] = [' ', '\t', '\r', '\n'];

/// All tokens of `text`, `End` last.
pub(crate) fn lex(text: &str) -> Result<Vec<Token>, Error> {
    let mut lexer = Lexer {
        rest: text,
        line: 1,
        tokens: Vec::new(),
    };
    lexer.run()?;
    Ok(lexer.tokens)
}

struct Lexer<'a> {
    rest: &'a str,
    line: usize,
    tokens: Vec<Token>,
}

impl<'a> Lexer<'a> {
    fn run(&mut self) -> Result<(), Error> {
        let mut trim = false;
        loop {
            let Some(at) = self.rest.find("{{") else {
                self.text(self.rest.len(), trim, false);
                self.push(Kind::End, false);
                return Ok(());
            };
            let after = &self.rest[at + 2..];
            let trims_left = after.starts_with('-') && after[1..].starts_with(SPACE);
            self.text(at, trim, trims_left);
            self.take(2 + usize::from(trims_left));
            trim = match self.comment()? {
                Some(trims_right) => trims_right,
                None => self.action()?,
            };
        }
    }

    /// The text before the next action, less the white space that trim markers take away.
    fn text(&mut self, length: usize, trim_start: bool, trim_end: bool) {
        let mut text = &self.rest[..length];
        if trim_start {
            text = text.trim_start_matches(SPACE);
        }
        if trim_end {
            text = text.trim_end_matches(SPACE);
        }
        if !text.is_empty() {
            self.push(Kind::Text(text.to_owned()), false);
        }
        self.take(length);
    }

    /// A comment, if there is one: whether it trims what follows.
    fn comment(&mut self) -> Result<Option<bool>, Error> {
        let inner = self.rest.trim_start_matches(SPACE);
        // Without a trim marker, a comment must touch the braces.
        if !inner.starts_with("/*") {
            return Ok(None);
        }
        let skipped = self.rest.len() - inner.len();
        let Some(end) = inner.find("*/") else {
            return Err(Error::new(self.line, "unclosed comment"));
        };
        let tail = &inner[end + 2..];
        let (trims, length) = if tail.starts_with("}}") {
            (false, 2)
        } else if tail.starts_with(SPACE) && tail[1..].starts_with("-}}") {
            (true, 4)
        } else {
            return Err(Error::new(self.line, "comment ends before closing delimiter"));
        };
        self.take(skipped + end + 2 + length);
        Ok(Some(trims))
    }

    /// The tokens of one action; whether it trims what follows.
    fn action(&mut self) -> Result<bool, Error> {
        self.push(Kind::Open, false);
        let mut depth = 0_usize;
        loop {
            let inner = self.rest.trim_start_matches(SPACE);
            let spaced = inner.len() < self.rest.len();
            self.take(self.rest.len() - inner.len());
            let trims = spaced && self.rest.starts_with("-}}");
            if trims || self.rest.starts_with("}}") {
                if depth > 0 {
                    return Err(Error::new(self.line, "unclosed left paren"));
                }
                self.take(if trims { 3 } else { 2 });
                self.push(Kind::Close, spaced);
                return Ok(trims);
            }
            let Some(first) = self.rest.chars().next() else {
                return Err(Error::new(self.line, "unclosed action"));
            };
            match first {
                '(' => depth += 1,
                ')' if depth == 0 => return Err(Error::new(self.line, "unexpected right paren")),
                ')' => depth -= 1,
                _ => {}
            }
            let (kind, length) = self.token(first)?;
            let line = self.line;
            self.take(length);
            self.tokens.push(Token { kind, line, spaced });
        }
    }

    /// The token that starts with `first`, and how many bytes it takes.
    fn token(&self, first: char) -> Result<(Kind, usize), Error> {
        let rest = self.rest;
        let second = rest[first.len_utf8()..].chars().next().unwrap_or_default();
        let name = |start: usize| {
            let tail = &rest[start..];
            let length = tail.find(|c: char| !is_word(c)).unwrap_or(tail.len());
            (tail[..length].to_owned(), start + length)
        };
        Ok(match first {
            '|' => (Kind::Pipe, 1),
            ',' => (Kind::Comma, 1),
            '(' => (Kind::Left, 1),
            ')' => (Kind::Right, 1),
            '=' => (Kind::Assign, 1),
            ':' if second == '=' => (Kind::Declare, 2),
            ':' => return Err(Error::new(self.line, "expected :=")),
            '"' => self.quoted()?,
            '`' => match rest[1..].find('`') {
                Some(end) => (Kind::Quoted(rest[1..=end].replace('\r', "")), end + 2),
                None => return Err(Error::new(self.line, "unterminated raw quoted string")),
            },
            '\'' => self.character()?,
            '$' => {
                let (name, length) = name(1);
                (Kind::Variable(name), length)
            }
            '.' if !second.is_ascii_digit() => {
                let (name, length) = name(1);
                if name.is_empty() {
                    (Kind::Dot, 1)
                } else {
                    (Kind::Field(name), length)
                }
            }
            c if c.is_ascii_digit()
                || (matches!(c, '+' | '-' | '.') && (second.is_ascii_digit() || second == '.')) =>
            {
                self.number()?
            }
            c if is_word(c) => {
                let (name, length) = name(0);
                (Kind::Word(name), length)
            }
            c => return Err(Error::new(self.line, format!("unexpected {c:?} in command"))),
        })
    }

    fn quoted(&self) -> Result<(Kind, usize), Error> {
        let mut escaped = false;
        for (at, c) in self.rest.char_indices().skip(1) {
            match c {
                '\n' => break,
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => {
                    let text = unquote(&self.rest[1..at]).ok_or_else(|| {
                        Error::new(self.line, format!("invalid syntax in {}", &self.rest[..=at]))
                    })?;
                    return Ok((Kind::Quoted(text), at + 1));
                }
                _ => {}
            }
        }
        Err(Error::new(self.line, "unterminated quoted string"))
    }

    fn character(&self) -> Result<(Kind, usize), Error> {
        let unterminated = || Error::new(self.line, "unterminated character constant");
        let escaped = self.rest[1..].starts_with('\\');
        let end = self.rest[1..]
            .char_indices()
            .skip(if escaped { 2 } else { 1 })
            .find(|(_, c)| *c == '\'');
        let (end, _) = end.ok_or_else(unterminated)?;
        let text = &self.rest[1..=end];
        let malformed = || Error::new(self.line, format!("malformed character constant: '{text}'"));
        let text = unquote(text).ok_or_else(malformed)?;
        let mut chars = text.chars();
        match (chars.next(), chars.next()) {
            (Some(c), None) => Ok((Kind::Int(i64::from(u32::from(c))), end + 2)),
            _ => Err(malformed()),
        }
    }

    fn number(&self) -> Result<(Kind, usize), Error> {
        let rest = self.rest;
        let mut length = rest
            .find(|c: char| !(is_word(c) || c == '.' || c == '+' || c == '-'))
            .unwrap_or(rest.len());
        // A sign belongs to a number only at its start and behind its exponent.
        let hex = rest
            .trim_start_matches(['+', '-'])
            .to_ascii_lowercase()
            .starts_with("0x");
        for (at, c) in rest[..length].char_indices().skip(1) {
            let exponent = if hex { ['p', 'P'] } else { ['e', 'E'] };
            if matches!(c, '+' | '-') && !rest[..at].ends_with(exponent) {
                length = at;
                break;
            }
        }
        let text = &rest[..length];
        parse_number(text)
            .map(|kind| (kind, length))
            .ok_or_else(|| Error::new(self.line, format!("bad number syntax: {text:?}")))
    }

    fn push(&mut self, kind: Kind, spaced: bool) {
        let line = self.line;
        self.tokens.push(Token { kind, line, spaced });
    }

    fn take(&mut self, length: usize) {
        let (taken, rest) = self.rest.split_at(length);
        self.line += taken.matches('\n').count();
        self.rest = rest;
    }
}

fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

/// A number in one of Go's spellings.
fn parse_number(text: &str) -> Option<Kind> {
    let (negative, digits) = match text.strip_prefix(['+', '-']) {
        Some(digits) => (text.starts_with('-'), digits),
        None => (false, text),
    };
    let lower = digits.to_ascii_lowercase();
    let plain = lower.replace('_', "");
    let radix = |prefix: &str, radix: u32| {
        let tail = plain.strip_prefix(prefix).filter(|tail| !tail.is_empty())?;
        i64::from_str_radix(tail, radix).ok()
    };
    let whole = if plain.starts_with("0x") {
        radix("0x", 16)
    } else if plain.starts_with("0b") {
        radix("0b", 2)
    } else if plain.starts_with("0o") {
        radix("0o", 8)
    } else if plain.len() > 1 && plain.starts_with('0') && plain.chars().all(|c| c.is_ascii_digit()) {
        i64::from_str_radix(&plain, 8).ok()
    } else {
        plain.parse::<i64>().ok()
    };
    if let Some(whole) = whole {
        return Some(Kind::Int(if negative { -whole } else { whole }));
    }
    let numeric = plain
        .chars()
        .all(|c| c.is_ascii_digit() || matches!(c, '.' | 'e' | '+' | '-'));
    let float = plain
        .parse::<f64>()
        .ok()
        .filter(|_| numeric && plain.contains(['.', 'e']))?;
    Some(Kind::Float(if negative { -float } else { float }))
}

/// Text between quotes, with Go's escapes resolved. None if one of them is none, or if bytes given so are no UTF-8.
fn unquote(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    let mut buffer = [0; 4];
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        if c != '\\' {
            bytes.extend_from_slice(c.encode_utf8(&mut buffer).as_bytes());
            continue;
        }
        let escape = rest.chars().next()?;
        rest = &rest[escape.len_utf8()..];
        let mut code = |length: usize, radix: u32, before: &str| {
            let digits = rest.get(..length)?;
            let code = u32::from_str_radix(&format!("{before}{digits}"), radix).ok()?;
            rest = &rest[length..];
            Some(code)
        };
        match escape {
            'a' => bytes.push(7),
            'b' => bytes.push(8),
            'f' => bytes.push(12),
            'n' => bytes.push(b'\n'),
            'r' => bytes.push(b'\r'),
            't' => bytes.push(b'\t'),
            'v' => bytes.push(11),
            '\\' | '"' | '\'' => bytes.push(u8::try_from(escape).ok()?),
            'x' => bytes.push(u8::try_from(code(2, 16, "")?).ok()?),
            '0'..='7' => bytes.push(u8::try_from(code(2, 8, &escape.to_string())?).ok()?),
            'u' => bytes.extend_from_slice(
                char::from_u32(code(4, 16, "")?)?
                    .encode_utf8(&mut buffer)
                    .as_bytes(),
            ),
            'U' => bytes.extend_from_slice(
                char::from_u32(code(8, 16, "")?)?
                    .encode_utf8(&mut buffer)
                    .as_bytes(),
            ),
            _ => return None,
        }
    }
    String::from_utf8(bytes).ok()
}
