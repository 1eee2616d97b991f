//! The cluster's certificates as a machine needs them: which Secrets hold them, how they are read and generated, and
//! where they lie on the machine. Pure but for the key source.

use std::collections::BTreeMap;

use capi_api::bootstrap::v1beta2::{ClusterConfiguration, ExternalEtcd, KubeadmConfig};
use capi_api::core::v1beta2::Cluster;
use capi_api::labels;
use capi_api::secrets::{CERTIFICATE_KEY, CLUSTER_SECRET_TYPE, PRIVATE_KEY_KEY, Purpose};
use cluster_pki::{CertificateAuthority, DEFAULT_CA_DAYS, KeyAlgorithm, KeySource, PemPair};
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::ObjectMeta;
use kube::{Resource, ResourceExt};

use super::error::{Error, Trouble};
use crate::machine_setup::NodeFile;

/// Where kubeadm keeps certificates unless told otherwise.
const DEFAULT_DIRECTORY: &str = "/etc/kubernetes/pki";

/// The mode of certificates and public keys.
const PUBLIC: &str = "0640";
/// The mode of private keys.
const PRIVATE: &str = "0600";

/// The content of one certificate Secret.
#[derive(Clone)]
pub(super) struct Pair {
    /// A certificate, or a public key.
    pub certificate: String,
    /// The private key; an external etcd's authority may lack it.
    pub key: Option<String>,
}

/// The pairs found, by purpose.
pub(super) type Pairs = BTreeMap<Purpose, Pair>;

/// The certificates of one kind of machine.
#[derive(Clone, Debug)]
pub(super) struct Certificates {
    directory: String,
    external_etcd: Option<ExternalEtcd>,
    control_plane: bool,
}

impl Certificates {
    /// What a control-plane machine with this configuration carries.
    pub fn of_control_plane(configuration: Option<&ClusterConfiguration>) -> Self {
        let directory = configuration.and_then(|c| c.certificates_dir.clone());
        let etcd = configuration.and_then(|c| c.etcd.as_ref());
        Self {
            directory: directory.unwrap_or_else(|| DEFAULT_DIRECTORY.to_owned()),
            external_etcd: etcd.and_then(|etcd| etcd.external.clone()),
            control_plane: true,
        }
    }

    /// A worker carries none, but pins the cluster's authority.
    pub fn of_worker() -> Self {
        Self {
            directory: DEFAULT_DIRECTORY.to_owned(),
            external_etcd: None,
            control_plane: false,
        }
    }

    /// The Secrets that must exist, in the order of the files.
    pub fn purposes(&self) -> Vec<Purpose> {
        match (self.control_plane, &self.external_etcd) {
            (false, _) => vec![Purpose::ClusterCa],
            (true, None) => {
                vec![
                    Purpose::ClusterCa,
                    Purpose::EtcdCa,
                    Purpose::FrontProxyCa,
                    Purpose::ServiceAccount,
                ]
            }
            (true, Some(_)) => vec![
                Purpose::ClusterCa,
                Purpose::EtcdCa,
                Purpose::FrontProxyCa,
                Purpose::ServiceAccount,
                Purpose::ApiServerEtcdClient,
            ],
        }
    }

    /// Whether the user has to bring this one, because nobody here can make it.
    pub fn is_external(&self, purpose: Purpose) -> bool {
        self.external_etcd.is_some() && matches!(purpose, Purpose::EtcdCa | Purpose::ApiServerEtcdClient)
    }

    /// Reads one Secret.
    pub fn read(&self, purpose: Purpose, secret: &Secret) -> Result<Pair, Trouble> {
        let text = |key: &str| -> Result<Option<String>, Trouble> {
            let Some(ByteString(bytes)) = secret.data.as_ref().and_then(|data| data.get(key)) else {
                return Ok(None);
            };
            let text =
                String::from_utf8(bytes.clone()).map_err(|_| broken(secret, key, "is not PEM text"))?;
            Ok(Some(text).filter(|text| !text.trim().is_empty()))
        };
        let certificate =
            text(CERTIFICATE_KEY)?.ok_or_else(|| broken(secret, CERTIFICATE_KEY, "is missing or empty"))?;
        let key = text(PRIVATE_KEY_KEY)?;
        let optional = purpose == Purpose::EtcdCa && self.is_external(purpose);
        if key.is_none() && !optional {
            return Err(broken(secret, PRIVATE_KEY_KEY, "is missing or empty"));
        }
        if purpose == Purpose::ClusterCa
            && let Err(error) = cluster_pki::public_key_hashes(&certificate)
        {
            return Err(broken(
                secret,
                CERTIFICATE_KEY,
                &format!("cannot be used ({error})"),
            ));
        }
        Ok(Pair { certificate, key })
    }

    /// The files for a machine's disk, in a fixed order.
    pub fn files(&self, pairs: &Pairs) -> Vec<NodeFile> {
        if !self.control_plane {
            return Vec::new();
        }
        let mut files = Vec::new();
        for purpose in self.purposes() {
            let Some(pair) = pairs.get(&purpose) else { continue };
            let (certificate, key) = self.paths(purpose);
            files.push(NodeFile::of_root(certificate, PUBLIC, pair.certificate.clone()));
            if let (Some(path), Some(key)) = (key, &pair.key) {
                files.push(NodeFile::of_root(path, PRIVATE, key.clone()));
            }
        }
        files
    }

    /// Where the certificate and the key of a purpose lie.
    fn paths(&self, purpose: Purpose) -> (String, Option<String>) {
        let inside = |name: &str| format!("{}/{name}", self.directory.trim_end_matches('/'));
        let pair = |certificate: &str, key: &str| (inside(certificate), Some(inside(key)));
        match (purpose, &self.external_etcd) {
            (Purpose::EtcdCa, Some(etcd)) => (etcd.ca_file.clone(), None),
            (Purpose::ApiServerEtcdClient, Some(etcd)) => {
                (etcd.cert_file.clone(), Some(etcd.key_file.clone()))
            }
            (Purpose::EtcdCa, None) => pair("etcd/ca.crt", "etcd/ca.key"),
            (Purpose::FrontProxyCa, _) => pair("front-proxy-ca.crt", "front-proxy-ca.key"),
            (Purpose::ServiceAccount, _) => pair("sa.pub", "sa.key"),
            (Purpose::ApiServerEtcdClient, None) => {
                pair("apiserver-etcd-client.crt", "apiserver-etcd-client.key")
            }
            (Purpose::ClusterCa | Purpose::Kubeconfig, _) => pair("ca.crt", "ca.key"),
        }
    }
}

fn broken(secret: &Secret, key: &str, problem: &str) -> Trouble {
    Trouble::SecretKey {
        field: "certificates".to_owned(),
        secret: format!("{}/{}", secret.namespace().unwrap_or_default(), secret.name_any()),
        key: key.to_owned(),
        problem: problem.to_owned(),
    }
}

/// A new pair for `purpose` by the rules of `configuration`.
pub(super) fn generate(
    purpose: Purpose,
    configuration: Option<&ClusterConfiguration>,
    keys: &dyn KeySource,
    now: Timestamp,
) -> Result<PemPair, Error> {
    let algorithm = match configuration.and_then(|c| c.encryption_algorithm.as_ref()) {
        Some(name) => name.as_str().parse::<KeyAlgorithm>()?,
        None => KeyAlgorithm::default(),
    };
    let days = configuration.and_then(|c| c.ca_certificate_validity_period_days);
    let days = days
        .and_then(|d| u32::try_from(d).ok())
        .filter(|d| *d > 0)
        .unwrap_or(DEFAULT_CA_DAYS);
    Ok(match purpose {
        Purpose::ServiceAccount => cluster_pki::service_account_pair(keys, algorithm)?,
        _ => CertificateAuthority::for_cluster(keys, algorithm, now, days)?.to_pem_pair(),
    })
}

/// The Secret that keeps `pair`, owned by the configuration that made it.
pub(super) fn secret(cluster: &Cluster, purpose: Purpose, owner: &KubeadmConfig, pair: PemPair) -> Secret {
    let cluster_name = cluster.name_any();
    Secret {
        metadata: ObjectMeta {
            name: Some(purpose.name_for(&cluster_name)),
            namespace: owner.namespace(),
            labels: Some(BTreeMap::from([(labels::CLUSTER_NAME.to_owned(), cluster_name)])),
            owner_references: owner.controller_owner_ref(&()).map(|reference| vec![reference]),
            ..ObjectMeta::default()
        },
        type_: Some(CLUSTER_SECRET_TYPE.to_owned()),
        data: Some(BTreeMap::from([
            (
                CERTIFICATE_KEY.to_owned(),
                ByteString(pair.certificate.into_bytes()),
            ),
            (PRIVATE_KEY_KEY.to_owned(), ByteString(pair.key.into_bytes())),
        ])),
        ..Secret::default()
    }
}

#[cfg(test)]
mod tests {
    use cluster_pki::PooledKeys;
    use serde_json::json;

    use super::*;

    fn configuration(value: serde_json::Value) -> ClusterConfiguration {
        serde_json::from_value(value).unwrap()
    }

    fn pairs(certificates: &Certificates) -> Pairs {
        let pair = |p: Purpose| Pair {
            certificate: format!("{p} crt"),
            key: Some(format!("{p} key")),
        };
        certificates
            .purposes()
            .into_iter()
            .map(|p| (p, pair(p)))
            .collect()
    }

    fn listing(certificates: &Certificates) -> Vec<String> {
        let files = certificates.files(&pairs(certificates));
        files
            .iter()
            .map(|f| format!("{} {} {}", f.permissions, f.path, f.content))
            .collect()
    }

    #[test]
    fn a_control_plane_machine_gets_four_pairs_and_a_worker_none() {
        assert_eq!(
            listing(&Certificates::of_control_plane(None)),
            [
                "0640 /etc/kubernetes/pki/ca.crt ca crt",
                "0600 /etc/kubernetes/pki/ca.key ca key",
                "0640 /etc/kubernetes/pki/etcd/ca.crt etcd crt",
                "0600 /etc/kubernetes/pki/etcd/ca.key etcd key",
                "0640 /etc/kubernetes/pki/front-proxy-ca.crt proxy crt",
                "0600 /etc/kubernetes/pki/front-proxy-ca.key proxy key",
                "0640 /etc/kubernetes/pki/sa.pub sa crt",
                "0600 /etc/kubernetes/pki/sa.key sa key",
            ]
        );
        assert!(listing(&Certificates::of_worker()).is_empty());
    }

    #[test]
    fn an_external_etcd_brings_its_own_paths_and_no_authority_key() {
        let spec = configuration(json!({
            "certificatesDir": "/certs/",
            "etcd": {"external": {"endpoints": ["https://e"], "caFile": "/e/ca", "certFile": "/e/crt", "keyFile": "/e/key"}},
        }));
        let certificates = Certificates::of_control_plane(Some(&spec));
        assert_eq!(
            listing(&certificates),
            [
                "0640 /certs/ca.crt ca crt",
                "0600 /certs/ca.key ca key",
                "0640 /e/ca etcd crt",
                "0640 /certs/front-proxy-ca.crt proxy crt",
                "0600 /certs/front-proxy-ca.key proxy key",
                "0640 /certs/sa.pub sa crt",
                "0600 /certs/sa.key sa key",
                "0640 /e/crt apiserver-etcd-client crt",
                "0600 /e/key apiserver-etcd-client key",
            ]
        );
        assert!(certificates.is_external(Purpose::EtcdCa) && !certificates.is_external(Purpose::ClusterCa));
    }

    #[test]
    fn a_generated_pair_reads_back_and_a_broken_one_names_secret_and_key() {
        let keys = PooledKeys::new();
        let (cluster, mut owner) = (
            Cluster::new("c1", Default::default()),
            KubeadmConfig::new("k", Default::default()),
        );
        owner.metadata.namespace = Some("default".to_owned());
        owner.metadata.uid = Some("u1".to_owned());
        let certificates = Certificates::of_control_plane(None);
        for purpose in certificates.purposes() {
            let pair = generate(purpose, None, &keys, Timestamp::UNIX_EPOCH).unwrap();
            let mut made = secret(&cluster, purpose, &owner, pair);
            assert_eq!(made.owner_references()[0].controller, Some(true));
            assert!(certificates.read(purpose, &made).is_ok());
            made.data.as_mut().unwrap().remove(PRIVATE_KEY_KEY);
            let trouble = certificates.read(purpose, &made).err().unwrap().to_string();
            assert!(
                trouble.contains(&format!("default/c1-{purpose}")) && trouble.contains("tls.key"),
                "{trouble}"
            );
        }
    }
}
