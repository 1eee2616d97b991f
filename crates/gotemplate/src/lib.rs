//! Renders templates in the language of Go's `text/template`.
//!
//! Users of Cluster API write such templates into files of a machine, names and patches; what they wrote has to mean the
//! same here. The whole language is understood: pipelines, variables, `if`, `with`, `range`, `break`, `continue`,
//! `define`, `template`, `block`, trim markers, comments, and Go's own functions. Data is made of [`Value`]s: there are
//! no methods to call and no functions among the values. An unknown function is an error that names it; who needs more
//! than Go's own adds them to [`Functions`]. `tests/go.rs` holds all this to what Go itself answers.
//!
//! A template is a program, and it may come from anybody: [`Limits`] bound what it can produce and how long it runs.
//! What must not be here: anything that knows where templates come from; I/O.

mod exec;
mod functions;
mod lex;
mod parse;
mod printf;
mod tree;
mod value;

use std::collections::BTreeMap;

pub use functions::{Function, Functions};
pub use value::Value;

use tree::Node;

/// Why a template cannot be parsed or rendered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct Error {
    /// The line of the template, from 1.
    pub line: usize,
    /// What is wrong there.
    pub message: String,
}

impl Error {
    fn new(line: usize, message: impl Into<String>) -> Self {
        Self {
            line,
            message: message.into(),
        }
    }
}

/// What a rendering may use up.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of output.
    pub output: usize,
    /// Parts of the template that are run, each turn of a loop anew.
    pub steps: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            output: 1 << 20,
            steps: 1_000_000,
        }
    }
}

/// A template that is known to be well formed.
#[derive(Clone, Debug)]
pub struct Template {
    body: Vec<Node>,
    /// Those that `define` and `block` name.
    named: BTreeMap<String, Vec<Node>>,
    functions: Functions,
}

impl Template {
    /// Parses a template that uses Go's own functions.
    pub fn parse(text: &str) -> Result<Self, Error> {
        Self::parse_with(text, Functions::default())
    }

    /// Parses a template that uses `functions`.
    pub fn parse_with(text: &str, functions: Functions) -> Result<Self, Error> {
        let (body, named) = parse::parse(text, &functions)?;
        Ok(Self {
            body,
            named,
            functions,
        })
    }

    /// The text for `data`.
    pub fn render(&self, data: &Value, limits: Limits) -> Result<String, Error> {
        exec::render(self, data, limits)
    }
}
