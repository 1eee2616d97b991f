//! The keys `disk_setup`, `fs_setup` and `mounts`.

use capi_api::bootstrap::v1beta2::{Filesystem, Partition, PartitionSpec};

use super::line;
use crate::yaml;

pub(super) fn write_partitions(out: &mut String, partitions: &[Partition]) {
    if partitions.is_empty() {
        return;
    }
    out.push_str("disk_setup:\n");
    for partition in partitions {
        line(out, format_args!("  {}:", yaml::scalar(&partition.device)));
        if let Some(table) = partition.table_type {
            line(out, format_args!("    table_type: {}", table));
        }
        if !partition.disk_layout.is_empty() {
            out.push_str("    layout:\n");
            for part in &partition.disk_layout {
                line(out, format_args!("      - {}", layout_item(part)));
            }
        } else if let Some(layout) = partition.layout {
            line(out, format_args!("    layout: {layout}"));
        }
        if let Some(overwrite) = partition.overwrite {
            line(out, format_args!("    overwrite: {overwrite}"));
        }
    }
}

/// A share of the disk in percent, with the partition's type where it has one.
fn layout_item(part: &PartitionSpec) -> String {
    let code = match part.partition_type.as_deref().unwrap_or_default() {
        "" => return part.percentage.to_string(),
        "Linux" => "83",
        "LinuxSwap" => "82",
        "LinuxRAID" => "fd",
        "LVM" => "8e",
        "Fat32" => "0c",
        "NTFS" => "07",
        "LinuxExtended" => "85",
        guid => guid,
    };
    format!("[{}, {code}]", part.percentage)
}

pub(super) fn write_filesystems(out: &mut String, filesystems: &[Filesystem]) {
    if filesystems.is_empty() {
        return;
    }
    out.push_str("fs_setup:\n");
    for filesystem in filesystems {
        let mut prefix = "  - ";
        let mut field = |out: &mut String, key: &str, value: &str| {
            line(out, format_args!("{prefix}{key}: {value}"));
            prefix = "    ";
        };
        if let Some(label) = filesystem.label.as_deref().filter(|l| !l.is_empty()) {
            field(out, "label", &yaml::scalar(label));
        }
        field(out, "filesystem", &yaml::scalar(&filesystem.filesystem));
        field(out, "device", &yaml::scalar(&filesystem.device));
        if let Some(partition) = filesystem.partition.as_deref().filter(|p| !p.is_empty()) {
            field(out, "partition", &yaml::scalar(partition));
        }
        if let Some(overwrite) = filesystem.overwrite {
            field(out, "overwrite", if overwrite { "true" } else { "false" });
        }
        if let Some(replace) = filesystem.replace_fs.as_deref().filter(|r| !r.is_empty()) {
            field(out, "replace_fs", &yaml::scalar(replace));
        }
        if !filesystem.extra_opts.is_empty() {
            out.push_str("    extra_opts:\n");
            for option in &filesystem.extra_opts {
                line(out, format_args!("      - {}", yaml::scalar(option)));
            }
        }
    }
}

pub(super) fn write_mounts(out: &mut String, mounts: &[Vec<String>]) {
    if mounts.is_empty() {
        return;
    }
    out.push_str("mounts:\n");
    for mount in mounts {
        let mut prefix = "  - - ";
        for column in mount.iter() {
            line(out, format_args!("{prefix}{}", yaml::scalar(column)));
            prefix = "    - ";
        }
        // Upstream's documents have this line of blanks, too.
        out.push_str("    \n");
    }
}
