//! What to do next with a configuration: a pure function of what is known.
//!
//! A plan first makes sure that nothing is missing, and only then claims the init lock or spends a token, so that a
//! configuration which cannot become user data leaves no traces.

mod init;
mod join;
mod user_data;

use std::time::Duration;

use capi_api::bootstrap::v1beta2::KubeadmConfigSpec;
use capi_api::secrets::Purpose;
use cluster_pki::BootstrapToken;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;

use super::conditions::{CertificatesState, Data, Report};
use super::discovery::TokenLife;
use super::error::Trouble;
use super::world::{Facts, Lock, Owner, Stage, World};
use crate::kubeadm;
use init::plan_init;
use join::{plan_join, plan_token};
pub(super) use user_data::mended_owner;

/// The last resort: watches tell when a wait is over.
const LOOK_AGAIN: Duration = Duration::from_secs(120);
/// How long nobody may use a configuration before that is worth a condition.
const UNUSED_GRACE: SignedDuration = SignedDuration::from_secs(20);
/// The taint that keeps workloads off a worker until its labels and taints are there.
const UNINITIALIZED_TAINT: &str = "node.cluster.x-k8s.io/uninitialized";

/// One write.
#[derive(Clone)]
pub(super) enum Action {
    /// Remove the init lock of a Machine that is gone, or that a cluster no longer needs.
    DropLock(Lock),
    /// Take the init lock.
    TakeLock,
    /// Make certificates and keep them in Secrets.
    Generate(Vec<Purpose>),
    /// Complete the configuration.
    WriteSpec(Box<KubeadmConfigSpec>),
    /// Make a token work in the workload cluster.
    CreateToken(BootstrapToken, Timestamp),
    /// Give a token a longer life.
    ExtendToken(BootstrapToken, Timestamp),
    /// Keep user data that did not exist before.
    CreateData(Box<Secret>),
    /// Replace user data.
    ReplaceData(Box<Secret>, Box<Secret>),
}

/// What to do, in order, and what to say.
#[derive(Clone, Default)]
pub(super) struct Plan {
    /// Writes.
    pub actions: Vec<Action>,
    /// What the status says, once the writes are done.
    pub report: Report,
    /// Look at the object again after this time.
    pub next: Option<Duration>,
    /// Look again at once: the writes make new facts.
    pub again: bool,
}

impl Plan {
    fn report(report: Report) -> Self {
        Self {
            report,
            ..Self::default()
        }
    }

    fn failed(message: String) -> Self {
        Self {
            next: Some(LOOK_AGAIN),
            ..Self::report(Report::data(Data::Failed(message)))
        }
    }

    fn waits(message: String) -> Self {
        Self {
            next: Some(LOOK_AGAIN),
            ..Self::report(Report::data(Data::WaitsForControlPlane(message)))
        }
    }
}

/// A plan that ends early; the text of a condition.
enum Halt {
    Files(Trouble),
    Users(Trouble),
    Other(Trouble),
    Certificates(CertificatesState),
    Wait(String),
}

impl From<Trouble> for Halt {
    fn from(trouble: Trouble) -> Self {
        Self::Other(trouble)
    }
}

impl From<crate::ignition::Error> for Halt {
    fn from(error: crate::ignition::Error) -> Self {
        Self::Other(error.into())
    }
}

impl From<kubeadm::Error> for Halt {
    fn from(error: kubeadm::Error) -> Self {
        Self::Other(error.into())
    }
}

impl From<Halt> for Plan {
    fn from(halt: Halt) -> Self {
        match halt {
            Halt::Files(trouble) => Self::failed(format!("Failed to prepare spec.files: {trouble}")),
            Halt::Users(trouble) => Self::failed(format!(
                "Failed to read password from secrets for spec.users: {trouble}"
            )),
            Halt::Other(trouble) => Self::failed(trouble.to_string()),
            Halt::Wait(message) => Self::waits(message),
            Halt::Certificates(state) => {
                let (CertificatesState::Missing(text) | CertificatesState::Corrupted(text)) = &state else {
                    return Self::default();
                };
                let data = Some(Data::Failed(text.clone()));
                Self {
                    next: Some(LOOK_AGAIN),
                    ..Self::report(Report {
                        data,
                        certificates: Some(state),
                    })
                }
            }
        }
    }
}

/// The plan at `now`.
pub(super) fn plan(world: &World, facts: &Facts, life: TokenLife, now: Timestamp) -> Plan {
    let Some(cluster) = &world.cluster else {
        return plan_without_cluster(world, now);
    };
    let made = match world.stage() {
        Stage::Unused | Stage::NoCluster => return plan_without_cluster(world, now),
        Stage::WaitForInfrastructure => {
            let message = "Waiting for Cluster status.infrastructureReady to be true".to_owned();
            return Plan::report(Report::data(Data::WaitsForInfrastructure(message)));
        }
        Stage::Adopt(secret) => return Plan::report(Report::available(secret)),
        Stage::Done => return done(world),
        Stage::WaitForControlPlane => {
            let message = "Waiting for Cluster control plane to be initialized".to_owned();
            return Plan::report(Report::data(Data::WaitsForControlPlane(message)));
        }
        Stage::KeepToken | Stage::RotateToken => plan_token(world, cluster, facts, life, now),
        Stage::Init => plan_init(world, cluster, facts),
        Stage::Join => plan_join(world, cluster, facts, life, now),
    };
    made.unwrap_or_else(Plan::from)
}

fn plan_without_cluster(world: &World, now: Timestamp) -> Plan {
    if world.data_created() {
        // It was used, and what is missing comes back or is on its way out.
        return Plan::default();
    }
    let created = world
        .config
        .metadata
        .creation_timestamp
        .as_ref()
        .map_or(now, |time| time.0);
    let left = UNUSED_GRACE - now.duration_since(created);
    if left.is_positive() {
        // Whoever made the configuration is about to make the rest.
        return Plan {
            next: Some(left.unsigned_abs()),
            ..Plan::default()
        };
    }
    let message = match &world.owner {
        Owner::Nobody => {
            "Waiting for a Machine or MachinePool to use this KubeadmConfig: no owner reference names one"
                .to_owned()
        }
        Owner::Unknown { kind, name } => {
            format!("Waiting for {kind} {name}, which the owner references name, to exist")
        }
        owner => format!(
            "Waiting for Cluster {}, which {} names, to exist",
            owner.cluster_name().unwrap_or_default(),
            owner.describe()
        ),
    };
    Plan::report(Report::data(Data::WaitsForInfrastructure(message)))
}

fn done(world: &World) -> Plan {
    let secret = world
        .config
        .status
        .as_ref()
        .and_then(|status| status.data_secret_name.clone());
    Plan::report(Report::available(
        secret.unwrap_or_else(|| world.config.name_any()),
    ))
}

#[cfg(test)]
mod tests;
