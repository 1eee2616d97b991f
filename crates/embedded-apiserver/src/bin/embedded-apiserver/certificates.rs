//! The certificate authority, the server's certificate and the administrator's kubeconfig.

use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use embedded_apiserver::{CertificateAuthority, DataDir};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use serde_json::json;

/// What clients and the server trust.
pub struct Keys {
    /// The certificate authority, in PEM.
    certificate: String,
    key: String,
    /// Signs tokens of service accounts.
    pub service_accounts: String,
}

impl Keys {
    /// Keys of this process alone.
    pub fn fresh() -> anyhow::Result<Self> {
        let (certificate, key) = authority()?;
        Ok(Self {
            certificate,
            key,
            service_accounts: KeyPair::generate()?.serialize_pem(),
        })
    }

    /// The keys of a directory; made at the first start, so that kubeconfigs and tokens outlive the process.
    pub fn kept(directory: &DataDir) -> anyhow::Result<Self> {
        // Both in one file: half of a pair would be of no use.
        let pair = directory.keep::<anyhow::Error>("ca.pem", || {
            let (certificate, key) = authority()?;
            Ok(certificate + &key)
        })?;
        let end = pair.find("-----BEGIN PRIVATE KEY").unwrap_or(pair.len());
        let (certificate, key) = pair.split_at(end);
        Ok(Self {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            service_accounts: directory.keep::<anyhow::Error>("service-accounts.pem", || {
                Ok(KeyPair::generate()?.serialize_pem())
            })?,
        })
    }

    /// The authority as the server publishes it and signs with it.
    pub fn authority(&self) -> CertificateAuthority {
        CertificateAuthority {
            certificate: self.certificate.clone(),
            key: Some(self.key.clone()),
        }
    }

    /// The configuration of a server that is reached at `address`, and the administrator's kubeconfig.
    pub fn serve(&self, address: SocketAddr) -> anyhow::Result<(rustls::ServerConfig, String)> {
        let issuer = Issuer::from_ca_cert_pem(&self.certificate, KeyPair::from_pem(&self.key)?)?;
        let names = vec![
            address.ip().to_string(),
            "localhost".to_owned(),
            "kubernetes".to_owned(),
        ];
        let (serving, serving_key) = leaf(
            &issuer,
            names,
            "kube-apiserver",
            None,
            ExtendedKeyUsagePurpose::ServerAuth,
        )?;
        let (admin, admin_key) = leaf(
            &issuer,
            Vec::new(),
            "kubernetes-admin",
            Some("system:masters"),
            ExtendedKeyUsagePurpose::ClientAuth,
        )?;
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.certificate.as_bytes())?)?;
        // Those without a certificate have a token, or are nobody.
        let verifier = WebPkiClientVerifier::builder(Arc::new(roots))
            .allow_unauthenticated()
            .build()?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(serving_key.serialize_der()));
        let mut tls = rustls::ServerConfig::builder()
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![serving.der().clone()], key)?;
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let encode = |text: &str| STANDARD.encode(text);
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "embedded",
            "clusters": [{"name": "embedded", "cluster": {
                "server": format!("https://{address}"), "certificate-authority-data": encode(&self.certificate),
            }}],
            "users": [{"name": "admin", "user": {
                "client-certificate-data": encode(&admin.pem()), "client-key-data": encode(&admin_key.serialize_pem()),
            }}],
            "contexts": [{"name": "embedded", "context": {"cluster": "embedded", "user": "admin", "namespace": "default"}}],
        });
        Ok((tls, serde_saphyr::to_string(&kubeconfig)?))
    }
}

/// A new certificate authority: certificate and key in PEM.
fn authority() -> anyhow::Result<(String, String)> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::CrlSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    params
        .distinguished_name
        .push(DnType::CommonName, "embedded-apiserver");
    Ok((params.self_signed(&key)?.pem(), key.serialize_pem()))
}

fn leaf(
    issuer: &Issuer<'_, KeyPair>,
    names: Vec<String>,
    name: &str,
    organization: Option<&str>,
    usage: ExtendedKeyUsagePurpose,
) -> anyhow::Result<(Certificate, KeyPair)> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, name);
    if let Some(organization) = organization {
        params
            .distinguished_name
            .push(DnType::OrganizationName, organization);
    }
    params.extended_key_usages = vec![usage];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    Ok((params.signed_by(&key, issuer)?, key))
}
