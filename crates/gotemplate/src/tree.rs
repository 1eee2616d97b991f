//! The tree that a template is parsed to.

use crate::Value;

/// A part of a template.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    Text(String),
    Print(Pipe),
    If(Branch),
    With(Branch),
    Range(Branch),
    Call {
        line: usize,
        name: String,
        data: Option<Pipe>,
    },
    Break,
    Continue,
}

/// A control structure: what decides, and what is run then or else.
#[derive(Clone, Debug)]
pub(crate) struct Branch {
    pub pipe: Pipe,
    pub then: Vec<Node>,
    pub otherwise: Vec<Node>,
}

/// Commands of which each gets the result of the one before as its last argument.
#[derive(Clone, Debug)]
pub(crate) struct Pipe {
    pub line: usize,
    /// Variables that get the result, with whether they are new.
    pub variables: Vec<String>,
    pub declares: bool,
    pub commands: Vec<Vec<Operand>>,
}

/// A command, or an argument of one.
#[derive(Clone, Debug)]
pub(crate) enum Operand {
    Dot,
    Nil,
    Constant(Value),
    /// Fields of the dot.
    Fields(Vec<String>),
    /// A variable, and fields of it.
    Variable(String, Vec<String>),
    Function(String),
    /// A pipe in parentheses, and fields of its result.
    Nested(Box<Pipe>, Vec<String>),
}
