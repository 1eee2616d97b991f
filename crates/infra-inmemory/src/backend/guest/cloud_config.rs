//! Reads user data as cloud-init would, but strictly: what cloud-init skips with a warning is an error here.
//!
//! Only files and commands are kept; a simulated machine has no disks, users or clocks to set up. It knows nothing of
//! kubeadm.

use std::{collections::BTreeMap, io::Read};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::Value;

/// The line that user data of this format begins with.
const HEADER: &str = "#cloud-config";

/// The largest file that a compressed entry may expand to.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// Top-level keys of cloud-init that are accepted and not looked into, because a simulated machine has nothing they act on.
const OTHER_KEYS: &[&str] = &[
    "apt",
    "apt_pipelining",
    "byobu_by_default",
    "ca_certs",
    "chpasswd",
    "cloud_config_modules",
    "cloud_final_modules",
    "cloud_init_modules",
    "datasource",
    "device_aliases",
    "disable_ec2_metadata",
    "disable_root",
    "final_message",
    "fqdn",
    "growpart",
    "hostname",
    "keyboard",
    "locale",
    "manage_etc_hosts",
    "manage_resolv_conf",
    "mount_default_fields",
    "network",
    "output",
    "package_reboot_if_required",
    "package_update",
    "package_upgrade",
    "packages",
    "password",
    "phone_home",
    "power_state",
    "prefer_fqdn_over_hostname",
    "preserve_hostname",
    "resize_rootfs",
    "resolv_conf",
    "rsyslog",
    "snap",
    "ssh",
    "ssh_authorized_keys",
    "ssh_deletekeys",
    "ssh_genkeytypes",
    "ssh_keys",
    "ssh_pwauth",
    "swap",
    "system_info",
    "timezone",
    "user",
    "vendor_data",
    "yum_repos",
    "zypper",
];

/// Why user data is no cloud-config.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CloudConfigError {
    /// The marker line is missing.
    #[error("the data does not begin with the line `{HEADER}`")]
    Header,
    /// Not YAML, or a repeated key.
    #[error("not valid YAML: {0}")]
    Yaml(String),
    /// A key that cloud-init does not know.
    #[error("key `{0}` is not known to cloud-init")]
    UnknownKey(String),
    /// A section of the wrong shape.
    #[error("section `{section}`: {reason}")]
    Section {
        /// Its key.
        section: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

/// What a machine does with its user data.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CloudConfig {
    /// The files it writes, by path, decoded; entries that append are joined.
    pub files: BTreeMap<String, Vec<u8>>,
    /// The commands it runs once, in order, each as words.
    pub commands: Vec<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WriteFile {
    path: String,
    #[serde(default)]
    content: String,
    #[serde(default)]
    encoding: Option<String>,
    #[serde(default)]
    owner: Option<String>,
    #[serde(default)]
    permissions: Option<Value>,
    #[serde(default)]
    append: bool,
    #[serde(default)]
    #[allow(
        dead_code,
        reason = "accepted; a simulated machine has no users that a file would have to wait for"
    )]
    defer: bool,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Command {
    Line(String),
    Words(Vec<String>),
}

impl Command {
    fn words(self) -> Vec<String> {
        match self {
            Self::Line(line) => line.split_whitespace().map(str::to_owned).collect(),
            Self::Words(words) => words,
        }
    }
}

/// Reads rendered user data.
pub fn parse(text: &str) -> Result<CloudConfig, CloudConfigError> {
    if text.lines().next().map(str::trim_end) != Some(HEADER) {
        return Err(CloudConfigError::Header);
    }
    // Unquoted permissions like 0640 are octal to cloud-init's YAML reader.
    let options = serde_saphyr::options! { legacy_octal_numbers: true, with_snippet: false };
    let document: Value = serde_saphyr::from_str_with_options(text, options)
        .map_err(|error| CloudConfigError::Yaml(one_line(&error.to_string())))?;
    let Value::Object(mut sections) = document else {
        return Err(CloudConfigError::Yaml("the document is not a mapping".to_owned()));
    };
    let files = section::<Vec<WriteFile>>(&mut sections, "write_files")?;
    section::<Vec<Command>>(&mut sections, "bootcmd")?;
    let commands = section::<Vec<Command>>(&mut sections, "runcmd")?;
    section::<BTreeMap<String, Value>>(&mut sections, "ntp")?;
    section::<Vec<Value>>(&mut sections, "users")?;
    section::<BTreeMap<String, Value>>(&mut sections, "disk_setup")?;
    section::<Vec<BTreeMap<String, Value>>>(&mut sections, "fs_setup")?;
    section::<Vec<Vec<Value>>>(&mut sections, "mounts")?;
    if let Some(key) = sections.keys().find(|key| !OTHER_KEYS.contains(&key.as_str())) {
        return Err(CloudConfigError::UnknownKey(key.clone()));
    }
    Ok(CloudConfig {
        files: written_files(files.unwrap_or_default())?,
        commands: commands
            .unwrap_or_default()
            .into_iter()
            .map(Command::words)
            .collect(),
    })
}

/// Takes a section out of the document; an empty one counts as absent, as in cloud-init.
fn section<T: serde::de::DeserializeOwned>(
    sections: &mut serde_json::Map<String, Value>,
    name: &'static str,
) -> Result<Option<T>, CloudConfigError> {
    match sections.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => serde_json::from_value(value)
            .map(Some)
            .map_err(|error| CloudConfigError::Section {
                section: name,
                reason: error.to_string(),
            }),
    }
}

fn written_files(entries: Vec<WriteFile>) -> Result<BTreeMap<String, Vec<u8>>, CloudConfigError> {
    let mut files = BTreeMap::<String, Vec<u8>>::new();
    for entry in entries {
        let invalid = |reason: String| CloudConfigError::Section {
            section: "write_files",
            reason: format!("{}: {reason}", entry.path),
        };
        if !entry.path.starts_with('/') {
            return Err(invalid("the path is not absolute".to_owned()));
        }
        check_owner(entry.owner.as_deref()).map_err(invalid)?;
        check_permissions(entry.permissions.as_ref()).map_err(invalid)?;
        let content = decode(&entry.content, entry.encoding.as_deref()).map_err(invalid)?;
        if entry.append {
            files.entry(entry.path).or_default().extend(content);
        } else {
            files.insert(entry.path, content);
        }
    }
    Ok(files)
}

fn check_owner(owner: Option<&str>) -> Result<(), String> {
    match owner {
        Some(owner) if owner.is_empty() || owner.chars().any(char::is_whitespace) => {
            Err(format!("owner `{owner}` is not of the form user:group"))
        }
        _ => Ok(()),
    }
}

fn check_permissions(permissions: Option<&Value>) -> Result<(), String> {
    let valid = match permissions {
        None => true,
        Some(Value::String(text)) => {
            (3..=5).contains(&text.len()) && text.bytes().all(|digit| (b'0'..=b'7').contains(&digit))
        }
        Some(Value::Number(number)) => number.as_u64().is_some_and(|mode| mode <= 0o7777),
        Some(_) => false,
    };
    valid.then_some(()).ok_or_else(|| {
        format!(
            "permissions `{}` are not octal",
            permissions.unwrap_or(&Value::Null)
        )
    })
}

fn decode(content: &str, encoding: Option<&str>) -> Result<Vec<u8>, String> {
    let base64 = || {
        let compact: String = content.split_whitespace().collect();
        STANDARD
            .decode(compact)
            .map_err(|error| format!("content is not base64: {error}"))
    };
    match encoding.map(str::to_ascii_lowercase).as_deref().map(str::trim) {
        None | Some("" | "text/plain") => Ok(content.as_bytes().to_vec()),
        Some("b64" | "base64") => base64(),
        Some("gz+base64" | "gzip+base64" | "gz+b64" | "gzip+b64") => gunzip(&base64()?),
        Some("gz" | "gzip") => gunzip(content.as_bytes()),
        Some(other) => Err(format!("encoding `{other}` is not known")),
    }
}

fn gunzip(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    flate2::read::GzDecoder::new(bytes)
        .take(MAX_FILE_BYTES)
        .read_to_end(&mut out)
        .map_err(|error| format!("content is not gzip: {error}"))?;
    Ok(out)
}

/// An error text without the line breaks of the parser's report.
pub(super) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refuse(text: &str, want: &str) {
        let got = parse(text).unwrap_err().to_string();
        assert!(got.contains(want), "{text}: {got}");
    }

    #[test]
    fn what_the_bootstrap_provider_renders_is_accepted() {
        let text = include_str!("../../../testdata/rendered/everything.cloud-config");
        let rendered = text.strip_prefix("## template: jinja\n").unwrap();
        let config = parse(rendered).unwrap();
        assert_eq!(config.files["/opt/blob"], b"blob\n");
        assert_eq!(config.files["/opt/dos"], b"one\r\ntwo\r\n");
        assert!(config.files["/opt/plain"].starts_with(b"  indented first line\n"));
        assert_eq!(config.commands.len(), 4);
        assert_eq!(config.commands[2][..2], ["kubeadm", "init"]);
    }

    #[test]
    fn files_are_decoded_and_appended() {
        let config = parse(
            "#cloud-config\nwrite_files:\n- {path: /a, content: \"YWI=\", encoding: base64, permissions: '0640', owner: 'root:root'}\n\
             - {path: /a, content: c, append: true}\n- {path: /b, content: x, permissions: 0600}\n",
        )
        .unwrap();
        assert_eq!(config.files["/a"], b"abc");
        assert_eq!(config.files["/b"], b"x");
    }

    #[test]
    fn compressed_files_are_expanded() {
        use std::io::Write;
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(b"hello").unwrap();
        let text = STANDARD.encode(encoder.finish().unwrap());
        let config = parse(&format!(
            "#cloud-config\nwrite_files:\n- {{path: /a, content: {text}, encoding: gzip+base64}}\n"
        ))
        .unwrap();
        assert_eq!(config.files["/a"], b"hello");
    }

    #[test]
    fn commands_are_lines_or_words() {
        let config =
            parse("#cloud-config\nruncmd:\n- 'a  b'\n- [c, 'd e']\nfs_setup:\ndisk_setup:\npackages: [x]\n")
                .unwrap();
        assert_eq!(config.commands, [vec!["a", "b"], vec!["c", "d e"]]);
    }

    #[test]
    fn what_cloud_init_would_skip_is_refused() {
        refuse("write_files: []\n", "does not begin with the line");
        refuse("#cloud-config\n- a\n", "not a mapping");
        refuse("#cloud-config\nruncmd: [\n", "not valid YAML");
        refuse("#cloud-config\nruncmd: []\nruncmd: []\n", "not valid YAML");
        refuse("#cloud-config\nwritefiles: []\n", "key `writefiles` is not known");
        refuse("#cloud-config\nruncmd: 'x'\n", "section `runcmd`");
        refuse("#cloud-config\nwrite_files:\n- {path: a}\n", "not absolute");
        refuse(
            "#cloud-config\nwrite_files:\n- {path: /a, mode: 1}\n",
            "unknown field `mode`",
        );
        refuse(
            "#cloud-config\nwrite_files:\n- {path: /a, permissions: '0o640'}\n",
            "not octal",
        );
        refuse(
            "#cloud-config\nwrite_files:\n- {path: /a, encoding: rot13}\n",
            "encoding `rot13`",
        );
        refuse(
            "#cloud-config\nwrite_files:\n- {path: /a, encoding: b64, content: '*'}\n",
            "not base64",
        );
    }
}
