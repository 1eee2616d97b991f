//! Ignition 2.3's configuration as JSON. Field order and what is left out when empty are those of the Go types, so that
//! documents can be compared byte by byte. These values hold keys and tokens and therefore have no `Debug`.

use serde::Serialize;

/// The version of the format.
pub(super) const VERSION: &str = "2.3.0";

macro_rules! parts {
    ($($(#[$meta:meta])* struct $name:ident { $($(#[$attribute:meta])* $field:ident: $type:ty,)* })*) => {
        $(
            $(#[$meta])*
            #[derive(Clone, Default, PartialEq, Serialize)]
            #[serde(rename_all = "camelCase")]
            pub(super) struct $name {
                $($(#[$attribute])* #[serde(skip_serializing_if = "Omit::omit")] pub $field: $type,)*
            }
        )*
    };
}

/// Whether Go's `omitempty` leaves a value out.
trait Omit {
    fn omit(&self) -> bool;
}

impl Omit for bool {
    fn omit(&self) -> bool {
        !*self
    }
}

impl Omit for i64 {
    fn omit(&self) -> bool {
        *self == 0
    }
}

impl Omit for String {
    fn omit(&self) -> bool {
        self.is_empty()
    }
}

impl<T> Omit for Vec<T> {
    fn omit(&self) -> bool {
        self.is_empty()
    }
}

impl<T> Omit for Option<T> {
    fn omit(&self) -> bool {
        self.is_none()
    }
}

/// Written even when empty: a field that is required, or a struct, which `omitempty` never leaves out.
#[derive(Clone, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub(super) struct Always<T>(pub T);

impl<T> Omit for Always<T> {
    fn omit(&self) -> bool {
        false
    }
}

impl<T> From<T> for Always<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

impl From<&str> for Always<String> {
    fn from(value: &str) -> Self {
        Self(value.to_owned())
    }
}

parts! {
    /// The whole document.
    struct Config {
        ignition: Always<Ignition>,
        networkd: Always<Networkd>,
        passwd: Always<Passwd>,
        storage: Always<Storage>,
        systemd: Always<Systemd>,
    }

    struct Ignition {
        config: Always<IgnitionConfig>,
        security: Always<Security>,
        timeouts: Always<Timeouts>,
        version: String,
    }

    struct IgnitionConfig {
        append: Vec<Reference>,
        replace: Option<Reference>,
    }

    struct Reference {
        source: Always<String>,
        verification: Always<Verification>,
    }

    struct Verification {
        hash: Option<String>,
    }

    struct Security {
        tls: Always<Tls>,
    }

    struct Tls {
        certificate_authorities: Vec<Reference>,
    }

    struct Timeouts {
        #[serde(rename = "httpResponseHeaders")]
        http_response_headers: Option<i64>,
        #[serde(rename = "httpTotal")]
        http_total: Option<i64>,
    }

    struct Networkd {
        units: Vec<NetworkdUnit>,
    }

    struct NetworkdUnit {
        contents: String,
        dropins: Vec<Dropin>,
        name: Always<String>,
    }

    struct Dropin {
        contents: String,
        name: Always<String>,
    }

    struct Passwd {
        groups: Vec<Group>,
        users: Vec<User>,
    }

    struct Group {
        gid: Option<i64>,
        name: Always<String>,
        password_hash: String,
        system: bool,
    }

    struct User {
        create: Option<UserCreate>,
        gecos: String,
        groups: Vec<String>,
        home_dir: String,
        name: Always<String>,
        no_create_home: bool,
        no_log_init: bool,
        no_user_group: bool,
        password_hash: Option<String>,
        primary_group: String,
        ssh_authorized_keys: Vec<String>,
        shell: String,
        system: bool,
        uid: Option<i64>,
    }

    struct UserCreate {
        gecos: String,
        groups: Vec<String>,
        home_dir: String,
        no_create_home: bool,
        no_log_init: bool,
        no_user_group: bool,
        primary_group: String,
        shell: String,
        system: bool,
        uid: Option<i64>,
    }

    struct Storage {
        directories: Vec<Directory>,
        disks: Vec<Disk>,
        files: Vec<File>,
        filesystems: Vec<Filesystem>,
        links: Vec<Link>,
        raid: Vec<Raid>,
    }

    struct Disk {
        device: Always<String>,
        partitions: Vec<Partition>,
        wipe_table: bool,
    }

    struct Partition {
        guid: String,
        label: Option<String>,
        number: i64,
        #[serde(rename = "sizeMiB")]
        size_mib: Option<i64>,
        #[serde(rename = "startMiB")]
        start_mib: Option<i64>,
        type_guid: String,
    }

    struct Filesystem {
        mount: Option<Mount>,
        name: String,
        path: Option<String>,
    }

    struct Mount {
        create: Option<Create>,
        device: Always<String>,
        format: Always<String>,
        label: Option<String>,
        options: Vec<String>,
        uuid: Option<String>,
        wipe_filesystem: bool,
    }

    struct Create {
        force: bool,
        options: Vec<String>,
    }

    /// What files, directories and links have in common.
    struct Node {
        filesystem: Always<String>,
        group: Option<Account>,
        overwrite: Option<bool>,
        path: Always<String>,
        user: Option<Account>,
    }

    struct Account {
        id: Option<i64>,
        name: String,
    }

    struct Contents {
        compression: String,
        source: String,
        verification: Always<Verification>,
    }

    struct Raid {
        devices: Always<Vec<String>>,
        level: Always<String>,
        name: Always<String>,
        options: Vec<String>,
        spares: i64,
    }

    struct Systemd {
        units: Vec<Unit>,
    }

    struct Unit {
        contents: String,
        dropins: Vec<Dropin>,
        enable: bool,
        enabled: Option<bool>,
        mask: bool,
        name: Always<String>,
    }
}

#[derive(Clone, Default, PartialEq, Serialize)]
pub(super) struct File {
    #[serde(flatten)]
    pub node: Node,
    #[serde(skip_serializing_if = "Omit::omit")]
    pub append: bool,
    pub contents: Contents,
    #[serde(skip_serializing_if = "Omit::omit")]
    pub mode: Option<i64>,
}

#[derive(Clone, Default, PartialEq, Serialize)]
pub(super) struct Directory {
    #[serde(flatten)]
    pub node: Node,
    #[serde(skip_serializing_if = "Omit::omit")]
    pub mode: Option<i64>,
}

#[derive(Clone, Default, PartialEq, Serialize)]
pub(super) struct Link {
    #[serde(flatten)]
    pub node: Node,
    #[serde(skip_serializing_if = "Omit::omit")]
    pub hard: bool,
    pub target: String,
}

impl Config {
    /// A document with nothing in it.
    pub fn new() -> Self {
        let mut config = Self::default();
        config.ignition.0.version = VERSION.to_owned();
        config
    }

    /// Adds `other` behind this: lists are concatenated, single values are taken from `other` where it has them, and
    /// references to further configurations are those of `other` alone.
    pub fn append(&mut self, other: Self) {
        let (ignition, added) = (&mut self.ignition.0, other.ignition.0);
        ignition.config = added.config;
        let authorities = added.security.0.tls.0.certificate_authorities;
        ignition
            .security
            .0
            .tls
            .0
            .certificate_authorities
            .extend(authorities);
        let (timeouts, added) = (&mut ignition.timeouts.0, added.timeouts.0);
        timeouts.http_response_headers = added.http_response_headers.or(timeouts.http_response_headers);
        timeouts.http_total = added.http_total.or(timeouts.http_total);
        self.networkd.0.units.extend(other.networkd.0.units);
        self.passwd.0.groups.extend(other.passwd.0.groups);
        self.passwd.0.users.extend(other.passwd.0.users);
        let (storage, added) = (&mut self.storage.0, other.storage.0);
        storage.directories.extend(added.directories);
        storage.disks.extend(added.disks);
        storage.files.extend(added.files);
        storage.filesystems.extend(added.filesystems);
        storage.links.extend(added.links);
        storage.raid.extend(added.raid);
        self.systemd.0.units.extend(other.systemd.0.units);
    }

    /// The document as Go writes it, which escapes what would matter inside HTML.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        let json = serde_json::to_string(self)?;
        let mut out = String::with_capacity(json.len());
        for c in json.chars() {
            match c {
                '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                    out.push_str(&format!("\\u{:04x}", u32::from(c)))
                }
                c => out.push(c),
            }
        }
        Ok(out)
    }
}

/// `bytes` as a URL that carries them.
pub(super) fn data_url(bytes: &[u8]) -> String {
    let mut url = String::from("data:,");
    for byte in bytes {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' => url.push(char::from(*byte)),
            b'-' | b'_' | b'.' | b'!' | b'~' | b'*' | b'\'' | b'(' | b')' => url.push(char::from(*byte)),
            byte => url.push_str(&format!("%{byte:02X}")),
        }
    }
    url
}
