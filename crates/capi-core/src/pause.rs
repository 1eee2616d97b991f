//! Pausing: a paused object is not touched, but for the condition that says so.

use capi_api::{
    conditions::{self, ConditionsAccess, Draft, reasons, types},
    core::v1beta2::Cluster,
};
use capi_runtime::{Context, Error, Kind, meta};
use jiff::Timestamp;
use kube::Resource;

/// Whether a Cluster pauses everything that belongs to it.
pub fn is_cluster_paused(cluster: &Cluster) -> bool {
    cluster.spec.paused == Some(true)
}

/// Whether the reconcile of an object must stop here because it is paused; writes the condition that says so.
///
/// An object that runs is told so by its plan ([`runs`]), together with all else: one write less.
pub async fn stops<K>(ctx: &Context, cluster: &Cluster, object: &K) -> Result<bool, Error>
where
    K: Kind + ConditionsAccess,
{
    let paused = is_cluster_paused(cluster) || meta::has_paused_annotation(object.meta());
    if paused {
        ctx.stop_if_paused(is_cluster_paused(cluster), object).await?;
    }
    Ok(paused)
}

/// Says that the object is not paused.
pub fn runs(object: &mut impl ConditionsAccess, now: Timestamp) {
    conditions::set(
        object,
        Draft::is_false(types::PAUSED, reasons::NOT_PAUSED, ""),
        now,
    );
}

/// Whether the object's `Paused` condition no longer fits its Cluster: it has to be looked at.
pub fn is_outdated<K: Resource + ConditionsAccess>(cluster: &Cluster, object: &K) -> bool {
    let paused = is_cluster_paused(cluster) || meta::has_paused_annotation(object.meta());
    conditions::get(object, types::PAUSED).is_none_or(|c| (c.status == "True") != paused)
}
