//! TLS of the simulated API servers and etcd members: server certificates of the cluster's own authorities, and clients
//! checked against them. Time comes from the world's clock, so that certificates of a simulated year are valid in it.

use std::{
    net::IpAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use cluster_pki::{CertificateAuthority, CertificateRequest, PrivateKey, Usage, Validity};
use jiff::{SignedDuration, Timestamp};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject},
    server::{NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier},
    time_provider::TimeProvider,
};
use seams::{Randomness, SharedClock};

use super::guest::join::AuthorityFiles;
use crate::error::Error;

/// How long server certificates are valid.
const LIFETIME: SignedDuration = SignedDuration::from_hours(8760);

/// Whether a client must show a certificate before the first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Clients {
    /// Yes: etcd.
    MustAuthenticate,
    /// No, but a request without one is answered with 401: an API server, whose own certificate anybody may look at.
    MayAuthenticate,
}

/// A server's certificate and key, and whom it trusts. A copy is a new server with the same certificate.
#[derive(Debug)]
pub struct Identity {
    name: String,
    certificate: String,
    key: String,
    client_authority: String,
    clients: Clients,
    config: OnceLock<Arc<ServerConfig>>,
}

impl Clone for Identity {
    fn clone(&self) -> Self {
        Self {
            name: self.name.clone(),
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            client_authority: self.client_authority.clone(),
            clients: self.clients,
            // A configuration holds the clock of the world it was made in.
            config: OnceLock::new(),
        }
    }
}

/// What certificates are issued with.
pub struct Issuance<'a> {
    /// The key that all servers of a world share.
    pub key: &'a PrivateKey,
    /// Where serial numbers come from.
    pub randomness: &'a dyn Randomness,
    /// The present time.
    pub now: Timestamp,
}

impl Identity {
    /// The API server on a node, of a cluster that is reached at `host`.
    pub fn api_server(
        authority: &AuthorityFiles,
        node: &str,
        host: &str,
        issuance: &Issuance<'_>,
    ) -> Result<Self, Error> {
        let names = [
            "localhost",
            node,
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
            "127.0.0.1",
            "::1",
        ];
        Self::issue(
            "kube-apiserver",
            names,
            host,
            Usage::Server,
            Clients::MayAuthenticate,
            authority,
            issuance,
        )
    }

    /// The etcd member on a node.
    pub fn etcd_member(
        authority: &AuthorityFiles,
        node: &str,
        host: &str,
        issuance: &Issuance<'_>,
    ) -> Result<Self, Error> {
        let name = format!("etcd-{node}");
        let names = ["localhost", node, &name, "127.0.0.1", "::1"];
        Self::issue(
            &name,
            names,
            host,
            Usage::Both,
            Clients::MustAuthenticate,
            authority,
            issuance,
        )
    }

    fn issue<const N: usize>(
        name: &str,
        names: [&str; N],
        host: &str,
        usage: Usage,
        clients: Clients,
        authority: &AuthorityFiles,
        issuance: &Issuance<'_>,
    ) -> Result<Self, Error> {
        let failed = |source| Error::Certificate {
            what: format!("certificate of {name}"),
            source,
        };
        let issuer =
            CertificateAuthority::from_pem(&authority.certificate, &authority.key).map_err(failed)?;
        let mut all: Vec<&str> = names.to_vec();
        if !host.is_empty() && !all.contains(&host) {
            all.push(host);
        }
        let validity = Validity::from_now(issuance.now, LIFETIME).starting(issuer.info().not_before);
        let request = CertificateRequest::server(name, all, validity).usage(usage);
        Ok(Self {
            name: name.to_owned(),
            certificate: issuer
                .issue(&request, issuance.key, issuance.randomness)
                .map_err(failed)?,
            key: issuance.key.to_pem(),
            client_authority: authority.certificate.clone(),
            clients,
            config: OnceLock::new(),
        })
    }

    /// The authority that clients are checked against, PEM.
    pub fn client_authority(&self) -> &str {
        &self.client_authority
    }

    /// The configuration for accepting connections.
    pub fn server_config(&self, clock: &SharedClock) -> Result<Arc<ServerConfig>, Error> {
        if let Some(config) = self.config.get() {
            return Ok(config.clone());
        }
        let failed = |reason: String| Error::Tls {
            what: self.name.clone(),
            reason,
        };
        let certificate =
            CertificateDer::from_pem_slice(self.certificate.as_bytes()).map_err(|e| failed(e.to_string()))?;
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).map_err(|e| failed(e.to_string()))?;
        let mut config = ServerConfig::builder_with_details(provider(), Arc::new(WorldTime(clock.clone())))
            .with_safe_default_protocol_versions()
            .map_err(|e| failed(e.to_string()))?
            .with_client_cert_verifier(verifier(&self.client_authority, self.clients).map_err(failed)?)
            .with_single_cert(vec![certificate], key)
            .map_err(|e| failed(e.to_string()))?;
        // Sessions are kept by the clients, encrypted, as Go's servers do it: hundreds a server would be kept here otherwise.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = aws_lc_rs::Ticketer::new().map_err(|e| failed(e.to_string()))?;
        config.send_tls13_tickets = 1;
        config.alpn_protocols = match self.clients {
            Clients::MustAuthenticate => vec![b"h2".to_vec()],
            Clients::MayAuthenticate => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        };
        Ok(self.config.get_or_init(|| Arc::new(config)).clone())
    }
}

/// Whether a client certificate was issued by the authority and is valid at `now`; both PEM.
pub fn check_client(certificate: &str, authority: &str, now: Timestamp) -> Result<(), String> {
    let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).map_err(|e| e.to_string())?;
    let time = UnixTime::since_unix_epoch(since_epoch(now));
    verifier(authority, Clients::MustAuthenticate)?
        .verify_client_cert(&certificate, &[], time)
        .map(drop)
        .map_err(|error| error.to_string())
}

fn verifier(authority: &str, clients: Clients) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authority.as_bytes()) {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
    match clients {
        Clients::MustAuthenticate => builder.build(),
        Clients::MayAuthenticate => builder.allow_unauthenticated().build(),
    }
    .map_err(|error| error.to_string())
}

fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER
        .get_or_init(|| Arc::new(aws_lc_rs::default_provider()))
        .clone()
}

fn since_epoch(time: Timestamp) -> Duration {
    Duration::from_secs(u64::try_from(time.as_second()).unwrap_or_default())
}

struct WorldTime(SharedClock);

impl std::fmt::Debug for WorldTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WorldTime")
    }
}

impl TimeProvider for WorldTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(since_epoch(self.0.now())))
    }
}

/// The address to listen on for a host that is an address or a name.
pub fn listen_address(host: &str) -> IpAddr {
    match host {
        "localhost" => IpAddr::from([127, 0, 0, 1]),
        host => host
            .trim_matches(['[', ']'])
            .parse()
            .unwrap_or(IpAddr::from([0, 0, 0, 0])),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use cluster_pki::{KeyAlgorithm, KeySource, PooledKeys};
    use seams::{Clock, SeededRandomness};

    use super::*;

    struct Fixed(Timestamp);

    impl Clock for Fixed {
        fn now(&self) -> Timestamp {
            self.0
        }
    }

    fn now() -> Timestamp {
        "2031-01-01T00:00:00Z".parse().unwrap()
    }

    fn authority(keys: &PooledKeys) -> CertificateAuthority {
        CertificateAuthority::for_cluster(keys, KeyAlgorithm::Rsa2048, now(), 3650).unwrap()
    }

    #[test]
    fn clients_of_the_own_authority_are_known_and_strangers_are_not() {
        let keys = PooledKeys::new();
        let randomness = SeededRandomness::new(1);
        let (own, other) = (authority(&keys), authority(&keys));
        let request = CertificateRequest::client("kubernetes-admin", Validity::from_now(now(), LIFETIME));
        let pair = own
            .issue_pair(&request, &keys, KeyAlgorithm::EcdsaP256, &randomness)
            .unwrap();
        assert_eq!(
            check_client(&pair.certificate, own.certificate_pem(), now()),
            Ok(())
        );
        assert!(check_client(&pair.certificate, other.certificate_pem(), now()).is_err());
        let later = now() + SignedDuration::from_hours(9000);
        assert!(
            check_client(&pair.certificate, own.certificate_pem(), later)
                .unwrap_err()
                .contains("expired")
        );
    }

    #[test]
    fn a_server_identity_makes_a_tls_configuration() {
        let keys = PooledKeys::new();
        let pair = authority(&keys).to_pem_pair();
        let files = AuthorityFiles {
            certificate: pair.certificate,
            key: pair.key,
        };
        let key = keys.generate(KeyAlgorithm::EcdsaP256).unwrap();
        let randomness = SeededRandomness::new(1);
        let issuance = Issuance {
            key: &key,
            randomness: &randomness,
            now: now(),
        };
        let clock: SharedClock = Arc::new(Fixed(now()));
        let identity = Identity::api_server(&files, "n1", "10.0.0.1", &issuance).unwrap();
        let config = identity.server_config(&clock).unwrap();
        assert!(
            Arc::ptr_eq(&config, &identity.server_config(&clock).unwrap()),
            "made once"
        );
        assert!(
            !Arc::ptr_eq(&config, &identity.clone().server_config(&clock).unwrap()),
            "but again in a copy"
        );
        Identity::etcd_member(&files, "n1", "", &issuance)
            .unwrap()
            .server_config(&clock)
            .unwrap();
    }
}
