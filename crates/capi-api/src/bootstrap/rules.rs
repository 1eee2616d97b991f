//! Which configurations of kubeadm are refused, beyond what the schema says: for KubeadmConfigs and for everything that
//! embeds one.

use std::collections::BTreeSet;
use std::fmt::Display;

use super::v1beta2::{DiskSetup, Encoding, Format, KubeadmConfigSpec, PartitionTableType};
use crate::field::FieldError;

/// The alpha feature that lets users ask for Ignition.
pub const IGNITION_FEATURE: &str = "KubeadmBootstrapFormatIgnition";

/// Whether the alpha format Ignition may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IgnitionGate {
    /// The feature gate KubeadmBootstrapFormatIgnition is on.
    On,
    /// It is off.
    Off,
}

impl IgnitionGate {
    /// The gate that is open, or not.
    pub fn of(open: bool) -> Self {
        match open {
            true => Self::On,
            false => Self::Off,
        }
    }
}

/// What is wrong with `spec`, whose path is `path` (`spec`, or a longer one where it is embedded).
pub fn validate(spec: &KubeadmConfigSpec, path: &str, gate: IgnitionGate) -> Vec<FieldError> {
    let mut found = Found {
        path,
        errors: Vec::new(),
    };
    files(spec, &mut found);
    users(spec, &mut found);
    discovery(spec, &mut found);
    if let Some(disks) = &spec.disk_setup {
        partitions(disks, &mut found);
    }
    ignition(spec, gate, &mut found);
    found.errors
}

struct Found<'a> {
    path: &'a str,
    errors: Vec<FieldError>,
}

impl Found<'_> {
    fn forbidden(&mut self, field: impl Display, detail: &str) {
        self.errors
            .push(FieldError::forbidden(format!("{}.{field}", self.path), detail));
    }

    fn required(&mut self, field: impl Display) {
        self.errors.push(FieldError::required(
            format!("{}.{field}", self.path),
            "must be set",
        ));
    }

    fn invalid(&mut self, field: impl Display, value: impl serde::Serialize, detail: &str) {
        self.errors.push(FieldError::invalid(
            format!("{}.{field}", self.path),
            value,
            detail,
        ));
    }
}

fn files(spec: &KubeadmConfigSpec, found: &mut Found<'_>) {
    let mut paths = BTreeSet::new();
    for (index, file) in spec.files.iter().enumerate() {
        if file.content.is_some() && file.content_from.is_some() {
            found.forbidden(
                format_args!("files[{index}]"),
                "only one of content and contentFrom may be set",
            );
        }
        if let Some(from) = &file.content_from {
            if from.secret.name.is_empty() {
                found.required(format_args!("files[{index}].contentFrom.secret.name"));
            }
            if from.secret.key.is_empty() {
                found.required(format_args!("files[{index}].contentFrom.secret.key"));
            }
        }
        if !paths.insert(&file.path) {
            found.invalid(
                format_args!("files[{index}].path"),
                &file.path,
                "path property must be unique among all files",
            );
        }
    }
}

fn users(spec: &KubeadmConfigSpec, found: &mut Found<'_>) {
    for (index, user) in spec.users.iter().enumerate() {
        if user.passwd.is_some() && user.passwd_from.is_some() {
            found.forbidden(
                format_args!("users[{index}]"),
                "only one of passwd and passwdFrom may be set",
            );
        }
        if let Some(from) = &user.passwd_from {
            if from.secret.name.is_empty() {
                found.required(format_args!("users[{index}].passwdFrom.secret.name"));
            }
            if from.secret.key.is_empty() {
                found.required(format_args!("users[{index}].passwdFrom.secret.key"));
            }
        }
    }
}

fn discovery(spec: &KubeadmConfigSpec, found: &mut Found<'_>) {
    let discovery = spec
        .join_configuration
        .as_ref()
        .and_then(|join| join.discovery.as_ref());
    let Some(config) = discovery
        .and_then(|d| d.file.as_ref())
        .and_then(|file| file.kube_config.as_ref())
    else {
        return;
    };
    let field = "joinConfiguration.discovery.file.kubeConfig.user";
    match (&config.user.auth_provider, &config.user.exec) {
        (None, None) => found.invalid(field, &config.user, "one of authProvider and exec must be set"),
        (Some(_), Some(_)) => found.forbidden(field, "only one of authProvider and exec may be set"),
        _ => {}
    }
}

fn partitions(disks: &DiskSetup, found: &mut Found<'_>) {
    for (index, partition) in disks.partitions.iter().enumerate() {
        let sum: i64 = partition
            .disk_layout
            .iter()
            .map(|part| i64::from(part.percentage))
            .sum();
        if sum > 100 {
            found.invalid(
                format_args!("diskSetup.partitions[{index}].diskLayout"),
                sum,
                &format!("the percentages sum up to {sum}; they must not exceed 100"),
            );
        }
    }
}

fn ignition(spec: &KubeadmConfigSpec, gate: IgnitionGate, found: &mut Found<'_>) {
    let wanted = spec.format == Some(Format::Ignition);
    if gate == IgnitionGate::Off {
        let reason = "needs the feature gate KubeadmBootstrapFormatIgnition, which is off";
        if wanted {
            found.forbidden("format", reason);
        }
        if spec.ignition.is_some() {
            found.forbidden("ignition", reason);
        }
        return;
    }
    if !wanted {
        if spec.ignition.is_some() {
            found.invalid("format", spec.format, "must be ignition when ignition is set");
        }
        return;
    }
    unsupported_by_ignition(spec, found);
}

fn unsupported_by_ignition(spec: &KubeadmConfigSpec, found: &mut Found<'_>) {
    const UNSUPPORTED: &str = "cannot be used with format ignition";
    for (index, _) in spec
        .users
        .iter()
        .enumerate()
        .filter(|(_, user)| user.inactive == Some(true))
    {
        found.forbidden(format_args!("users[{index}].inactive"), UNSUPPORTED);
    }
    for (index, file) in spec.files.iter().enumerate() {
        if matches!(file.encoding, Some(Encoding::Gzip | Encoding::GzipBase64)) {
            found.forbidden(format_args!("files[{index}].encoding"), UNSUPPORTED);
        }
    }
    if !spec.boot_commands.is_empty() {
        found.forbidden("bootCommands", UNSUPPORTED);
    }
    let Some(disks) = &spec.disk_setup else { return };
    for (index, partition) in disks.partitions.iter().enumerate() {
        if partition
            .table_type
            .is_some_and(|table| table != PartitionTableType::Gpt)
        {
            found.invalid(
                format_args!("diskSetup.partitions[{index}].tableType"),
                partition.table_type,
                "must be gpt with format ignition",
            );
        }
    }
    for (index, filesystem) in disks.filesystems.iter().enumerate() {
        if filesystem.replace_fs.is_some() {
            found.forbidden(
                format_args!("diskSetup.filesystems[{index}].replaceFS"),
                UNSUPPORTED,
            );
        }
        if filesystem.partition.is_some() {
            found.forbidden(
                format_args!("diskSetup.filesystems[{index}].partition"),
                UNSUPPORTED,
            );
        }
    }
}

#[cfg(test)]
mod tests;
