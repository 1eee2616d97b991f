//! Reading certificates.

use std::net::IpAddr;

use jiff::Timestamp;
use sha2::{Digest, Sha256};
use x509_parser::{
    certificate::X509Certificate,
    extensions::GeneralName,
    prelude::{FromDer, X509Name},
};

use crate::{Error, Result};

/// What a certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateInfo {
    /// Its own name (CN).
    pub common_name: String,
    /// The groups it speaks for (O).
    pub organizations: Vec<String>,
    /// The name of its issuer (CN).
    pub issuer_common_name: String,
    /// DNS names it is valid for.
    pub dns_names: Vec<String>,
    /// Addresses it is valid for.
    pub ip_addresses: Vec<IpAddr>,
    /// May sign other certificates.
    pub is_ca: bool,
    /// Valid from.
    pub not_before: Timestamp,
    /// Valid until.
    pub not_after: Timestamp,
    /// Serial number, lower-case hexadecimal.
    pub serial: String,
    /// `sha256:<hex>` over its public key, the form of kubeadm's `caCertHashes`.
    pub public_key_hash: String,
    /// The public key as DER `SubjectPublicKeyInfo`.
    pub public_key_der: Vec<u8>,
}

impl CertificateInfo {
    /// Reads the first certificate of a PEM text.
    pub fn from_pem(text: &str) -> Result<Self> {
        Self::from_der(&first_certificate(text)?)
    }

    /// Reads a DER certificate.
    pub fn from_der(der: &[u8]) -> Result<Self> {
        let (_, certificate) =
            X509Certificate::from_der(der).map_err(|e| Error::Certificate(e.to_string()))?;
        let (mut dns_names, mut ip_addresses) = (Vec::new(), Vec::new());
        if let Some(names) = certificate
            .subject_alternative_name()
            .map_err(|e| Error::Certificate(e.to_string()))?
        {
            for name in &names.value.general_names {
                match name {
                    GeneralName::DNSName(name) => dns_names.push((*name).to_owned()),
                    GeneralName::IPAddress(bytes) => ip_addresses.extend(address(bytes)),
                    _ => {}
                }
            }
        }
        Ok(Self {
            common_name: common_name(certificate.subject()),
            organizations: texts(certificate.subject().iter_organization()),
            issuer_common_name: common_name(certificate.issuer()),
            dns_names,
            ip_addresses,
            is_ca: certificate.is_ca(),
            not_before: time(certificate.validity().not_before.timestamp())?,
            not_after: time(certificate.validity().not_after.timestamp())?,
            serial: hex::encode(certificate.raw_serial()),
            public_key_hash: hash(certificate.public_key().raw),
            public_key_der: certificate.public_key().raw.to_vec(),
        })
    }
}

/// `sha256:<hex>` over the public key of every certificate in a PEM text: what a joining machine pins.
pub fn public_key_hashes(text: &str) -> Result<Vec<String>> {
    let hashes = certificates(text)?
        .iter()
        .map(|der| CertificateInfo::from_der(der).map(|info| info.public_key_hash))
        .collect::<Result<Vec<_>>>()?;
    match hashes.is_empty() {
        true => Err(no_certificate("there is none")),
        false => Ok(hashes),
    }
}

/// The DER of the first certificate of a PEM text.
pub(crate) fn first_certificate(text: &str) -> Result<Vec<u8>> {
    certificates(text)?
        .into_iter()
        .next()
        .ok_or_else(|| no_certificate("there is none"))
}

fn certificates(text: &str) -> Result<Vec<Vec<u8>>> {
    let blocks = pem::parse_many(text).map_err(|e| no_certificate(&e.to_string()))?;
    Ok(blocks
        .into_iter()
        .filter(|block| block.tag() == "CERTIFICATE")
        .map(pem::Pem::into_contents)
        .collect())
}

fn no_certificate(reason: &str) -> Error {
    Error::Pem {
        what: "the certificate",
        expected: "CERTIFICATE",
        reason: reason.to_owned(),
    }
}

fn hash(public_key: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(public_key)))
}

fn common_name(name: &X509Name<'_>) -> String {
    texts(name.iter_common_name())
        .into_iter()
        .next()
        .unwrap_or_default()
}

fn texts<'a>(values: impl Iterator<Item = &'a x509_parser::x509::AttributeTypeAndValue<'a>>) -> Vec<String> {
    values
        .filter_map(|value| value.as_str().ok())
        .map(str::to_owned)
        .collect()
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

fn time(seconds: i64) -> Result<Timestamp> {
    Timestamp::from_second(seconds).map_err(|e| Error::Certificate(e.to_string()))
}
