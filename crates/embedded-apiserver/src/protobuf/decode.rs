//! From protobuf's wire format to JSON, message by message.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use super::table::{self, Message, Type};

/// What stands after a field's number.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wire<'a> {
    Varint(u64),
    Fixed(u64),
    Bytes(&'a [u8]),
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let taken = bytes.get(..length)?;
    *bytes = &bytes[length..];
    Some(taken)
}

fn little_endian(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |n, byte| n << 8 | u64::from(*byte))
}

/// The fields of a message; `None` once, at the end, where it is malformed.
pub(super) fn fields(mut bytes: &[u8]) -> impl Iterator<Item = Option<(u32, Wire<'_>)>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let mut next = || {
            let tag = varint(&mut bytes)?;
            let wire = match tag & 7 {
                0 => Wire::Varint(varint(&mut bytes)?),
                1 => Wire::Fixed(little_endian(take(&mut bytes, 8)?)),
                2 => {
                    let length = usize::try_from(varint(&mut bytes)?).ok()?;
                    Wire::Bytes(take(&mut bytes, length)?)
                }
                5 => Wire::Fixed(little_endian(take(&mut bytes, 4)?)),
                _ => return None,
            };
            Some((u32::try_from(tag >> 3).ok()?, wire))
        };
        let field = next();
        if field.is_none() {
            bytes = &[];
        }
        Some(field)
    })
}

/// A message as JSON; `None` when it is malformed.
pub(super) fn message(name: &str, bytes: &[u8]) -> Option<Value> {
    if let Some(value) = special(name, bytes) {
        return value;
    }
    match table::message(name)? {
        Message::Alias(type_) => {
            let mut value = json!([]);
            for field in fields(bytes) {
                if let (1, wire) = field? {
                    put(&mut value, type_, wire)?;
                }
            }
            Some(value)
        }
        Message::Fields(known) => {
            let mut object = Map::new();
            for field in fields(bytes) {
                let (number, wire) = field?;
                // Fields of a newer client are dropped, as a Go server would.
                let Some(field) = known.get(&number) else { continue };
                if field.name.is_empty() {
                    let mut inner = Value::Null;
                    put(&mut inner, &field.type_, wire)?;
                    if let Value::Object(inner) = inner {
                        object.extend(inner);
                    }
                    continue;
                }
                let slot = object.entry(field.name).or_insert(Value::Null);
                put(slot, &field.type_, wire)?;
                if field.omitted && is_zero(slot) {
                    object.remove(field.name);
                }
            }
            object.retain(|_, value| !value.is_null());
            Some(Value::Object(object))
        }
    }
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(set) => !set,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}

/// Adds one occurrence of a field to its value.
fn put(slot: &mut Value, type_: &Type, wire: Wire<'_>) -> Option<()> {
    match (type_, wire) {
        (Type::List(item), Wire::Bytes(packed)) if matches!(**item, Type::Integer | Type::Boolean) => {
            let mut rest = packed;
            while !rest.is_empty() {
                let number = varint(&mut rest)?;
                push(slot, scalar(item, Wire::Varint(number))?);
            }
        }
        (Type::List(item), wire) => push(slot, scalar(item, wire)?),
        (Type::Map(item), Wire::Bytes(entry)) => {
            let (mut key, mut value) = (String::new(), None);
            for field in fields(entry) {
                match field? {
                    (1, Wire::Bytes(text)) => key = String::from_utf8(text.to_vec()).ok()?,
                    (2, wire) => value = Some(scalar(item, wire)?),
                    _ => {}
                }
            }
            let value = value.unwrap_or_else(|| {
                if matches!(**item, Type::Text | Type::Bytes) {
                    "".into()
                } else {
                    json!({})
                }
            });
            if !slot.is_object() {
                *slot = json!({});
            }
            slot[key] = value;
        }
        (type_, wire) => *slot = scalar(type_, wire)?,
    }
    Some(())
}

fn push(slot: &mut Value, item: Value) {
    match slot {
        Value::Array(list) => list.push(item),
        other => *other = json!([item]),
    }
}

fn scalar(type_: &Type, wire: Wire<'_>) -> Option<Value> {
    Some(match (type_, wire) {
        (Type::Text, Wire::Bytes(text)) => String::from_utf8(text.to_vec()).ok()?.into(),
        (Type::Bytes, Wire::Bytes(bytes)) => STANDARD.encode(bytes).into(),
        (Type::Boolean, Wire::Varint(number)) => (number != 0).into(),
        (Type::Integer, Wire::Varint(number)) => number.cast_signed().into(),
        (Type::Floating, Wire::Fixed(bits)) => f64::from_bits(bits).into(),
        (Type::Message(name), Wire::Bytes(bytes)) => message(name, bytes)?,
        _ => return None,
    })
}

/// The number of the first field, and its content.
fn numbers(bytes: &[u8]) -> Option<[i64; 2]> {
    let mut numbers = [0; 2];
    for field in fields(bytes) {
        if let (number @ 1..=2, Wire::Varint(value)) = field? {
            numbers[number as usize - 1] = value.cast_signed();
        }
    }
    Some(numbers)
}

fn content(bytes: &[u8]) -> Option<&[u8]> {
    for field in fields(bytes) {
        if let (1, Wire::Bytes(content)) = field? {
            return Some(content);
        }
    }
    Some(&[])
}

fn time(bytes: &[u8], format: &str) -> Option<Value> {
    let [seconds, nanos] = numbers(bytes)?;
    if [seconds, nanos] == [0, 0] {
        return Some(Value::Null);
    }
    let time = Timestamp::new(seconds, i32::try_from(nanos).ok()?).ok()?;
    Some(time.strftime(format).to_string().into())
}

/// JSON that is carried as bytes.
fn embedded(bytes: &[u8]) -> Option<Value> {
    match content(bytes)? {
        [] => Some(Value::Null),
        text => serde_json::from_slice(text).ok(),
    }
}

fn int_or_string(bytes: &[u8]) -> Option<Value> {
    let [kind, number] = numbers(bytes)?;
    let text = fields(bytes)
        .flatten()
        .find_map(|(field, wire)| match (field, wire) {
            (3, Wire::Bytes(text)) => String::from_utf8(text.to_vec()).ok(),
            _ => None,
        });
    Some(if kind == 1 {
        text.unwrap_or_default().into()
    } else {
        number.into()
    })
}

/// A schema, or something simpler: which of the two fields is there decides.
fn schema_or(bytes: &[u8], schema: u32, other: u32, item: &Type) -> Option<Value> {
    let (mut found, mut alternative) = (None, Value::Null);
    for field in fields(bytes) {
        let (number, wire) = field?;
        match wire {
            Wire::Bytes(content) if number == schema => {
                found = Some(message("apiextensions.v1.JSONSchemaProps", content)?)
            }
            _ if number == other => put(&mut alternative, item, wire)?,
            _ => {}
        }
    }
    Some(found.unwrap_or(alternative))
}

/// Messages whose JSON is not made of their fields.
fn special(name: &str, bytes: &[u8]) -> Option<Option<Value>> {
    let list = |item: Type| Type::List(Box::new(item));
    Some(match name {
        "meta.v1.Time" => time(bytes, "%Y-%m-%dT%H:%M:%SZ"),
        "meta.v1.MicroTime" => time(bytes, "%Y-%m-%dT%H:%M:%S.%6fZ"),
        "meta.v1.Duration" => numbers(bytes).map(|[nanos, _]| {
            let seconds = SignedDuration::from_nanos(nanos).as_secs_f64();
            format!("{seconds}s").into()
        }),
        "meta.v1.FieldsV1" | "runtime.RawExtension" | "apiextensions.v1.JSON" => embedded(bytes),
        "resource.Quantity" => content(bytes).map(|text| String::from_utf8_lossy(text).into()),
        "intstr.IntOrString" => int_or_string(bytes),
        "apiextensions.v1.JSONSchemaPropsOrArray" => schema_or(
            bytes,
            1,
            2,
            &list(Type::Message("apiextensions.v1.JSONSchemaProps")),
        ),
        "apiextensions.v1.JSONSchemaPropsOrBool" => schema_or(bytes, 2, 1, &Type::Boolean),
        "apiextensions.v1.JSONSchemaPropsOrStringArray" => schema_or(bytes, 1, 2, &list(Type::Text)),
        _ => return None,
    })
}
