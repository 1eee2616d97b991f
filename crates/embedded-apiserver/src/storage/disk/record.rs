//! A change as bytes: what happened, resource and key with their lengths, and the object's JSON as it is.

use bytes::Bytes;

use crate::storage::{Change, ChangeKind, GroupResource, Object};

/// A change as it is read back.
#[derive(Debug)]
pub(super) struct Record {
    pub kind: ChangeKind,
    pub resource: GroupResource,
    pub key: Box<str>,
    pub object: Object,
}

fn put_text(text: &str, into: &mut Vec<u8>) {
    // Names are at most some hundred bytes long.
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    into.extend_from_slice(&length.to_be_bytes());
    into.extend_from_slice(&text.as_bytes()[..usize::from(length)]);
}

/// Writes a change over what `into` holds.
pub(super) fn encode(change: &Change, into: &mut Vec<u8>) {
    into.clear();
    into.push(match change.kind {
        ChangeKind::Added => b'+',
        ChangeKind::Modified => b'=',
        ChangeKind::Deleted => b'-',
    });
    put_text(&change.resource.group, into);
    put_text(&change.resource.resource, into);
    put_text(&change.object.key(), into);
    into.extend_from_slice(&change.object.json);
}

fn take_text<'a>(from: &mut &'a [u8]) -> Option<&'a str> {
    let (length, rest) = from.split_first_chunk::<2>()?;
    let (text, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    *from = rest;
    std::str::from_utf8(text).ok()
}

/// Reads a change; the error tells what is wrong with it.
pub(super) fn decode(mut bytes: &[u8], revision: u64) -> Result<Record, String> {
    let broken = || format!("the change of revision {revision} cannot be read");
    let (kind, rest) = bytes.split_first().ok_or_else(broken)?;
    bytes = rest;
    let kind = match kind {
        b'+' => ChangeKind::Added,
        b'=' => ChangeKind::Modified,
        b'-' => ChangeKind::Deleted,
        _ => return Err(broken()),
    };
    let group = take_text(&mut bytes).ok_or_else(broken)?;
    let resource = take_text(&mut bytes).ok_or_else(broken)?;
    let key = take_text(&mut bytes).ok_or_else(broken)?;
    let object = Object::thaw(Bytes::copy_from_slice(bytes), revision)
        .map_err(|error| format!("{}: {error}", broken()))?;
    Ok(Record {
        kind,
        resource: GroupResource::new(group, resource),
        key: key.into(),
        object,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;

    #[test]
    fn a_change_comes_back_as_it_was_and_no_cut_of_it_is_taken_for_one() {
        let object = Object::freeze(
            json!({"metadata": {"namespace": "a", "name": "b", "labels": {"x": "y"}}}),
            9,
        );
        let change = Change {
            kind: ChangeKind::Deleted,
            resource: GroupResource::new("example.dev", "gadgets"),
            object: Arc::new(object.clone()),
            previous: None,
        };
        let mut bytes = Vec::new();
        encode(&change, &mut bytes);
        let record = decode(&bytes, 9).unwrap();
        assert_eq!(
            (record.kind, &record.resource, &*record.key, &record.object.json),
            (ChangeKind::Deleted, &change.resource, "a/b", &object.json)
        );
        assert_eq!(record.object.label("x"), Some("y"));
        for length in 0..bytes.len() {
            assert!(decode(&bytes[..length], 9).is_err(), "{length}");
        }
    }
}
