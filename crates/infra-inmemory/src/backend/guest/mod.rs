//! What runs on a simulated machine: cloud-init and kubeadm, as far as they can refuse their input.
//!
//! [`BootstrapData::parse`] reads the bootstrap data as the machine would at its first boot, [`join::check_init`] and
//! [`join::check_join`] decide whether kubeadm would succeed against the cluster as it is. All of it is pure; creating the
//! Node and the rest is done by [`crate::backend`].

mod cloud_config;
mod jinja;
pub mod join;
pub mod kubeadm;
mod kubeadm_fields;

use std::collections::BTreeMap;

pub use self::kubeadm::{Discovery, KubeadmRun, Mode, NodeRegistration, Token};

/// Why a machine cannot use its bootstrap data. All of these are final until the data changes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GuestError {
    /// A format that simulated machines do not read.
    #[error("bootstrap data of format `{0}` is not supported by the in-memory backend, use `cloud-config`")]
    Format(String),
    /// Compressed or otherwise binary data.
    #[error("bootstrap data is not text")]
    NotText,
    /// cloud-init could not render its template.
    #[error("cloud-init cannot render the bootstrap data: {0}")]
    Template(#[from] jinja::TemplateError),
    /// cloud-init could not read it.
    #[error("cloud-init cannot read the bootstrap data: {0}")]
    CloudConfig(#[from] cloud_config::CloudConfigError),
    /// Nothing would make a Kubernetes node out of the machine.
    #[error("no entry of runcmd runs `kubeadm init` or `kubeadm join` with --config")]
    NoKubeadm,
    /// More than one entry would.
    #[error("runcmd runs kubeadm more than once")]
    SeveralKubeadm,
    /// kubeadm is pointed at a file that is not written.
    #[error("kubeadm reads `{0}`, which write_files does not hold")]
    MissingFile(String),
    /// kubeadm's configuration is unusable.
    #[error("kubeadm cannot use {path}: {reason}")]
    Kubeadm {
        /// The configuration file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// What a machine knows of itself before it reads its bootstrap data.
#[derive(Debug, Clone, Copy)]
pub struct Host<'a> {
    /// Its host name, as given by the infrastructure: the DevMachine's name.
    pub name: &'a str,
    /// What the infrastructure calls it, cloud-init's `instance_id`: the DevMachine's name again.
    pub instance_id: &'a str,
    /// The Kubernetes version of its image, with the leading `v`: the Machine's `spec.version`.
    pub kubernetes_version: Option<&'a str>,
}

/// Bootstrap data, understood.
#[derive(Debug, Clone, PartialEq)]
pub struct BootstrapData {
    /// The files on the machine's disk, by path.
    pub files: BTreeMap<String, Vec<u8>>,
    /// What kubeadm is told to do.
    pub kubeadm: KubeadmRun,
}

impl BootstrapData {
    /// Reads the value of a bootstrap Secret; `format` is its key of that name, where it has one.
    pub fn parse(value: &[u8], format: Option<&str>, host: Host<'_>) -> Result<Self, GuestError> {
        if let Some(format) = format.filter(|format| !matches!(*format, "" | "cloud-config")) {
            return Err(GuestError::Format(format.to_owned()));
        }
        let text = std::str::from_utf8(value).map_err(|_| GuestError::NotText)?;
        let rendered = jinja::render(text, &jinja::instance_data(host.name, host.instance_id))?;
        let config = cloud_config::parse(&rendered)?;
        let command = kubeadm::find_command(&config.commands)?;
        let file = config
            .files
            .get(&command.config)
            .ok_or_else(|| GuestError::MissingFile(command.config.clone()))?;
        let kubeadm =
            kubeadm::parse(&command, file, &config.files, host).map_err(|reason| GuestError::Kubeadm {
                path: command.config.clone(),
                reason,
            })?;
        Ok(Self {
            files: config.files,
            kubeadm,
        })
    }

    /// The text of a file on the machine's disk.
    pub fn file(&self, path: &str) -> Option<&str> {
        self.files
            .get(path)
            .and_then(|bytes| std::str::from_utf8(bytes).ok())
    }

    /// Whether this machine starts the cluster.
    pub fn is_init(&self) -> bool {
        matches!(self.kubeadm.mode, Mode::Init { .. })
    }

    /// Whether this machine becomes part of the control plane.
    pub fn is_control_plane(&self) -> bool {
        match self.kubeadm.mode {
            Mode::Init { .. } => true,
            Mode::Join { control_plane, .. } => control_plane,
        }
    }
}

#[cfg(test)]
mod tests;
