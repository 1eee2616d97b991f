//! Carries a plan out: writes in order, and takes what was written into the world, so that the status that follows
//! tells the truth. Stops at the first failure; the next reconcile goes on from what exists.

use std::sync::Arc;

use capi_api::{
    annotations, bootstrap::v1beta2::KubeadmConfig, controlplane::v1beta2::KubeadmControlPlane,
    core::v1beta2::Machine, finalizers, secrets::Purpose,
};
use capi_runtime::{Context, Event, Key, WorkloadClient};
use k8s_openapi::api::core::v1::Secret;
use kube::{ResourceExt, core::DynamicObject};

use super::{
    certificates::{self, Sources},
    machines::{self, NewMachine, Role},
    membership::member_of,
    observe::Memory,
    plan::{Action, Plan, has_kubeadm_config},
    world::{MachineView, Template, World},
};
use crate::{
    Error, Settings,
    workload::{self, etcd::Leaving},
};

/// The field manager of Machines, as upstream's; with it either can take over from the other.
pub(super) const FIELD_MANAGER: &str = "capi-kubeadmcontrolplane";

/// What acting needs besides the world.
pub struct Act<'a> {
    /// The runtime.
    pub ctx: &'a Context,
    /// The provider's settings.
    pub settings: &'a Settings,
    /// What is kept between reconciles.
    pub memory: &'a Memory,
}

impl Act<'_> {
    /// Carries out all actions of a plan.
    pub async fn carry_out(&self, world: &mut World, plan: &Plan) -> Result<(), Error> {
        for action in &plan.actions {
            if let Err(error) = self.carry_out_one(world, action).await {
                self.report_failure(world, action, &error);
                return Err(error);
            }
        }
        Ok(())
    }

    async fn carry_out_one(&self, world: &mut World, action: &Action) -> Result<(), Error> {
        match action {
            Action::OwnSecret(purpose) => self.own_secret(world, *purpose).await,
            Action::CreateCertificate(purpose) => {
                let secret = certificates::generate(world, *purpose, &self.sources())?;
                self.create_secret(world, *purpose, secret).await
            }
            Action::CreateKubeconfig => {
                let secret = certificates::kubeconfig(world, &self.sources())?;
                self.create_secret(world, Purpose::Kubeconfig, secret).await
            }
            Action::RotateKubeconfig => self.rotate_kubeconfig(world).await,
            Action::OwnTemplate => self.own_template(world).await,
            Action::Adopt(name) => self.adopt(world, name).await,
            Action::RefuseAdoption(name) => {
                self.refuse_adoption(world, name);
                Ok(())
            }
            Action::SyncMachine(name) => self.sync_machine(world, name).await,
            Action::CreateMachine {
                name,
                role,
                failure_domain,
            } => {
                self.create_machine(world, name, *role, failure_domain.clone())
                    .await
            }
            Action::UpdateKubeProxy(image) => {
                let workload = self.workload(world)?;
                workload::addons::set_kube_proxy(&workload, image)
                    .await
                    .map_err(Error::Workload)
            }
            Action::UpdateCoreDns(update) => {
                let workload = self.workload(world)?;
                workload::addons::update_coredns(&workload, update).await
            }
            Action::GrantKubeadmPermissions => self.grant_permissions(world).await,
            Action::UpdateKubeadmConfig => self.update_kubeadm_config(world).await,
            Action::ForwardLeadership { from, to, insist } => {
                match self.forward_leadership(world, from, to).await {
                    Err(error) if !insist => {
                        tracing::info!(machine = from, %error, "cannot hand etcd's leadership over; its members will choose");
                        Ok(())
                    }
                    result => result,
                }
            }
            Action::NoteCertificateExpiry(name) => self.note_certificate_expiry(world, name).await,
            Action::RemoveEtcdMember(name) => match member_of(world, name) {
                Some(member) => self.remove_etcd_member(world, Leaving::Named(member)).await,
                None => Ok(()),
            },
            Action::RemoveStrayMember { id, .. } => self.remove_etcd_member(world, Leaving::Id(*id)).await,
            Action::BeginRemediation(record) => self.note_remediation(world, Some(record.text())).await,
            Action::EndRemediation => self.note_remediation(world, None).await,
            Action::RemoveHook(name) => self.remove_hook(world, name).await,
            Action::DeleteMachine(name) => self.delete_machine(world, name).await,
            Action::RemoveFinalizer => {
                let before = &world.control_plane;
                self.ctx
                    .remove_finalizer(before, finalizers::KUBEADM_CONTROL_PLANE)
                    .await?;
                Ok(())
            }
        }
    }

    /// The workload cluster.
    pub(super) fn workload(&self, world: &World) -> Result<WorkloadClient, Error> {
        let found = self.ctx.workload(&Key::of(&*world.cluster));
        Ok(found.map_err(capi_runtime::Error::from)?)
    }

    fn sources(&self) -> Sources<'_> {
        Sources {
            keys: self.ctx.keys(),
            randomness: self.ctx.randomness(),
            now: self.ctx.now(),
        }
    }

    async fn create_secret(&self, world: &mut World, purpose: Purpose, secret: Secret) -> Result<(), Error> {
        let created = match self.ctx.create(&secret).await {
            Ok(created) => created,
            // Somebody was faster, perhaps we ourselves before a crash: what exists counts.
            Err(error) if error.is_already_exists() => {
                let key = Key::of(&secret);
                match self.ctx.get_live::<Secret>(&key).await? {
                    Some(existing) => existing,
                    None => return Err(error.into()),
                }
            }
            Err(error) => return Err(error.into()),
        };
        world.secrets.insert(purpose, Arc::new(created));
        Ok(())
    }

    async fn own_secret(&self, world: &mut World, purpose: Purpose) -> Result<(), Error> {
        let Some(secret) = world.secrets.get(&purpose).cloned() else {
            return Ok(());
        };
        let mut owned = secret.as_ref().clone();
        for owner in owned.metadata.owner_references.iter_mut().flatten() {
            owner.controller = None;
            owner.block_owner_deletion = None;
        }
        // The KubeadmConfig that generated it, or whoever else controlled it, gives way.
        owned
            .metadata
            .owner_references
            .get_or_insert_default()
            .retain(|owner| owner.kind != "KubeadmConfig");
        capi_runtime::meta::ensure_owner(&mut owned.metadata, world.controller());
        self.ctx.patch(&*secret, &owned).await?;
        world.secrets.insert(purpose, Arc::new(owned));
        Ok(())
    }

    async fn rotate_kubeconfig(&self, world: &mut World) -> Result<(), Error> {
        let Some(existing) = world.secrets.get(&Purpose::Kubeconfig).cloned() else {
            return Ok(());
        };
        let rotated = certificates::kubeconfig(world, &self.sources())?;
        self.ctx.patch_locked(&*existing, &rotated).await?;
        world.secrets.insert(Purpose::Kubeconfig, Arc::new(rotated));
        Ok(())
    }

    async fn own_template(&self, world: &mut World) -> Result<(), Error> {
        let Template::Found { object, resource } = world.template.clone() else {
            return Ok(());
        };
        let mut owned = object.as_ref().clone();
        capi_runtime::meta::ensure_owner(
            &mut owned.metadata,
            capi_runtime::meta::owner_reference(&*world.cluster),
        );
        self.ctx.patch_dynamic(&object, &owned, &resource).await?;
        world.template = Template::Found {
            object: Arc::new(owned),
            resource,
        };
        Ok(())
    }

    async fn adopt(&self, world: &mut World, name: &str) -> Result<(), Error> {
        let Some(index) = world
            .orphans
            .iter()
            .position(|machine| machine.name_any() == name)
        else {
            return Ok(());
        };
        // Machines are orphaned on purpose when their control plane is deleted so; the store may not know that yet.
        let live = self
            .ctx
            .get_live::<KubeadmControlPlane>(&Key::of(&world.control_plane))
            .await?;
        if live.is_none_or(|live| live.metadata.deletion_timestamp.is_some()) {
            return Ok(());
        }
        let machine = world.orphans.remove(index);
        let mut adopted = machine.as_ref().clone();
        capi_runtime::meta::ensure_owner(&mut adopted.metadata, world.controller());
        self.ctx.patch(&*machine, &adopted).await?;
        world.machines.push(MachineView {
            machine: Arc::new(adopted),
            config: None,
            infrastructure: None,
        });
        world.machines.sort_by_key(MachineView::name);
        Ok(())
    }

    fn refuse_adoption(&self, world: &World, name: &str) {
        let Some(machine) = world.orphans.iter().find(|machine| machine.name_any() == name) else {
            return;
        };
        let message = match has_kubeadm_config(machine) {
            false => format!(
                "Could not adopt Machine {}/{name}: its spec.bootstrap.configRef is not of kind KubeadmConfig",
                world.namespace()
            ),
            true => format!(
                "Could not adopt Machine {}/{name}: its version (\"{}\") is outside supported +/- one minor version skew from KCP's (\"{}\")",
                world.namespace(),
                machine.spec.version.as_deref().unwrap_or_default(),
                world.control_plane.spec.version,
            ),
        };
        self.ctx
            .event(&world.control_plane, Event::warning("AdoptionFailed", message));
    }

    /// Configuration first, then infrastructure, then the Machine: what is there after a crash is found by its owner and
    /// its name, and finished.
    async fn create_machine(
        &self,
        world: &mut World,
        name: &str,
        role: Role,
        failure_domain: Option<String>,
    ) -> Result<(), Error> {
        let new = machines::new_machine(world, name, role, failure_domain)?;
        let config = self.create_config(world, &new).await?;
        let infrastructure = self.create_infrastructure(world, &new).await?;
        let intent = machines::intent(world, &new.machine);
        let machine: Machine = self
            .ctx
            .apply(&Key::of(&new.machine), &intent, FIELD_MANAGER)
            .await?;
        world.unfinished.retain(|config| config.name_any() != name);
        world.machines.push(MachineView {
            machine: Arc::new(machine),
            config: Some(Arc::new(config)),
            infrastructure: Some(Arc::new(infrastructure)),
        });
        world.machines.sort_by_key(MachineView::name);
        Ok(())
    }

    async fn create_config(&self, world: &World, new: &NewMachine) -> Result<KubeadmConfig, Error> {
        match self.ctx.create(&new.config).await {
            Ok(config) => Ok(config),
            Err(error) if error.is_already_exists() => {
                let existing = self.ctx.get_live::<KubeadmConfig>(&Key::of(&new.config)).await?;
                existing
                    .filter(|config| belongs_to(world, &config.metadata))
                    .ok_or_else(|| taken("KubeadmConfig", &new.config.name_any()))
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn create_infrastructure(&self, world: &World, new: &NewMachine) -> Result<DynamicObject, Error> {
        let resource = &new.infrastructure_resource;
        match self.ctx.create_dynamic(&new.infrastructure, resource).await {
            Ok(object) => Ok(object),
            Err(error) if error.is_already_exists() => {
                let key = Key::of_meta(&new.infrastructure.metadata);
                let existing = self.ctx.get_live_dynamic(resource, &key).await?;
                existing
                    .filter(|object| belongs_to(world, &object.metadata))
                    .ok_or_else(|| taken("infrastructure machine", &key.name))
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn grant_permissions(&self, world: &World) -> Result<(), Error> {
        if world
            .version()
            .is_some_and(|version| (version.major, version.minor) >= (1, 38))
        {
            return Ok(());
        }
        let workload = self.workload(world)?;
        workload::grant_kubeadm_permissions(&workload)
            .await
            .map_err(Error::Workload)
    }

    async fn update_kubeadm_config(&self, world: &World) -> Result<(), Error> {
        let Some(target) = world.version() else {
            return Ok(());
        };
        let workload = self.workload(world)?;
        workload::kubeadm_config::update(&workload, &world.config_spec(), &target).await
    }

    /// That an API server does not answer is no reason to stop: the next look at the control plane tries again.
    async fn note_certificate_expiry(&self, world: &mut World, name: &str) -> Result<(), Error> {
        let Some(index) = position(world, name) else {
            return Ok(());
        };
        let view = &world.machines[index];
        let (Some(node), Some(config)) = (view.node_name(), view.config.clone()) else {
            return Ok(());
        };
        let Ok(workload) = self.ctx.workload(&Key::of(&*world.cluster)) else {
            return Ok(());
        };
        let ca = certificates::pair(world, Purpose::ClusterCa)?.certificate;
        let port = machines::api_server_port(&config.spec);
        let expiry = match workload::expiry::of_api_server(&workload, node, port, &ca, self.ctx.now()).await {
            Ok(expiry) => expiry,
            Err(error) => {
                tracing::debug!(
                    machine = name,
                    error,
                    "cannot read when the API server's certificate expires"
                );
                return Ok(());
            }
        };
        let mut noted = config.as_ref().clone();
        let annotations = noted.metadata.annotations.get_or_insert_default();
        annotations.insert(annotations::CERTIFICATES_EXPIRY.to_owned(), expiry.to_string());
        self.ctx.patch(&*config, &noted).await?;
        world.machines[index].config = Some(Arc::new(noted));
        Ok(())
    }

    async fn remove_hook(&self, world: &mut World, name: &str) -> Result<(), Error> {
        let Some(index) = position(world, name) else {
            return Ok(());
        };
        let machine = world.machines[index].machine.clone();
        let mut without = machine.as_ref().clone();
        without
            .metadata
            .annotations
            .get_or_insert_default()
            .remove(annotations::KCP_PRE_TERMINATE_HOOK);
        match self.ctx.patch(&*machine, &without).await {
            Err(error) if error.is_not_found() => {}
            result => drop(result?),
        }
        world.machines[index].machine = Arc::new(without);
        Ok(())
    }

    async fn delete_machine(&self, world: &World, name: &str) -> Result<(), Error> {
        let Some(index) = position(world, name) else {
            return Ok(());
        };
        self.ctx.delete(&*world.machines[index].machine).await?;
        Ok(())
    }

    /// The events of failed actions.
    fn report_failure(&self, world: &World, action: &Action, error: &Error) {
        let cluster = Key::of(&*world.cluster);
        let (reason, message) = match action {
            Action::CreateMachine { role: Role::Init, .. } => (
                "FailedInitialization",
                format!(
                    "Failed to create initial control plane Machine for cluster {cluster} control plane: {error}"
                ),
            ),
            Action::CreateMachine { role: Role::Join, .. } => (
                "FailedScaleUp",
                format!("Failed to create additional control plane Machine for cluster {cluster}: {error}"),
            ),
            Action::DeleteMachine(_) if world.deleting() => (
                "FailedDelete",
                format!(
                    "Failed to delete control plane Machines for cluster {cluster} control plane: {error}"
                ),
            ),
            Action::DeleteMachine(name) => (
                "FailedScaleDown",
                format!(
                    "Failed to delete control plane Machine {name} for cluster {cluster} control plane: {error}"
                ),
            ),
            _ => return,
        };
        self.ctx
            .event(&world.control_plane, Event::warning(reason, message));
    }
}

pub(super) fn position(world: &World, name: &str) -> Option<usize> {
    world.machines.iter().position(|view| view.name() == name)
}

/// Whether an object of the name of a new Machine was begun by this control plane.
fn belongs_to(world: &World, meta: &kube::api::ObjectMeta) -> bool {
    let uid = world.control_plane.uid().unwrap_or_default();
    capi_runtime::meta::is_owned_by(meta, &uid) && meta.deletion_timestamp.is_none()
}

fn taken(kind: &'static str, name: &str) -> Error {
    Error::NameTaken {
        kind,
        name: name.to_owned(),
    }
}
