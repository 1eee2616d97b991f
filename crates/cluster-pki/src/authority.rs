//! Certificate authorities: made, read back, and issuing certificates.

use std::{net::IpAddr, time::Duration};

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, DnValue, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use seams::Randomness;

use crate::{
    CertificateInfo, Error, KeyAlgorithm, KeySource, PemPair, PrivateKey, Result,
    certificate::first_certificate,
};

/// How long the certificate authorities of a cluster are valid if nothing else is asked for.
pub const DEFAULT_CA_DAYS: u32 = 3650;

/// The name of all certificate authorities of a cluster.
pub const CLUSTER_CA_COMMON_NAME: &str = "kubernetes";

/// Clocks of machines differ: certificates are valid from a little before they were made.
const BACKDATED: SignedDuration = SignedDuration::from_mins(5);

/// From when until when a certificate is valid; whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// Valid from.
    pub not_before: Timestamp,
    /// Valid until.
    pub not_after: Timestamp,
}

impl Validity {
    /// From five minutes before `now` until `lifetime` after it.
    pub fn from_now(now: Timestamp, lifetime: SignedDuration) -> Self {
        Self {
            not_before: now.checked_sub(BACKDATED).unwrap_or(now),
            not_after: now.checked_add(lifetime).unwrap_or(Timestamp::MAX),
        }
    }

    /// As [`Validity::from_now`], in days.
    pub fn days(now: Timestamp, days: u32) -> Self {
        Self::from_now(now, SignedDuration::from_hours(24 * i64::from(days)))
    }

    /// The same, but from `not_before`.
    pub fn starting(self, not_before: Timestamp) -> Self {
        Self { not_before, ..self }
    }
}

/// What a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// A client shows it.
    Client,
    /// A server shows it.
    Server,
    /// Both (etcd members).
    Both,
}

/// What a certificate should say.
#[derive(Clone, Debug)]
pub struct CertificateRequest {
    /// Its name (CN): the user, for a client.
    pub common_name: String,
    /// The group it speaks for (O).
    pub organization: Option<String>,
    /// DNS names it is valid for.
    pub dns_names: Vec<String>,
    /// Addresses it is valid for.
    pub ip_addresses: Vec<IpAddr>,
    /// What it is for.
    pub usage: Usage,
    /// When it is valid.
    pub validity: Validity,
    /// Adds the key usage "key encipherment" (as kubeadm does) to "digital signature".
    pub key_encipherment: bool,
}

impl CertificateRequest {
    /// A client certificate.
    pub fn client(common_name: impl Into<String>, validity: Validity) -> Self {
        Self {
            common_name: common_name.into(),
            organization: None,
            dns_names: Vec::new(),
            ip_addresses: Vec::new(),
            usage: Usage::Client,
            validity,
            key_encipherment: true,
        }
    }

    /// A server certificate for `names`: DNS names and addresses.
    pub fn server<N: AsRef<str>>(
        common_name: impl Into<String>,
        names: impl IntoIterator<Item = N>,
        validity: Validity,
    ) -> Self {
        let mut request = Self {
            usage: Usage::Server,
            ..Self::client(common_name, validity)
        };
        for name in names {
            match name.as_ref().parse::<IpAddr>() {
                Ok(address) => request.ip_addresses.push(address),
                Err(_) => request.dns_names.push(name.as_ref().to_owned()),
            }
        }
        request
    }

    /// The same for another usage.
    pub fn usage(self, usage: Usage) -> Self {
        Self { usage, ..self }
    }

    /// The same, speaking for a group.
    pub fn organization(self, organization: impl Into<String>) -> Self {
        Self {
            organization: Some(organization.into()),
            ..self
        }
    }

    /// The same without the key usage "key encipherment".
    pub fn signature_only(self) -> Self {
        Self {
            key_encipherment: false,
            ..self
        }
    }
}

/// A certificate authority: its certificate and private key.
#[derive(Clone, Debug)]
pub struct CertificateAuthority {
    pem: String,
    der: Vec<u8>,
    info: CertificateInfo,
    key: PrivateKey,
}

impl CertificateAuthority {
    /// A new self-signed authority, as Cluster API makes them: serial number 0, may sign leaf certificates only.
    pub fn new(common_name: &str, validity: Validity, key: PrivateKey) -> Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name = distinguished_name(common_name, None);
        params.serial_number = Some(SerialNumber::from_slice(&[0]));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyEncipherment,
            KeyUsagePurpose::KeyCertSign,
        ];
        set_validity(&mut params, validity);
        let certificate = params
            .self_signed(key.pair())
            .map_err(|e| refused(common_name, e))?;
        Self::from_parts(certificate.der().to_vec(), key)
    }

    /// A new authority of a cluster: CN `kubernetes`.
    pub fn for_cluster(
        keys: &dyn KeySource,
        algorithm: KeyAlgorithm,
        now: Timestamp,
        days: u32,
    ) -> Result<Self> {
        Self::new(
            CLUSTER_CA_COMMON_NAME,
            Validity::days(now, days),
            keys.generate(algorithm)?,
        )
    }

    /// Reads an authority: the first certificate of `certificate` and the first key of `key`, which must belong together.
    pub fn from_pem(certificate: &str, key: &str) -> Result<Self> {
        Self::from_parts(first_certificate(certificate)?, PrivateKey::from_pem(key)?)
    }

    fn from_parts(der: Vec<u8>, key: PrivateKey) -> Result<Self> {
        let info = CertificateInfo::from_der(&der)?;
        if info.public_key_der != key.public_key_der() {
            return Err(Error::Mismatch(info.common_name));
        }
        Ok(Self {
            pem: crate::key::encode_pem("CERTIFICATE", &der),
            der,
            info,
            key,
        })
    }

    /// Its certificate as PEM.
    pub fn certificate_pem(&self) -> &str {
        &self.pem
    }

    /// What its certificate says.
    pub fn info(&self) -> &CertificateInfo {
        &self.info
    }

    /// Certificate and key as PEM: what its Secret holds.
    pub fn to_pem_pair(&self) -> PemPair {
        PemPair {
            certificate: self.pem.clone(),
            key: self.key.to_pem(),
        }
    }

    /// Issues a certificate for `key`, as PEM. Its serial number is random.
    pub fn issue(
        &self,
        request: &CertificateRequest,
        key: &PrivateKey,
        randomness: &dyn Randomness,
    ) -> Result<String> {
        let failed = |e: rcgen::Error| refused(&request.common_name, e);
        let mut params = CertificateParams::default();
        params.distinguished_name = distinguished_name(&request.common_name, request.organization.as_deref());
        // 63 bits, so that the number is positive in eight bytes; never zero.
        let serial = (randomness.next_u64() >> 1).max(1).to_be_bytes();
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        params.is_ca = IsCa::NoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        if request.key_encipherment {
            params.key_usages.push(KeyUsagePurpose::KeyEncipherment);
        }
        params.extended_key_usages = match request.usage {
            Usage::Client => vec![ExtendedKeyUsagePurpose::ClientAuth],
            Usage::Server => vec![ExtendedKeyUsagePurpose::ServerAuth],
            Usage::Both => vec![
                ExtendedKeyUsagePurpose::ServerAuth,
                ExtendedKeyUsagePurpose::ClientAuth,
            ],
        };
        for name in &request.dns_names {
            params
                .subject_alt_names
                .push(SanType::DnsName(name.as_str().try_into().map_err(failed)?));
        }
        params
            .subject_alt_names
            .extend(request.ip_addresses.iter().copied().map(SanType::IpAddress));
        set_validity(&mut params, request.validity);
        let issuer: Issuer<'_, &KeyPair> =
            Issuer::from_ca_cert_der(&self.der.as_slice().into(), self.key.pair()).map_err(failed)?;
        let certificate = params.signed_by(key.pair(), &issuer).map_err(failed)?;
        Ok(crate::key::encode_pem("CERTIFICATE", certificate.der()))
    }

    /// Generates a key and issues a certificate for it.
    pub fn issue_pair(
        &self,
        request: &CertificateRequest,
        keys: &dyn KeySource,
        algorithm: KeyAlgorithm,
        randomness: &dyn Randomness,
    ) -> Result<PemPair> {
        let key = keys.generate(algorithm)?;
        Ok(PemPair {
            certificate: self.issue(request, &key, randomness)?,
            key: key.to_pem(),
        })
    }
}

fn refused(subject: &str, error: rcgen::Error) -> Error {
    Error::Issue {
        subject: subject.to_owned(),
        reason: error.to_string(),
    }
}

fn distinguished_name(common_name: &str, organization: Option<&str>) -> DistinguishedName {
    // Go writes a PrintableString where the text allows it.
    let text = |text: &str| match text.try_into() {
        Ok(printable) => DnValue::PrintableString(printable),
        Err(_) => DnValue::Utf8String(text.to_owned()),
    };
    let mut name = DistinguishedName::new();
    if let Some(organization) = organization {
        name.push(DnType::OrganizationName, text(organization));
    }
    name.push(DnType::CommonName, text(common_name));
    name
}

fn set_validity(params: &mut CertificateParams, validity: Validity) {
    let at = |time: Timestamp| {
        let seconds = u64::try_from(time.as_second()).unwrap_or(0);
        rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds)
    };
    params.not_before = at(validity.not_before);
    params.not_after = at(validity.not_after);
}
