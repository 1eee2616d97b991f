//! Reading what clients written in Go send for built-in kinds: `application/vnd.kubernetes.protobuf` bodies become JSON.
//!
//! Answers are always JSON, which such clients accept. Numbers and types come from a generated table.

mod decode;
mod table;

use serde_json::Value;

/// The content type of such bodies.
pub(crate) const CONTENT_TYPE: &str = "application/vnd.kubernetes.protobuf";

/// How every such body begins.
const MAGIC: [u8; 4] = *b"k8s\0";

/// Reads a body: an envelope that names `apiVersion` and `kind`, and the object in it.
pub(crate) fn read(body: &[u8]) -> Result<Value, String> {
    let Some(envelope) = body.strip_prefix(&MAGIC) else {
        return Err(
            "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]"
                .to_owned(),
        );
    };
    let broken = || "the protobuf message is malformed".to_owned();
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    for field in decode::fields(envelope) {
        match field.ok_or_else(broken)? {
            (1, decode::Wire::Bytes(types)) => {
                for field in decode::fields(types) {
                    match field.ok_or_else(broken)? {
                        (1, decode::Wire::Bytes(text)) => {
                            api_version = String::from_utf8_lossy(text).into_owned()
                        }
                        (2, decode::Wire::Bytes(text)) => kind = String::from_utf8_lossy(text).into_owned(),
                        _ => {}
                    }
                }
            }
            (2, decode::Wire::Bytes(object)) => raw = object,
            _ => {}
        }
    }
    let name = table::message_of(&api_version, &kind)
        .ok_or_else(|| format!("no kind {kind:?} is registered for version {api_version:?}"))?;
    let mut value = decode::message(&name, raw).ok_or_else(broken)?;
    value["apiVersion"] = api_version.into();
    value["kind"] = kind.into();
    Ok(value)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn bytes(number: u8, content: &[u8]) -> Vec<u8> {
        let mut out = vec![number << 3 | 2, content.len() as u8];
        out.extend_from_slice(content);
        out
    }

    fn body(api_version: &str, kind: &str, object: &[u8]) -> Vec<u8> {
        let types = [bytes(1, api_version.as_bytes()), bytes(2, kind.as_bytes())].concat();
        [MAGIC.to_vec(), bytes(1, &types), bytes(2, object)].concat()
    }

    #[test]
    fn a_secret_is_read() {
        let metadata = [bytes(1, b"s"), bytes(2, b""), bytes(3, b"default"), bytes(8, b"")].concat();
        let entry = [bytes(1, b"p"), bytes(2, b"q")].concat();
        let object = [bytes(1, &metadata), bytes(2, &entry), bytes(3, b"Opaque")].concat();
        let expected = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "default"},
            "data": {"p": "cQ=="}, "type": "Opaque",
        });
        assert_eq!(read(&body("v1", "Secret", &object)), Ok(expected));
    }

    #[test]
    fn structs_without_a_name_of_their_own_stand_in_their_parent() {
        // spec.volumes[0]: name and an embedded source with emptyDir
        let source = bytes(2, &[]);
        let volume = [bytes(1, b"v"), bytes(2, &source)].concat();
        let spec = [bytes(1, &volume), vec![4 << 3, 30]].concat();
        let value = read(&body("v1", "Pod", &bytes(2, &spec))).unwrap();
        assert_eq!(
            value["spec"],
            json!({"volumes": [{"name": "v", "emptyDir": {}}], "terminationGracePeriodSeconds": 30})
        );
    }

    #[test]
    fn broken_bodies_are_refused() {
        assert!(read(b"x").is_err());
        assert!(read(&body("v1", "Nothing", &[])).is_err());
        for end in 5..body("v1", "Secret", &bytes(1, b"abc")).len() {
            let whole = body("v1", "Secret", &bytes(1, b"abc"));
            let _ = read(&whole[..end]);
        }
        assert!(read(&body("v1", "Secret", &[0x0a, 0x7f, 0x00])).is_err());
    }

    #[test]
    fn every_type_of_the_table_is_there() {
        assert_eq!(table::unknown_references(), Vec::<String>::new());
    }
}
