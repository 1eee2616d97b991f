//! What follows the control plane on existing Machines without replacing them: metadata, gates, timeouts, taints.
//!
//! The Machine is applied as a whole. Of the objects that it refers to only labels and annotations are, under a field
//! manager of their own; and what was taken out of the template is taken off them, which the Machine's managed fields tell.

use std::{collections::BTreeSet, sync::Arc};

use capi_api::{
    bootstrap::v1beta2::KubeadmConfig,
    core::v1beta2::{ContractVersionedObjectReference, Machine},
};
use capi_runtime::Key;
use kube::api::{DynamicObject, ObjectMeta};
use serde_json::{Value, json};

use super::{
    act::{Act, FIELD_MANAGER, position},
    machines,
    world::World,
};
use crate::Error;

/// The field manager of labels and annotations of the objects that a Machine refers to, as upstream's.
const METADATA_MANAGER: &str = "capi-kubeadmcontrolplane-metadata";

/// Keys that the control plane once set and wants no longer.
#[derive(Debug, Default, PartialEq, Eq)]
struct Dropped {
    labels: BTreeSet<String>,
    annotations: BTreeSet<String>,
}

impl Dropped {
    /// What our entry in the managed fields of a Machine owns beyond what is wanted.
    fn of(machine: &Machine, intent: &Value) -> Self {
        let entries = machine.metadata.managed_fields.as_deref().unwrap_or_default();
        let ours = entries.iter().find(|entry| {
            entry.manager.as_deref() == Some(FIELD_MANAGER) && entry.operation.as_deref() == Some("Apply")
        });
        let Some(fields) = ours.and_then(|entry| entry.fields_v1.as_ref()) else {
            return Self::default();
        };
        let dropped = |part: &str| {
            let owned = fields
                .0
                .pointer(&format!("/f:metadata/f:{part}"))
                .and_then(Value::as_object);
            let wanted = intent.pointer(&format!("/metadata/{part}"));
            owned
                .into_iter()
                .flat_map(|owned| owned.keys())
                .filter_map(|key| key.strip_prefix("f:"))
                .filter(|key| wanted.is_none_or(|wanted| wanted.get(*key).is_none()))
                .map(str::to_owned)
                .collect()
        };
        Self {
            labels: dropped("labels"),
            annotations: dropped("annotations"),
        }
    }

    fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.annotations.is_empty()
    }

    fn take_off(&self, meta: &mut ObjectMeta) {
        if let Some(labels) = &mut meta.labels {
            labels.retain(|key, _| !self.labels.contains(key));
        }
        if let Some(annotations) = &mut meta.annotations {
            annotations.retain(|key, _| !self.annotations.contains(key));
        }
    }
}

impl Act<'_> {
    /// The objects that the Machine refers to come first: as long as the Machine has not been applied, it remembers what
    /// is to be taken off.
    pub(super) async fn sync_machine(&self, world: &mut World, name: &str) -> Result<(), Error> {
        let Some(index) = position(world, name) else {
            return Ok(());
        };
        let view = world.machines[index].clone();
        let key = Key::of(&*view.machine);
        if view.deleting() {
            let wanted = machines::with_timeouts(world, &view.machine);
            match self.ctx.patch(&*view.machine, &wanted).await {
                Err(error) if error.is_not_found() => {}
                result => drop(result?),
            }
            world.machines[index].machine = Arc::new(wanted);
            return Ok(());
        }
        let intent = machines::intent(world, &view.machine);
        let dropped = match world.spec_is_new() {
            true => match self.ctx.get_live::<Machine>(&key).await? {
                Some(live) => Dropped::of(&live, &intent),
                None => return Ok(()),
            },
            false => Dropped::default(),
        };
        if let Some(config) = &view.config {
            let config = self.sync_config(world, config, &dropped).await?;
            world.machines[index].config = Some(Arc::new(config));
        }
        if let Some(object) = &view.infrastructure {
            let reference = &view.machine.spec.infrastructure_ref;
            let object = self
                .sync_infrastructure(world, reference, object, &dropped)
                .await?;
            world.machines[index].infrastructure = Some(Arc::new(object));
        }
        if !dropped.is_empty() || machines::is_out_of_sync(world, &view.machine) {
            let synced: Machine = self.ctx.apply(&key, &intent, FIELD_MANAGER).await?;
            world.machines[index].machine = Arc::new(synced);
        }
        Ok(())
    }

    async fn sync_config(
        &self,
        world: &World,
        config: &KubeadmConfig,
        dropped: &Dropped,
    ) -> Result<KubeadmConfig, Error> {
        let mut current = config.clone();
        dropped.take_off(&mut current.metadata);
        self.ctx.patch(config, &current).await?;
        let (labels, annotations) = machines::children_metadata(world);
        if !machines::lacks(&current.metadata, &labels, &annotations) {
            return Ok(current);
        }
        let intent = json!({ "metadata": { "labels": labels, "annotations": annotations } });
        Ok(self
            .ctx
            .apply(&Key::of(config), &intent, METADATA_MANAGER)
            .await?)
    }

    async fn sync_infrastructure(
        &self,
        world: &World,
        reference: &ContractVersionedObjectReference,
        object: &DynamicObject,
        dropped: &Dropped,
    ) -> Result<DynamicObject, Error> {
        let resource = self.ctx.external(&world.namespace(), reference).await?.resource;
        let mut current = object.clone();
        dropped.take_off(&mut current.metadata);
        self.ctx.patch_dynamic(object, &current, &resource).await?;
        let (labels, annotations) = machines::children_metadata(world);
        if !machines::lacks(&current.metadata, &labels, &annotations) {
            return Ok(current);
        }
        let intent = json!({ "metadata": { "labels": labels, "annotations": annotations } });
        Ok(self
            .ctx
            .apply_dynamic(
                &resource,
                &Key::of_meta(&object.metadata),
                &intent,
                METADATA_MANAGER,
            )
            .await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_control_plane_once_set_and_wants_no_longer_is_dropped() {
        let machine: Machine = serde_json::from_value(json!({
            "metadata": { "name": "m", "managedFields": [
                { "manager": "manager", "operation": "Update", "fieldsV1": { "f:metadata": { "f:labels": { "f:theirs": {} } } } },
                { "manager": FIELD_MANAGER, "operation": "Apply", "fieldsV1": { "f:metadata": {
                    "f:labels": { ".": {}, "f:a": {}, "f:b": {} }, "f:annotations": { "f:c": {} } } } },
            ] },
            "spec": { "clusterName": "c", "bootstrap": { "dataSecretName": "x" },
                "infrastructureRef": { "apiGroup": "g", "kind": "K", "name": "m" } },
        }))
        .unwrap();
        let intent = json!({ "metadata": { "labels": { "a": "1" }, "annotations": {} } });
        let dropped = Dropped::of(&machine, &intent);
        assert_eq!(dropped.labels, BTreeSet::from(["b".to_owned()]));
        assert_eq!(dropped.annotations, BTreeSet::from(["c".to_owned()]));
    }
}
