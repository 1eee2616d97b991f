//! cloud-config, the user data that cloud-init reads, from a [`MachineSetup`].
//!
//! The document is written by hand, not by a serializer, because its bytes are an interface: infrastructure providers
//! split it by lines, and golden files are shared with the Go implementation. Key order, literal blocks, the leading
//! `---` of some configurations and the two blanks before `&&` are therefore kept as they are there. Unlike there, users'
//! values are quoted where YAML needs it, and a key without content is left out.
//! Jinja expressions in files and commands are evaluated by cloud-init on the machine, not here.

mod disks;
mod files;
mod users;

use std::fmt::Write;

use crate::machine_setup::{Action, MachineSetup, NodeFile, SENTINEL_FILE};
use crate::yaml;

/// Where the configuration of `kubeadm init` lies on the machine.
pub const INIT_CONFIG_PATH: &str = "/run/kubeadm/kubeadm.yaml";
/// Where the configuration of `kubeadm join` lies on the machine.
pub const JOIN_CONFIG_PATH: &str = "/run/kubeadm/kubeadm-join-config.yaml";

/// The cloud-config for `setup`.
pub fn render(setup: &MachineSetup) -> String {
    let mut out = String::from("## template: jinja\n#cloud-config\n\nwrite_files:\n");
    for file in setup.certificates.iter().chain(&setup.files) {
        files::write_file(&mut out, file);
    }
    files::write_file(&mut out, &kubeadm_config(&setup.action));
    files::write_placeholder(&mut out);
    if !setup.boot_commands.is_empty() {
        out.push_str("bootcmd:\n");
        write_commands(&mut out, &setup.boot_commands);
    }
    out.push_str("runcmd:\n");
    write_commands(&mut out, &setup.pre_kubeadm_commands);
    line(&mut out, format_args!("  - {}", kubeadm_command(setup)));
    write_commands(&mut out, &setup.post_kubeadm_commands);
    if let Some(ntp) = &setup.ntp {
        users::write_ntp(&mut out, ntp);
    }
    users::write_users(&mut out, &setup.users);
    if let Some(disks) = &setup.disk_setup {
        disks::write_partitions(&mut out, &disks.partitions);
        disks::write_filesystems(&mut out, &disks.filesystems);
    }
    disks::write_mounts(&mut out, &setup.mounts);
    out
}

fn kubeadm_config(action: &Action) -> NodeFile {
    let (path, content) = match action {
        Action::Init {
            cluster_configuration,
            init_configuration,
        } => (
            INIT_CONFIG_PATH,
            format!("---\n{cluster_configuration}\n---\n{init_configuration}"),
        ),
        Action::JoinControlPlane { join_configuration } => (JOIN_CONFIG_PATH, join_configuration.clone()),
        Action::JoinWorker { join_configuration } => (JOIN_CONFIG_PATH, format!("---\n{join_configuration}")),
    };
    NodeFile::of_root(path, "0640", content)
}

/// The item of `runcmd` that runs kubeadm and leaves the sentinel.
fn kubeadm_command(setup: &MachineSetup) -> String {
    let verbosity = setup.verbosity.map(|v| format!("--v {v}")).unwrap_or_default();
    match setup.action {
        Action::Init { .. } => {
            format!(
                "'kubeadm init --config {INIT_CONFIG_PATH} {verbosity} && echo success > {SENTINEL_FILE}'"
            )
        }
        Action::JoinControlPlane { .. } | Action::JoinWorker { .. } => {
            format!("kubeadm join --config {JOIN_CONFIG_PATH} {verbosity} && echo success > {SENTINEL_FILE}")
        }
    }
}

/// Commands are strings, thus run by the shell.
fn write_commands(out: &mut String, commands: &[String]) {
    for command in commands {
        line(out, format_args!("  - {}", yaml::double_quoted(command)));
    }
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{text}");
}

#[cfg(test)]
mod tests;
