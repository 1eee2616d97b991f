//! The functions that templates may call: Go's own, and those that a user of this crate adds.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use crate::{Value, printf};

/// A function: from its arguments to its result, or to what is wrong with them.
pub type Function = fn(&[Value]) -> Result<Value, String>;

/// Functions by name. The default has Go's own.
#[derive(Clone, Debug)]
pub struct Functions(BTreeMap<&'static str, Function>);

impl Default for Functions {
    fn default() -> Self {
        let own: [(&'static str, Function); 18] = [
            // `and` and `or` are run by the renderer, which does not evaluate all of their arguments.
            ("and", |_| Err("cannot be called".to_owned())),
            ("or", |_| Err("cannot be called".to_owned())),
            ("not", |args| Ok(Value::Bool(!exactly::<1>(args)?[0].is_true()))),
            ("len", len),
            ("index", index),
            ("slice", slice),
            ("print", |args| Ok(printf::print(args).into())),
            ("println", |args| Ok(printf::println(args).into())),
            ("printf", call_printf),
            ("html", |args| Ok(html(&printf::print(args)).into())),
            ("js", |args| Ok(js(&printf::print(args)).into())),
            ("urlquery", |args| Ok(urlquery(&printf::print(args)).into())),
            ("call", |_| Err("no value here is a function".to_owned())),
            ("eq", eq),
            ("ne", |args| {
                let [a, b] = exactly::<2>(args)?;
                Ok(Value::Bool(!equal(a, b)?))
            }),
            ("lt", |args| Ok(Value::Bool(order(args)? == Some(Ordering::Less)))),
            ("le", |args| {
                Ok(Value::Bool(matches!(
                    order(args)?,
                    Some(Ordering::Less | Ordering::Equal)
                )))
            }),
            ("gt", |args| {
                let order = order(args)?;
                Ok(Value::Bool(!matches!(
                    order,
                    Some(Ordering::Less | Ordering::Equal)
                )))
            }),
        ];
        let mut functions: BTreeMap<_, _> = own.into();
        functions.insert("ge", |args| Ok(Value::Bool(order(args)? != Some(Ordering::Less))));
        Self(functions)
    }
}

impl Functions {
    /// Adds a function, or replaces one (but for `and` and `or`).
    pub fn with(mut self, name: &'static str, function: Function) -> Self {
        self.0.insert(name, function);
        self
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub(crate) fn get(&self, name: &str) -> Option<Function> {
        self.0.get(name).copied()
    }
}

fn exactly<const N: usize>(args: &[Value]) -> Result<&[Value; N], String> {
    args.try_into()
        .map_err(|_| format!("wrong number of args: want {N} got {}", args.len()))
}

fn at_least_one(args: &[Value]) -> Result<(&Value, &[Value]), String> {
    args.split_first()
        .ok_or_else(|| "wrong number of args: want at least 1 got 0".to_owned())
}

fn whole(length: usize) -> Value {
    Value::Int(i64::try_from(length).unwrap_or(i64::MAX))
}

fn len(args: &[Value]) -> Result<Value, String> {
    match &exactly::<1>(args)?[0] {
        Value::Text(text) => Ok(whole(text.len())),
        Value::List(items) => Ok(whole(items.len())),
        Value::Map(entries) => Ok(whole(entries.len())),
        Value::Missing | Value::Nil => Err("len of nil pointer".to_owned()),
        other => Err(format!("len of type {}", other.type_name())),
    }
}

/// `value` as a position in something of `length`; with `end`, behind its last element is allowed.
fn position(value: &Value, length: usize, end: bool) -> Result<usize, String> {
    let Value::Int(at) = value else {
        return Err(format!(
            "cannot index slice/array with type {}",
            value.type_name()
        ));
    };
    match usize::try_from(*at) {
        Ok(at) if at < length || (end && at == length) => Ok(at),
        _ => Err(format!("index out of range: {at}")),
    }
}

fn index(args: &[Value]) -> Result<Value, String> {
    let (first, keys) = at_least_one(args)?;
    let mut value = first.clone();
    for key in keys {
        value = match (&value, key) {
            (Value::List(items), key) => items[position(key, items.len(), false)?].clone(),
            (Value::Text(text), key) => {
                let bytes = text.as_bytes();
                Value::Int(i64::from(bytes[position(key, bytes.len(), false)?]))
            }
            (Value::Map(entries), Value::Text(key)) => entries.get(key).cloned().unwrap_or(Value::Nil),
            (Value::Map(_), key) => {
                return Err(format!("value has type {}; should be string", key.type_name()));
            }
            (Value::Missing | Value::Nil, _) => return Err("index of untyped nil".to_owned()),
            (other, _) => return Err(format!("can't index item of type {}", other.type_name())),
        };
    }
    Ok(value)
}

fn slice(args: &[Value]) -> Result<Value, String> {
    let (value, bounds) = at_least_one(args)?;
    let length = match value {
        Value::Text(text) => text.len(),
        Value::List(items) => items.len(),
        Value::Missing | Value::Nil => return Err("slice of untyped nil".to_owned()),
        other => return Err(format!("can't slice item of type {}", other.type_name())),
    };
    match (bounds.len(), value) {
        (4.., _) => return Err(format!("too many slice indexes: {}", bounds.len())),
        (3, Value::Text(_)) => return Err("cannot 3-index slice a string".to_owned()),
        _ => {}
    }
    let mut limits = [0, length, length];
    for (limit, bound) in limits.iter_mut().zip(bounds) {
        *limit = position(bound, length, true)?;
    }
    let [from, to, capacity] = limits;
    if from > to {
        return Err(format!("invalid slice index: {from} > {to}"));
    }
    if to > capacity {
        return Err(format!("invalid slice index: {to} > {capacity}"));
    }
    match value {
        Value::List(items) => Ok(Value::List(items[from..to].to_vec())),
        Value::Text(text) => match text.get(from..to) {
            Some(part) => Ok(part.into()),
            None => Err("the bounds cut a character in two".to_owned()),
        },
        _ => Ok(Value::Nil),
    }
}

fn call_printf(args: &[Value]) -> Result<Value, String> {
    match args.split_first() {
        Some((Value::Text(format), args)) => Ok(printf::printf(format, args)?.into()),
        Some((other, _)) => Err(format!(
            "wrong type for value; expected string; got {}",
            other.type_name()
        )),
        None => Err("wrong number of args: want at least 1 got 0".to_owned()),
    }
}

fn eq(args: &[Value]) -> Result<Value, String> {
    let (first, others) = at_least_one(args)?;
    if others.is_empty() {
        return Err("missing argument for comparison".to_owned());
    }
    for other in others {
        if equal(first, other)? {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

fn equal(a: &Value, b: &Value) -> Result<bool, String> {
    match (a, b) {
        (Value::Missing | Value::Nil, _) | (_, Value::Missing | Value::Nil) => Ok(a.is_nil() && b.is_nil()),
        (Value::Bool(a), Value::Bool(b)) => Ok(a == b),
        (Value::Int(a), Value::Int(b)) => Ok(a == b),
        (Value::Float(a), Value::Float(b)) => Ok(a == b),
        (Value::Text(a), Value::Text(b)) => Ok(a == b),
        (Value::List(_) | Value::Map(_), Value::List(_) | Value::Map(_)) => Err(format!(
            "non-comparable types {}, {}",
            a.type_name(),
            b.type_name()
        )),
        _ => Err("incompatible types for comparison".to_owned()),
    }
}

/// How two values are ordered; none for a number that is not one.
fn order(args: &[Value]) -> Result<Option<Ordering>, String> {
    let [a, b] = exactly::<2>(args)?;
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => Ok(Some(a.cmp(b))),
        (Value::Float(a), Value::Float(b)) => Ok(a.partial_cmp(b)),
        (Value::Text(a), Value::Text(b)) => Ok(Some(a.cmp(b))),
        (
            Value::Int(_) | Value::Float(_) | Value::Text(_),
            Value::Int(_) | Value::Float(_) | Value::Text(_),
        ) => Err("incompatible types for comparison".to_owned()),
        _ => Err("invalid type for comparison".to_owned()),
    }
}

fn html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\0' => out.push('\u{fffd}'),
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            c => out.push(c),
        }
    }
    out
}

fn js(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\'' => out.push_str("\\'"),
            '"' => out.push_str("\\\""),
            '<' | '>' | '&' | '=' => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c if u32::from(c) < 0x20 => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c if !c.is_ascii() && !printf::is_printable(c) => {
                out.push_str(&format!("\\u{:04X}", u32::from(c)))
            }
            c => out.push(c),
        }
    }
    out
}

fn urlquery(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            b' ' => out.push('+'),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
