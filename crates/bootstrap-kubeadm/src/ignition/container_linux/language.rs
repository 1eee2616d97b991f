//! The keys of a Container Linux Config.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

macro_rules! language {
    ($($(#[$meta:meta])* struct $name:ident { $($(#[$attribute:meta])* $field:ident: $type:ty,)* })*) => {
        $(
            $(#[$meta])*
            #[derive(Clone, Default, Deserialize, Serialize)]
            #[serde(default)]
            pub(super) struct $name {
                $($(#[$attribute])* #[serde(deserialize_with = "null_is_default")] pub $field: $type,)*
            }
        )*
    };
}

/// A key without a value is as good as none.
fn null_is_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

language! {
    /// The whole document.
    struct ContainerLinux {
        version: i64,
        ignition: Ignition,
        storage: Storage,
        systemd: Units,
        networkd: Units,
        passwd: Passwd,
        etcd: Option<Value>,
        flannel: Option<Value>,
        update: Option<Update>,
        docker: Option<Docker>,
        locksmith: Option<Locksmith>,
    }

    struct Ignition {
        config: References,
        timeouts: Timeouts,
        security: Security,
    }

    struct References {
        append: Vec<Reference>,
        replace: Option<Reference>,
    }

    struct Reference {
        source: String,
        verification: Verification,
    }

    struct Verification {
        hash: Hash,
    }

    struct Hash {
        function: String,
        sum: String,
    }

    struct Timeouts {
        http_response_headers: Option<i64>,
        http_total: Option<i64>,
    }

    struct Security {
        tls: Tls,
    }

    struct Tls {
        certificate_authorities: Vec<Reference>,
    }

    struct Storage {
        disks: Vec<Disk>,
        raid: Vec<Raid>,
        filesystems: Vec<Filesystem>,
        files: Vec<File>,
        directories: Vec<Directory>,
        links: Vec<Link>,
    }

    struct Disk {
        device: String,
        wipe_table: bool,
        partitions: Vec<Partition>,
    }

    struct Partition {
        label: Option<String>,
        number: i64,
        size: String,
        start: String,
        guid: String,
        type_guid: String,
    }

    struct Raid {
        name: String,
        level: String,
        devices: Vec<String>,
        spares: i64,
        options: Vec<String>,
    }

    struct Filesystem {
        name: String,
        mount: Option<Mount>,
        path: Option<String>,
    }

    struct Mount {
        device: String,
        format: String,
        create: Option<Create>,
        wipe_filesystem: bool,
        label: Option<String>,
        uuid: Option<String>,
        options: Vec<String>,
    }

    struct Create {
        force: bool,
        options: Vec<String>,
    }

    struct Account {
        id: Option<i64>,
        name: String,
    }

    struct File {
        filesystem: String,
        path: String,
        user: Option<Account>,
        group: Option<Account>,
        mode: Option<i64>,
        contents: Contents,
        overwrite: Option<bool>,
        append: bool,
    }

    struct Contents {
        remote: Remote,
        inline: String,
        local: String,
    }

    struct Remote {
        url: String,
        compression: String,
        verification: Verification,
    }

    struct Directory {
        filesystem: String,
        path: String,
        user: Option<Account>,
        group: Option<Account>,
        mode: Option<i64>,
        overwrite: Option<bool>,
    }

    struct Link {
        filesystem: String,
        path: String,
        user: Option<Account>,
        group: Option<Account>,
        hard: bool,
        target: String,
        overwrite: Option<bool>,
    }

    /// Units of systemd, or of networkd, which have only the last three keys.
    struct Units {
        units: Vec<Unit>,
    }

    struct Unit {
        enable: bool,
        enabled: Option<bool>,
        mask: bool,
        name: String,
        contents: String,
        dropins: Vec<Dropin>,
    }

    struct Dropin {
        name: String,
        contents: String,
    }

    struct Passwd {
        users: Vec<User>,
        groups: Vec<Group>,
    }

    struct User {
        name: String,
        password_hash: Option<String>,
        ssh_authorized_keys: Vec<String>,
        create: Option<UserCreate>,
        uid: Option<i64>,
        gecos: String,
        home_dir: String,
        no_create_home: bool,
        primary_group: String,
        groups: Vec<String>,
        no_user_group: bool,
        system: bool,
        no_log_init: bool,
        shell: String,
    }

    struct UserCreate {
        uid: Option<i64>,
        gecos: String,
        home_dir: String,
        no_create_home: bool,
        primary_group: String,
        groups: Vec<String>,
        no_user_group: bool,
        system: bool,
        no_log_init: bool,
        shell: String,
    }

    struct Group {
        name: String,
        gid: Option<i64>,
        password_hash: String,
        system: bool,
    }

    struct Update {
        group: String,
        server: String,
        pcr_policy_server: String,
        download_user: String,
        download_password: String,
        machine_alias: String,
    }

    struct Docker {
        flags: Vec<String>,
    }

    struct Locksmith {
        reboot_strategy: Option<String>,
        window_start: Option<String>,
        window_length: Option<String>,
        group: Option<String>,
        etcd_endpoints: Option<String>,
        etcd_cafile: Option<String>,
        etcd_certfile: Option<String>,
        etcd_keyfile: Option<String>,
    }
}
