//! Whether kubeadm would succeed: the machine's data against the cluster as it is at the moment.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{BootstrapData, Discovery, Mode, Token, kubeadm::CERTIFICATES_DIR};
use crate::backend::{EtcdError, images};

/// Why kubeadm fails on a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What it would print, with the remedy where there is one.
    pub message: String,
    /// Whether kubeadm keeps trying, so that a later moment may be better.
    pub retried: bool,
}

fn refuse<T>(message: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal {
        message: message.into(),
        retried: false,
    })
}

fn wait<T>(message: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal {
        message: message.into(),
        retried: true,
    })
}

/// A certificate authority as the management cluster's Secret holds it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuthorityFiles {
    /// `tls.crt`, PEM.
    pub certificate: String,
    /// `tls.key`, PEM; empty where the user keeps it elsewhere.
    pub key: String,
}

/// The certificate authorities of a cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Authorities {
    /// Of the API server: Secret `<cluster>-ca`.
    pub cluster: AuthorityFiles,
    /// Of etcd: Secret `<cluster>-etcd`; absent if the user runs etcd.
    pub etcd: Option<AuthorityFiles>,
    /// The SPKI hashes of the cluster CA's certificates, `sha256:<hex>`.
    pub ca_hashes: Vec<String>,
}

/// The workload cluster, as a machine meets it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterFacts {
    /// `host:port` under which the API server is reached.
    pub endpoint: String,
    /// Whether an API server answers there.
    pub serving: bool,
    /// The machine that ran `kubeadm init`, once it has.
    pub initialized_by: Option<String>,
    /// Where control-plane machines keep their certificates; set by `kubeadm init`.
    pub certificates_dir: Option<String>,
    /// The bootstrap token Secrets in kube-system, by token id.
    pub tokens: BTreeMap<String, TokenSecret>,
    /// `kubernetesVersion` of the stored ClusterConfiguration; read for control-plane machines only.
    pub kubernetes_version: Option<String>,
    /// Why etcd takes no new member; read for control-plane machines only.
    pub etcd_problem: Option<EtcdError>,
}

/// A Secret of type `bootstrap.kubernetes.io/token`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenSecret {
    /// `token-secret`.
    pub secret: String,
    /// `expiration`; a token without it does not expire.
    pub expiration: Option<Timestamp>,
    /// `usage-bootstrap-authentication` is "true".
    pub authentication: bool,
    /// `usage-bootstrap-signing` is "true".
    pub signing: bool,
}

/// Whether `kubeadm init` succeeds on `machine`.
pub fn check_init(
    machine: &str,
    data: &BootstrapData,
    facts: &ClusterFacts,
    authorities: &Authorities,
) -> Result<(), Refusal> {
    let Mode::Init { cluster } = &data.kubeadm.mode else {
        return refuse("the machine was told to join, not to start the cluster");
    };
    if let Some(first) = facts.initialized_by.as_deref().filter(|first| *first != machine) {
        return refuse(format!(
            "kubeadm init ran on {first} already, this machine must join instead"
        ));
    }
    let text = |field: &str| {
        cluster
            .get(field)
            .and_then(serde_json::Value::as_str)
            .unwrap_or_default()
    };
    let endpoint = text("controlPlaneEndpoint");
    if endpoint != facts.endpoint {
        return refuse(format!(
            "ClusterConfiguration.controlPlaneEndpoint is `{endpoint}`, but the cluster's endpoint is `{}`",
            facts.endpoint
        ));
    }
    check_certificates(data, certificates_dir(cluster), authorities)
}

/// The directory that a ClusterConfiguration names, or kubeadm's default.
pub fn certificates_dir(cluster: &serde_json::Value) -> &str {
    let dir = cluster.get("certificatesDir").and_then(serde_json::Value::as_str);
    dir.filter(|dir| !dir.is_empty()).unwrap_or(CERTIFICATES_DIR)
}

/// Whether `kubeadm join` succeeds at `now` on a machine with Kubernetes `own`.
pub fn check_join(
    data: &BootstrapData,
    own: Option<&str>,
    facts: &ClusterFacts,
    authorities: &Authorities,
    now: Timestamp,
) -> Result<(), Refusal> {
    let Mode::Join {
        control_plane,
        discovery,
    } = &data.kubeadm.mode
    else {
        return refuse("the machine was told to start the cluster, not to join it");
    };
    let (Discovery::Token { endpoint, .. } | Discovery::File { endpoint, .. }) = discovery;
    if *endpoint != facts.endpoint {
        return refuse(format!(
            "kubeadm join cannot reach `{endpoint}`, the cluster's endpoint is `{}`",
            facts.endpoint
        ));
    }
    if !facts.serving {
        return wait(format!(
            "kubeadm join waits for the API server at {endpoint}: connection refused"
        ));
    }
    match discovery {
        Discovery::Token { token, ca_hashes, .. } => {
            check_token(token, facts, now, true)?;
            if !ca_hashes.is_empty() && !ca_hashes.iter().any(|hash| authorities.ca_hashes.contains(hash)) {
                return refuse(format!(
                    "kubeadm join does not trust the cluster: its CA has hash {}, the bootstrap data pins {}",
                    authorities.ca_hashes.join(", "),
                    ca_hashes.join(", ")
                ));
            }
        }
        Discovery::File { ca, token, .. } => {
            if let Some(token) = token {
                check_token(token, facts, now, false)?;
            }
            if ca
                .as_ref()
                .is_some_and(|ca| !same_pem(ca, &authorities.cluster.certificate))
            {
                return refuse(
                    "kubeadm join does not trust the cluster: the discovery file holds another CA",
                );
            }
        }
    }
    if *control_plane {
        let dir = facts.certificates_dir.as_deref().unwrap_or(CERTIFICATES_DIR);
        check_certificates(data, dir, authorities)?;
        check_version(own, facts.kubernetes_version.as_deref())?;
        if let Some(problem) = &facts.etcd_problem {
            return wait(format!(
                "kubeadm join waits for etcd to take a new member: {problem}"
            ));
        }
    }
    Ok(())
}

/// Whether kubeadm of version `own` makes control planes of the version that the cluster is configured for: its own
/// minor version and the one before.
fn check_version(own: Option<&str>, stored: Option<&str>) -> Result<(), Refusal> {
    let (Some(own), Some(stored)) = (own, stored) else {
        return Ok(());
    };
    let (Some((major, minor)), Some(wanted)) = (images::minor(own), images::minor(stored)) else {
        return Ok(());
    };
    if wanted == (major, minor) || wanted == (major, minor.saturating_sub(1)) {
        return Ok(());
    }
    refuse(format!(
        "kubeadm {own} cannot join a control plane of version {stored} (ConfigMap kube-system/kubeadm-config): it \
         supports its own minor version and the one before"
    ))
}

fn check_token(token: &Token, facts: &ClusterFacts, now: Timestamp, signing: bool) -> Result<(), Refusal> {
    let id = &token.id;
    // kubeadm polls cluster-info until a signature for its token appears, hence the waits.
    let Some(secret) = facts.tokens.get(id) else {
        return wait(format!(
            "bootstrap token {id} is not known to the cluster (Secret kube-system/bootstrap-token-{id} is missing)"
        ));
    };
    if secret.secret != token.secret {
        return refuse(format!(
            "bootstrap token {id} has another secret part in the cluster"
        ));
    }
    if let Some(expiration) = secret.expiration.filter(|expiration| *expiration <= now) {
        return wait(format!(
            "bootstrap token {id} expired at {expiration}; new bootstrap data is needed"
        ));
    }
    if !secret.authentication || (signing && !secret.signing) {
        return refuse(format!(
            "bootstrap token {id} may not be used for authentication and signing"
        ));
    }
    Ok(())
}

/// Whether the machine was given the cluster's own certificate authorities.
fn check_certificates(data: &BootstrapData, dir: &str, authorities: &Authorities) -> Result<(), Refusal> {
    let mut wanted = vec![(format!("{dir}/ca.crt"), Some(&authorities.cluster.certificate))];
    wanted.push((
        format!("{dir}/ca.key"),
        Some(&authorities.cluster.key).filter(|key| !key.is_empty()),
    ));
    if let Some(etcd) = &authorities.etcd {
        wanted.push((format!("{dir}/etcd/ca.crt"), Some(&etcd.certificate)));
        wanted.push((
            format!("{dir}/etcd/ca.key"),
            Some(&etcd.key).filter(|key| !key.is_empty()),
        ));
    }
    for name in ["front-proxy-ca.crt", "front-proxy-ca.key", "sa.pub", "sa.key"] {
        wanted.push((format!("{dir}/{name}"), None));
    }
    for (path, want) in wanted {
        match (data.file(&path), want) {
            (None, _) => return refuse(format!("write_files does not hold {path}")),
            (Some(got), Some(want)) if !same_pem(got, want) => {
                return refuse(format!(
                    "{path} in write_files is not the one of the cluster's Secret"
                ));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Whether two PEM texts are the same but for white space.
fn same_pem(a: &str, b: &str) -> bool {
    a.split_whitespace().eq(b.split_whitespace())
}
