//! `capictl describe cluster NAME`.

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use kube::Client;

use crate::{
    cause::{self, Cause},
    inventory::{Inventory, Kinds},
    render, tree,
};

/// What is known of a cluster at one moment.
#[derive(Debug)]
pub struct Description {
    /// The text to print.
    pub text: String,
    /// Why the cluster is not Available.
    pub cause: Option<Cause>,
}

/// Reads and describes a cluster. `all` shows every ready Machine instead of folding many into a line.
pub async fn cluster(
    client: &Client,
    namespace: &str,
    name: &str,
    all: bool,
    now: Timestamp,
) -> anyhow::Result<Description> {
    let inventory = Kinds::discover(client).await?.read(client, namespace).await?;
    of_inventory(&inventory, name, all, now).with_context(|| format!("in namespace {namespace}"))
}

/// Describes a cluster of an inventory.
pub fn of_inventory(
    inventory: &Inventory,
    name: &str,
    all: bool,
    now: Timestamp,
) -> anyhow::Result<Description> {
    let Some(cluster) = inventory.cluster(name) else {
        let known: Vec<_> = inventory.of_kind("Cluster").map(|c| c.name()).collect();
        if known.is_empty() {
            bail!("there is no Cluster {name}; the namespace has no Clusters (is --namespace right?)");
        }
        bail!("there is no Cluster {name}; there are: {}", known.join(", "));
    };
    let tree = tree::of_cluster(inventory, cluster, !all);
    let cause = cause::find(inventory, &tree);
    let text = render::describe(cluster, cause.as_ref(), &tree, now);
    Ok(Description { text, cause })
}
