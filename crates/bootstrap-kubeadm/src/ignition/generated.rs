//! The Ignition for what a KubeadmConfig says outside `spec.ignition`.
//!
//! The same units, files, disks, file systems and users as upstream's, in the same order. Where upstream's result cannot
//! work or does what the spec does not say, this differs: permissions are octal with or without a leading zero (there,
//! `640` is decimal), unset ones are 0644 (there, an error); `append` appends; `overwrite` may be unset; `layout: false`
//! makes no partition and `ntp.enabled: false` starts no daemon (there, both do); mount units carry the name that systemd
//! looks for; a mount may name a device path; what has no counterpart (`diskLayout`) is an error and not left out.

use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use capi_api::bootstrap::v1beta2::{DiskSetup, Encoding, Filesystem, NTP, User};

use super::types::{self, Account, Config, Contents, Disk, Mount, Node, Partition, Unit, data_url};
use super::{CONFIG_PATH, Error, SCRIPT_PATH, unit_file};
use crate::machine_setup::{Action, MachineSetup, NodeFile, SENTINEL_FILE};

/// Reads base64 with or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

pub(super) fn config(setup: &MachineSetup) -> Result<Config, Error> {
    if !setup.boot_commands.is_empty() {
        let problem = "cannot be used with format ignition, which runs nothing that early; use preKubeadmCommands or a systemd unit";
        return Err(field("spec.bootCommands", problem));
    }
    let mut config = Config::new();
    for (index, user) in setup.users.iter().enumerate() {
        config.passwd.0.users.push(account(index, user)?);
    }
    config.systemd.0.units = units(setup)?;
    let disks = setup.disk_setup.clone().unwrap_or_default();
    config.storage.0.disks = partitioned(&disks)?;
    config.storage.0.filesystems = disks.filesystems.iter().map(filesystem).collect();
    config.storage.0.files = files(setup)?;
    Ok(config)
}

fn field(field: impl Into<String>, problem: impl Into<String>) -> Error {
    Error::Field {
        field: field.into(),
        problem: problem.into(),
    }
}

fn account(index: usize, user: &User) -> Result<types::User, Error> {
    if user.inactive == Some(true) {
        let problem = "cannot be used with format ignition; remove it";
        return Err(field(format!("spec.users[{index}].inactive"), problem));
    }
    let groups = user.groups.iter().flat_map(|groups| groups.split(','));
    Ok(types::User {
        name: user.name.clone().into(),
        gecos: user.gecos.clone().unwrap_or_default(),
        groups: groups
            .map(|group| group.trim().to_owned())
            .filter(|group| !group.is_empty())
            .collect(),
        home_dir: user.home_dir.clone().unwrap_or_default(),
        shell: user.shell.clone().unwrap_or_default(),
        password_hash: user.passwd.clone().filter(|passwd| !passwd.is_empty()),
        primary_group: user.primary_group.clone().unwrap_or_default(),
        ssh_authorized_keys: user.ssh_authorized_keys.clone(),
        ..types::User::default()
    })
}

fn units(setup: &MachineSetup) -> Result<Vec<Unit>, Error> {
    let unit = |name: String, contents: String| Unit {
        name: name.into(),
        enabled: Some(true),
        contents,
        ..Unit::default()
    };
    let kubeadm = format!(
        "[Unit]\nDescription=kubeadm\n# The script moves this file away when it succeeded, so that it runs only once.\n\
         ConditionPathExists={CONFIG_PATH}\nAfter=network.target\n[Service]\nType=oneshot\n\
         ExecStart=/bin/bash {SCRIPT_PATH}\n[Install]\nWantedBy=multi-user.target\n"
    );
    let mut units = vec![unit("kubeadm.service".to_owned(), kubeadm)];
    if enabled(setup.ntp.as_ref()) {
        units.push(unit("ntpd.service".to_owned(), String::new()));
    }
    for (index, mount) in setup.mounts.iter().enumerate() {
        let [source, target, options @ ..] = mount.as_slice() else {
            let problem = "needs two items with format ignition: a file system's label or device, and a path";
            return Err(field(format!("spec.mounts[{index}]"), problem));
        };
        let device = device(setup.disk_setup.as_ref(), index, source)?;
        let options = options.join(",");
        let contents = format!(
            "[Unit]\nDescription = Mount {source}\n\n[Mount]\nWhat={device}\nWhere={target}\nOptions={options}\n\n\
             [Install]\nWantedBy=multi-user.target\n"
        );
        units.push(unit(format!("{}.mount", unit_file::escaped(target)), contents));
    }
    Ok(units)
}

/// What a mount's first item stands for: the label of a file system that is made here, or a device.
fn device(disks: Option<&DiskSetup>, index: usize, source: &str) -> Result<String, Error> {
    let label = source.strip_prefix("LABEL=").unwrap_or(source);
    let mut filesystems = disks.iter().flat_map(|disks| &disks.filesystems);
    // As with a map from labels, the last one of a label counts.
    let labelled = filesystems.rfind(|filesystem| filesystem.label.as_deref() == Some(label));
    match labelled {
        Some(filesystem) => Ok(filesystem.device.clone()),
        None if source.starts_with('/') => Ok(source.to_owned()),
        None => {
            let problem = format!(
                "is {source:?}, which is neither the label of a file system in spec.diskSetup.filesystems nor an absolute path; correct it"
            );
            Err(field(format!("spec.mounts[{index}][0]"), problem))
        }
    }
}

fn partitioned(disks: &DiskSetup) -> Result<Vec<Disk>, Error> {
    let disk = |(index, partition): (usize, &capi_api::bootstrap::v1beta2::Partition)| {
        if !partition.disk_layout.is_empty() {
            let problem = "cannot be used with format ignition, which knows no percentages; use layout, or spec.ignition.containerLinuxConfig";
            return Err(field(
                format!("spec.diskSetup.partitions[{index}].diskLayout"),
                problem,
            ));
        }
        let whole = partition.layout == Some(true);
        Ok(Disk {
            device: partition.device.clone().into(),
            wipe_table: partition.overwrite == Some(true),
            partitions: if whole {
                vec![Partition::default()]
            } else {
                Vec::new()
            },
        })
    };
    disks.partitions.iter().enumerate().map(disk).collect()
}

fn filesystem(filesystem: &Filesystem) -> types::Filesystem {
    let label = filesystem.label.clone().filter(|label| !label.is_empty());
    types::Filesystem {
        // A name is only needed by files that go there; without one, file systems would shadow each other.
        name: label
            .clone()
            .unwrap_or_else(|| unit_file::escaped(&filesystem.device)),
        mount: Some(Mount {
            device: filesystem.device.clone().into(),
            format: filesystem.filesystem.clone().into(),
            wipe_filesystem: filesystem.overwrite == Some(true),
            label,
            options: filesystem.extra_opts.clone(),
            ..Mount::default()
        }),
        path: None,
    }
}

fn files(setup: &MachineSetup) -> Result<Vec<types::File>, Error> {
    let mut files = Vec::new();
    for user in &setup.users {
        if let Some(sudo) = user.sudo.as_deref().filter(|sudo| !sudo.is_empty()) {
            let path = format!("/etc/sudoers.d/{}", user.name);
            files.push(plain(&path, 0o600, &format!("{} {sudo}\n", user.name)));
        }
    }
    let with_password = setup
        .users
        .iter()
        .filter(|user| user.lock_password == Some(false));
    let with_password: Vec<&str> = with_password.map(|user| user.name.as_str()).collect();
    if !with_password.is_empty() {
        files.push(plain(
            "/etc/ssh/sshd_config",
            0o600,
            &sshd_config(&with_password.join(",")),
        ));
    }
    for file in setup.certificates.iter().chain(&setup.files) {
        files.push(written(file)?);
    }
    files.push(plain(SCRIPT_PATH, 0o700, &script(setup)));
    files.push(plain(CONFIG_PATH, 0o600, &kubeadm_config(&setup.action)));
    if let Some(ntp) = setup
        .ntp
        .as_ref()
        .filter(|ntp| enabled(Some(ntp)) && !ntp.servers.is_empty())
    {
        files.push(plain("/etc/ntp.conf", 0o644, &ntp_config(&ntp.servers)));
    }
    Ok(files)
}

fn enabled(ntp: Option<&NTP>) -> bool {
    ntp.is_some_and(|ntp| ntp.enabled == Some(true))
}

fn plain(path: &str, mode: i64, content: &str) -> types::File {
    types::File {
        node: Node {
            filesystem: "root".into(),
            path: path.into(),
            ..Node::default()
        },
        contents: Contents {
            source: data_url(content.as_bytes()),
            ..Contents::default()
        },
        mode: Some(mode),
        append: false,
    }
}

fn written(file: &NodeFile) -> Result<types::File, Error> {
    let named = |what: &str| format!("spec.files ({}) {what}", file.path);
    let mode = match file.permissions.as_str() {
        "" => 0o644,
        digits => match i64::from_str_radix(digits.strip_prefix("0o").unwrap_or(digits), 8) {
            Ok(mode @ 0..=0o7777) => mode,
            _ => {
                return Err(field(
                    named("permissions"),
                    "are not octal digits such as 0640; correct them",
                ));
            }
        },
    };
    let bytes = match file.encoding {
        None => block(&file.content).into_bytes(),
        Some(Encoding::Base64) => {
            let text: String = file.content.split_ascii_whitespace().collect();
            BASE64.decode(text).map_err(|_| {
                field(
                    named("content"),
                    "is not base64, which encoding says it is; correct one of them",
                )
            })?
        }
        Some(Encoding::Gzip | Encoding::GzipBase64) => {
            return Err(field(
                named("encoding"),
                "cannot be gzip with format ignition; use base64 or none",
            ));
        }
    };
    let (user, group) = match file.owner.split_once(':') {
        Some((user, group)) => (user, group),
        None => (file.owner.as_str(), ""),
    };
    let account = |name: &str| {
        Some(name.trim())
            .filter(|name| !name.is_empty())
            .map(|name| Account {
                name: name.to_owned(),
                id: None,
            })
    };
    let mut made = plain(&file.path, mode, "");
    made.node.user = account(user);
    made.node.group = account(group);
    made.contents.source = data_url(&bytes);
    made.append = file.append == Some(true);
    Ok(made)
}

/// Text as it stands in a file: with one newline at its end.
fn block(text: &str) -> String {
    match text.trim_end_matches('\n') {
        "" => String::new(),
        body => format!("{body}\n"),
    }
}

/// Unlike cloud-init's, this stops at the first command that fails; the unit is then tried again at the next boot.
fn script(setup: &MachineSetup) -> String {
    let command = match setup.action {
        Action::Init { .. } => "init",
        Action::JoinControlPlane { .. } | Action::JoinWorker { .. } => "join",
    };
    let verbosity = setup.verbosity.map(|v| format!("--v {v}")).unwrap_or_default();
    let lines =
        |commands: &[String]| -> String { commands.iter().map(|command| format!("\n{command}")).collect() };
    let folder = SENTINEL_FILE.rsplit_once('/').map_or("/", |(folder, _)| folder);
    block(&format!(
        "#!/bin/bash\nset -e\n{}\n\nkubeadm {command} --config {CONFIG_PATH} {verbosity}\n\
         mkdir -p {folder} && echo success > {SENTINEL_FILE}\nmv {CONFIG_PATH} /tmp/\n{}\n",
        lines(&setup.pre_kubeadm_commands),
        lines(&setup.post_kubeadm_commands),
    ))
}

fn kubeadm_config(action: &Action) -> String {
    let documents = match action {
        Action::Init {
            cluster_configuration,
            init_configuration,
        } => format!("{cluster_configuration}\n---\n{init_configuration}"),
        Action::JoinControlPlane { join_configuration } | Action::JoinWorker { join_configuration } => {
            join_configuration.clone()
        }
    };
    block(&format!("---\n{documents}"))
}

/// sshd's defaults on these systems, but with passwords for `users`.
fn sshd_config(users: &str) -> String {
    format!(
        "# Made by Cluster API: the usual settings, and passwords for some users.\nSubsystem sftp internal-sftp\n\
         ClientAliveInterval 180\nUseDNS no\nUsePAM yes\n# PAM prints these two.\nPrintLastLog no\nPrintMotd no\n\n\
         Match User {users}\n  PasswordAuthentication yes\n"
    )
}

/// The servers to ask; nobody may ask this machine for more than the time.
fn ntp_config(servers: &[String]) -> String {
    let servers: String = servers
        .iter()
        .map(|server| format!("server {server}\n"))
        .collect();
    format!(
        "# Made by Cluster API from spec.ntp.\n{servers}\nrestrict default nomodify nopeer noquery notrap limited kod\n\
         restrict 127.0.0.1\nrestrict [::1]\n"
    )
}
