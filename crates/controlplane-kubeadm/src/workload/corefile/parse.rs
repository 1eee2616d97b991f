//! The text of a Corefile as a tree: servers, their plugins, their options. Comments are not kept.

use std::fmt;

/// A whole file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Corefile {
    /// Its server blocks.
    pub servers: Vec<Entry>,
}

/// One line and what stands in braces behind it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// The words of the line; the first is its name.
    pub words: Vec<String>,
    /// What stands in braces.
    pub body: Vec<Entry>,
}

impl Entry {
    /// A line without braces.
    pub fn line(words: Vec<String>) -> Self {
        Self {
            words,
            body: Vec::new(),
        }
    }

    /// Its first word.
    pub fn name(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, depth: usize) -> fmt::Result {
        let words: Vec<String> = self.words.iter().map(|word| quoted(word)).collect();
        let indent = "    ".repeat(depth);
        write!(f, "{indent}{}", words.join(" "))?;
        if self.body.is_empty() {
            return writeln!(f);
        }
        writeln!(f, " {{")?;
        self.body.iter().try_for_each(|entry| entry.write(f, depth + 1))?;
        writeln!(f, "{indent}}}")
    }
}

fn quoted(word: &str) -> String {
    let special = word.is_empty() || word.starts_with('#') || ["{", "}"].contains(&word);
    match special || word.contains(char::is_whitespace) || word.contains('"') {
        true => format!("\"{}\"", word.replace('"', "\\\"")),
        false => word.to_owned(),
    }
}

impl fmt::Display for Corefile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, server) in self.servers.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            server.write(f, 0)?;
        }
        Ok(())
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Open,
    Close,
    Line,
}

impl Corefile {
    /// Reads a text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut open: Vec<Entry> = vec![Entry::default()];
        let mut words: Vec<String> = Vec::new();
        let end_line = |open: &mut Vec<Entry>, words: &mut Vec<String>| {
            if let Some(parent) = open.last_mut().filter(|_| !words.is_empty()) {
                parent.body.push(Entry::line(std::mem::take(words)));
            }
        };
        for token in tokens(text)? {
            match token {
                Token::Word(word) => words.push(word),
                Token::Line => end_line(&mut open, &mut words),
                Token::Open => open.push(Entry::line(std::mem::take(&mut words))),
                Token::Close => {
                    end_line(&mut open, &mut words);
                    match (open.pop(), open.last_mut()) {
                        (Some(done), Some(parent)) => parent.body.push(done),
                        _ => return Err("a closing brace without an opening one".to_owned()),
                    }
                }
            }
        }
        end_line(&mut open, &mut words);
        match (open.pop(), open.is_empty()) {
            (Some(root), true) => Ok(Self { servers: root.body }),
            _ => Err("a brace is not closed".to_owned()),
        }
    }
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut found = Vec::new();
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\n' => found.push(Token::Line),
            letter if letter.is_whitespace() => {}
            '#' => while letters.next_if(|letter| *letter != '\n').is_some() {},
            '"' => found.push(Token::Word(quotation(&mut letters)?)),
            first => {
                let mut word = String::from(first);
                while let Some(letter) = letters.next_if(|letter| !letter.is_whitespace()) {
                    word.push(letter);
                }
                found.push(match word.as_str() {
                    "{" => Token::Open,
                    "}" => Token::Close,
                    _ => Token::Word(word),
                });
            }
        }
    }
    Ok(found)
}

/// The rest of a word in quotation marks; only a quotation mark is escaped.
fn quotation(letters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<String, String> {
    let mut word = String::new();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => return Ok(word),
            '\\' if letters.peek() == Some(&'"') => word.extend(letters.next()),
            letter => word.push(letter),
        }
    }
    Err("a quotation mark is not closed".to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn word() -> impl Strategy<Value = String> {
        prop_oneof![
            "[a-z.:/0-9]{1,8}",
            "[a-z]{1,4} [a-z\"]{0,4}",
            Just("{$ENV}".to_owned()),
        ]
    }

    fn entry(depth: u32) -> BoxedStrategy<Entry> {
        let words = prop::collection::vec(word(), 1..4);
        match depth {
            0 => words.prop_map(Entry::line).boxed(),
            depth => (words, prop::collection::vec(entry(depth - 1), 0..3))
                .prop_map(|(words, body)| Entry { words, body })
                .boxed(),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_written_is_read_again(servers in prop::collection::vec(entry(2), 0..3)) {
            let corefile = Corefile { servers };
            prop_assert_eq!(Corefile::parse(&corefile.to_string()).unwrap(), corefile);
        }
    }
}
