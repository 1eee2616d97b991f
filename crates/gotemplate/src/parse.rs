//! From tokens to a tree. What can be known to be wrong without data is found here: unknown functions and variables too.

use std::collections::BTreeMap;

use crate::lex::{Kind, Token, lex};
use crate::tree::{Branch, Node, Operand, Pipe};
use crate::{Error, Functions, Value};

/// How deep control structures and parentheses may be nested.
const DEPTH: usize = 200;

pub(crate) type Named = BTreeMap<String, Vec<Node>>;

pub(crate) fn parse(text: &str, functions: &Functions) -> Result<(Vec<Node>, Named), Error> {
    let mut parser = Parser {
        tokens: lex(text)?,
        next: 0,
        functions,
        variables: vec!["".to_owned()],
        named: BTreeMap::new(),
        loops: 0,
        depth: 0,
    };
    let (body, end) = parser.list()?;
    match end {
        Stop::Eof => Ok((body, parser.named)),
        Stop::End => Err(parser.error("unexpected {{end}}")),
        Stop::Else => Err(parser.error("unexpected {{else}}")),
    }
}

/// What ended a list of nodes.
#[derive(Clone, Copy, PartialEq)]
enum Stop {
    End,
    /// The word is taken, the rest of the action is not.
    Else,
    Eof,
}

struct Parser<'a> {
    tokens: Vec<Token>,
    next: usize,
    functions: &'a Functions,
    /// Names without the `$`; the empty one is the data.
    variables: Vec<String>,
    named: Named,
    loops: usize,
    depth: usize,
}

impl Parser<'_> {
    fn error(&self, message: impl Into<String>) -> Error {
        let last = self.tokens.len().saturating_sub(1);
        let line = self.tokens.get(self.next.min(last)).map_or(1, |token| token.line);
        Error::new(line, message)
    }

    fn peek(&self) -> &Kind {
        self.tokens.get(self.next).map_or(&Kind::End, |token| &token.kind)
    }

    fn spaced(&self) -> bool {
        self.tokens.get(self.next).is_some_and(|token| token.spaced)
    }

    fn take(&mut self) -> Kind {
        let kind = self.peek().clone();
        self.next += 1;
        kind
    }

    fn accept(&mut self, kind: &Kind) -> bool {
        let found = self.peek() == kind;
        self.next += usize::from(found);
        found
    }

    fn accept_word(&mut self, word: &str) -> bool {
        let found = matches!(self.peek(), Kind::Word(found) if found == word);
        self.next += usize::from(found);
        found
    }

    fn close(&mut self, context: &str) -> Result<(), Error> {
        if self.accept(&Kind::Close) {
            return Ok(());
        }
        Err(self.unexpected(context))
    }

    fn unexpected(&self, context: &str) -> Error {
        let what = match self.peek() {
            Kind::End => "EOF".to_owned(),
            Kind::Close => "}}".to_owned(),
            Kind::Word(word) => format!("<{word}>"),
            Kind::Field(name) => format!("<.{name}>"),
            Kind::Variable(name) => format!("<${name}>"),
            Kind::Dot => "<.>".to_owned(),
            Kind::Quoted(text) => format!("{text:?}"),
            Kind::Int(number) => format!("{number}"),
            Kind::Float(number) => format!("{number}"),
            Kind::Pipe => "\"|\"".to_owned(),
            Kind::Comma => "\",\"".to_owned(),
            Kind::Left => "\"(\"".to_owned(),
            Kind::Right => "\")\"".to_owned(),
            Kind::Assign => "\"=\"".to_owned(),
            Kind::Declare => "\":=\"".to_owned(),
            Kind::Open | Kind::Text(_) => "text".to_owned(),
        };
        self.error(format!("unexpected {what} in {context}"))
    }

    /// Nodes up to an `end`, an `else` or the end of the template.
    fn list(&mut self) -> Result<(Vec<Node>, Stop), Error> {
        let mut nodes = Vec::new();
        loop {
            match self.take() {
                Kind::End => {
                    self.next -= 1;
                    return Ok((nodes, Stop::Eof));
                }
                Kind::Text(text) => nodes.push(Node::Text(text)),
                _ => {
                    if self.accept_word("end") {
                        self.close("end")?;
                        return Ok((nodes, Stop::End));
                    }
                    if self.accept_word("else") {
                        return Ok((nodes, Stop::Else));
                    }
                    // A definition stands outside of everything else.
                    if self.depth == 0 && self.accept_word("define") {
                        self.define()?;
                    } else {
                        nodes.push(self.action()?);
                    }
                }
            }
        }
    }

    /// Like [`Self::list`] within a control structure, whose variables end with it.
    fn inner(&mut self, what: &str) -> Result<(Vec<Node>, Stop), Error> {
        let result = self.list()?;
        if result.1 == Stop::Eof {
            return Err(self.error(format!("unexpected EOF: {what} has no {{{{end}}}}")));
        }
        Ok(result)
    }

    fn action(&mut self) -> Result<Node, Error> {
        let line = self.tokens.get(self.next).map_or(1, |token| token.line);
        if self.accept_word("if") {
            return Ok(Node::If(self.branch("if")?));
        }
        if self.accept_word("with") {
            return Ok(Node::With(self.branch("with")?));
        }
        if self.accept_word("range") {
            return Ok(Node::Range(self.branch("range")?));
        }
        if self.accept_word("template") {
            let name = self.name("template clause")?;
            let data = match self.accept(&Kind::Close) {
                true => None,
                false => Some(self.pipe("template clause", &Kind::Close)?),
            };
            return Ok(Node::Call { line, name, data });
        }
        if self.accept_word("block") {
            return self.block(line);
        }
        for (word, node) in [("break", Node::Break), ("continue", Node::Continue)] {
            if self.accept_word(word) {
                self.close(word)?;
                return match self.loops {
                    0 => Err(Error::new(line, format!("{{{{{word}}}}} outside {{{{range}}}}"))),
                    _ => Ok(node),
                };
            }
        }
        Ok(Node::Print(self.pipe("command", &Kind::Close)?))
    }

    fn branch(&mut self, word: &str) -> Result<Branch, Error> {
        self.deeper(|parser| parser.branch_inner(word))
    }

    fn branch_inner(&mut self, word: &str) -> Result<Branch, Error> {
        let scope = self.variables.len();
        let pipe = self.pipe(word, &Kind::Close)?;
        self.loops += usize::from(word == "range");
        let inside = self.variables.len();
        let (then, stop) = self.inner(word)?;
        self.variables.truncate(inside);
        self.loops -= usize::from(word == "range");
        let mut otherwise = Vec::new();
        if stop == Stop::Else {
            let chained = word != "range" && self.accept_word(word);
            if chained {
                // `else if` stands for an `else` around an `if`, with one `end` for both.
                let branch = self.branch(word)?;
                otherwise.push(if word == "if" {
                    Node::If(branch)
                } else {
                    Node::With(branch)
                });
            } else {
                self.close("else")?;
                let (nodes, stop) = self.inner(word)?;
                if stop != Stop::End {
                    return Err(self.error("expected end; found {{else}}"));
                }
                otherwise = nodes;
            }
        }
        self.variables.truncate(scope);
        Ok(Branch {
            pipe,
            then,
            otherwise,
        })
    }

    fn deeper<T>(&mut self, inner: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        if self.depth >= DEPTH {
            return Err(self.error(format!("more than {DEPTH} levels of nesting")));
        }
        self.depth += 1;
        let result = inner(self);
        self.depth -= 1;
        result
    }

    fn name(&mut self, context: &str) -> Result<String, Error> {
        match self.take() {
            Kind::Quoted(name) => Ok(name),
            _ => {
                self.next -= 1;
                Err(self.unexpected(context))
            }
        }
    }

    /// The body of a template of its own: it sees no variables of others.
    fn body(&mut self, name: String) -> Result<(), Error> {
        let variables = std::mem::replace(&mut self.variables, vec![String::new()]);
        let loops = std::mem::take(&mut self.loops);
        let (nodes, stop) = self.deeper(|parser| parser.inner("define"))?;
        if stop != Stop::End {
            return Err(self.error("unexpected {{else}} in define clause"));
        }
        self.variables = variables;
        self.loops = loops;
        // One that only has white space may be there to be replaced.
        let is_blank = |nodes: &[Node]| {
            nodes
                .iter()
                .all(|node| matches!(node, Node::Text(text) if text.trim().is_empty()))
        };
        match self.named.get(&name) {
            Some(known) if !is_blank(known) && !is_blank(&nodes) => {
                return Err(self.error(format!("multiple definition of template {name:?}")));
            }
            Some(known) if !is_blank(known) => {}
            _ => drop(self.named.insert(name, nodes)),
        }
        Ok(())
    }

    fn define(&mut self) -> Result<(), Error> {
        let name = self.name("define clause")?;
        self.close("define clause")?;
        self.body(name)
    }

    fn block(&mut self, line: usize) -> Result<Node, Error> {
        let name = self.name("block clause")?;
        let data = Some(self.pipe("block clause", &Kind::Close)?);
        self.body(name.clone())?;
        Ok(Node::Call { line, name, data })
    }

    /// A pipe and the token that ends it.
    fn pipe(&mut self, context: &str, end: &Kind) -> Result<Pipe, Error> {
        let line = self.tokens.get(self.next).map_or(1, |token| token.line);
        let (variables, declares) = self.targets(context)?;
        let mut commands = Vec::new();
        loop {
            commands.push(self.command(context)?);
            if self.accept(end) {
                break;
            }
            if !self.accept(&Kind::Pipe) {
                return Err(self.unexpected(context));
            }
            // Go takes a pipe sign with nothing behind it.
            if self.accept(end) {
                break;
            }
        }
        for (index, command) in commands.iter().enumerate().skip(1) {
            if matches!(
                command.first(),
                Some(Operand::Dot | Operand::Nil | Operand::Constant(_))
            ) {
                let stage = index + 1;
                return Err(Error::new(
                    line,
                    format!("non executable command in pipeline stage {stage}"),
                ));
            }
        }
        if declares {
            self.variables.extend(variables.iter().cloned());
        }
        Ok(Pipe {
            line,
            variables,
            declares,
            commands,
        })
    }

    /// The variables that a pipe starts with, as `$x :=`, `$x =` or, in a range, `$k, $v :=`.
    fn targets(&mut self, context: &str) -> Result<(Vec<String>, bool), Error> {
        let start = self.next;
        let mut names = Vec::new();
        while let Kind::Variable(name) = self.peek().clone() {
            self.next += 1;
            names.push(name);
            let declares = self.accept(&Kind::Declare);
            if declares || self.accept(&Kind::Assign) {
                if names.len() > 1 && context != "range" || names.len() > 2 {
                    return Err(self.error(format!("too many declarations in {context}")));
                }
                if let Some(unknown) = names
                    .iter()
                    .find(|name| !declares && !self.variables.contains(name))
                {
                    return Err(self.error(format!("undefined variable \"${unknown}\"")));
                }
                return Ok((names, declares));
            }
            if !(context == "range" && self.accept(&Kind::Comma)) {
                break;
            }
        }
        self.next = start;
        Ok((Vec::new(), false))
    }

    fn command(&mut self, context: &str) -> Result<Vec<Operand>, Error> {
        let mut operands = Vec::new();
        while let Some(operand) = self.operand()? {
            operands.push(operand);
            let ends = matches!(self.peek(), Kind::Close | Kind::Right | Kind::Pipe);
            if !ends && !self.spaced() {
                return Err(self.unexpected("operand"));
            }
        }
        match operands.first() {
            None => Err(self.error(format!("missing value for {context}"))),
            Some(Operand::Nil) => Err(self.error("nil is not a command")),
            Some(_) => Ok(operands),
        }
    }

    fn operand(&mut self) -> Result<Option<Operand>, Error> {
        let operand = match self.peek().clone() {
            Kind::Dot => Operand::Dot,
            Kind::Quoted(text) => Operand::Constant(Value::Text(text)),
            Kind::Int(number) => Operand::Constant(Value::Int(number)),
            Kind::Float(number) => Operand::Constant(Value::Float(number)),
            Kind::Field(name) => Operand::Fields(vec![name]),
            Kind::Variable(name) => {
                if !self.variables.contains(&name) {
                    return Err(self.error(format!("undefined variable \"${name}\"")));
                }
                Operand::Variable(name, Vec::new())
            }
            Kind::Word(word) => self.word(&word)?,
            Kind::Left => {
                self.next += 1;
                let pipe = self.deeper(|parser| parser.pipe("parenthesized pipeline", &Kind::Right))?;
                self.next -= 1;
                Operand::Nested(Box::new(pipe), Vec::new())
            }
            _ => return Ok(None),
        };
        self.next += 1;
        self.chain(operand).map(Some)
    }

    fn word(&self, word: &str) -> Result<Operand, Error> {
        Ok(match word {
            "true" => Operand::Constant(Value::Bool(true)),
            "false" => Operand::Constant(Value::Bool(false)),
            "nil" => Operand::Nil,
            "if" | "with" | "range" | "else" | "end" | "define" | "template" | "block" | "break"
            | "continue" => {
                return Err(self.unexpected("operand"));
            }
            name if self.functions.contains(name) => Operand::Function(name.to_owned()),
            name => return Err(self.error(format!("function {name:?} not defined"))),
        })
    }

    /// The fields that follow without white space.
    fn chain(&mut self, mut operand: Operand) -> Result<Operand, Error> {
        while let Kind::Field(name) = self.peek().clone() {
            if self.spaced() {
                break;
            }
            match &mut operand {
                Operand::Fields(fields) | Operand::Variable(_, fields) | Operand::Nested(_, fields) => {
                    fields.push(name)
                }
                Operand::Dot | Operand::Nil | Operand::Constant(_) | Operand::Function(_) => {
                    return Err(self.error(format!("unexpected <.{name}> after a term that has no fields")));
                }
            }
            self.next += 1;
        }
        Ok(operand)
    }
}
