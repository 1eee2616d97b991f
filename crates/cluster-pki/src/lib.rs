//! Certificates, keys, bootstrap tokens and kubeconfigs of Kubernetes clusters.
//!
//! Everything here is a pure function: keys come from a [`KeySource`], serial numbers and tokens from
//! [`seams::Randomness`], times from the caller. With RSA keys (whose signatures are deterministic) the same inputs give
//! the same bytes; ECDSA signatures contain randomness of the crypto library and differ from call to call.
//!
//! What must not be here: I/O, Secrets and other Kubernetes objects, TLS configurations.

mod authority;
mod certificate;
mod der;
mod error;
mod key;
mod kubeconfig;
mod pool;
mod token;

pub use authority::{
    CLUSTER_CA_COMMON_NAME, CertificateAuthority, CertificateRequest, DEFAULT_CA_DAYS, Usage, Validity,
};
pub use certificate::{CertificateInfo, public_key_hashes};
pub use error::{Error, Result};
pub use key::{FreshKeys, KeyAlgorithm, KeySource, PrivateKey, SharedKeys};
pub use kubeconfig::{ADMIN_CERTIFICATE_LIFETIME, AdminKubeconfig, Kubeconfig};
pub use pool::PooledKeys;
pub use token::BootstrapToken;

/// A public part and its private key, both PEM: a certificate (or the public key of a service account pair) and its key.
#[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PemPair {
    /// `CERTIFICATE` (`tls.crt`), or `PUBLIC KEY` for a service account pair.
    pub certificate: String,
    /// `RSA PRIVATE KEY` or `EC PRIVATE KEY` (`tls.key`).
    pub key: String,
}

impl std::fmt::Debug for PemPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PemPair")
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

/// A new key pair that signs service account tokens: no certificate, no expiry.
pub fn service_account_pair(keys: &dyn KeySource, algorithm: KeyAlgorithm) -> Result<PemPair> {
    let key = keys.generate(algorithm)?;
    Ok(PemPair {
        certificate: key.public_key_pem(),
        key: key.to_pem(),
    })
}
