//! The API server as a program: HTTPS on loopback, objects in memory, and a kubeconfig for its administrator.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Parser, ValueEnum};
use embedded_apiserver::{Authentication, Authorization, CertificateAuthority, Server, ServiceAccounts};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// A Kubernetes-compatible API server for one node, in memory.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:6443")]
    listen: SocketAddr,
    /// Where to write the administrator's kubeconfig.
    #[arg(long, default_value = "embedded.kubeconfig")]
    kubeconfig: PathBuf,
    /// Whether roles and bindings decide what users may do, or everybody who connects may do everything.
    #[arg(long, value_enum, default_value_t = Mode::Rbac)]
    authorization_mode: Mode,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    #[value(name = "RBAC")]
    Rbac,
    #[value(name = "AlwaysAllow")]
    AlwaysAllow,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let arguments = Arguments::parse();
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let listener = TcpListener::bind(arguments.listen)
        .await
        .with_context(|| format!("cannot listen on {}", arguments.listen))?;
    let address = listener.local_addr()?;
    let (tls, kubeconfig, authority) = certificates(address).context("cannot make certificates")?;
    write_private(&arguments.kubeconfig, &kubeconfig)
        .with_context(|| format!("cannot write {}", arguments.kubeconfig.display()))?;
    let accounts = ServiceAccounts::new(KeyPair::generate()?.serialize_pem());
    let server = Server::builder()
        .authorization(match arguments.authorization_mode {
            Mode::Rbac => Authorization::Rbac,
            Mode::AlwaysAllow => Authorization::AlwaysAllow,
        })
        .authentication(Authentication {
            service_accounts: Some(accounts),
            ..Authentication::default()
        })
        .certificate_authority(authority)
        .build()
        .await?;
    let shutdown = CancellationToken::new();
    tokio::spawn({
        let shutdown = shutdown.clone();
        async move {
            let _ = tokio::signal::ctrl_c().await;
            shutdown.cancel();
        }
    });
    tracing::info!(%address, kubeconfig = %arguments.kubeconfig.display(), "serving");
    server
        .clone()
        .serve_https(listener, Arc::new(tls), shutdown)
        .await?;
    server.shutdown();
    Ok(())
}

/// Writes a file that only its owner may read.
fn write_private(path: &std::path::Path, text: &str) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())
}

/// The server's configuration, the administrator's kubeconfig, and the certificate authority of this run.
fn certificates(address: SocketAddr) -> anyhow::Result<(rustls::ServerConfig, String, CertificateAuthority)> {
    let authority_key = KeyPair::generate()?;
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::CrlSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    authority
        .distinguished_name
        .push(DnType::CommonName, "embedded-apiserver");
    let certificate = authority.self_signed(&authority_key)?;
    let issuer = Issuer::from_params(&authority, &authority_key);
    let leaf = |names: Vec<String>, name: &str, organization: Option<&str>, usage| -> anyhow::Result<_> {
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
        Ok((params.signed_by(&key, &issuer)?, key))
    };
    let names = vec![
        address.ip().to_string(),
        "localhost".to_owned(),
        "kubernetes".to_owned(),
    ];
    let (serving, serving_key) = leaf(names, "kube-apiserver", None, ExtendedKeyUsagePurpose::ServerAuth)?;
    let (admin, admin_key) = leaf(
        Vec::new(),
        "kubernetes-admin",
        Some("system:masters"),
        ExtendedKeyUsagePurpose::ClientAuth,
    )?;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.der().clone())?;
    // Those without a certificate have a token, or are nobody.
    let verifier = WebPkiClientVerifier::builder(Arc::new(roots))
        .allow_unauthenticated()
        .build()?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(serving_key.serialize_der()));
    let mut tls = rustls::ServerConfig::builder()
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![serving.der().clone()], key)?;
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let encode = |text: String| STANDARD.encode(text);
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "embedded",
        "clusters": [{"name": "embedded", "cluster": {
            "server": format!("https://{address}"), "certificate-authority-data": encode(certificate.pem()),
        }}],
        "users": [{"name": "admin", "user": {
            "client-certificate-data": encode(admin.pem()), "client-key-data": encode(admin_key.serialize_pem()),
        }}],
        "contexts": [{"name": "embedded", "context": {"cluster": "embedded", "user": "admin", "namespace": "default"}}],
    });
    let authority = CertificateAuthority {
        certificate: certificate.pem(),
        key: Some(authority_key.serialize_pem()),
    };
    Ok((tls, serde_saphyr::to_string(&kubeconfig)?, authority))
}
