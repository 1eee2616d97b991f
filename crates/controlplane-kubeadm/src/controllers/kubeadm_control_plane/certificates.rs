//! The Secrets of a control plane: certificate authorities, service account keys and the admin kubeconfig.
//!
//! Pure: keys, randomness and time are given. Reading and writing Secrets is the business of `observe` and `act`.

use std::collections::BTreeMap;

use capi_api::{
    labels,
    secrets::{CERTIFICATE_KEY, CLUSTER_SECRET_TYPE, PRIVATE_KEY_KEY, Purpose, VALUE_KEY},
};
use cluster_pki::{
    ADMIN_CERTIFICATE_LIFETIME, AdminKubeconfig, CertificateAuthority, KeySource, Kubeconfig, PemPair,
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::api::ObjectMeta;
use seams::Randomness;

use super::world::World;
use crate::Error;

/// Where keys and randomness come from.
pub struct Sources<'a> {
    /// Makes keys.
    pub keys: &'a dyn KeySource,
    /// Makes serial numbers.
    pub randomness: &'a dyn Randomness,
    /// The present time.
    pub now: Timestamp,
}

/// What is wrong with the certificates, for `CertificatesAvailable`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateProblem {
    /// Secrets that do not exist.
    Missing(Vec<Purpose>),
    /// A Secret without what it should hold.
    Broken(String),
}

/// The purposes that are still to be generated: those that are missing, while the control plane has never been
/// initialised. Afterwards new certificates would not fit the cluster any more.
pub fn to_generate(world: &World) -> Vec<Purpose> {
    if world.initialized() || world.deleting() {
        return Vec::new();
    }
    let generated = |purpose: &Purpose| {
        world.etcd_is_managed() || !matches!(purpose, Purpose::EtcdCa | Purpose::ApiServerEtcdClient)
    };
    world
        .needed_certificates()
        .iter()
        .copied()
        .filter(|purpose| generated(purpose) && !world.secrets.contains_key(purpose))
        .collect()
}

/// What is wrong with the certificates, if anything is.
pub fn problem(world: &World) -> Option<CertificateProblem> {
    let needed = world.needed_certificates();
    let missing: Vec<Purpose> = needed
        .iter()
        .copied()
        .filter(|purpose| !world.secrets.contains_key(purpose))
        .collect();
    if !missing.is_empty() {
        return Some(CertificateProblem::Missing(missing));
    }
    needed.iter().find_map(|purpose| {
        let secret = world.secrets.get(purpose)?;
        let certificate_only = !world.etcd_is_managed() && *purpose == Purpose::EtcdCa;
        let keys: &[&str] = if certificate_only {
            &[CERTIFICATE_KEY]
        } else {
            &[CERTIFICATE_KEY, PRIVATE_KEY_KEY]
        };
        let absent = keys.iter().find(|key| text(secret, key).is_none())?;
        let name = purpose.name_for(&world.cluster_name());
        Some(CertificateProblem::Broken(format!(
            "Secret {name} has no key {absent}"
        )))
    })
}

/// A Secret whose controlling owner should be this control plane and is not: generated ones change hands, those that a
/// user provided (of any other type) stay as they are.
pub fn needs_owner(world: &World, secret: &Secret) -> bool {
    let uid = world.control_plane.metadata.uid.as_deref().unwrap_or_default();
    secret.type_.as_deref() == Some(CLUSTER_SECRET_TYPE)
        && !capi_runtime::meta::is_controlled_by(&secret.metadata, uid)
}

/// A new Secret with a generated authority or key pair.
pub fn generate(world: &World, purpose: Purpose, sources: &Sources<'_>) -> Result<Secret, Error> {
    let algorithm = world.key_algorithm();
    let pair = match purpose {
        Purpose::ServiceAccount => cluster_pki::service_account_pair(sources.keys, algorithm)?,
        _ => CertificateAuthority::for_cluster(sources.keys, algorithm, sources.now, world.ca_days())?
            .to_pem_pair(),
    };
    let data = [(CERTIFICATE_KEY, pair.certificate), (PRIVATE_KEY_KEY, pair.key)];
    Ok(secret(
        world,
        purpose,
        data.map(|(key, text)| (key.to_owned(), text)).into(),
    ))
}

/// What should happen to the kubeconfig.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KubeconfigNeed {
    /// It does not exist.
    Create,
    /// Less than half of its certificate's life is left.
    Rotate,
    /// Nothing; look again at this time.
    Keep(Option<Timestamp>),
    /// It cannot be read; left alone.
    Unreadable,
}

/// What should happen to the kubeconfig now.
pub fn kubeconfig_need(world: &World, now: Timestamp) -> KubeconfigNeed {
    let Some(secret) = world.secrets.get(&Purpose::Kubeconfig) else {
        return KubeconfigNeed::Create;
    };
    if needs_owner(world, secret) || secret.type_.as_deref() != Some(CLUSTER_SECRET_TYPE) {
        return KubeconfigNeed::Keep(None);
    }
    let Some(kubeconfig) = text(secret, VALUE_KEY).and_then(|text| Kubeconfig::parse(&text).ok()) else {
        return KubeconfigNeed::Unreadable;
    };
    let half = SignedDuration::from_secs(ADMIN_CERTIFICATE_LIFETIME.as_secs() / 2);
    match kubeconfig.client_certificate_expiry() {
        Err(_) => KubeconfigNeed::Unreadable,
        Ok(None) => KubeconfigNeed::Keep(None),
        Ok(Some(expiry)) => match expiry.checked_sub(half) {
            Ok(due) if now > due => KubeconfigNeed::Rotate,
            Ok(due) => KubeconfigNeed::Keep(Some(due)),
            Err(_) => KubeconfigNeed::Keep(None),
        },
    }
}

/// The kubeconfig Secret: new, or the existing one with a new client certificate (and the server that it names).
pub fn kubeconfig(world: &World, sources: &Sources<'_>) -> Result<Secret, Error> {
    let cluster = world.cluster_name();
    let authority = authority(world, Purpose::ClusterCa)?;
    let existing = world.secrets.get(&Purpose::Kubeconfig);
    let stored = existing
        .and_then(|secret| text(secret, VALUE_KEY))
        .and_then(|text| Kubeconfig::parse(&text).ok());
    let server = match (&stored, world.endpoint()) {
        (Some(stored), _) => stored.server.clone(),
        (None, Some((host, port))) => Kubeconfig::server_url(host, port),
        (None, None) => return Err(Error::NoEndpoint),
    };
    let request = AdminKubeconfig {
        cluster_name: &cluster,
        server: &server,
        algorithm: world.key_algorithm(),
        now: sources.now,
    };
    let yaml = Kubeconfig::admin(&authority, &request, sources.keys, sources.randomness)?.to_yaml()?;
    Ok(match existing {
        Some(existing) => {
            let mut rotated = existing.as_ref().clone();
            rotated
                .data
                .get_or_insert_default()
                .insert(VALUE_KEY.to_owned(), ByteString(yaml.into_bytes()));
            rotated
        }
        None => secret(world, Purpose::Kubeconfig, [(VALUE_KEY.to_owned(), yaml)].into()),
    })
}

/// A certificate authority from its Secret.
pub fn authority(world: &World, purpose: Purpose) -> Result<CertificateAuthority, Error> {
    let pair = pair(world, purpose)?;
    Ok(CertificateAuthority::from_pem(&pair.certificate, &pair.key)?)
}

/// Certificate and key of a Secret.
pub fn pair(world: &World, purpose: Purpose) -> Result<PemPair, Error> {
    let name = purpose.name_for(&world.cluster_name());
    let secret = world
        .secrets
        .get(&purpose)
        .ok_or_else(|| Error::SecretMissing { name: name.clone() })?;
    match (text(secret, CERTIFICATE_KEY), text(secret, PRIVATE_KEY_KEY)) {
        (Some(certificate), Some(key)) => Ok(PemPair { certificate, key }),
        _ => Err(Error::SecretMissing { name }),
    }
}

fn secret(world: &World, purpose: Purpose, data: BTreeMap<String, String>) -> Secret {
    Secret {
        metadata: ObjectMeta {
            name: Some(purpose.name_for(&world.cluster_name())),
            namespace: Some(world.namespace()),
            labels: Some([(labels::CLUSTER_NAME.to_owned(), world.cluster_name())].into()),
            owner_references: Some(vec![world.controller()]),
            ..ObjectMeta::default()
        },
        type_: Some(CLUSTER_SECRET_TYPE.to_owned()),
        data: Some(
            data.into_iter()
                .map(|(key, text)| (key, ByteString(text.into_bytes())))
                .collect(),
        ),
        ..Secret::default()
    }
}

fn text(secret: &Secret, key: &str) -> Option<String> {
    let bytes = secret.data.as_ref()?.get(key)?;
    String::from_utf8(bytes.0.clone())
        .ok()
        .filter(|text| !text.is_empty())
}
