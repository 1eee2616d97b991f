//! What each provider may do in the management cluster: the least that it uses.
//!
//! `e2e/deployed rbac` holds this against the audit log of a kube-apiserver. What its scenes do not reach says here why it is
//! granted nevertheless ([`Rule::beyond`]).

use serde_json::{Value, json};

use super::{Hooks, providers::Provider};

const CORE: &str = "cluster.x-k8s.io";
const ADDONS: &str = "addons.cluster.x-k8s.io";
const BOOTSTRAP: &str = "bootstrap.cluster.x-k8s.io";
const CONTROL_PLANE: &str = "controlplane.cluster.x-k8s.io";
const INFRASTRUCTURE: &str = "infrastructure.cluster.x-k8s.io";
const IPAM: &str = "ipam.cluster.x-k8s.io";

/// Verbs on resources of one API group.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The API group, empty for the core group.
    pub group: &'static str,
    /// The resources, `*` for all of a group, with `/status` and the like where a subresource is meant.
    pub resources: Vec<&'static str>,
    /// The verbs.
    pub verbs: Vec<&'static str>,
    /// The only objects that are meant, none for all.
    pub names: Vec<String>,
    /// Why this is granted although the scenes of `e2e/deployed` do not use it.
    pub beyond: Option<&'static str>,
}

/// `resources` and `verbs` are separated by spaces.
fn allow(group: &'static str, resources: &'static str, verbs: &'static str) -> Rule {
    Rule {
        group,
        resources: resources.split(' ').collect(),
        verbs: verbs.split(' ').collect(),
        names: Vec::new(),
        beyond: None,
    }
}

impl Rule {
    fn named(mut self, names: impl IntoIterator<Item = String>) -> Self {
        self.names = names.into_iter().collect();
        self
    }

    /// Granted for a case that the scenes do not reach.
    fn beyond(mut self, why: &'static str) -> Self {
        self.beyond = Some(why);
        self
    }

    /// As an object of the API.
    pub fn to_json(&self) -> Value {
        let mut rule = json!({"apiGroups": [self.group], "resources": self.resources, "verbs": self.verbs});
        if !self.names.is_empty() {
            rule["resourceNames"] = json!(self.names);
        }
        rule
    }
}

/// Whether a provider follows references to kinds that it does not know, so that foreign providers must be able to
/// extend what it may do.
pub fn aggregates(provider: &Provider) -> bool {
    matches!(provider.folder, "capi-core" | "controlplane-kubeadm")
}

/// What a provider may do in all namespaces.
pub fn cluster_rules(provider: &Provider, hooks: &Hooks) -> Vec<Rule> {
    let mut rules = match provider.folder {
        "capi-core" => core(),
        "bootstrap-kubeadm" => bootstrap(),
        "controlplane-kubeadm" => control_plane(),
        "infra-inmemory" => inmemory(),
        _ => openstack(),
    };
    rules.push(allow("events.k8s.io", "events", "create"));
    if (provider.folder == "bootstrap-kubeadm" || provider.folder.starts_with("infra-"))
        && let Some(rule) = rules.last_mut()
    {
        rule.beyond = Some("reports only what goes wrong, and little does in the scenes");
    }
    let names = provider.names();
    for (shipped, resource, name) in [
        (hooks.mutating, "mutatingwebhookconfigurations", names.mutating()),
        (
            hooks.validating,
            "validatingwebhookconfigurations",
            names.validating(),
        ),
    ] {
        if shipped {
            let group = "admissionregistration.k8s.io";
            rules.push(allow(group, resource, "list watch"));
            rules.push(allow(group, resource, "patch").named([name]));
        }
    }
    if !hooks.definitions.is_empty() {
        // The authority of conversion webhooks is put into them.
        let (group, resource) = ("apiextensions.k8s.io", "customresourcedefinitions");
        if !rules.iter().any(|rule| rule.resources.contains(&resource)) {
            rules.push(allow(group, resource, "list watch"));
        }
        rules.push(allow(group, resource, "get patch").named(hooks.definitions.clone()));
    }
    let metrics = "readers of /metrics are looked up; the scenes read none";
    rules.push(allow("authentication.k8s.io", "tokenreviews", "create").beyond(metrics));
    rules.push(allow("authorization.k8s.io", "subjectaccessreviews", "create").beyond(metrics));
    rules
}

/// What a provider may do in its own namespace.
pub fn own_rules(provider: &Provider, hooks: &Hooks) -> Vec<Rule> {
    let mut rules = Vec::new();
    if provider.replicated {
        rules.push(allow(
            "coordination.k8s.io",
            "leases",
            "create delete get list patch watch",
        ));
    }
    if hooks.any() {
        // The name of what is created cannot be restricted.
        rules.push(allow("", "secrets", "create"));
        let name = provider.names().secret();
        rules.push(allow("", "secrets", "get").named([name.clone()]));
        let renewal = "an authority is replaced after nine years";
        rules.push(allow("", "secrets", "update").named([name]).beyond(renewal));
    }
    rules
}

/// References that block the deletion of their owner (of the controlling owner, that is) need this where the admission
/// plugin OwnerReferencesPermissionEnforcement runs.
fn owners(group: &'static str, resources: &'static str) -> Rule {
    allow(group, resources, "update").beyond("asked by an admission plugin, which no audit log shows")
}

/// The same plugin lets only those change the owners of an object who may delete it.
fn owned(group: &'static str, resources: &'static str) -> Rule {
    allow(group, resources, "delete").beyond("asked by an admission plugin, which no audit log shows")
}

fn core() -> Vec<Rule> {
    let pools = "MachinePools, which the scenes do not have";
    vec![
        allow(CORE, "clusters machinehealthchecks", "list patch watch"),
        allow(
            CORE,
            "clusters/status machinedeployments/status machinehealthchecks/status machines/status machinesets/status",
            "patch",
        ),
        allow(CORE, "machinedeployments", "delete list patch watch"),
        allow(CORE, "machines machinesets", "create delete list patch watch"),
        allow(CORE, "machines machinesets", "get")
            .beyond("read again where a write found them there already"),
        allow(CORE, "machinedrainrules machinepools", "list watch"),
        allow(CORE, "machinepools", "delete").beyond(pools),
        owners(
            CORE,
            "clusters/finalizers machines/finalizers machinedeployments/finalizers machinesets/finalizers",
        ),
        owned(CORE, "machinehealthchecks"),
        allow(
            ADDONS,
            "clusterresourcesetbindings clusterresourcesets",
            "list watch",
        ),
        allow(ADDONS, "clusterresourcesets clusterresourcesets/status", "patch"),
        allow(ADDONS, "clusterresourcesetbindings", "create delete patch"),
        allow(ADDONS, "clusterresourcesetbindings", "get")
            .beyond("read again where a write found it there already"),
        // Objects of any provider that a reference leads to. Kinds of other groups are granted by aggregation.
        allow(BOOTSTRAP, "*", "create delete list patch watch"),
        allow(BOOTSTRAP, "*", "get").beyond("read again where a write found them there already"),
        allow(INFRASTRUCTURE, "*", "create delete list patch watch"),
        allow(INFRASTRUCTURE, "*", "get").beyond("read again where a write found them there already"),
        allow(CONTROL_PLANE, "*", "delete list patch watch"),
        // Resources of ClusterResourceSets come to belong to their set.
        allow("", "configmaps", "get list patch watch"),
        owned("", "configmaps secrets"),
        allow("", "secrets", "create get list patch watch"),
        allow("apiextensions.k8s.io", "customresourcedefinitions", "list watch"),
    ]
}

fn bootstrap() -> Vec<Rule> {
    vec![
        allow(BOOTSTRAP, "kubeadmconfigs", "list patch watch"),
        allow(BOOTSTRAP, "kubeadmconfigs/status", "patch"),
        owners(BOOTSTRAP, "kubeadmconfigs/finalizers"),
        allow(CORE, "clusters machinepools machines", "list watch"),
        // The lock on the first control-plane machine.
        allow("", "configmaps", "create delete get"),
        allow("", "secrets", "create get list watch"),
        // Owners of bootstrap data that were lost come back.
        allow("", "secrets", "patch"),
        owned("", "secrets"),
    ]
}

fn control_plane() -> Vec<Rule> {
    vec![
        allow(CONTROL_PLANE, "kubeadmcontrolplanes", "list patch watch"),
        allow(CONTROL_PLANE, "kubeadmcontrolplanes", "get").beyond("before a Machine is adopted"),
        allow(CONTROL_PLANE, "kubeadmcontrolplanes/status", "patch"),
        owners(CONTROL_PLANE, "kubeadmcontrolplanes/finalizers"),
        allow(CORE, "clusters", "list watch"),
        // Workers go before their control plane.
        allow(CORE, "machinedeployments machinepools", "list watch"),
        allow(CORE, "machines", "delete get list patch watch"),
        allow(CORE, "machines", "create")
            .beyond("asked when an apply makes an object, which a log shows as patch"),
        allow(CORE, "machines/status", "patch"),
        allow(BOOTSTRAP, "kubeadmconfigs", "create list patch watch"),
        allow(BOOTSTRAP, "kubeadmconfigs", "get").beyond("read again where a write found it there already"),
        // Machines of any infrastructure are cloned from templates. Kinds of other groups are granted by aggregation.
        allow(INFRASTRUCTURE, "*", "create list patch watch"),
        allow(INFRASTRUCTURE, "*", "get").beyond("read again where a write found it there already"),
        owned(BOOTSTRAP, "kubeadmconfigs"),
        owned(INFRASTRUCTURE, "*"),
        allow("", "secrets", "create get list watch"),
        // Adopts authorities and kubeconfigs that others made, and renews kubeconfigs.
        allow("", "secrets", "patch"),
        owned("", "secrets"),
        allow("apiextensions.k8s.io", "customresourcedefinitions", "list watch"),
    ]
}

fn inmemory() -> Vec<Rule> {
    vec![
        allow(INFRASTRUCTURE, "devclusters devmachines", "list patch watch"),
        allow(INFRASTRUCTURE, "devclusters/status devmachines/status", "patch"),
        allow(CORE, "clusters", "list watch"),
        allow(CORE, "machines", "list watch"),
        allow(CORE, "machines", "patch").beyond("marks a Machine that was a Node once and boots anew"),
        // Bootstrap data is read when a machine boots; kubeconfigs follow to the address of a new process.
        allow("", "secrets", "get list patch watch"),
    ]
}

/// Tested against `cargo test -p infra-openstack` and its lab only: the scenes of `e2e/deployed` have no OpenStack.
fn openstack() -> Vec<Rule> {
    let cloud = "needs an OpenStack, which the scenes do not have";
    let started = [
        allow(
            INFRASTRUCTURE,
            "openstackclusters openstackfloatingippools openstackmachines openstackservers",
            "list watch",
        ),
        allow(INFRASTRUCTURE, "openstackmachinetemplates", "list watch"),
        allow(CORE, "clusters machines", "list watch"),
        allow(IPAM, "ipaddressclaims ipaddresses", "list watch"),
    ];
    let working = [
        allow(
            INFRASTRUCTURE,
            "openstackclusters openstackfloatingippools openstackmachines openstackservers",
            "patch",
        ),
        allow(
            INFRASTRUCTURE,
            "openstackclusters/status openstackfloatingippools/status openstackmachines/status openstackservers/status",
            "patch",
        ),
        allow(INFRASTRUCTURE, "openstackmachinetemplates/status", "patch"),
        allow(INFRASTRUCTURE, "openstackservers", "create delete get"),
        allow(INFRASTRUCTURE, "openstackclusteridentities", "get"),
        allow(
            INFRASTRUCTURE,
            "openstackclusters/finalizers openstackfloatingippools/finalizers openstackmachines/finalizers openstackservers/finalizers",
            "update",
        ),
        allow(IPAM, "ipaddressclaims ipaddresses", "create delete get patch"),
        allow(IPAM, "ipaddressclaims/status", "patch"),
        allow(IPAM, "ipaddressclaims/finalizers", "update"),
        allow("openstack.k-orc.cloud", "images", "get"),
        allow("", "secrets", "get"),
        allow("", "namespaces", "get"),
    ];
    started
        .into_iter()
        .chain(working.map(|rule| rule.beyond(cloud)))
        .collect()
}
