//! Certificate signing requests: what they must look like, who may approve and sign them, and the signers of
//! `kubernetes.io/` with a certificate authority of the host.

pub(crate) mod admission;
mod certificate;
pub(crate) mod controller;
mod request;
pub(crate) mod strategy;
pub(crate) mod validate;

use std::fmt;

use jiff::Timestamp;
use x509_parser::extensions::ParsedExtension;

use crate::crypto::PrivateKey;
use crate::storage::GroupResource;

/// The API group.
pub(crate) const GROUP: &str = "certificates.k8s.io";
/// Certificates for users of the API server.
pub(crate) const CLIENT: &str = "kubernetes.io/kube-apiserver-client";
/// Certificates by which kubelets are known to the API server.
pub(crate) const KUBELET_CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
/// Certificates of kubelets' own servers.
pub(crate) const KUBELET_SERVING: &str = "kubernetes.io/kubelet-serving";
/// An old signer that new requests cannot name.
pub(crate) const LEGACY: &str = "kubernetes.io/legacy-unknown";

/// The resource.
pub(crate) fn resource() -> GroupResource {
    GroupResource::new(GROUP, "certificatesigningrequests")
}

/// The certificate authority of a cluster, as the host has it.
#[derive(Clone)]
pub struct CertificateAuthority {
    /// The certificate in PEM. Every namespace gets it as the ConfigMap `kube-root-ca.crt`.
    pub certificate: String,
    /// The private key in PEM. With it, approved certificate signing requests are signed.
    pub key: Option<String>,
}

impl fmt::Debug for CertificateAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateAuthority")
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

/// A certificate authority, read.
pub(crate) struct Authority {
    pem: String,
    key: Option<PrivateKey>,
    /// Its name, encoded.
    subject: Vec<u8>,
    key_id: Option<Vec<u8>>,
    expires: Timestamp,
}

impl Authority {
    /// From what the host gave; the error tells what is wrong with it.
    pub fn new(config: &CertificateAuthority) -> Result<Self, String> {
        let block = pem::parse(&config.certificate)
            .map_err(|error| format!("the certificate is no PEM text: {error}"))?;
        let (_, certificate) = x509_parser::parse_x509_certificate(block.contents())
            .map_err(|error| format!("the certificate cannot be read: {error}"))?;
        let key_id =
            certificate
                .extensions()
                .iter()
                .find_map(|extension| match extension.parsed_extension() {
                    ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
                    _ => None,
                });
        let expires = certificate.validity().not_after.timestamp();
        Ok(Self {
            pem: config.certificate.clone(),
            key: config
                .key
                .as_deref()
                .map(PrivateKey::from_pem)
                .transpose()
                .map_err(|error| format!("the key {error}"))?,
            subject: certificate.subject().as_raw().to_vec(),
            key_id,
            expires: Timestamp::from_second(expires).map_err(|error| error.to_string())?,
        })
    }

    /// The certificate in PEM.
    pub fn certificate_pem(&self) -> &str {
        &self.pem
    }
}
