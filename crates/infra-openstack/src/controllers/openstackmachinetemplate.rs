//! The controller of OpenStackMachineTemplate: says what a machine of it has, for autoscalers that start from none.
//!
//! The spec never changes, so a template is looked up once.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use capi_api::{
    conditions::{self, Draft},
    core::v1beta2::Cluster,
};
use capi_runtime::{Context, Controller, Failure, Key, Next, Reconciler, meta};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::identity;
use crate::{
    Error,
    api::{ImageParam, NodeInfo, OpenStackCluster, OpenStackMachineSpec, OpenStackMachineTemplate},
    cloud::{Session, Sessions, compute::Flavor, image::Image},
};

/// Says whether the capacity is known.
const READY: &str = "Ready";

/// The controller, ready to be registered.
pub fn controller(sessions: Arc<Sessions>) -> Controller<OpenStackMachineTemplate> {
    Controller::<OpenStackMachineTemplate>::new("openstackmachinetemplate", TemplateReconciler { sessions })
        .reads::<Cluster>()
        .watches_changes::<OpenStackCluster>(|old, new, stores| match (old, new) {
            (None, Some(cluster)) => {
                let all = stores.declare::<OpenStackMachineTemplate>();
                let beside = all.list(cluster.metadata.namespace.as_deref());
                beside.iter().map(|template| Key::of(&**template)).collect()
            }
            _ => Vec::new(),
        })
}

struct TemplateReconciler {
    sessions: Arc<Sessions>,
}

#[async_trait]
impl Reconciler for TemplateReconciler {
    async fn reconcile(&self, ctx: &Context, key: &Key) -> Result<Next, Failure> {
        let Some(template) = ctx.get::<OpenStackMachineTemplate>(key) else {
            return Ok(Next::Done);
        };
        let known = template
            .status
            .as_ref()
            .is_some_and(|status| !status.capacity.is_empty());
        if known || meta::is_deleting(&template.metadata) || meta::has_paused_annotation(&template.metadata) {
            return Ok(Next::Done);
        }
        // Templates of a ClusterClass belong to no cluster, whose credentials could be used.
        let owner = meta::owner_of_kind(&template.metadata, "cluster.x-k8s.io", "Cluster");
        let cluster = owner.and_then(|owner| ctx.get::<Cluster>(&key.sibling(owner.name.clone())));
        let infrastructure = cluster
            .filter(|cluster| cluster.spec.paused != Some(true))
            .and_then(|cluster| cluster.spec.infrastructure_ref.clone());
        let object =
            infrastructure.and_then(|reference| ctx.get::<OpenStackCluster>(&key.sibling(reference.name)));
        match object {
            Some(object) => Ok(self.look_up(ctx, &template, &object).await?),
            None => Ok(Next::Done),
        }
    }
}

impl TemplateReconciler {
    async fn look_up(
        &self,
        ctx: &Context,
        template: &OpenStackMachineTemplate,
        cluster: &OpenStackCluster,
    ) -> Result<Next, Error> {
        let spec = &template.spec.template.spec;
        let identity = spec.identity_ref.as_ref().unwrap_or(&cluster.spec.identity_ref);
        let found = async {
            let session = identity::session(ctx, &self.sessions, &ctx.key().namespace, identity).await?;
            Ok::<_, Error>((flavor(&session, spec).await?, image(&session, &spec.image).await?))
        };
        let found = found.await;
        let mut after = template.clone();
        let draft = match &found {
            Ok((flavor, image)) => {
                let status = after.status.get_or_insert_default();
                status.capacity = capacity(spec, flavor);
                status.node_info = image
                    .as_ref()
                    .and_then(|image| image.os_type.clone())
                    .map(|system| NodeInfo {
                        operating_system: Some(system),
                    });
                Draft::is_true(READY, "Ready", "")
            }
            Err(error) => Draft::is_false(READY, "OpenStackError", error.to_string()),
        };
        conditions::set(&mut after, draft, ctx.now());
        ctx.patch(template, &after).await?;
        found.map(|_| Next::Done)
    }
}

async fn flavor(session: &Session, spec: &OpenStackMachineSpec) -> Result<Flavor, Error> {
    if let Some(id) = &spec.flavor.id {
        let found = session.flavor(id).await?;
        return found
            .ok_or_else(|| Error::reference(format!("flavor {id}"), "it does not exist in OpenStack"));
    }
    let name = spec.flavor.filter.as_ref().and_then(|filter| filter.name.clone());
    let found = session.flavors().await?.into_iter();
    let named = found
        .filter(|flavor| Some(&flavor.name) == name.as_ref())
        .collect();
    Error::only(named, || format!("flavor {}", name.unwrap_or_default()))
}

/// The image, unless an Image object stands for it.
async fn image(session: &Session, param: &ImageParam) -> Result<Option<Image>, Error> {
    match (&param.id, &param.filter) {
        (Some(id), _) => Ok(session.image(id).await?),
        (None, Some(filter)) => {
            let found = session.images(filter.name.as_deref(), &filter.tags).await?;
            Error::only(found, || {
                format!("image {}", filter.name.clone().unwrap_or_default())
            })
            .map(Some)
        }
        (None, None) => Ok(None),
    }
}

/// What a machine has, under the names that autoscalers look for.
fn capacity(spec: &OpenStackMachineSpec, flavor: &Flavor) -> BTreeMap<String, Quantity> {
    let root = match &spec.root_volume {
        Some(volume) => u64::try_from(volume.size_gib).unwrap_or_default(),
        None => flavor.disk,
    };
    [
        ("cpu", flavor.vcpus.to_string()),
        ("memory", format!("{}Mi", flavor.ram)),
        ("ephemeral-storage", format!("{}Gi", flavor.ephemeral)),
        ("storage", format!("{root}Gi")),
    ]
    .map(|(name, amount)| (name.to_owned(), Quantity(amount)))
    .into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_machine_has_what_its_flavor_and_its_volume_have() {
        let flavor = Flavor {
            vcpus: 4,
            ram: 8192,
            disk: 20,
            ephemeral: 5,
            ..Flavor::default()
        };
        let spec = |more: serde_json::Value| -> OpenStackMachineSpec {
            let mut spec = json!({ "flavor": { "id": "3" }, "image": { "id": "i" } });
            spec.as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            serde_json::from_value(spec).unwrap()
        };
        let shown = |spec| serde_json::to_value(capacity(&spec, &flavor)).unwrap();
        assert_eq!(
            shown(spec(json!({}))),
            json!({ "cpu": "4", "memory": "8192Mi", "ephemeral-storage": "5Gi", "storage": "20Gi" })
        );
        let volume = spec(json!({ "rootVolume": { "sizeGiB": 50 } }));
        assert_eq!(shown(volume)["storage"], "50Gi");
    }
}
