//! Files and users of a configuration with what they take from Secrets filled in.

use std::collections::{BTreeMap, BTreeSet};

use capi_api::bootstrap::v1beta2::{Encoding, File, FileContentFormat, KubeadmConfigSpec, User};
use k8s_openapi::ByteString;

use super::error::Trouble;
use crate::machine_setup::NodeFile;

/// The data of the Secrets that were looked up, none for those that do not exist.
pub(super) type Contents = BTreeMap<String, Option<BTreeMap<String, ByteString>>>;

/// The names of the Secrets that files and users refer to.
pub(super) fn referenced_secrets(spec: &KubeadmConfigSpec) -> BTreeSet<String> {
    let of_files = spec
        .files
        .iter()
        .filter_map(|f| f.content_from.as_ref())
        .map(|from| from.secret.name.clone());
    let of_users = spec
        .users
        .iter()
        .filter_map(|u| u.passwd_from.as_ref())
        .map(|from| from.secret.name.clone());
    of_files.chain(of_users).collect()
}

/// The user's files with their contents.
pub(super) fn files(
    spec: &KubeadmConfigSpec,
    namespace: &str,
    contents: &Contents,
) -> Result<Vec<NodeFile>, Trouble> {
    spec.files
        .iter()
        .enumerate()
        .map(|(index, file)| node_file(index, file, namespace, contents))
        .collect()
}

fn node_file(index: usize, file: &File, namespace: &str, contents: &Contents) -> Result<NodeFile, Trouble> {
    let field = format!("spec.files[{index}] ({})", file.path);
    if file.content_format == Some(FileContentFormat::Template) {
        let problem = "has contentFormat Template, which this version cannot render yet; write the content out and leave contentFormat unset";
        return Err(Trouble::Field {
            field,
            problem: problem.to_owned(),
        });
    }
    let content = match &file.content_from {
        Some(from) => lookup(
            &format!("{field} contentFrom"),
            namespace,
            &from.secret.name,
            &from.secret.key,
            contents,
        )?,
        None => file.content.clone().unwrap_or_default(),
    };
    if matches!(file.encoding, Some(Encoding::Base64 | Encoding::GzipBase64)) && !is_base64(&content) {
        let problem = "has encoding base64, but its content is not base64; encode it or correct encoding";
        return Err(Trouble::Field {
            field,
            problem: problem.to_owned(),
        });
    }
    Ok(NodeFile {
        path: file.path.clone(),
        owner: file.owner.clone().unwrap_or_default(),
        permissions: file.permissions.clone().unwrap_or_default(),
        encoding: file.encoding,
        append: file.append,
        content,
    })
}

/// The users with their passwords.
pub(super) fn users(
    spec: &KubeadmConfigSpec,
    namespace: &str,
    contents: &Contents,
) -> Result<Vec<User>, Trouble> {
    let resolve = |(index, user): (usize, &User)| -> Result<User, Trouble> {
        let Some(from) = &user.passwd_from else {
            return Ok(user.clone());
        };
        let field = format!("spec.users[{index}] ({}) passwdFrom", user.name);
        let passwd = lookup(&field, namespace, &from.secret.name, &from.secret.key, contents)?;
        Ok(User {
            passwd: Some(passwd),
            passwd_from: None,
            ..user.clone()
        })
    };
    spec.users.iter().enumerate().map(resolve).collect()
}

fn lookup(
    field: &str,
    namespace: &str,
    name: &str,
    key: &str,
    contents: &Contents,
) -> Result<String, Trouble> {
    let secret = format!("{namespace}/{name}");
    let Some(Some(data)) = contents.get(name) else {
        return Err(Trouble::SecretMissing {
            field: field.to_owned(),
            secret,
        });
    };
    let wrong = |problem: &str| Trouble::SecretKey {
        field: field.to_owned(),
        secret: secret.clone(),
        key: key.to_owned(),
        problem: problem.to_owned(),
    };
    let ByteString(bytes) = data.get(key).ok_or_else(|| wrong("does not exist"))?;
    String::from_utf8(bytes.clone())
        .map_err(|_| wrong("is not UTF-8 text (store it base64-encoded and set encoding: base64)"))
}

/// Whether `content` is base64; a Jinja expression, which the machine evaluates first, may stand for anything.
fn is_base64(content: &str) -> bool {
    let mut padding = false;
    let mut length = 0;
    for c in content.bytes().filter(|c| !c.is_ascii_whitespace()) {
        let valid = match c {
            b'=' => true,
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' => !padding,
            _ => false,
        };
        if !valid {
            return content.contains("{{") || content.contains("{%");
        }
        padding = padding || c == b'=';
        length += 1;
    }
    length % 4 == 0
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec(value: serde_json::Value) -> KubeadmConfigSpec {
        serde_json::from_value(value).unwrap()
    }

    fn contents(name: &str, key: &str, bytes: &[u8]) -> Contents {
        BTreeMap::from([
            (
                name.to_owned(),
                Some(BTreeMap::from([(key.to_owned(), ByteString(bytes.to_vec()))])),
            ),
            ("gone".to_owned(), None),
        ])
    }

    #[test]
    fn contents_and_passwords_come_from_secrets() {
        let spec = spec(json!({
            "files": [{"path": "/a", "contentFrom": {"secret": {"name": "s", "key": "k"}}, "owner": "x:y"}, {"path": "/b", "content": "c"}],
            "users": [{"name": "u", "passwdFrom": {"secret": {"name": "s", "key": "k"}}}],
        }));
        assert_eq!(referenced_secrets(&spec), BTreeSet::from(["s".to_owned()]));
        let contents = contents("s", "k", b"text");
        let files = files(&spec, "ns", &contents).unwrap();
        assert_eq!(
            (
                files[0].content.as_str(),
                files[0].owner.as_str(),
                files[1].content.as_str()
            ),
            ("text", "x:y", "c")
        );
        let users = users(&spec, "ns", &contents).unwrap();
        assert_eq!(
            (users[0].passwd.as_deref(), &users[0].passwd_from),
            (Some("text"), &None)
        );
    }

    #[test]
    fn a_trouble_names_field_secret_key_and_remedy() {
        let file = |from: &str, key: &str| {
            spec(json!({"files": [{"path": "/a", "contentFrom": {"secret": {"name": from, "key": key}}}]}))
        };
        for (spec, want) in [
            (
                file("gone", "k"),
                "spec.files[0] (/a) contentFrom: Secret ns/gone does not exist; create it",
            ),
            (
                file("s", "other"),
                "spec.files[0] (/a) contentFrom: key other of Secret ns/s does not exist; correct the Secret",
            ),
            (
                file("s", "k"),
                "spec.files[0] (/a) contentFrom: key k of Secret ns/s is not UTF-8 text (store it base64-encoded and set encoding: base64); correct the Secret",
            ),
            (
                spec(json!({"files": [{"path": "/a", "content": "no!", "encoding": "base64"}]})),
                "spec.files[0] (/a) has encoding base64, but its content is not base64; encode it or correct encoding",
            ),
        ] {
            assert_eq!(
                files(&spec, "ns", &contents("s", "k", &[0xff]))
                    .unwrap_err()
                    .to_string(),
                want
            );
        }
    }

    #[test]
    fn base64_may_be_wrapped_and_may_be_a_template() {
        for (text, want) in [
            ("aGVsbG8=", true),
            ("aGVs\nbG8=\n", true),
            ("aGVsbG8", false),
            ("a=b=", false),
            ("{{ x }}", true),
        ] {
            assert_eq!(is_base64(text), want, "{text}");
        }
    }
}
