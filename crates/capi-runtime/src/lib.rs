//! What every provider manager of this project is built on: stores, queues, writes, foreign objects, workload clusters,
//! webhooks and the process around them.
//!
//! A controller is a [`Reconciler`], wired up with a [`Controller`] and run by a [`Manager`]:
//!
//! ```no_run
//! use async_trait::async_trait;
//! use capi_api::core::v1beta2::{Cluster, Machine, MachinePhase};
//! use capi_runtime::{Context, Controller, Event, Failure, Key, Manager, Next, Reconciler, meta};
//! use k8s_openapi::api::core::v1::Node;
//!
//! const FINALIZER: &str = "machine.example.com";
//!
//! struct MachineReconciler;
//!
//! #[async_trait]
//! impl Reconciler for MachineReconciler {
//!     async fn reconcile(&self, ctx: &Context, key: &Key) -> Result<Next, Failure> {
//!         // Observe: stores first. An object that is gone needs nothing any more.
//!         let Some(machine) = ctx.get::<Machine>(key) else { return Ok(Next::Done) };
//!         let Some(cluster) = ctx.get::<Cluster>(&key.sibling(&machine.spec.cluster_name)) else {
//!             return Ok(Next::Done); // its appearance wakes us
//!         };
//!         if ctx.stop_if_paused(cluster.spec.paused.unwrap_or_default(), &*machine).await?
//!             || ctx.ensure_finalizer(&*machine, FINALIZER).await?
//!         {
//!             return Ok(Next::Done); // the write wakes us
//!         }
//!         let infrastructure = ctx.external(&key.namespace, &machine.spec.infrastructure_ref).await?;
//!         // Plan and act: change a copy, write the difference.
//!         let mut after = (*machine).clone();
//!         after.status.get_or_insert_default().phase =
//!             Some(if infrastructure.object.is_some() { MachinePhase::Provisioning } else { MachinePhase::Pending });
//!         if ctx.patch(&*machine, &after).await? {
//!             ctx.event(&*machine, Event::normal("PhaseChanged", "the phase changed"));
//!         }
//!         Ok(Next::Done)
//!     }
//! }
//!
//! pub fn register(manager: &mut Manager) {
//!     manager.index::<Machine>("node", |m| m.status.iter().flat_map(|s| &s.node_ref).map(|n| n.name.clone()).collect());
//!     manager.register(
//!         Controller::<Machine>::new("machine", MachineReconciler)
//!             .watches::<Cluster>(|cluster, stores| {
//!                 stores.get::<Machine>().by_cluster(&Key::of(cluster)).iter().map(|m| Key::of(&**m)).collect()
//!             })
//!             .watches_workload::<Node>(|_, node, stores| {
//!                 let node = node.metadata.name.clone().unwrap_or_default();
//!                 stores.get::<Machine>().by_index("node", &node).iter().map(|m| Key::of(&**m)).collect()
//!             })
//!             .concurrency(100),
//!     );
//! }
//! ```
//!
//! The README of this crate tells how to write a controller step by step, and what the runtime promises.

pub mod cli;
mod context;
mod controller;
mod error;
mod events;
mod external;

mod key;
mod manager;
pub mod meta;
mod metrics;
mod pages;
mod patch;
mod queue;
mod ring;
mod status_pace;
mod store;
pub mod transport;
pub mod webhook;
pub mod workload;
mod writes;

pub use context::Context;
pub use controller::{Controller, Reconciler, Waker, owners_of_kind};
pub use error::{Class, Classify, Disconnected, Error, Failure, Next, describe};
pub use events::{Event, EventType};
pub use external::{External, ForeignKind};
pub use key::{Key, Kind, KindId, ScopeOf, Stored};
pub use manager::{Builder, Manager, Readiness};
pub use metrics::Metrics;
pub use patch::{PatchPlan, merge_diff};
pub use queue::{Pace, Priority, WorkQueue};
pub use ring::{Ring, ShardKey, Work, leases::Membership};
pub use status_pace::{StatusPace, Urgency};
pub use store::{BY_CLUSTER, BY_OWNER, Delta, Store, Stores};
pub use transport::management_client;
pub use webhook::Admission;
pub use workload::{WorkloadClient, WorkloadConnection, WorkloadConnector};
