//! The table of built-in resources: plain records with the right scope, names and subresources.

use super::{Origin, Resource, ScalePaths, Version, names::NameRule};
use crate::fieldmanager::TypeSchema;
use crate::storage::GroupResource;
use crate::table::Columns;

/// One row: a built-in resource.
#[derive(Debug)]
pub(crate) struct Builtin {
    pub group: &'static str,
    pub version: &'static str,
    pub kind: &'static str,
    pub plural: &'static str,
    pub singular: &'static str,
    pub short_names: &'static [&'static str],
    pub categories: &'static [&'static str],
    pub flags: u16,
    /// Subresources besides status and scale.
    pub subresources: &'static [&'static str],
}

impl Builtin {
    pub const NAMESPACED: u16 = 1;
    /// Has a status subresource; the main resource ignores status.
    pub const STATUS: u16 = 2;
    /// Counts changes of spec in `metadata.generation`.
    pub const GENERATION: u16 = 4;
    pub const SCALE: u16 = 8;
    /// Can only be created; nothing is stored (reviews).
    pub const VIRTUAL: u16 = 16;
    /// A status given at creation is kept, though status is a subresource.
    pub const KEEPS_STATUS: u16 = 32;
    /// An update of something absent creates it.
    pub const UPSERT: u16 = 64;
    /// A deletion is answered with what was deleted.
    pub const RETURNS_DELETED: u16 = 128;
    /// An update must name the version that it replaces.
    pub const PINNED: u16 = 256;

    pub const fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    /// What its names must look like.
    pub fn name_rule(&self) -> NameRule {
        match (self.group, self.plural) {
            ("", "namespaces") => NameRule::Label,
            ("", "services") => NameRule::Label,
            ("rbac.authorization.k8s.io" | "certificates.k8s.io" | "policy", _) => NameRule::PathSegment,
            _ => NameRule::Subdomain,
        }
    }
}

const NS: u16 = Builtin::NAMESPACED;
const ST: u16 = Builtin::STATUS;
const GEN: u16 = Builtin::GENERATION;
const SCALE: u16 = Builtin::SCALE;
const VIRTUAL: u16 = Builtin::VIRTUAL;
const KEEP: u16 = Builtin::KEEPS_STATUS;
const UPSERT: u16 = Builtin::UPSERT;
const GONE: u16 = Builtin::RETURNS_DELETED;
const PIN: u16 = Builtin::PINNED;

macro_rules! rows {
    ($($group:literal $version:literal $kind:literal $plural:literal $singular:literal $short:tt $categories:tt $flags:expr $(, $sub:tt)?;)*) => {
        &[$(Builtin {
            group: $group, version: $version, kind: $kind, plural: $plural, singular: $singular,
            short_names: &$short, categories: &$categories, flags: $flags, subresources: &[$($sub)?],
        }),*]
    };
}

#[rustfmt::skip]
static ROWS: &[Builtin] = rows! {
    "" "v1" "ConfigMap" "configmaps" "configmap" ["cm"] [] NS;
    "" "v1" "Endpoints" "endpoints" "endpoints" ["ep"] [] NS | UPSERT;
    "" "v1" "Event" "events" "event" ["ev"] [] NS | UPSERT;
    "" "v1" "LimitRange" "limitranges" "limitrange" ["limits"] [] NS;
    "" "v1" "Namespace" "namespaces" "namespace" ["ns"] [] ST | GONE, "finalize";
    "" "v1" "Node" "nodes" "node" ["no"] [] ST | KEEP;
    "" "v1" "PersistentVolume" "persistentvolumes" "persistentvolume" ["pv"] [] ST | GONE;
    "" "v1" "PersistentVolumeClaim" "persistentvolumeclaims" "persistentvolumeclaim" ["pvc"] [] NS | ST | GONE;
    "" "v1" "Pod" "pods" "pod" ["po"] ["all"] NS | ST | KEEP | GEN | GONE, "eviction";
    "" "v1" "ResourceQuota" "resourcequotas" "resourcequota" ["quota"] [] NS | ST | GONE;
    "" "v1" "Secret" "secrets" "secret" [] [] NS;
    "" "v1" "Service" "services" "service" ["svc"] ["all"] NS | ST | GONE | UPSERT;
    "" "v1" "ServiceAccount" "serviceaccounts" "serviceaccount" ["sa"] [] NS | GONE, "token";
    "admissionregistration.k8s.io" "v1" "MutatingWebhookConfiguration" "mutatingwebhookconfigurations" "mutatingwebhookconfiguration" [] ["api-extensions"] GEN | PIN;
    "admissionregistration.k8s.io" "v1" "ValidatingAdmissionPolicy" "validatingadmissionpolicies" "validatingadmissionpolicy" [] ["api-extensions"] GEN | ST | PIN;
    "admissionregistration.k8s.io" "v1" "ValidatingAdmissionPolicyBinding" "validatingadmissionpolicybindings" "validatingadmissionpolicybinding" [] ["api-extensions"] GEN | PIN;
    "admissionregistration.k8s.io" "v1" "ValidatingWebhookConfiguration" "validatingwebhookconfigurations" "validatingwebhookconfiguration" [] ["api-extensions"] GEN | PIN;
    "apiextensions.k8s.io" "v1" "CustomResourceDefinition" "customresourcedefinitions" "customresourcedefinition" ["crd", "crds"] ["api-extensions"] ST | GEN | PIN;
    "apiregistration.k8s.io" "v1" "APIService" "apiservices" "apiservice" [] ["api-extensions"] ST | PIN;
    "apps" "v1" "ControllerRevision" "controllerrevisions" "controllerrevision" [] [] NS;
    "apps" "v1" "DaemonSet" "daemonsets" "daemonset" ["ds"] ["all"] NS | ST | GEN;
    "apps" "v1" "Deployment" "deployments" "deployment" ["deploy"] ["all"] NS | ST | GEN | SCALE;
    "apps" "v1" "ReplicaSet" "replicasets" "replicaset" ["rs"] ["all"] NS | ST | GEN | SCALE;
    "apps" "v1" "StatefulSet" "statefulsets" "statefulset" ["sts"] ["all"] NS | ST | GEN | SCALE;
    "authentication.k8s.io" "v1" "SelfSubjectReview" "selfsubjectreviews" "selfsubjectreview" [] [] VIRTUAL;
    "authentication.k8s.io" "v1" "TokenReview" "tokenreviews" "tokenreview" [] [] VIRTUAL;
    "authorization.k8s.io" "v1" "LocalSubjectAccessReview" "localsubjectaccessreviews" "localsubjectaccessreview" [] [] NS | VIRTUAL;
    "authorization.k8s.io" "v1" "SelfSubjectAccessReview" "selfsubjectaccessreviews" "selfsubjectaccessreview" [] [] VIRTUAL;
    "authorization.k8s.io" "v1" "SelfSubjectRulesReview" "selfsubjectrulesreviews" "selfsubjectrulesreview" [] [] VIRTUAL;
    "authorization.k8s.io" "v1" "SubjectAccessReview" "subjectaccessreviews" "subjectaccessreview" [] [] VIRTUAL;
    "batch" "v1" "CronJob" "cronjobs" "cronjob" ["cj"] ["all"] NS | ST | GEN;
    "batch" "v1" "Job" "jobs" "job" [] ["all"] NS | ST | GEN;
    "certificates.k8s.io" "v1" "CertificateSigningRequest" "certificatesigningrequests" "certificatesigningrequest" ["csr"] [] ST, "approval";
    "coordination.k8s.io" "v1" "Lease" "leases" "lease" [] [] NS | UPSERT | PIN;
    "discovery.k8s.io" "v1" "EndpointSlice" "endpointslices" "endpointslice" [] [] NS | GEN;
    "events.k8s.io" "v1" "Event" "events" "event" ["ev"] [] NS | UPSERT;
    "networking.k8s.io" "v1" "Ingress" "ingresses" "ingress" ["ing"] [] NS | ST | GEN;
    "networking.k8s.io" "v1" "IngressClass" "ingressclasses" "ingressclass" [] [] GEN;
    "networking.k8s.io" "v1" "NetworkPolicy" "networkpolicies" "networkpolicy" ["netpol"] [] NS | GEN;
    "policy" "v1" "PodDisruptionBudget" "poddisruptionbudgets" "poddisruptionbudget" ["pdb"] [] NS | ST | GEN | PIN;
    "rbac.authorization.k8s.io" "v1" "ClusterRole" "clusterroles" "clusterrole" [] [] UPSERT;
    "rbac.authorization.k8s.io" "v1" "ClusterRoleBinding" "clusterrolebindings" "clusterrolebinding" [] [] UPSERT;
    "rbac.authorization.k8s.io" "v1" "Role" "roles" "role" [] [] NS | UPSERT;
    "rbac.authorization.k8s.io" "v1" "RoleBinding" "rolebindings" "rolebinding" [] [] NS | UPSERT;
    "scheduling.k8s.io" "v1" "PriorityClass" "priorityclasses" "priorityclass" ["pc"] [] GEN;
    "storage.k8s.io" "v1" "CSIDriver" "csidrivers" "csidriver" [] [] GONE | PIN;
    "storage.k8s.io" "v1" "CSINode" "csinodes" "csinode" [] [] GONE | PIN;
    "storage.k8s.io" "v1" "StorageClass" "storageclasses" "storageclass" ["sc"] [] GONE;
    "storage.k8s.io" "v1" "VolumeAttachment" "volumeattachments" "volumeattachment" [] [] ST | GONE | PIN;
};

/// Field selectors besides name and namespace.
fn selectable(row: &Builtin) -> &'static [&'static str] {
    match (row.group, row.kind) {
        ("", "Event") => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        ("events.k8s.io", "Event") => &[
            "regarding.kind",
            "regarding.namespace",
            "regarding.name",
            "regarding.uid",
            "regarding.apiVersion",
            "regarding.resourceVersion",
            "regarding.fieldPath",
            "reason",
            "reportingController",
            "type",
        ],
        ("", "Pod") => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ],
        ("", "Node") => &["spec.unschedulable"],
        ("", "Namespace") => &["status.phase"],
        ("", "Secret") => &["type"],
        ("", "Service") => &["spec.clusterIP", "spec.type"],
        ("apps", "ReplicaSet") => &["status.replicas"],
        ("batch", "Job") => &["status.successful"],
        ("certificates.k8s.io", _) => &["spec.signerName"],
        _ => &[],
    }
}

fn version(row: &'static Builtin) -> Version {
    let scale = row.has(SCALE).then(|| ScalePaths {
        spec: ".spec.replicas".to_owned(),
        status: ".status.replicas".to_owned(),
        selector: Some(".spec.selector".to_owned()),
    });
    Version {
        name: row.version.to_owned(),
        served: true,
        deprecation: None,
        status: row.has(ST),
        scale,
        schema: None,
        rules: None,
        columns: Columns::builtin(row.group, row.kind),
        types: TypeSchema::builtin(row.group, row.version, row.kind).unwrap_or_else(TypeSchema::deduced),
        selectable: selectable(row).iter().map(|&s| s.to_owned()).collect(),
    }
}

/// The descriptions of all built-in resources.
pub(crate) fn resources() -> impl Iterator<Item = Resource> {
    ROWS.iter().map(|row| {
        let gr = GroupResource::new(row.group, row.plural);
        // Both groups of events show the same objects.
        let store = if row.kind == "Event" {
            GroupResource::new("", "events")
        } else {
            gr.clone()
        };
        Resource {
            gr,
            store,
            kind: row.kind.to_owned(),
            list_kind: format!("{}List", row.kind),
            singular: row.singular.to_owned(),
            short_names: row.short_names.iter().map(|&s| s.to_owned()).collect(),
            categories: row.categories.iter().map(|&s| s.to_owned()).collect(),
            namespaced: row.has(NS),
            versions: vec![version(row)],
            storage_version: row.version.to_owned(),
            origin: Origin::Builtin(row),
            generation: 0,
            since: 0,
        }
    })
}
