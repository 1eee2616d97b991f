//! `capictl get kubeconfig NAME`.

use anyhow::Context as _;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};

/// Reads the kubeconfig of a workload cluster from its Secret.
pub async fn of_cluster(client: &Client, namespace: &str, name: &str) -> anyhow::Result<String> {
    let secret_name = format!("{name}-kubeconfig");
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let secret = api
        .get_opt(&secret_name)
        .await
        .with_context(|| format!("cannot read Secret {namespace}/{secret_name}"))?;
    let secret = secret.with_context(|| {
        format!(
            "Secret {namespace}/{secret_name} does not exist: either there is no Cluster {namespace}/{name}, or its control \
             plane has not made it yet (capictl describe cluster {name} -n {namespace} tells)"
        )
    })?;
    let value = secret.data.unwrap_or_default().remove("value");
    let value = value.with_context(|| format!("Secret {namespace}/{secret_name} has no key `value`"))?;
    String::from_utf8(value.0)
        .with_context(|| format!("Secret {namespace}/{secret_name}: key `value` is not text"))
}
