//! TLS through port-forwards: servers checked against an authority alone, and towards etcd a client certificate from it.

use std::{
    collections::BTreeMap,
    fmt, io,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicI64, Ordering},
    },
};

use capi_runtime::transport::last_session;
use cluster_pki::{CertificateAuthority, CertificateRequest, KeyAlgorithm, KeySource, PrivateKey, Validity};
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor,
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    server::ParsedCertificate,
    sign::{CertifiedKey, SigningKey, SingleCertAndKey},
    time_provider::TimeProvider,
};
use seams::Randomness;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::Error;

/// The user of our client certificate.
const CLIENT_NAME: &str = "cluster-api.x-k8s.io";
/// How long a client certificate is valid.
const CLIENT_DAYS: u32 = 10 * 365;
/// How long keys and certificates are used before new ones are made.
const CACHED: SignedDuration = SignedDuration::from_hours(24);

/// The same for all: each has tables of its own.
static PROVIDER: LazyLock<Arc<CryptoProvider>> =
    LazyLock::new(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()));

/// A key in the two forms that it is needed in; the second takes some KiB and serves all clusters.
#[derive(Clone)]
struct SharedKey {
    key: PrivateKey,
    signing: Arc<dyn SigningKey>,
}

impl SharedKey {
    fn new(key: PrivateKey) -> io::Result<Self> {
        let pem = key.to_pem();
        let der = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(io::Error::other)?;
        let signing = PROVIDER
            .key_provider
            .load_private_key(der)
            .map_err(io::Error::other)?;
        Ok(Self { key, signing })
    }
}

/// How to speak TLS with servers whose certificates come from one authority. Cloning shares it.
#[derive(Clone)]
pub struct ServerTls {
    config: Arc<ClientConfig>,
    time: Arc<SetTime>,
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerTls")
    }
}

impl ServerTls {
    /// With a client certificate, towards servers of the authority.
    fn new(authority: &str, client: CertifiedKey, now: Timestamp) -> io::Result<Self> {
        Self::build(authority, Some(client), now)
    }

    /// Without a client certificate.
    pub fn anonymous(authority: &str, now: Timestamp) -> io::Result<Self> {
        Self::build(authority, None, now)
    }

    fn build(authority: &str, client: Option<CertifiedKey>, now: Timestamp) -> io::Result<Self> {
        let time = Arc::new(SetTime(AtomicI64::new(now.as_second())));
        let provider = PROVIDER.clone();
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(authority.as_bytes()) {
            roots
                .add(certificate.map_err(io::Error::other)?)
                .map_err(io::Error::other)?;
        }
        let verifier = Arc::new(ChainOnly {
            roots,
            provider: provider.clone(),
        });
        let config = ClientConfig::builder_with_details(provider, time.clone())
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(io::Error::other)?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let asks_again = client.is_some();
        let mut config = match client {
            None => config.with_no_client_auth(),
            Some(client) => config.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(client))),
        };
        // A member is asked again and again, an API server's certificate is looked at once.
        config.resumption = match asks_again {
            true => last_session(),
            false => Resumption::disabled(),
        };
        // etcd speaks nothing but HTTP/2; an API server is only asked for its certificate.
        config.alpn_protocols = match asks_again {
            true => vec![b"h2".to_vec()],
            false => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        };
        Ok(Self {
            config: Arc::new(config),
            time,
        })
    }

    /// The time by which certificates are checked from now on.
    pub fn set_time(&self, now: Timestamp) {
        self.time.0.store(now.as_second(), Ordering::Relaxed);
    }

    /// The handshake; `name` is what the server is called by (SNI).
    pub async fn connect<I>(&self, stream: I, name: &str) -> io::Result<TlsStream<I>>
    where
        I: AsyncRead + AsyncWrite + Unpin,
    {
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        TlsConnector::from(self.config.clone())
            .connect(name, stream)
            .await
    }
}

/// The time by which certificates are checked: that of our clock, which simulations set, when the credentials were last
/// asked for.
#[derive(Debug)]
struct SetTime(AtomicI64);

impl TimeProvider for SetTime {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from(self.0.load(Ordering::Relaxed)).ok()?;
        Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(
            seconds,
        )))
    }
}

/// Accepts servers whose certificate comes from etcd's authority, whatever name they are reached by: a port-forward ends
/// at a name and address that no certificate contains.
#[derive(Debug)]
struct ChainOnly {
    roots: RootCertStore,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for ChainOnly {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let certificate = ParsedCertificate::try_from(certificate)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&certificate, &self.roots, intermediates, now, algorithms)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// Client certificates for etcd, made when needed and kept for a day. One key a process and algorithm serves all
/// clusters: making an RSA key for each would take longer than everything else.
#[derive(Default)]
pub struct EtcdCredentials(Mutex<Cached>);

#[derive(Default)]
struct Cached {
    keys: BTreeMap<KeyAlgorithm, (Timestamp, SharedKey)>,
    /// By the authority's certificate.
    tls: BTreeMap<String, (Timestamp, ServerTls)>,
}

impl EtcdCredentials {
    /// How to reach etcd of the cluster with this authority.
    pub fn tls(
        &self,
        authority: &CertificateAuthority,
        algorithm: KeyAlgorithm,
        keys: &dyn KeySource,
        randomness: &dyn Randomness,
        now: Timestamp,
    ) -> Result<ServerTls, Error> {
        let fresh = |made: &Timestamp| made.checked_add(CACHED).is_ok_and(|until| now < until);
        let mut cached = self.0.lock();
        cached.tls.retain(|_, (made, _)| fresh(made));
        cached.keys.retain(|_, (made, _)| fresh(made));
        let id = authority.info().public_key_hash.clone() + &authority.info().not_after.to_string();
        if let Some((_, tls)) = cached.tls.get(&id) {
            tls.set_time(now);
            return Ok(tls.clone());
        }
        let key = match cached.keys.get(&algorithm) {
            Some((_, key)) => key.clone(),
            None => {
                let key = SharedKey::new(keys.generate(algorithm)?).map_err(Error::Tls)?;
                cached.keys.insert(algorithm, (now, key.clone()));
                key
            }
        };
        let request =
            CertificateRequest::client(CLIENT_NAME, Validity::days(now, CLIENT_DAYS)).signature_only();
        let certificate = authority.issue(&request, &key.key, randomness)?;
        let chain = CertificateDer::pem_slice_iter(certificate.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| Error::Tls(io::Error::other(error)))?;
        let client = CertifiedKey::new(chain, key.signing);
        let tls = ServerTls::new(authority.certificate_pem(), client, now).map_err(Error::Tls)?;
        cached.tls.insert(id, (now, tls.clone()));
        Ok(tls)
    }
}
