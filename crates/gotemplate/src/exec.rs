//! Runs a template.

use crate::tree::{Branch, Node, Operand, Pipe};
use crate::{Error, Limits, Template, Value};

/// How deep templates may call each other, or themselves.
const CALLS: usize = 100;

pub(crate) fn render(template: &Template, data: &Value, limits: Limits) -> Result<String, Error> {
    let mut run = Run {
        template,
        limits,
        steps: limits.steps,
        out: String::new(),
        variables: vec![(String::new(), data.clone())],
        calls: 0,
    };
    run.walk_all(data, &template.body)?;
    Ok(run.out)
}

/// How a list of nodes ended.
#[derive(Clone, Copy, PartialEq)]
enum Flow {
    On,
    Break,
    Continue,
}

struct Run<'a> {
    template: &'a Template,
    limits: Limits,
    steps: usize,
    out: String,
    variables: Vec<(String, Value)>,
    calls: usize,
}

impl Run<'_> {
    fn walk_all(&mut self, dot: &Value, nodes: &[Node]) -> Result<Flow, Error> {
        let scope = self.variables.len();
        let mut flow = Flow::On;
        for node in nodes {
            flow = self.walk(dot, node)?;
            if flow != Flow::On {
                break;
            }
        }
        self.variables.truncate(scope);
        Ok(flow)
    }

    fn walk(&mut self, dot: &Value, node: &Node) -> Result<Flow, Error> {
        match node {
            Node::Text(text) => self.write(0, text)?,
            Node::Print(pipe) => {
                let value = self.pipe(dot, pipe)?;
                if pipe.variables.is_empty() {
                    let text = if value.is_nil() {
                        "<no value>".to_owned()
                    } else {
                        value.to_string()
                    };
                    self.write(pipe.line, &text)?;
                }
            }
            Node::If(branch) => return self.branch(dot, branch, false),
            Node::With(branch) => return self.branch(dot, branch, true),
            Node::Range(branch) => return self.range(dot, branch),
            Node::Call { line, name, data } => self.call(dot, *line, name, data.as_ref())?,
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::On)
    }

    fn write(&mut self, line: usize, text: &str) -> Result<(), Error> {
        self.step(line)?;
        if self.out.len() + text.len() > self.limits.output {
            let limit = self.limits.output;
            return Err(Error::new(
                line.max(1),
                format!("rendered output exceeds the {limit} byte limit"),
            ));
        }
        self.out.push_str(text);
        Ok(())
    }

    fn step(&mut self, line: usize) -> Result<(), Error> {
        match self.steps.checked_sub(1) {
            Some(left) => self.steps = left,
            None => {
                let limit = self.limits.steps;
                return Err(Error::new(
                    line.max(1),
                    format!("the template takes more than {limit} steps"),
                ));
            }
        }
        Ok(())
    }

    fn branch(&mut self, dot: &Value, branch: &Branch, moves_dot: bool) -> Result<Flow, Error> {
        let scope = self.variables.len();
        let value = self.pipe(dot, &branch.pipe)?;
        let flow = if value.is_true() {
            self.walk_all(if moves_dot { &value } else { dot }, &branch.then)
        } else {
            self.walk_all(dot, &branch.otherwise)
        };
        self.variables.truncate(scope);
        flow
    }

    fn range(&mut self, dot: &Value, branch: &Branch) -> Result<Flow, Error> {
        let scope = self.variables.len();
        let over = self.pipe(dot, &branch.pipe)?;
        let line = branch.pipe.line;
        let mut turned = false;
        let turns: Box<dyn Iterator<Item = (Value, Value)>> = match over {
            Value::Missing | Value::Nil => Box::new(std::iter::empty()),
            Value::List(items) => Box::new(items.into_iter().enumerate().map(|(i, item)| (index(i), item))),
            Value::Map(entries) => Box::new(entries.into_iter().map(|(key, item)| (Value::Text(key), item))),
            Value::Int(count) => {
                if branch.pipe.variables.len() > 1 {
                    return Err(Error::new(
                        line,
                        format!("can't use {count} to iterate over more than one variable"),
                    ));
                }
                Box::new((0..count).map(|i| (Value::Int(i), Value::Int(i))))
            }
            other => return Err(Error::new(line, format!("range can't iterate over {other}"))),
        };
        for (key, item) in turns {
            self.step(line)?;
            turned = true;
            let inside = self.variables.len();
            self.bind_turn(&branch.pipe, key, &item);
            let flow = self.walk_all(&item, &branch.then)?;
            self.variables.truncate(inside);
            if flow == Flow::Break {
                break;
            }
        }
        let flow = if turned {
            Flow::On
        } else {
            self.walk_all(dot, &branch.otherwise)?
        };
        self.variables.truncate(scope);
        Ok(flow)
    }

    /// The variables of one turn: the item, or key and item.
    fn bind_turn(&mut self, pipe: &Pipe, key: Value, item: &Value) {
        let values = match pipe.variables.as_slice() {
            [] => return,
            [one] => vec![(one, item.clone())],
            [first, second, ..] => vec![(first, key), (second, item.clone())],
        };
        for (name, value) in values {
            self.bind(name, value, pipe.declares);
        }
    }

    fn bind(&mut self, name: &str, value: Value, declares: bool) {
        match self.variables.iter_mut().rev().find(|(known, _)| known == name) {
            Some((_, target)) if !declares => *target = value,
            _ => self.variables.push((name.to_owned(), value)),
        }
    }

    fn call(&mut self, dot: &Value, line: usize, name: &str, data: Option<&Pipe>) -> Result<(), Error> {
        let Some(nodes) = self.template.named.get(name) else {
            return Err(Error::new(line, format!("template {name:?} not defined")));
        };
        if self.calls >= CALLS {
            return Err(Error::new(
                line,
                format!("templates call each other more than {CALLS} levels deep"),
            ));
        }
        let data = match data {
            Some(pipe) => self.pipe(dot, pipe)?,
            None => Value::Nil,
        };
        let outer = std::mem::replace(&mut self.variables, vec![(String::new(), data.clone())]);
        self.calls += 1;
        self.walk_all(&data, nodes)?;
        self.calls -= 1;
        self.variables = outer;
        Ok(())
    }

    fn pipe(&mut self, dot: &Value, pipe: &Pipe) -> Result<Value, Error> {
        let mut value = None;
        for command in &pipe.commands {
            self.step(pipe.line)?;
            value = Some(self.command(dot, pipe.line, command, value)?);
        }
        let value = value.unwrap_or_default();
        // The variables of a range get a value at each turn; with nothing to go through they get none.
        for name in &pipe.variables {
            self.bind(name, value.clone(), pipe.declares);
        }
        Ok(value)
    }

    fn command(
        &mut self,
        dot: &Value,
        line: usize,
        command: &[Operand],
        last: Option<Value>,
    ) -> Result<Value, Error> {
        let Some((first, arguments)) = command.split_first() else {
            return Ok(Value::Missing);
        };
        if let Operand::Function(name) = first {
            return self.function(dot, line, name, arguments, last);
        }
        if !arguments.is_empty() || last.is_some() {
            return Err(Error::new(
                line,
                format!("can't give argument to non-function {}", described(first)),
            ));
        }
        self.operand(dot, line, first)
    }

    fn operand(&mut self, dot: &Value, line: usize, operand: &Operand) -> Result<Value, Error> {
        match operand {
            Operand::Dot => Ok(dot.clone()),
            Operand::Nil => Ok(Value::Nil),
            Operand::Constant(value) => Ok(value.clone()),
            Operand::Fields(fields) => follow(dot, fields, line),
            Operand::Variable(name, fields) => {
                let known = self.variables.iter().rev().find(|(known, _)| known == name);
                match known {
                    Some((_, value)) => follow(value, fields, line),
                    None => Err(Error::new(line, format!("undefined variable: ${name}"))),
                }
            }
            Operand::Function(name) => self.function(dot, line, name, &[], None),
            Operand::Nested(pipe, fields) => {
                let scope = self.variables.len();
                let value = self.pipe(dot, pipe)?;
                self.variables.truncate(scope);
                follow(&value, fields, line)
            }
        }
    }

    fn function(
        &mut self,
        dot: &Value,
        line: usize,
        name: &str,
        operands: &[Operand],
        last: Option<Value>,
    ) -> Result<Value, Error> {
        if matches!(name, "and" | "or") {
            return self.short_circuit(dot, line, name, operands, last);
        }
        let mut arguments = Vec::with_capacity(operands.len() + 1);
        for operand in operands {
            arguments.push(self.operand(dot, line, operand)?);
        }
        arguments.extend(last);
        let function = self
            .template
            .functions
            .get(name)
            .ok_or_else(|| Error::new(line, format!("function {name:?} not defined")))?;
        function(&arguments).map_err(|message| Error::new(line, format!("error calling {name}: {message}")))
    }

    /// `and` and `or` evaluate no more arguments than they need.
    fn short_circuit(
        &mut self,
        dot: &Value,
        line: usize,
        name: &str,
        operands: &[Operand],
        last: Option<Value>,
    ) -> Result<Value, Error> {
        let mut value = None;
        for operand in operands {
            let next = self.operand(dot, line, operand)?;
            if next.is_true() == (name == "or") {
                return Ok(next);
            }
            value = Some(next);
        }
        last.or(value).ok_or_else(|| {
            Error::new(
                line,
                format!("wrong number of args for {name}: want at least 1 got 0"),
            )
        })
    }
}

/// The value that a chain of fields leads to. What a map does not have is missing, and so is all below.
fn follow(value: &Value, fields: &[String], line: usize) -> Result<Value, Error> {
    let mut value = value;
    for (position, field) in fields.iter().enumerate() {
        value = match value {
            Value::Map(entries) => match entries.get(field) {
                Some(next) => next,
                None => return Ok(Value::Missing),
            },
            Value::Missing if position > 0 => return Ok(Value::Missing),
            Value::Missing | Value::Nil => {
                return Err(Error::new(line, format!("nil data; no entry for key {field:?}")));
            }
            other => {
                let kind = other.type_name();
                return Err(Error::new(
                    line,
                    format!("can't evaluate field {field} in type {kind}"),
                ));
            }
        };
    }
    Ok(value.clone())
}

fn index(position: usize) -> Value {
    Value::Int(i64::try_from(position).unwrap_or(i64::MAX))
}

fn described(operand: &Operand) -> String {
    match operand {
        Operand::Dot => ".".to_owned(),
        Operand::Nil => "nil".to_owned(),
        Operand::Constant(value) => value.to_string(),
        Operand::Fields(fields) => format!(".{}", fields.join(".")),
        Operand::Variable(name, _) => format!("${name}"),
        Operand::Function(name) => name.clone(),
        Operand::Nested(..) => "(...)".to_owned(),
    }
}
