//! Files and users of a configuration with what they take from Secrets filled in, and with templates rendered.

use std::collections::{BTreeMap, BTreeSet};

use capi_api::bootstrap::v1beta2::{Encoding, File, FileContentFormat, KubeadmConfigSpec, User};
use gotemplate::{Limits, Template, Value};
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

/// Whether some file is a template.
pub(super) fn has_templates(spec: &KubeadmConfigSpec) -> bool {
    spec.files
        .iter()
        .any(|file| file.content_format == Some(FileContentFormat::Template))
}

/// The version of the control plane, none if there is no object that has one; an error says why it is not known.
pub(super) type ControlPlaneVersion = Option<Result<String, String>>;

/// The user's files with their contents.
pub(super) fn files(
    spec: &KubeadmConfigSpec,
    namespace: &str,
    contents: &Contents,
    version: &ControlPlaneVersion,
) -> Result<Vec<NodeFile>, Trouble> {
    spec.files
        .iter()
        .enumerate()
        .map(|(index, file)| node_file(index, file, namespace, contents, version))
        .collect()
}

fn node_file(
    index: usize,
    file: &File,
    namespace: &str,
    contents: &Contents,
    version: &ControlPlaneVersion,
) -> Result<NodeFile, Trouble> {
    let field = format!("spec.files[{index}] ({})", file.path);
    let mut content = match &file.content_from {
        Some(from) => lookup(
            &format!("{field} contentFrom"),
            namespace,
            &from.secret.name,
            &from.secret.key,
            contents,
        )?,
        None => file.content.clone().unwrap_or_default(),
    };
    if file.content_format == Some(FileContentFormat::Template) {
        content = rendered(&field, file, &content, version)?;
    }
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

fn rendered(
    field: &str,
    file: &File,
    content: &str,
    version: &ControlPlaneVersion,
) -> Result<String, Trouble> {
    let trouble = |problem: String| Trouble::Field {
        field: field.to_owned(),
        problem,
    };
    let data = template_data(version).map_err(|reason| trouble(format!("is a template, but {reason}")))?;
    let made = Template::parse(content).and_then(|template| template.render(&data, Limits::default()));
    made.map_err(|error| {
        // What a Secret holds is not shown, not even a word of it.
        let what = match file.content_from {
            Some(_) => format!("line {}", error.line),
            None => error.to_string(),
        };
        trouble(format!(
            "is a template that cannot be rendered ({what}); correct it"
        ))
    })
}

/// What templates can use. Without a version the key is absent, so that templates can ask for it with `if`.
fn template_data(version: &ControlPlaneVersion) -> Result<Value, String> {
    let mut data = BTreeMap::new();
    if let Some(version) = version {
        let text = version.as_ref().map_err(Clone::clone)?;
        let parsed = parse_tolerantly(text)
            .ok_or_else(|| format!("the control plane's version {text:?} is not a semantic version"))?;
        let control_plane = BTreeMap::from([("version".to_owned(), format!("v{parsed}").into())]);
        data.insert("controlPlane".to_owned(), Value::Map(control_plane));
    }
    Ok(Value::Map(data))
}

/// A version with or without a leading `v`, which may lack its last numbers: `1.36` is `1.36.0`.
fn parse_tolerantly(text: &str) -> Option<semver::Version> {
    let text = text.trim();
    let text = text.strip_prefix('v').unwrap_or(text);
    let (numbers, rest) = text.split_at(text.find(['-', '+']).unwrap_or(text.len()));
    let missing = 2_usize.checked_sub(numbers.matches('.').count())?;
    semver::Version::parse(&format!("{numbers}{}{rest}", ".0".repeat(missing))).ok()
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
        let files = files(&spec, "ns", &contents, &None).unwrap();
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
                files(&spec, "ns", &contents("s", "k", &[0xff]), &None)
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

    fn templated(content: &str, version: ControlPlaneVersion) -> String {
        let spec = spec(json!({"files": [{"path": "/a", "content": content, "contentFormat": "Template"}]}));
        assert!(has_templates(&spec));
        match files(&spec, "ns", &BTreeMap::new(), &version) {
            Ok(files) => files[0].content.clone(),
            Err(trouble) => trouble.to_string(),
        }
    }

    #[test]
    fn templates_know_the_version_of_the_control_plane() {
        let known = |text: &str| Some(Ok(text.to_owned()));
        for (content, version, want) in [
            ("v={{ .controlPlane.version }}", known("v1.36.2"), "v=v1.36.2"),
            ("{{ .controlPlane.version }}", known("1.36"), "v1.36.0"),
            (
                "{{ .controlPlane.version }}",
                known("v1.36.0-rc.1+x"),
                "v1.36.0-rc.1+x",
            ),
            (
                "{{ if .controlPlane }}v={{ .controlPlane.version }}{{ end }}done",
                None,
                "done",
            ),
            ("{{ .controlPlane.version }}", None, "<no value>"),
            (
                "a\n{{ upper .controlPlane.version }}",
                None,
                "spec.files[0] (/a) is a template that cannot be rendered (line 2: function \"upper\" not defined); correct it",
            ),
            (
                "{{ .controlPlane.version }}",
                known("latest"),
                "spec.files[0] (/a) is a template, but the control plane's version \"latest\" is not a semantic version",
            ),
            (
                "x",
                Some(Err("KubeadmControlPlane ns/cp does not exist".to_owned())),
                "spec.files[0] (/a) is a template, but KubeadmControlPlane ns/cp does not exist",
            ),
        ] {
            assert_eq!(templated(content, version), want, "{content}");
        }
        let too_much = templated("{{ range 20 }}{{ printf \"%99999s\" \"\" }}{{ end }}", None);
        assert!(too_much.contains("exceeds the 1048576 byte limit"), "{too_much}");
    }

    #[test]
    fn what_a_secret_holds_is_not_shown_even_if_it_is_no_template() {
        let spec = spec(json!({"files": [
            {"path": "/a", "contentFrom": {"secret": {"name": "s", "key": "k"}}, "contentFormat": "Template"}]}));
        let contents = contents("s", "k", b"x\n{{ hunter2 }}");
        let trouble = files(&spec, "ns", &contents, &None).err().unwrap().to_string();
        assert_eq!(
            trouble,
            "spec.files[0] (/a) is a template that cannot be rendered (line 2); correct it"
        );
    }
}
