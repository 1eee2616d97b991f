//! The volumes that are still attached to a Node. Pure.
//!
//! Two places tell of them: the kubelet's list in the Node's status, and VolumeAttachments. Volumes of pods that the
//! drain leaves alone stay attached and are not waited for.

use std::collections::BTreeSet;

use capi_api::conditions::whole_seconds;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, PersistentVolume};
use kube::ResourceExt;

/// What is read of volumes in the workload cluster.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// Names of the PersistentVolumes that VolumeAttachments attach to the Node.
    pub attachments: BTreeSet<String>,
    /// All PersistentVolumes; none if nothing is attached.
    pub volumes: Vec<PersistentVolume>,
}

/// What has to be detached, each list sorted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Attached {
    /// Claims, as `namespace/name`.
    claims: BTreeSet<String>,
    /// PersistentVolumes without a claim.
    unclaimed: BTreeSet<String>,
    /// Entries of the Node that no PersistentVolume explains.
    unknown_to_node: BTreeSet<String>,
    /// VolumeAttachments' volumes that do not exist.
    unknown: BTreeSet<String>,
}

/// The first line of messages about volumes.
pub fn head(started: Timestamp) -> String {
    format!(
        "Waiting for Node volumes to be detached (started at {})",
        whole_seconds(started)
    )
}

/// The kubelet's names of the volumes attached to a Node.
pub fn on_node(node: &Node) -> BTreeSet<String> {
    let attached = node
        .status
        .iter()
        .flat_map(|s| s.volumes_attached.iter().flatten());
    attached.map(|v| v.name.clone()).collect()
}

impl Attached {
    /// Brings the two lists together.
    pub fn of(node: &Node, view: &View, left_alone: &BTreeSet<String>) -> Self {
        let mut attached = Self {
            unknown_to_node: on_node(node),
            unknown: view.attachments.clone(),
            ..Self::default()
        };
        for volume in &view.volumes {
            let spec = volume.spec.as_ref();
            let on_node = spec.and_then(|s| s.csi.as_ref()).is_some_and(|csi| {
                let name = format!("kubernetes.io/csi/{}^{}", csi.driver, csi.volume_handle);
                attached.unknown_to_node.remove(&name)
            });
            let by_attachment = attached.unknown.remove(&volume.name_any());
            if !on_node && !by_attachment {
                continue;
            }
            let claim = spec
                .and_then(|s| s.claim_ref.as_ref())
                .filter(|c| c.kind.as_deref() == Some("PersistentVolumeClaim"));
            match claim {
                None => {
                    attached.unclaimed.insert(volume.name_any());
                }
                Some(claim) => {
                    let (namespace, name) = (claim.namespace.as_deref(), claim.name.as_deref());
                    let claim = format!("{}/{}", namespace.unwrap_or_default(), name.unwrap_or_default());
                    if !left_alone.contains(&claim) {
                        attached.claims.insert(claim);
                    }
                }
            }
        }
        attached
    }

    /// The message of the `Deleting` condition; nothing if nothing is attached.
    pub fn message(&self, head: &str) -> Option<String> {
        let lines: Vec<String> = [
            (&self.claims, "PersistentVolumeClaims"),
            (
                &self.unclaimed,
                "PersistentVolumes without a .spec.claimRef to a PersistentVolumeClaim",
            ),
            (
                &self.unknown_to_node,
                "Node with .status.volumesAttached entries not matching a PersistentVolume",
            ),
            (
                &self.unknown,
                "VolumeAttachment with .spec.source.persistentVolumeName not matching a PersistentVolume",
            ),
        ]
        .into_iter()
        .filter(|(names, _)| !names.is_empty())
        .map(|(names, text)| {
            let names: Vec<&String> = names.iter().collect();
            format!("\n* {text}: {}", capi_api::conditions::name_list(&names, 5))
        })
        .collect();
        (!lines.is_empty()).then(|| format!("{head}{}", lines.concat()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn volume(name: &str, claim: Option<&str>) -> PersistentVolume {
        let mut value =
            json!({"metadata": {"name": name}, "spec": {"csi": {"driver": "d", "volumeHandle": name}}});
        if let Some(claim) = claim {
            value["spec"]["claimRef"] =
                json!({"kind": "PersistentVolumeClaim", "namespace": "ns", "name": claim});
        }
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn both_lists_are_brought_together_and_volumes_that_stay_do_not_count() {
        let node: Node = serde_json::from_value(json!({"metadata": {"name": "n"}, "status": {"volumesAttached": [
            {"name": "kubernetes.io/csi/d^a", "devicePath": ""}, {"name": "kubernetes.io/csi/d^gone", "devicePath": ""},
            {"name": "kubernetes.io/csi/d^stays", "devicePath": ""}]}}))
        .unwrap();
        let view = View {
            attachments: ["a", "b", "free", "lost"].map(str::to_owned).into(),
            volumes: vec![
                volume("a", Some("a")),
                volume("b", Some("b")),
                volume("elsewhere", Some("c")),
                volume("free", None),
                volume("stays", Some("stays")),
            ],
        };
        let attached = Attached::of(&node, &view, &["ns/stays".to_owned()].into());
        assert_eq!(
            attached.message("Waiting").unwrap(),
            "Waiting\n* PersistentVolumeClaims: ns/a, ns/b\n\
             * PersistentVolumes without a .spec.claimRef to a PersistentVolumeClaim: free\n\
             * Node with .status.volumesAttached entries not matching a PersistentVolume: kubernetes.io/csi/d^gone\n\
             * VolumeAttachment with .spec.source.persistentVolumeName not matching a PersistentVolume: lost"
        );
        let quiet: Node = serde_json::from_value(json!({"metadata": {"name": "n"}})).unwrap();
        assert_eq!(
            Attached::of(&quiet, &View::default(), &BTreeSet::new()).message("Waiting"),
            None
        );
    }
}
