//! The table of messages, read once.

use std::collections::BTreeMap;
use std::sync::OnceLock;

/// What a field holds.
#[derive(Debug, Clone)]
pub(super) enum Type {
    Text,
    Bytes,
    Boolean,
    Integer,
    Floating,
    Message(&'static str),
    List(Box<Type>),
    Map(Box<Type>),
}

#[derive(Debug)]
pub(super) struct Field {
    /// Name in JSON; empty where the struct's fields stand in the parent.
    pub name: &'static str,
    pub type_: Type,
    /// Left out of the JSON when zero.
    pub omitted: bool,
}

#[derive(Debug)]
pub(super) enum Message {
    Fields(BTreeMap<u32, Field>),
    /// Stands for its only field.
    Alias(Type),
}

#[derive(Debug, Default)]
struct Table {
    messages: BTreeMap<&'static str, Message>,
    /// apiVersion to package.
    packages: BTreeMap<&'static str, &'static str>,
}

fn type_of(text: &'static str) -> Type {
    if let Some(item) = text.strip_prefix("[]") {
        return Type::List(Box::new(type_of(item)));
    }
    if let Some(item) = text.strip_prefix("{}") {
        return Type::Map(Box::new(type_of(item)));
    }
    match text {
        "x" => Type::Bytes,
        "b" => Type::Boolean,
        "i" => Type::Integer,
        "d" => Type::Floating,
        _ => text.strip_prefix('@').map_or(Type::Text, Type::Message),
    }
}

fn parse(text: &'static str) -> Table {
    let mut table = Table::default();
    let mut current = "";
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let words: Vec<&'static str> = line.split_whitespace().collect();
        match (line.starts_with(' '), words.as_slice()) {
            (false, ["@", package, api_version]) => {
                table.packages.insert(api_version, package);
            }
            (false, [name, "=", type_]) => {
                table.messages.insert(name, Message::Alias(type_of(type_)));
            }
            (false, [name]) => {
                current = name;
                table.messages.insert(name, Message::Fields(BTreeMap::new()));
            }
            (true, [number, name, type_, rest @ ..]) => {
                let name = if *name == "-" { "" } else { *name };
                let field = Field {
                    name,
                    type_: type_of(type_),
                    omitted: rest.contains(&"o"),
                };
                if let (Some(Message::Fields(fields)), Ok(number)) =
                    (table.messages.get_mut(current), number.parse())
                {
                    fields.insert(number, field);
                }
            }
            _ => {}
        }
    }
    table
}

fn table() -> &'static Table {
    static TABLE: OnceLock<Table> = OnceLock::new();
    TABLE.get_or_init(|| parse(include_str!("messages.table")))
}

/// A message by its name.
pub(super) fn message(name: &str) -> Option<&'static Message> {
    table().messages.get(name)
}

/// The message of a kind.
pub(super) fn message_of(api_version: &str, kind: &str) -> Option<String> {
    // Options belong to every group.
    let package = match kind {
        "DeleteOptions" | "CreateOptions" | "UpdateOptions" | "PatchOptions" | "ListOptions" => "meta.v1",
        _ => table().packages.get(api_version)?,
    };
    let name = format!("{package}.{kind}");
    table().messages.contains_key(name.as_str()).then_some(name)
}

#[cfg(test)]
pub(super) fn unknown_references() -> Vec<String> {
    fn check(type_: &Type, unknown: &mut Vec<String>) {
        match type_ {
            Type::Message(name) if message(name).is_none() => unknown.push((*name).to_owned()),
            Type::List(item) | Type::Map(item) => check(item, unknown),
            _ => {}
        }
    }
    let mut unknown = Vec::new();
    for message in table().messages.values() {
        match message {
            Message::Alias(type_) => check(type_, &mut unknown),
            Message::Fields(fields) => fields
                .values()
                .for_each(|field| check(&field.type_, &mut unknown)),
        }
    }
    unknown
}
