//! The process that is not measured as controllers: management API server, simulated machines and workload clusters, and
//! the provider of these machines.

use std::{net::SocketAddr, sync::Arc};

use anyhow::Context as _;
use capi_runtime::Manager;
use capictl::providers::{self, InProcessAdmission};
use cluster_pki::{
    CertificateAuthority, CertificateRequest, KeyAlgorithm, KeySource as _, Kubeconfig, PooledKeys, Usage,
    Validity,
};
use embedded_apiserver::Server;
use infra_inmemory::World;
use kube::Client;
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use seams::{Clock as _, SystemClock, SystemRandomness};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::ledger::{BENCH, Ledger, MACHINES};

/// The running plane; it ends with the process.
pub struct Plane {
    server: Server,
    /// What was asked of the API server.
    pub ledger: Arc<Ledger>,
    /// What leads to it over HTTPS.
    pub kubeconfig: Kubeconfig,
    /// The keys that this process took from the pool.
    pub keys: Arc<PooledKeys>,
}

impl Plane {
    /// Starts everything.
    pub async fn start() -> anyhow::Result<Self> {
        let ledger = Arc::new(Ledger::default());
        let keys = Arc::new(PooledKeys::new());
        let admission = InProcessAdmission::default();
        let server = Server::builder()
            .audit(ledger.clone())
            .admission(Arc::new(admission.clone()))
            .build()
            .await
            .context("cannot start the API server")?;
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .context("cannot listen on 127.0.0.1")?;
        let address = listener.local_addr().context("cannot tell the address")?;
        let (tls, kubeconfig) = certificates(address)?;
        tokio::spawn(
            server
                .clone()
                .serve_https(listener, Arc::new(tls), CancellationToken::new()),
        );
        providers::install_definitions(&server.client()).await?;
        let world = World::listening(
            Arc::new(SystemClock),
            Arc::new(SystemRandomness),
            keys.clone(),
            "127.0.0.1",
        );
        // Never run: it only knows the rules of admission of all providers.
        let mut rules = Manager::builder(server.client_as("admission")).build()?;
        providers::register(&mut rules, world.clone());
        admission.set(rules.admission());

        let mut machines = Manager::builder(server.client_as(MACHINES))
            .name(MACHINES)
            .build()?;
        infra_inmemory::register(&mut machines, world);
        tokio::spawn(async move {
            if let Err(error) = machines.run(CancellationToken::new()).await {
                tracing::error!(%error, "the provider of the machines ended");
            }
        });
        Ok(Self {
            server,
            ledger,
            kubeconfig,
            keys,
        })
    }

    /// The benchmark's own client.
    pub fn client(&self) -> Client {
        self.server.client_as(BENCH)
    }
}

fn certificates(address: SocketAddr) -> anyhow::Result<(ServerConfig, Kubeconfig)> {
    let (keys, randomness) = (PooledKeys::new(), SystemRandomness);
    let validity = Validity::days(SystemClock.now(), 7);
    let algorithm = KeyAlgorithm::EcdsaP256;
    let authority = CertificateAuthority::new("bench", validity, keys.generate(algorithm)?)?;
    let request = CertificateRequest::server("kube-apiserver", [address.ip().to_string()], validity);
    let server = authority.issue_pair(&request, &keys, algorithm, &randomness)?;
    let request = CertificateRequest::client("bench", validity)
        .usage(Usage::Client)
        .organization("system:masters");
    let client = authority.issue_pair(&request, &keys, algorithm, &randomness)?;

    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(
        authority.certificate_pem().as_bytes(),
    )?)?;
    let clients = WebPkiClientVerifier::builder(Arc::new(roots)).build()?;
    let certificate = CertificateDer::from_pem_slice(server.certificate.as_bytes())?;
    let key = PrivateKeyDer::from_pem_slice(server.key.as_bytes())?;
    let mut config = ServerConfig::builder()
        .with_client_cert_verifier(clients)
        .with_single_cert(vec![certificate], key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let url = format!("https://{address}");
    Ok((
        config,
        Kubeconfig::new("bench", &url, authority.certificate_pem(), client),
    ))
}
