//! The kubeconfig of a Cluster without a control plane object: its Machines are all there is, so that nobody else makes
//! it.

use capi_api::{
    core::v1beta2::Cluster,
    labels,
    secrets::{CERTIFICATE_KEY, CLUSTER_SECRET_TYPE, PRIVATE_KEY_KEY, Purpose, VALUE_KEY},
};
use capi_runtime::{Context, Error, Key, meta};
use cluster_pki::{AdminKubeconfig, CertificateAuthority, KeyAlgorithm, Kubeconfig, PemPair};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{ResourceExt, core::ObjectMeta};

use super::plan::has_endpoint;

/// What is known of the kubeconfig Secret.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum KubeconfigView {
    /// It exists, or is somebody else's business, or its time has not come.
    #[default]
    Settled,
    /// It does not exist, and neither does the certificate authority it would be made with.
    WaitsForAuthority,
    /// It does not exist and can be made with this certificate authority.
    Missing(PemPair),
}

/// Whether the Cluster controller has to make the kubeconfig.
fn is_wanted(cluster: &Cluster) -> bool {
    let spec = &cluster.spec;
    let deleting = cluster.metadata.deletion_timestamp.is_some();
    !deleting && spec.control_plane_ref.is_none() && spec.topology.is_none() && has_endpoint(cluster)
}

/// Looks for the Secrets. The authority is read live: stores do not keep private keys.
pub async fn observe(ctx: &Context, cluster: &Cluster) -> Result<KubeconfigView, Error> {
    let key = Key::of(cluster);
    let secret = |purpose: Purpose| key.sibling(purpose.name_for(&key.name));
    if !is_wanted(cluster) || ctx.get::<Secret>(&secret(Purpose::Kubeconfig)).is_some() {
        return Ok(KubeconfigView::Settled);
    }
    let authority = ctx.get_live::<Secret>(&secret(Purpose::ClusterCa)).await?;
    Ok(match authority.as_ref().and_then(pair_of) {
        Some(pair) => KubeconfigView::Missing(pair),
        None => KubeconfigView::WaitsForAuthority,
    })
}

fn pair_of(secret: &Secret) -> Option<PemPair> {
    let data = secret.data.as_ref()?;
    let text = |key: &str| String::from_utf8(data.get(key)?.0.clone()).ok();
    Some(PemPair {
        certificate: text(CERTIFICATE_KEY)?,
        key: text(PRIVATE_KEY_KEY)?,
    })
}

/// Makes the Secret; that another replica was faster is fine.
pub async fn create(ctx: &Context, cluster: &Cluster, authority: &PemPair) -> Result<(), Error> {
    let key = Key::of(cluster);
    let failed = |error: cluster_pki::Error| Error::Config {
        what: format!("kubeconfig of Cluster {key}"),
        reason: format!("Secret {}: {error}", Purpose::ClusterCa.name_for(&key.name)),
    };
    let endpoint = cluster.spec.control_plane_endpoint.clone().unwrap_or_default();
    let port = endpoint
        .port
        .and_then(|port| u16::try_from(port).ok())
        .unwrap_or_default();
    let server = Kubeconfig::server_url(endpoint.host.as_deref().unwrap_or_default(), port);
    let request = AdminKubeconfig {
        cluster_name: &key.name,
        server: &server,
        algorithm: KeyAlgorithm::default(),
        now: ctx.now(),
    };
    let authority = CertificateAuthority::from_pem(&authority.certificate, &authority.key).map_err(failed)?;
    let kubeconfig = Kubeconfig::admin(&authority, &request, ctx.keys(), ctx.randomness()).map_err(failed)?;
    let yaml = kubeconfig.to_yaml().map_err(failed)?;
    match ctx.create(&secret(cluster, yaml)).await {
        Err(error) if !error.is_already_exists() => Err(error),
        _ => Ok(()),
    }
}

fn secret(cluster: &Cluster, yaml: String) -> Secret {
    let name = cluster.name_any();
    Secret {
        metadata: ObjectMeta {
            name: Some(Purpose::Kubeconfig.name_for(&name)),
            namespace: cluster.namespace(),
            labels: Some([(labels::CLUSTER_NAME.to_owned(), name)].into()),
            owner_references: Some(vec![meta::owner_reference(cluster)]),
            ..ObjectMeta::default()
        },
        type_: Some(CLUSTER_SECRET_TYPE.to_owned()),
        data: Some([(VALUE_KEY.to_owned(), ByteString(yaml.into_bytes()))].into()),
        ..Secret::default()
    }
}

/// The Cluster that waits for this Secret: it is named after it.
pub fn cluster_of(secret: &Secret) -> Option<Key> {
    let cluster = secret.labels().get(labels::CLUSTER_NAME)?;
    let name = secret.name_any();
    let concerns = [Purpose::ClusterCa, Purpose::Kubeconfig]
        .iter()
        .any(|p| p.name_for(cluster) == name);
    concerns.then(|| Key::of(secret).sibling(cluster.clone()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn cluster(spec: Value) -> Cluster {
        serde_json::from_value(json!({"metadata": {"name": "c", "namespace": "ns"}, "spec": spec})).unwrap()
    }

    #[test]
    fn a_kubeconfig_is_made_only_where_nobody_else_makes_it() {
        let endpoint = json!({"host": "h", "port": 6443});
        let reference = json!({"apiGroup": "g", "kind": "K", "name": "n"});
        assert!(is_wanted(&cluster(json!({"controlPlaneEndpoint": endpoint}))));
        assert!(!is_wanted(&cluster(json!({}))));
        assert!(!is_wanted(&cluster(
            json!({"controlPlaneEndpoint": endpoint, "controlPlaneRef": reference})
        )));
    }

    #[test]
    fn the_secrets_that_matter_wake_their_cluster() {
        let secret = |name: &str| -> Secret {
            serde_json::from_value(json!({"metadata": {"name": name, "namespace": "ns",
                "labels": {"cluster.x-k8s.io/cluster-name": "c"}}}))
            .unwrap()
        };
        assert_eq!(cluster_of(&secret("c-ca")), Some(Key::new("ns", "c")));
        assert_eq!(cluster_of(&secret("c-kubeconfig")), Some(Key::new("ns", "c")));
        assert_eq!(cluster_of(&secret("c-etcd")), None);
    }
}
