//! The certificates behind the webhook server: an authority kept in a Secret and shared by all replicas, and a serving
//! certificate that each process issues for itself and renews.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use arc_swap::ArcSwapOption;
use cluster_pki::{CertificateAuthority, CertificateRequest, KeyAlgorithm, PemPair, Validity};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api,
    api::{ObjectMeta, PostParams},
};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use tokio_rustls::TlsAcceptor;

use crate::{error::Error, key::Key, manager::Shared};

const AUTHORITY_DAYS: u32 = 3650;
/// An authority is replaced when less than this is left; the old one stays in the bundle.
const AUTHORITY_RENEWAL: SignedDuration = SignedDuration::from_hours(365 * 24);
const SERVING_LIFETIME: SignedDuration = SignedDuration::from_hours(90 * 24);
/// A serving certificate is replaced when less than this is left.
const SERVING_RENEWAL: SignedDuration = SignedDuration::from_hours(30 * 24);

const BUNDLE: &str = "ca-bundle.crt";
const CERTIFICATE: &str = "tls.crt";
const PRIVATE_KEY: &str = "tls.key";

/// The authority and all certificates that clients should trust.
#[derive(Clone, Debug)]
pub(super) struct Authority {
    pub(super) authority: CertificateAuthority,
    pub(super) bundle: String,
}

/// Reads the authority from its Secret, makes it if it is missing, and replaces it when it gets old. Several replicas
/// may do this at the same time: the first write wins, the others read it.
pub(super) async fn authority(shared: &Shared, secret: &Key) -> Result<Authority, Error> {
    let api: Api<Secret> = Api::namespaced(shared.client.clone(), &secret.namespace);
    let fail = |verb, error| Error::api(verb, "Secret", secret, error);
    for _ in 0..5 {
        let found = api
            .get_opt(&secret.name)
            .await
            .map_err(|error| fail("get", error))?;
        let known = found.as_ref().and_then(read);
        if let Some(known) = &known
            && known
                .authority
                .info()
                .not_after
                .duration_since(shared.clock.now())
                > AUTHORITY_RENEWAL
        {
            return Ok(known.clone());
        }
        let fresh = fresh(shared, known)?;
        let written = match found {
            None => {
                api.create(&PostParams::default(), &to_secret(secret, &fresh, None))
                    .await
            }
            Some(old) => {
                let new = to_secret(secret, &fresh, old.metadata.resource_version);
                api.replace(&secret.name, &PostParams::default(), &new).await
            }
        };
        match written {
            Ok(_) => return Ok(fresh),
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => return Err(fail("write", error)),
        }
    }
    Err(Error::config(
        format!("Secret {secret}"),
        "is changed by others all the time",
    ))
}

fn fresh(shared: &Shared, old: Option<Authority>) -> Result<Authority, Error> {
    let wrong = |error| Error::config("certificate authority of the webhooks", error);
    let key = shared.keys.generate(KeyAlgorithm::EcdsaP256).map_err(wrong)?;
    let validity = Validity::days(shared.clock.now(), AUTHORITY_DAYS);
    let authority = CertificateAuthority::new("webhook-ca", validity, key).map_err(wrong)?;
    let old = old
        .map(|old| old.authority.certificate_pem().to_owned())
        .unwrap_or_default();
    Ok(Authority {
        bundle: format!("{}{old}", authority.certificate_pem()),
        authority,
    })
}

fn read(secret: &Secret) -> Option<Authority> {
    let text = |field: &str| {
        secret
            .data
            .as_ref()?
            .get(field)
            .and_then(|value| String::from_utf8(value.0.clone()).ok())
    };
    let authority = CertificateAuthority::from_pem(&text(CERTIFICATE)?, &text(PRIVATE_KEY)?).ok()?;
    Some(Authority {
        bundle: text(BUNDLE)?,
        authority,
    })
}

fn to_secret(key: &Key, authority: &Authority, version: Option<String>) -> Secret {
    let PemPair {
        certificate,
        key: private_key,
    } = authority.authority.to_pem_pair();
    let data = [
        (CERTIFICATE, certificate),
        (PRIVATE_KEY, private_key),
        (BUNDLE, authority.bundle.clone()),
    ];
    Secret {
        metadata: ObjectMeta {
            name: Some(key.name.clone()),
            namespace: Some(key.namespace.clone()),
            resource_version: version,
            ..ObjectMeta::default()
        },
        type_: Some("kubernetes.io/tls".to_owned()),
        data: Some(
            data.map(|(field, text)| (field.to_owned(), ByteString(text.into_bytes())))
                .into_iter()
                .collect::<BTreeMap<_, _>>(),
        ),
        ..Secret::default()
    }
}

/// The serving certificate of this process, exchanged while the server runs.
#[derive(Debug, Default)]
pub(super) struct Serving(ArcSwapOption<CertifiedKey>);

impl Serving {
    /// Issues a new certificate and serves it from now on; returns when it should be renewed.
    pub(super) fn issue(
        &self,
        shared: &Shared,
        authority: &CertificateAuthority,
        names: &[String],
    ) -> Result<Timestamp, Error> {
        let wrong = |error| Error::config("serving certificate of the webhooks", error);
        let now = shared.clock.now();
        let validity = Validity::from_now(now, SERVING_LIFETIME);
        let mut request = CertificateRequest::server("webhook", names, validity);
        request.ip_addresses.extend(
            ["127.0.0.1", "::1"]
                .iter()
                .filter_map(|ip| ip.parse::<IpAddr>().ok()),
        );
        request.ip_addresses.sort();
        request.ip_addresses.dedup();
        let pair = authority
            .issue_pair(
                &request,
                &*shared.keys,
                KeyAlgorithm::EcdsaP256,
                &*shared.randomness,
            )
            .map_err(wrong)?;
        self.set(&pair)?;
        let renewal = validity.not_after.checked_sub(SERVING_RENEWAL);
        Ok(renewal.unwrap_or(validity.not_after))
    }

    /// Serves this certificate from now on.
    pub(super) fn set(&self, pair: &PemPair) -> Result<(), Error> {
        let wrong =
            |error: &dyn std::fmt::Display| Error::config("serving certificate of the webhooks", error);
        let chain = CertificateDer::pem_slice_iter(pair.certificate.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| wrong(&error))?;
        let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).map_err(|error| wrong(&error))?;
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).map_err(|error| wrong(&error))?;
        self.0.store(Some(Arc::new(CertifiedKey::new(chain, key))));
        Ok(())
    }
}

/// TLS with a certificate from an authority that is forgotten at once.
pub(crate) fn self_signed(shared: &Shared) -> Result<TlsAcceptor, Error> {
    crate::transport::install_crypto();
    let serving = Serving::default();
    serving.issue(shared, &fresh(shared, None)?.authority, &["localhost".to_owned()])?;
    let tls = ServerConfig::builder()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(serving));
    Ok(TlsAcceptor::from(Arc::new(tls)))
}

impl ResolvesServerCert for Serving {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.load_full()
    }
}
