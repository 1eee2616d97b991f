//! What a ClusterResourceSet's reconcile looks at.

use std::{collections::BTreeMap, sync::Arc};

use capi_api::{
    addons::v1beta2::{
        ClusterResourceSet, ClusterResourceSetBinding, ClusterResourceSetResourceKind,
        ClusterResourceSetStrategy, ResourceRef,
    },
    core::v1beta2::Cluster,
};
use capi_runtime::{Context, Error, Key};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{
    ResourceExt,
    core::{ObjectMeta, PartialObjectMeta},
};
use parking_lot::Mutex;

use super::{content::Content, plan};
use crate::selector;

/// The type that a Secret with resources must have.
pub const SECRET_TYPE: &str = "addons.cluster.x-k8s.io/resource-set";

/// What is known of a ConfigMap or Secret.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// Its content.
    Content(Arc<Content>),
    /// The hash of its content; nobody needs the rest now.
    Hash(String),
    /// It was applied everywhere and is never applied again, so nobody has looked.
    Unread,
    /// It does not exist.
    Missing,
    /// A Secret of this type, which is none for resources.
    WrongType(String),
    /// It cannot be read.
    Unreadable(String),
}

/// A ConfigMap or Secret of a ClusterResourceSet.
#[derive(Clone, Debug)]
pub struct ResourceView {
    /// How the ClusterResourceSet names it.
    pub reference: ResourceRef,
    /// Its metadata, if it exists.
    pub metadata: Option<ObjectMeta>,
    /// What it holds.
    pub source: Source,
}

/// A Cluster that is selected.
#[derive(Clone, Debug)]
pub struct ClusterView {
    /// Its key.
    pub key: Key,
    /// What was applied to it.
    pub binding: Option<Arc<ClusterResourceSetBinding>>,
    /// Whether it can be reached, or why not.
    pub connection: Result<(), String>,
}

/// A ClusterResourceSet and everything that matters to it.
#[derive(Clone, Debug)]
pub struct World {
    /// The ClusterResourceSet.
    pub set: Arc<ClusterResourceSet>,
    /// The Clusters it selects, by name; none that is being deleted.
    pub clusters: Vec<ClusterView>,
    /// Its resources in their order.
    pub resources: Vec<ResourceView>,
    /// All bindings that name it.
    pub bindings: Vec<Arc<ClusterResourceSetBinding>>,
}

impl World {
    /// Whether the ClusterResourceSet is being deleted.
    pub fn is_deleting(&self) -> bool {
        self.set.metadata.deletion_timestamp.is_some()
    }
}

/// How often resources are applied.
pub fn strategy(set: &ClusterResourceSet) -> ClusterResourceSetStrategy {
    set.spec.strategy.unwrap_or_default()
}

/// Whether a ClusterResourceSet selects a Cluster. An empty selector selects nothing.
pub fn selects(set: &ClusterResourceSet, labels: Option<&BTreeMap<String, String>>) -> bool {
    !selector::is_empty(&set.spec.cluster_selector) && selector::matches(&set.spec.cluster_selector, labels)
}

/// What was last read of a ConfigMap or Secret, by what names that version of it.
#[derive(Debug, Default)]
pub struct Memory(Mutex<BTreeMap<Remembered, (String, Source)>>);

/// Key and kind.
type Remembered = (Key, &'static str);

impl Memory {
    fn recall(&self, key: &Key, kind: &'static str, version: &str) -> Option<Source> {
        let known = self.0.lock();
        let (of, source) = known.get(&(key.clone(), kind))?;
        (of == version).then(|| source.clone())
    }

    fn keep(&self, key: &Key, kind: &'static str, version: &str, source: &Source) {
        // Only what is short: manifests can be large.
        let source = match source {
            Source::Content(content) => Source::Hash(content.hash.clone()),
            other => other.clone(),
        };
        self.0
            .lock()
            .insert((key.clone(), kind), (version.to_owned(), source));
    }

    fn forget(&self, key: &Key, kind: &'static str) {
        self.0.lock().remove(&(key.clone(), kind));
    }
}

/// Reads the world of a ClusterResourceSet. Contents are read from the API server, and only if somebody needs them.
pub async fn observe(ctx: &Context, set: Arc<ClusterResourceSet>, memory: &Memory) -> Result<World, Error> {
    let key = Key::of(&*set);
    let mut world = World {
        clusters: Vec::new(),
        resources: Vec::new(),
        bindings: bindings_of(ctx, &set),
        set,
    };
    if world.is_deleting() {
        return Ok(world);
    }
    let clusters = ctx.store::<Cluster>().list(Some(&key.namespace));
    world.clusters = clusters
        .iter()
        .filter(|cluster| cluster.metadata.deletion_timestamp.is_none())
        .filter(|cluster| selects(&world.set, cluster.metadata.labels.as_ref()))
        .map(|cluster| {
            let key = Key::of(&**cluster);
            ClusterView {
                binding: ctx.get::<ClusterResourceSetBinding>(&key),
                connection: ctx.workload(&key).map(drop).map_err(|down| down.to_string()),
                key,
            }
        })
        .collect();
    if world.clusters.is_empty() {
        return Ok(world);
    }
    for reference in world.set.spec.resources.clone() {
        let view = resource(ctx, &key, &world, reference, memory).await?;
        world.resources.push(view);
    }
    Ok(world)
}

fn bindings_of(ctx: &Context, set: &ClusterResourceSet) -> Vec<Arc<ClusterResourceSetBinding>> {
    let all = ctx
        .store::<ClusterResourceSetBinding>()
        .list(set.namespace().as_deref());
    let name = set.name_any();
    let names = |binding: &ClusterResourceSetBinding| {
        binding
            .spec
            .bindings
            .iter()
            .any(|b| b.cluster_resource_set_name == name)
    };
    all.into_iter()
        .filter(|b| names(b) || capi_runtime::meta::is_owned_by(&b.metadata, &set.uid().unwrap_or_default()))
        .collect()
}

async fn resource(
    ctx: &Context,
    set: &Key,
    world: &World,
    reference: ResourceRef,
    memory: &Memory,
) -> Result<ResourceView, Error> {
    let key = set.sibling(reference.name.clone());
    let kind = reference.kind.as_str();
    let metadata = match reference.kind {
        ClusterResourceSetResourceKind::ConfigMap => ctx
            .get::<PartialObjectMeta<ConfigMap>>(&key)
            .map(|o| o.metadata.clone()),
        ClusterResourceSetResourceKind::Secret => ctx
            .get::<PartialObjectMeta<Secret>>(&key)
            .map(|o| o.metadata.clone()),
    };
    let Some(metadata) = metadata else {
        memory.forget(&key, kind);
        return Ok(ResourceView {
            reference,
            metadata: None,
            source: Source::Missing,
        });
    };
    let version = version(&metadata);
    let mut source = memory.recall(&key, kind, &version).unwrap_or(Source::Unread);
    let wanted = |cluster: &ClusterView| {
        cluster.connection.is_ok() && plan::is_due(&world.set, cluster, &reference, &source)
    };
    if world.clusters.iter().any(wanted) {
        let (read, version) = read(ctx, &key, reference.kind).await?;
        memory.keep(&key, kind, &version, &read);
        source = read;
    }
    Ok(ResourceView {
        reference,
        metadata: Some(metadata),
        source,
    })
}

fn version(metadata: &ObjectMeta) -> String {
    let part = |part: &Option<String>| part.clone().unwrap_or_default();
    format!("{}/{}", part(&metadata.uid), part(&metadata.resource_version))
}

async fn read(
    ctx: &Context,
    key: &Key,
    kind: ClusterResourceSetResourceKind,
) -> Result<(Source, String), Error> {
    let (values, metadata) = match kind {
        ClusterResourceSetResourceKind::ConfigMap => {
            let Some(map) = ctx.get_live::<ConfigMap>(key).await? else {
                return Ok((Source::Missing, String::new()));
            };
            let values = map
                .data
                .map(|data| data.into_iter().map(|(k, v)| (k, v.into_bytes())).collect());
            (values, map.metadata)
        }
        ClusterResourceSetResourceKind::Secret => {
            let Some(secret) = ctx.get_live::<Secret>(key).await? else {
                return Ok((Source::Missing, String::new()));
            };
            let type_ = secret.type_.unwrap_or_default();
            if type_ != SECRET_TYPE {
                return Ok((Source::WrongType(type_), version(&secret.metadata)));
            }
            let values = secret
                .data
                .map(|data| data.into_iter().map(|(k, v)| (k, v.0)).collect());
            (values, secret.metadata)
        }
    };
    let source = match values {
        Some(values) => Source::Content(Arc::new(Content::of(&values))),
        None => Source::Unreadable("it has no data".to_owned()),
    };
    Ok((source, version(&metadata)))
}
