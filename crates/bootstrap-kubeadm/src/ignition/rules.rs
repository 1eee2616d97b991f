//! What Ignition 2.3 refuses at boot, found before: a machine that cannot read its configuration never comes up.

use std::collections::BTreeSet;

use super::types::{Config, Contents, Disk, Filesystem, Mount, Node, Partition, Reference, User};
use super::{Reports, unit_file};

/// Reports everything in `config` that Ignition refuses or warns of.
pub(super) fn check(config: &Config, reports: &mut Reports) {
    let ignition = &config.ignition.0;
    let references = ignition.config.0.append.iter().chain(&ignition.config.0.replace);
    for reference in references {
        check_reference("ignition.config", reference, reports);
    }
    for reference in &ignition.security.0.tls.0.certificate_authorities {
        check_reference("ignition.security.tls", reference, reports);
    }
    for (index, disk) in config.storage.0.disks.iter().enumerate() {
        check_disk(&format!("storage.disks[{index}]"), disk, reports);
    }
    check_raid(config, reports);
    for (index, filesystem) in config.storage.0.filesystems.iter().enumerate() {
        check_filesystem(&format!("storage.filesystems[{index}]"), filesystem, reports);
    }
    check_nodes(config, reports);
    for (index, user) in config.passwd.0.users.iter().enumerate() {
        check_user(&format!("passwd.users[{index}]"), user, reports);
    }
    check_units(config, reports);
}

fn check_path(path: &str, value: &str, reports: &mut Reports) {
    if !value.starts_with('/') {
        reports.error(path, "must be an absolute path");
    }
}

fn check_reference(path: &str, reference: &Reference, reports: &mut Reports) {
    check_url(path, &reference.source.0, reports);
    check_hash(path, reference.verification.0.hash.as_deref(), reports);
}

fn check_url(path: &str, url: &str, reports: &mut Reports) {
    let scheme = url.split_once(':').map_or("", |(scheme, _)| scheme);
    if !url.is_empty() && !matches!(scheme, "http" | "https" | "oem" | "tftp" | "s3" | "data") {
        reports.error(
            path,
            "needs a URL with one of the schemes http, https, oem, tftp, s3 and data",
        );
    }
}

fn check_hash(path: &str, hash: Option<&str>, reports: &mut Reports) {
    let Some(hash) = hash else { return };
    match hash.split_once('-') {
        Some(("sha512", sum)) if sum.len() == 128 => {}
        _ => reports.error(path, "needs a hash of function sha512, which has 128 digits"),
    }
}

fn check_disk(path: &str, disk: &Disk, reports: &mut Reports) {
    check_path(&format!("{path}.device"), &disk.device.0, reports);
    let mut numbers = BTreeSet::new();
    for (index, partition) in disk.partitions.iter().enumerate() {
        check_partition(&format!("{path}.partitions[{index}]"), partition, reports);
        if partition.number != 0 && !numbers.insert(partition.number) {
            reports.error(
                &format!("{path}.partitions[{index}].number"),
                "is that of another partition, too",
            );
        }
    }
}

fn check_partition(path: &str, partition: &Partition, reports: &mut Reports) {
    if let Some(label) = &partition.label {
        if label.len() > 36 {
            reports.error(&format!("{path}.label"), "is longer than 36 characters");
        }
        if label.contains(':') {
            reports.warning(&format!("{path}.label"), "will be cut off at its colon");
        }
    }
    for (key, guid) in [("guid", &partition.guid), ("type_guid", &partition.type_guid)] {
        if !guid.is_empty() && !is_guid(guid) {
            reports.error(
                &format!("{path}.{key}"),
                "is not of the form 01234567-89AB-CDEF-EDCB-A98765432101",
            );
        }
    }
}

fn is_guid(text: &str) -> bool {
    let parts: Vec<usize> = text.split('-').map(str::len).collect();
    parts == [8, 4, 4, 4, 12] && text.chars().all(|c| c == '-' || c.is_ascii_hexdigit())
}

fn check_raid(config: &Config, reports: &mut Reports) {
    for (index, raid) in config.storage.0.raid.iter().enumerate() {
        let path = format!("storage.raid[{index}]");
        match raid.level.0.as_str() {
            "linear" | "raid0" | "0" | "stripe" if raid.spares != 0 => {
                reports.error(&format!("{path}.spares"), "cannot be used with this level");
            }
            "linear" | "raid0" | "0" | "stripe" | "raid1" | "1" | "mirror" | "raid4" | "4" | "raid5"
            | "5" | "raid6" | "6" | "raid10" | "10" => {}
            _ => reports.error(&format!("{path}.level"), "is no known level"),
        }
        for device in &raid.devices.0 {
            check_path(&format!("{path}.devices"), device, reports);
        }
    }
}

fn check_filesystem(path: &str, filesystem: &Filesystem, reports: &mut Reports) {
    match (&filesystem.mount, &filesystem.path) {
        (None, None) => reports.error(path, "needs mount or path"),
        (Some(_), Some(_)) => reports.error(path, "cannot have both mount and path"),
        _ => {}
    }
    if let Some(at) = &filesystem.path {
        check_path(&format!("{path}.path"), at, reports);
    }
    let Some(mount) = &filesystem.mount else { return };
    check_path(&format!("{path}.mount.device"), &mount.device.0, reports);
    if mount.create.is_some() {
        reports.warning(
            &format!("{path}.mount.create"),
            "is deprecated in favour of the options of mount",
        );
        if mount.wipe_filesystem || !mount.options.is_empty() {
            reports.error(
                &format!("{path}.mount.create"),
                "cannot be used with wipe_filesystem or options",
            );
        }
    }
    check_format(&format!("{path}.mount"), mount, reports);
}

fn check_format(path: &str, mount: &Mount, reports: &mut Reports) {
    let longest = match mount.format.0.as_str() {
        "ext4" => 16,
        "btrfs" => 256,
        "xfs" => 12,
        "swap" => 15,
        "vfat" => 11,
        _ => {
            return reports.error(
                &format!("{path}.format"),
                "must be one of ext4, btrfs, xfs, swap and vfat",
            );
        }
    };
    if mount.label.as_ref().is_some_and(|label| label.len() > longest) {
        let format = &mount.format.0;
        reports.error(
            &format!("{path}.label"),
            &format!("must not be longer than {longest} characters with {format}"),
        );
    }
}

fn check_nodes(config: &Config, reports: &mut Reports) {
    let storage = &config.storage.0;
    let mut known = BTreeSet::from(["root"]);
    for (index, filesystem) in storage.filesystems.iter().enumerate() {
        if !known.insert(&filesystem.name) {
            reports.warning(
                &format!("storage.filesystems[{index}].name"),
                "hides another file system of that name",
            );
        }
    }
    let mut check = |path: String, node: &Node, mode: Option<i64>| {
        check_path(&format!("{path}.path"), &node.path.0, reports);
        if !known.contains(node.filesystem.0.as_str()) {
            reports.warning(
                &format!("{path}.filesystem"),
                "is the name of no file system in this configuration",
            );
        }
        for account in node.user.iter().chain(&node.group) {
            if account.id.is_some() && !account.name.is_empty() {
                reports.error(&path, "a user or a group has an id or a name, not both");
            }
        }
        if mode.is_some_and(|mode| !(0..=0o7777).contains(&mode)) {
            reports.error(&format!("{path}.mode"), "must lie between 0 and 07777");
        }
    };
    for (index, file) in storage.files.iter().enumerate() {
        check(format!("storage.files[{index}]"), &file.node, file.mode);
    }
    for (index, directory) in storage.directories.iter().enumerate() {
        check(
            format!("storage.directories[{index}]"),
            &directory.node,
            directory.mode,
        );
    }
    for (index, link) in storage.links.iter().enumerate() {
        check(format!("storage.links[{index}]"), &link.node, None);
    }
    for (index, file) in storage.files.iter().enumerate() {
        if file.append && file.node.overwrite == Some(true) {
            reports.error(
                &format!("storage.files[{index}]"),
                "cannot both append and overwrite",
            );
        }
        check_contents(
            &format!("storage.files[{index}].contents"),
            &file.contents,
            reports,
        );
    }
}

fn check_contents(path: &str, contents: &Contents, reports: &mut Reports) {
    check_url(path, &contents.source, reports);
    check_hash(path, contents.verification.0.hash.as_deref(), reports);
    if !matches!(contents.compression.as_str(), "" | "gzip") {
        reports.error(&format!("{path}.compression"), "must be gzip or absent");
    }
}

fn check_user(path: &str, user: &User, reports: &mut Reports) {
    if user.create.is_none() {
        return;
    }
    reports.warning(
        &format!("{path}.create"),
        "is deprecated in favour of the same keys of the user",
    );
    let beside = !user.gecos.is_empty()
        || !user.groups.is_empty()
        || !user.home_dir.is_empty()
        || user.no_create_home
        || user.no_log_init
        || user.no_user_group
        || !user.primary_group.is_empty()
        || !user.shell.is_empty()
        || user.system
        || user.uid.is_some();
    if beside {
        reports.error(
            &format!("{path}.create"),
            "cannot be used beside the same keys of the user",
        );
    }
}

fn check_units(config: &Config, reports: &mut Reports) {
    const KINDS: [&str; 12] = [
        "service",
        "socket",
        "device",
        "mount",
        "automount",
        "swap",
        "target",
        "path",
        "timer",
        "snapshot",
        "slice",
        "scope",
    ];
    let extension = |name: &str| {
        name.rsplit_once('.')
            .map_or(String::new(), |(_, extension)| extension.to_owned())
    };
    for (index, unit) in config.systemd.0.units.iter().enumerate() {
        let path = format!("systemd.units[{index}] ({})", unit.name.0);
        if !KINDS.contains(&extension(&unit.name.0).as_str()) {
            reports.error(&path, "the name must end as a unit's: .service, .mount ...");
        }
        let enabled = unit.enable || unit.enabled == Some(true);
        match unit_file::sections(&unit.contents) {
            Err(problem) => reports.error(&path, &problem),
            Ok(sections) if enabled && !unit.contents.is_empty() && !sections.contains(&"Install") => {
                reports.warning(
                    &path,
                    "is enabled, but has no section Install, so that nothing will start it",
                );
            }
            Ok(_) => {}
        }
        check_dropins(&path, &unit.dropins, reports);
    }
    for (index, unit) in config.networkd.0.units.iter().enumerate() {
        let path = format!("networkd.units[{index}] ({})", unit.name.0);
        if !matches!(extension(&unit.name.0).as_str(), "link" | "netdev" | "network") {
            reports.error(&path, "the name must end with .link, .netdev or .network");
        }
        if let Err(problem) = unit_file::sections(&unit.contents) {
            reports.error(&path, &problem);
        }
        check_dropins(&path, &unit.dropins, reports);
    }
}

fn check_dropins(path: &str, dropins: &[super::types::Dropin], reports: &mut Reports) {
    for dropin in dropins {
        let path = format!("{path} dropins ({})", dropin.name.0);
        if !dropin.name.0.ends_with(".conf") {
            reports.error(&path, "the name must end with .conf");
        }
        if let Err(problem) = unit_file::sections(&dropin.contents) {
            reports.error(&path, &problem);
        }
    }
}
