//! A control plane at rest: it has what it asks for, all is well, and nothing waits for a time or an answer.
//!
//! Whatever it is made of wakes the controller by an event. Only etcd sends none: it is asked now and then, and while it
//! answers as before nothing else is looked at. Here is no rule about what is well; that is `plan` and `status`.

use std::time::Duration;

use capi_runtime::{Context, Next};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;

use super::{
    ETCD_WELL, addons,
    observe::{self, Memory},
    plan::Plan,
    status::Report,
    world::{Workload, World},
};
use crate::{Settings, workload::etcd::EtcdCluster};

/// After this time everything is looked at again, should an event have been missed.
const LONGEST: SignedDuration = SignedDuration::from_hours(1);

/// Until when a control plane rests that was just looked at and reported; none if it does not.
pub fn until(
    ctx: &Context,
    memory: &Memory,
    world: &World,
    plan: &Plan,
    report: &Report,
) -> Option<Timestamp> {
    let Workload::Connected(view) = &world.workload else {
        return None;
    };
    let well = view.initialized && view.etcd.as_ref().is_some_and(observe::is_good);
    let written = !report.machines.is_empty() || report.control_plane.status != world.control_plane.status;
    let done = !addons::is_due(world) || memory.addons_fit(ctx.key(), &addons::fingerprint(world));
    // What the store does not show sends no events either.
    let secrets = ctx.store::<Secret>();
    let seen = world
        .secrets
        .values()
        .all(|secret| secrets.contains(&capi_runtime::Key::of(&**secret)));
    if world.deleting() || !plan.is_content() || !well || written || !done || !seen {
        return None;
    }
    let longest = ctx.now().checked_add(LONGEST).ok();
    plan.look_again
        .into_iter()
        .chain(report.look_again)
        .chain(longest)
        .min()
}

/// Asks etcd of a control plane that rests, if nothing else has happened to it; none if it has to be looked at as a whole.
pub async fn look(ctx: &Context, settings: &Settings, memory: &Memory) -> Option<Next> {
    let until = memory.take_rest(ctx.key())?;
    if !ctx.is_by_timer() || ctx.now() >= until {
        return None;
    }
    let known = memory.answer(ctx.key())?;
    let workload = ctx.workload(&known.cluster).ok()?;
    known.tls.set_time(ctx.now());
    let etcd = EtcdCluster {
        reach: observe::reach(settings, workload, known.tls),
        timeouts: settings.etcd_timeouts,
    };
    if etcd.view(&known.asked).await != known.view {
        memory.forget_etcd(ctx.key());
        return None;
    }
    memory.rest_until(ctx.key(), until);
    let left = until.duration_since(ctx.now()).max(SignedDuration::ZERO);
    let left = Duration::try_from(left).unwrap_or_default() + Duration::from_millis(500);
    let pause = seams::jittered(ctx.randomness(), ETCD_WELL, 0.2);
    Some(Next::After(pause.min(left)))
}
