//! What a MachineHealthCheck's reconcile looks at.

use std::sync::Arc;

use capi_api::{
    annotations,
    conditions::{get, is_true, types},
    contract::{ContractVersion, Template},
    core::v1beta2::{Cluster, Machine, MachineHealthCheck, MachineHealthCheckRemediationTemplateReference},
    names,
};
use capi_runtime::{Context, Error, Failure, ForeignKind, Key, KindId, WorkloadClient, meta};
use k8s_openapi::api::core::v1::Node;
use kube::{
    ResourceExt,
    core::{ApiResource, DynamicObject},
};

use crate::{
    foreign::{Foreign, Found},
    selector,
};

/// What is known of the Node of a Machine.
#[derive(Clone, Debug, Default)]
pub enum NodeView {
    /// The Machine has none yet.
    #[default]
    Unset,
    /// It cannot be looked at before the control plane is initialised.
    Hidden,
    /// The Node.
    Found(Arc<Node>),
    /// The Machine had this one, and it is gone.
    Gone(String),
}

/// A Machine that is checked.
#[derive(Clone, Debug)]
pub struct Target {
    /// The Machine.
    pub machine: Arc<Machine>,
    /// Its Node.
    pub node: NodeView,
    /// The remediation request for it.
    pub request: Option<Found>,
}

/// The way to the workload cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Connection {
    /// The control plane has never been up: there is nothing to connect to yet.
    NotNeeded,
    /// There is a connection.
    Up,
    /// There is none, for this reason.
    Down(String),
}

/// A MachineHealthCheck and everything that matters to it.
#[derive(Clone, Debug)]
pub struct World {
    /// The MachineHealthCheck.
    pub check: Arc<MachineHealthCheck>,
    /// Its Cluster.
    pub cluster: Arc<Cluster>,
    /// The connection to the workload cluster.
    pub connection: Connection,
    /// The Machines it checks, by name.
    pub targets: Vec<Target>,
    /// The template of remediation requests.
    pub template: Foreign,
}

impl World {
    /// The reference to the template of remediation requests, if somebody outside remediates.
    pub fn template_ref(&self) -> Option<&MachineHealthCheckRemediationTemplateReference> {
        template_ref(&self.check)
    }
}

fn template_ref(check: &MachineHealthCheck) -> Option<&MachineHealthCheckRemediationTemplateReference> {
    check.spec.remediation.as_ref()?.template_ref.as_ref()
}

/// Whether a Machine is checked at all: those that are paused or may not be remediated do not even count.
pub fn is_target(check: &MachineHealthCheck, machine: &Machine) -> bool {
    machine.spec.cluster_name == check.spec.cluster_name
        && selector::matches(&check.spec.selector, machine.metadata.labels.as_ref())
        && !meta::has_paused_annotation(&machine.metadata)
        && !machine.annotations().contains_key(annotations::SKIP_REMEDIATION)
}

/// Reads the world of a MachineHealthCheck.
pub async fn observe(
    ctx: &Context,
    check: Arc<MachineHealthCheck>,
    cluster: Arc<Cluster>,
    failures: &mut Vec<Failure>,
) -> World {
    let cluster_key = Key::of(&*cluster);
    let workload = match is_true(&*cluster, types::CONTROL_PLANE_INITIALIZED) {
        true => Some(ctx.workload(&cluster_key)),
        false => None,
    };
    let connection = match &workload {
        None => Connection::NotNeeded,
        Some(Ok(_)) => Connection::Up,
        Some(Err(disconnected)) => Connection::Down(disconnected.to_string()),
    };
    let workload = workload.and_then(Result::ok);
    let all = ctx.store::<Machine>().by_cluster(&cluster_key);
    let targets = all
        .into_iter()
        .filter(|m| is_target(&check, m))
        .map(|machine| Target {
            node: node(workload.as_ref(), &machine),
            request: None,
            machine,
        });
    let mut world = World {
        targets: targets.collect(),
        connection,
        template: Foreign::Unset,
        check,
        cluster,
    };
    if let Some(reference) = template_ref(&world.check.clone()) {
        external(ctx, reference, &mut world, failures).await;
    }
    world
}

fn node(workload: Option<&WorkloadClient>, machine: &Machine) -> NodeView {
    let name = machine
        .status
        .as_ref()
        .and_then(|s| s.node_ref.as_ref())
        .map(|node| node.name.clone());
    match (workload, name) {
        (_, None) => NodeView::Unset,
        (None, Some(_)) => NodeView::Hidden,
        (Some(workload), Some(name)) => match workload.store::<Node>().get(&Key::new("", name.clone())) {
            Some(node) => NodeView::Found(node),
            None => NodeView::Gone(name),
        },
    }
}

/// A kind of the external remediation: watched if its definition names a contract, otherwise read as it is needed.
enum RemediationKind {
    Watched(ForeignKind),
    Read(ApiResource),
}

impl RemediationKind {
    async fn resolve(
        ctx: &Context,
        group: &str,
        version: &str,
        kind: &str,
        name: &str,
    ) -> Result<Self, Error> {
        let id = KindId {
            group: group.to_owned(),
            kind: kind.to_owned(),
        };
        match ctx.foreign_kind(&id, name).await {
            Ok(kind) => Ok(Self::Watched(kind)),
            // Remediation is no contract of Cluster API: such kinds need not carry its labels.
            Err(Error::ContractMissing { .. }) => Ok(Self::Read(ApiResource {
                group: group.to_owned(),
                version: version.to_owned(),
                api_version: format!("{group}/{version}"),
                kind: kind.to_owned(),
                plural: names::plural(&kind.to_lowercase()),
            })),
            Err(error) => Err(error),
        }
    }

    async fn get(&self, ctx: &Context, key: &Key) -> Result<Option<Found>, Error> {
        let found = |contract, resource: &ApiResource, object: Arc<DynamicObject>| Found {
            contract,
            resource: resource.clone(),
            object,
        };
        match self {
            Self::Watched(kind) => Ok(kind
                .store
                .get(key)
                .map(|object| found(kind.contract, &kind.resource, object))),
            Self::Read(resource) => Ok(ctx
                .get_live_dynamic(resource, key)
                .await?
                .map(|object| found(ContractVersion::V1Beta2, resource, Arc::new(object)))),
        }
    }
}

/// Reads the template of remediation requests, and the requests there are.
async fn external(
    ctx: &Context,
    reference: &MachineHealthCheckRemediationTemplateReference,
    world: &mut World,
    failures: &mut Vec<Failure>,
) {
    let key = Key::of(&*world.check);
    let (group, version) = reference
        .api_version
        .split_once('/')
        .unwrap_or(("", &reference.api_version));
    world.template = match read_template(ctx, reference, (group, version), &key).await {
        Ok((Some(found), _)) => Foreign::Found(found),
        Ok((None, watched)) => {
            if !watched {
                let text = format!(
                    "{} {}/{} does not exist",
                    reference.kind, key.namespace, reference.name
                );
                failures.push(Failure::transient(text));
            }
            Foreign::Missing
        }
        Err(error) => {
            let text = error.to_string();
            failures.push(error.into());
            Foreign::Unreadable(text)
        }
    };
    let kind = Template::cloned_kind(&reference.kind);
    let kind = match RemediationKind::resolve(ctx, group, version, kind, &reference.name).await {
        Ok(kind) => kind,
        Err(error) => return failures.push(error.into()),
    };
    for target in &mut world.targets {
        if matches!(kind, RemediationKind::Read(_)) && !may_have_request(&target.machine) {
            continue;
        }
        match kind.get(ctx, &key.sibling(target.machine.name_any())).await {
            Ok(request) => target.request = request,
            Err(error) => failures.push(error.into()),
        }
    }
}

async fn read_template(
    ctx: &Context,
    reference: &MachineHealthCheckRemediationTemplateReference,
    (group, version): (&str, &str),
    check: &Key,
) -> Result<(Option<Found>, bool), Error> {
    let kind = RemediationKind::resolve(ctx, group, version, &reference.kind, &reference.name).await?;
    let found = kind.get(ctx, &check.sibling(reference.name.clone())).await?;
    Ok((found, matches!(kind, RemediationKind::Watched(_))))
}

/// A Machine is marked before a request for it is made.
fn may_have_request(machine: &Machine) -> bool {
    get(machine, types::EXTERNALLY_REMEDIATED).is_some()
}
