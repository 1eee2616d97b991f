//! The management plane of a quickstart: the embedded API server, reachable in process and over HTTPS, and a manager
//! with all providers.

use std::{net::SocketAddr, path::Path, sync::Arc};

use anyhow::{Context as _, bail};
use capi_runtime::Manager;
use cluster_pki::{
    CertificateAuthority, CertificateRequest, FreshKeys, KeyAlgorithm, KeySource as _, Kubeconfig, PemPair,
    Usage, Validity,
};
use embedded_apiserver::{Authentication, Authorization, Server, ServiceAccounts};
use infra_inmemory::World;
use kube::Client;
use parking_lot::Mutex;
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use seams::{Clock as _, SystemClock, SystemRandomness};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::providers::{self, InProcessAdmission, InProcessConversion};

/// How long the certificates of a quickstart are valid.
const VALID_DAYS: u32 = 30;

/// A running management plane.
pub struct Plane {
    server: Server,
    address: SocketAddr,
    kubeconfig: Kubeconfig,
    manager: Mutex<Option<JoinHandle<Result<(), capi_runtime::Error>>>>,
    shutdown: CancellationToken,
}

impl Plane {
    /// Starts the plane; it serves HTTPS on `listen`.
    pub async fn start(listen: SocketAddr) -> anyhow::Result<Self> {
        // Another crate may have set it already, which is as good.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let shutdown = CancellationToken::new();
        let (admission, conversion) = (InProcessAdmission::default(), InProcessConversion::default());
        let listener = TcpListener::bind(listen)
            .await
            .with_context(|| format!("cannot listen on {listen}"))?;
        let address = listener
            .local_addr()
            .context("cannot tell the address of the API server")?;
        let (config, kubeconfig, authority) =
            certificates(address).context("cannot make the API server's certificates")?;
        let accounts = ServiceAccounts::new(FreshKeys.generate(KeyAlgorithm::EcdsaP256)?.to_pem());
        let server = Server::builder()
            .admission(Arc::new(admission.clone()))
            .converter(Arc::new(conversion.clone()))
            .authorization(Authorization::Rbac)
            .authentication(Authentication {
                service_accounts: Some(accounts),
                ..Authentication::default()
            })
            .certificate_authority(authority)
            .build()
            .await
            .context("cannot start the API server")?;
        tokio::spawn(
            server
                .clone()
                .serve_https(listener, Arc::new(config), shutdown.clone()),
        );

        providers::install_definitions(&server.client())
            .await
            .context("cannot install the CustomResourceDefinitions")?;
        let mut manager = Manager::builder(server.client_as("capi-manager"))
            .name("capi-manager")
            .build()?;
        providers::register(
            &mut manager,
            World::listening(
                Arc::new(SystemClock),
                Arc::new(SystemRandomness),
                Arc::new(FreshKeys),
                "127.0.0.1",
            ),
        );
        admission.set(manager.admission());
        conversion.set(manager.conversions());
        let manager = tokio::spawn(manager.run(shutdown.clone()));
        Ok(Self {
            server,
            address,
            kubeconfig,
            manager: Mutex::new(Some(manager)),
            shutdown,
        })
    }

    /// A client in process.
    pub fn client(&self) -> Client {
        self.server.client_as("capictl")
    }

    /// Where the API server listens.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Writes the administrator's kubeconfig, readable by the user alone.
    pub fn write_kubeconfig(&self, path: &Path) -> anyhow::Result<()> {
        use std::{
            io::Write as _,
            os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
        };
        let text = self.kubeconfig.to_yaml()?;
        let fail = || format!("cannot write the kubeconfig {}", path.display());
        let mut options = std::fs::OpenOptions::new();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)
            .with_context(fail)?;
        // An older file keeps its mode otherwise.
        file.set_permissions(std::fs::Permissions::from_mode(0o600))
            .with_context(fail)?;
        file.write_all(text.as_bytes()).with_context(fail)
    }

    /// Fails when the manager has ended.
    pub fn check(&self) -> anyhow::Result<()> {
        let ended = self.manager.lock().as_ref().is_none_or(JoinHandle::is_finished);
        if ended {
            bail!("the manager has ended; its log above says why");
        }
        Ok(())
    }

    /// Ends the manager, then the API server.
    pub async fn stop(&self) {
        self.shutdown.cancel();
        let manager = self.manager.lock().take();
        if let Some(manager) = manager {
            match manager.await {
                Ok(Err(error)) => tracing::error!(%error, "the manager ended with an error"),
                Err(error) => tracing::error!(%error, "the manager panicked"),
                Ok(Ok(())) => {}
            }
        }
        self.server.shutdown();
    }
}

fn certificates(
    address: SocketAddr,
) -> anyhow::Result<(ServerConfig, Kubeconfig, embedded_apiserver::CertificateAuthority)> {
    let (now, keys, randomness) = (SystemClock.now(), FreshKeys, SystemRandomness);
    let validity = Validity::days(now, VALID_DAYS);
    let algorithm = KeyAlgorithm::EcdsaP256;
    let authority = CertificateAuthority::new("capi-rs quickstart", validity, keys.generate(algorithm)?)?;
    let names = [
        "localhost".to_owned(),
        "127.0.0.1".to_owned(),
        address.ip().to_string(),
    ];
    let request = CertificateRequest::server("kube-apiserver", names, validity);
    let server = authority.issue_pair(&request, &keys, algorithm, &randomness)?;
    let request = CertificateRequest::client("kubernetes-admin", validity)
        .usage(Usage::Client)
        .organization("system:masters");
    let admin = authority.issue_pair(&request, &keys, algorithm, &randomness)?;
    let url = format!("https://{address}");
    let kubeconfig = Kubeconfig::new("quickstart", &url, authority.certificate_pem(), admin);
    let pair = authority.to_pem_pair();
    let published = embedded_apiserver::CertificateAuthority {
        certificate: pair.certificate,
        key: Some(pair.key),
    };
    Ok((server_config(&authority, &server)?, kubeconfig, published))
}

/// TLS with client certificates of our own authority: whoever has the kubeconfig is the administrator. Others need a token, or
/// are nobody.
fn server_config(authority: &CertificateAuthority, server: &PemPair) -> anyhow::Result<ServerConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(
        authority.certificate_pem().as_bytes(),
    )?)?;
    let clients = WebPkiClientVerifier::builder(Arc::new(roots))
        .allow_unauthenticated()
        .build()?;
    let certificate = CertificateDer::from_pem_slice(server.certificate.as_bytes())?;
    let key = PrivateKeyDer::from_pem_slice(server.key.as_bytes())?;
    let mut config = ServerConfig::builder()
        .with_client_cert_verifier(clients)
        .with_single_cert(vec![certificate], key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// Logs go to standard error, warnings and worse unless RUST_LOG says otherwise, so that they do not tear the display.
pub fn init_logs() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("error"));
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .try_init();
}
