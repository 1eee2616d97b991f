//! kubeadm's own configuration files, rendered from the Cluster API types in the version that the machine's kubeadm reads.
//!
//! kubeadm 1.22 to 1.36 read `kubeadm.k8s.io/v1beta3`, 1.31 and later `v1beta4`. The version of the machine that joins
//! decides, never that of the control plane. Nothing is defaulted here: kubeadm does that on the machine.
//! What must not be here: cloud-init, the cluster's state, I/O.

mod render;
mod types;

use semver::Version;

pub use render::{ClusterValues, cluster_configuration, init_configuration, join_configuration};

/// A version of the API group `kubeadm.k8s.io`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigVersion {
    /// For Kubernetes 1.22 to 1.30.
    V1Beta3,
    /// For Kubernetes 1.31 and later.
    V1Beta4,
}

impl ConfigVersion {
    /// The version for a machine of Kubernetes version `kubernetes` (with or without a leading `v`; a pre-release counts
    /// as its release).
    pub fn for_kubernetes(kubernetes: &str) -> Result<Self, Error> {
        let parsed = parse_version(kubernetes)?;
        match (parsed.major, parsed.minor) {
            (0, _) | (1, ..22) => Err(Error::UnsupportedKubernetes {
                version: kubernetes.to_owned(),
            }),
            (1, 22..31) => Ok(Self::V1Beta3),
            _ => Ok(Self::V1Beta4),
        }
    }

    fn api_version(self) -> &'static str {
        match self {
            Self::V1Beta3 => "kubeadm.k8s.io/v1beta3",
            Self::V1Beta4 => "kubeadm.k8s.io/v1beta4",
        }
    }
}

/// Parses a Kubernetes version, with or without a leading `v`.
pub fn parse_version(text: &str) -> Result<Version, Error> {
    Version::parse(text.strip_prefix('v').unwrap_or(text)).map_err(|error| Error::InvalidVersion {
        version: text.to_owned(),
        reason: error.to_string(),
    })
}

/// Why no kubeadm configuration can be rendered.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The version is not of the form vX.Y.Z.
    #[error(
        "version {version:?} is not a semantic version ({reason}); set spec.version of the Machine to a form like v1.36.0"
    )]
    InvalidVersion {
        /// What was given.
        version: String,
        /// What the parser found.
        reason: String,
    },
    /// kubeadm of this version reads no configuration version known here.
    #[error(
        "kubeadm of Kubernetes {version} is too old; set spec.version of the Machine to v1.22.0 or later"
    )]
    UnsupportedKubernetes {
        /// What was given.
        version: String,
    },
    /// A value cannot be written.
    #[error("a value of the kubeadm configuration cannot be written: {0}")]
    Serialize(#[from] serde_json::Error),
}

/// A duration of whole seconds as Go prints it: `30s`, `5m0s`, `8760h0m0s`.
fn go_duration(seconds: i64) -> String {
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{rest}s"),
        (0, _) => format!("{minutes}m{rest}s"),
        _ => format!("{hours}h{minutes}m{rest}s"),
    }
}

#[cfg(test)]
mod tests;
