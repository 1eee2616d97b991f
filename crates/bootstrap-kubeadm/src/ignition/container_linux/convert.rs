//! From a Container Linux Config to Ignition, and what only the former has rules for.

use super::language as clc;
use super::update::update_file;
use crate::ignition::Reports;
use crate::ignition::types::{
    Account, Config, Contents, Create, Directory, Disk, Dropin, File, Filesystem, Group, Link, Mount,
    NetworkdUnit, Node, Partition, Raid, Reference, Unit, User, UserCreate, Verification, data_url,
};

const MEBIBYTE: f64 = 1024.0 * 1024.0;

pub(super) fn ignition(config: &clc::ContainerLinux, reports: &mut Reports) -> Config {
    if config.version != 0 {
        reports.error("version", "must be 0 or absent");
    }
    for (key, given) in [("etcd", &config.etcd), ("flannel", &config.flannel)] {
        if given.is_some() {
            reports.error(
                key,
                "is not supported beside kubeadm; write a unit or a drop-in under systemd.units",
            );
        }
    }
    let mut made = Config::new();
    let ignition = &mut made.ignition.0;
    ignition.timeouts.0.http_response_headers = config.ignition.timeouts.http_response_headers;
    ignition.timeouts.0.http_total = config.ignition.timeouts.http_total;
    ignition.config.0.append = config.ignition.config.append.iter().map(reference).collect();
    ignition.config.0.replace = config.ignition.config.replace.as_ref().map(reference);
    let authorities = &config.ignition.security.tls.certificate_authorities;
    ignition.security.0.tls.0.certificate_authorities = authorities.iter().map(reference).collect();
    storage(&config.storage, &mut made, reports);
    passwd(&config.passwd, &mut made);
    units(config, &mut made, reports);
    made.storage.0.files.extend(update_file(config, reports));
    made
}

fn reference(reference: &clc::Reference) -> Reference {
    Reference {
        source: reference.source.clone().into(),
        verification: verification(&reference.verification).into(),
    }
}

fn verification(verification: &clc::Verification) -> Verification {
    let clc::Hash { function, sum } = &verification.hash;
    Verification {
        hash: (!function.is_empty() && !sum.is_empty()).then(|| format!("{function}-{sum}")),
    }
}

fn storage(storage: &clc::Storage, made: &mut Config, reports: &mut Reports) {
    let out = &mut made.storage.0;
    for (index, disk) in storage.disks.iter().enumerate() {
        out.disks.push(Disk {
            device: disk.device.clone().into(),
            wipe_table: disk.wipe_table,
            partitions: partitions(index, disk, reports),
        });
    }
    for raid in &storage.raid {
        out.raid.push(Raid {
            name: raid.name.clone().into(),
            level: raid.level.clone().into(),
            devices: raid.devices.clone().into(),
            spares: raid.spares,
            options: raid.options.clone(),
        });
    }
    out.filesystems = storage.filesystems.iter().map(filesystem).collect();
    for (index, file) in storage.files.iter().enumerate() {
        out.files.push(file_of(index, file, reports));
    }
    for (index, directory) in storage.directories.iter().enumerate() {
        if directory.mode.is_none() {
            reports.warning(
                &format!("storage.directories[{index}].mode"),
                "is not set, so that it will be 0755",
            );
        }
        let accounts = (directory.user.as_ref(), directory.group.as_ref());
        out.directories.push(Directory {
            node: node(
                &directory.filesystem,
                &directory.path,
                accounts,
                directory.overwrite,
            ),
            mode: directory.mode.or(Some(0o755)),
        });
    }
    for link in &storage.links {
        out.links.push(Link {
            node: node(
                &link.filesystem,
                &link.path,
                (link.user.as_ref(), link.group.as_ref()),
                link.overwrite,
            ),
            hard: link.hard,
            target: link.target.clone(),
        });
    }
}

fn partitions(disk_index: usize, disk: &clc::Disk, reports: &mut Reports) -> Vec<Partition> {
    let mut partitions = Vec::new();
    for (index, partition) in disk.partitions.iter().enumerate() {
        let path = format!("storage.disks[{disk_index}].partitions[{index}]");
        let mut dimension = |name: &str, text: &str| {
            mebibytes(text).unwrap_or_else(|problem| {
                reports.error(&format!("{path}.{name}"), &problem);
                None
            })
        };
        partitions.push(Partition {
            size_mib: dimension("size", &partition.size),
            start_mib: dimension("start", &partition.start),
            label: partition.label.clone(),
            number: partition.number,
            guid: partition.guid.clone(),
            type_guid: type_guid(&partition.type_guid).to_owned(),
        });
    }
    partitions
}

/// Partition types that have a name.
fn type_guid(name: &str) -> &str {
    match name {
        "raid_containing_root" => "be9067b9-ea49-4f15-b4f6-f36f8c9e1818",
        "linux_filesystem_data" => "0fc63daf-8483-4772-8e79-3d69d8477de4",
        "swap_partition" => "0657fd6d-a4ab-43c4-84e5-0933c84b4f4f",
        "raid_partition" => "a19d880f-05fc-4d3b-a006-743f0f84911e",
        guid => guid,
    }
}

/// A size such as `10GiB` or `1.5GB` (both count in 1024) in MiB; none for no size.
fn mebibytes(text: &str) -> Result<Option<i64>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let malformed = || format!("is {text:?}, which is no size such as 512MiB or 10GiB");
    if text == "0" {
        return Ok(Some(0));
    }
    let (mut rest, mut bytes) = (text.strip_prefix('+').unwrap_or(text), 0.0);
    while !rest.is_empty() {
        let unit_at = rest
            .find(|c: char| !(c.is_ascii_digit() || c == '.'))
            .ok_or_else(malformed)?;
        let (number, tail) = rest.split_at(unit_at);
        let unit_end = tail
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(tail.len());
        let (unit, after) = tail.split_at(unit_end);
        let power = match unit {
            "B" => 0,
            "KiB" | "KB" => 1,
            "MiB" | "MB" => 2,
            "GiB" | "GB" => 3,
            "TiB" | "TB" => 4,
            "PiB" | "PB" => 5,
            "EiB" | "EB" => 6,
            _ => return Err(malformed()),
        };
        bytes += number.parse::<f64>().map_err(|_| malformed())? * 1024_f64.powi(power);
        rest = after;
    }
    if bytes % MEBIBYTE != 0.0 {
        return Err(format!("is {text:?}; sizes are counted in whole MiB"));
    }
    // The remainder is none, and disks of 2^53 MiB do not exist.
    #[allow(
        clippy::cast_possible_truncation,
        reason = "whole, and checked against the largest exact number"
    )]
    match bytes / MEBIBYTE {
        whole if whole <= 9_007_199_254_740_992.0 => Ok(Some(whole as i64)),
        _ => Err(malformed()),
    }
}

fn filesystem(filesystem: &clc::Filesystem) -> Filesystem {
    Filesystem {
        name: filesystem.name.clone(),
        path: filesystem.path.clone(),
        mount: filesystem.mount.as_ref().map(|mount| Mount {
            device: mount.device.clone().into(),
            format: mount.format.clone().into(),
            wipe_filesystem: mount.wipe_filesystem,
            label: mount.label.clone(),
            uuid: mount.uuid.clone(),
            options: mount.options.clone(),
            create: mount.create.as_ref().map(|create| Create {
                force: create.force,
                options: create.options.clone(),
            }),
        }),
    }
}

pub(super) fn node(
    filesystem: &str,
    path: &str,
    (user, group): (Option<&clc::Account>, Option<&clc::Account>),
    overwrite: Option<bool>,
) -> Node {
    let account = |account: &clc::Account| Account {
        id: account.id,
        name: account.name.clone(),
    };
    Node {
        filesystem: if filesystem.is_empty() { "root" } else { filesystem }.into(),
        path: path.into(),
        user: user.map(account),
        group: group.map(account),
        overwrite,
    }
}

fn file_of(index: usize, file: &clc::File, reports: &mut Reports) -> File {
    let path = format!("storage.files[{index}]");
    if file.mode.is_none() {
        let text = if file.append {
            "is not set, so that a file that does not exist will get 0644"
        } else {
            "is not set, so that it will be 0644"
        };
        reports.warning(&format!("{path}.mode"), text);
    }
    let clc::Contents {
        remote,
        inline,
        local,
    } = &file.contents;
    if [&remote.url, inline, local]
        .iter()
        .filter(|source| !source.is_empty())
        .count()
        > 1
    {
        reports.error(
            &format!("{path}.contents"),
            "only one of inline, local and remote.url may be set",
        );
    }
    if !local.is_empty() {
        reports.error(
            &format!("{path}.contents.local"),
            "names a file that is not here; use inline or remote",
        );
    }
    let source = if !remote.url.is_empty() {
        remote.url.clone()
    } else {
        data_url(inline.as_bytes())
    };
    File {
        node: node(
            &file.filesystem,
            &file.path,
            (file.user.as_ref(), file.group.as_ref()),
            file.overwrite,
        ),
        append: file.append,
        contents: Contents {
            source,
            compression: remote.compression.clone(),
            verification: verification(&remote.verification).into(),
        },
        mode: file.mode.or(Some(0o644)),
    }
}

fn passwd(passwd: &clc::Passwd, made: &mut Config) {
    made.passwd.0.users = passwd.users.iter().map(user).collect();
    for group in &passwd.groups {
        made.passwd.0.groups.push(Group {
            name: group.name.clone().into(),
            gid: group.gid,
            password_hash: group.password_hash.clone(),
            system: group.system,
        });
    }
}

fn user(user: &clc::User) -> User {
    User {
        name: user.name.clone().into(),
        password_hash: user.password_hash.clone(),
        ssh_authorized_keys: user.ssh_authorized_keys.clone(),
        uid: user.uid,
        gecos: user.gecos.clone(),
        home_dir: user.home_dir.clone(),
        no_create_home: user.no_create_home,
        primary_group: user.primary_group.clone(),
        groups: user.groups.clone(),
        no_user_group: user.no_user_group,
        system: user.system,
        no_log_init: user.no_log_init,
        shell: user.shell.clone(),
        create: user.create.as_ref().map(|create| UserCreate {
            uid: create.uid,
            gecos: create.gecos.clone(),
            home_dir: create.home_dir.clone(),
            no_create_home: create.no_create_home,
            primary_group: create.primary_group.clone(),
            groups: create.groups.clone(),
            no_user_group: create.no_user_group,
            system: create.system,
            no_log_init: create.no_log_init,
            shell: create.shell.clone(),
        }),
    }
}

fn dropins(dropins: &[clc::Dropin]) -> Vec<Dropin> {
    let dropin = |dropin: &clc::Dropin| Dropin {
        name: dropin.name.clone().into(),
        contents: dropin.contents.clone(),
    };
    dropins.iter().map(dropin).collect()
}

fn units(config: &clc::ContainerLinux, made: &mut Config, reports: &mut Reports) {
    if let Some(docker) = &config.docker {
        let contents = format!(
            "[Service]\nEnvironment=\"DOCKER_OPTS={}\"",
            docker.flags.join(" ")
        );
        made.systemd.0.units.push(Unit {
            name: "docker.service".into(),
            enable: true,
            dropins: vec![Dropin {
                name: "20-clct-docker.conf".into(),
                contents,
            }],
            ..Unit::default()
        });
    }
    for unit in &config.systemd.units {
        made.systemd.0.units.push(Unit {
            name: unit.name.clone().into(),
            enable: unit.enable,
            enabled: unit.enabled,
            mask: unit.mask,
            contents: unit.contents.clone(),
            dropins: dropins(&unit.dropins),
        });
    }
    for (index, unit) in config.networkd.units.iter().enumerate() {
        if unit.enable || unit.mask || unit.enabled.is_some() {
            let path = format!("networkd.units[{index}]");
            reports.warning(
                &path,
                "enable, enabled and mask are not known there and have no effect",
            );
        }
        made.networkd.0.units.push(NetworkdUnit {
            name: unit.name.clone().into(),
            contents: unit.contents.clone(),
            dropins: dropins(&unit.dropins),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_counted_in_whole_mebibytes() {
        for (text, want) in [
            ("", Some(None)),
            ("0", Some(Some(0))),
            ("512MiB", Some(Some(512))),
            ("10GB", Some(Some(10240))),
            ("1.5GiB", Some(Some(1536))),
            ("1GiB512MiB", Some(Some(1536))),
            ("1024KiB", Some(Some(1))),
            ("1KiB", None),
            ("12", None),
            ("-1GiB", None),
            ("1gib", None),
        ] {
            assert_eq!(mebibytes(text).ok(), want, "{text}");
        }
    }
}
