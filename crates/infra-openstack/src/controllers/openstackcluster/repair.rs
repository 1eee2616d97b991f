//! A load balancer in ERROR: Octavia never repairs one by itself, and refuses every change of it. Pure.
//!
//! First Octavia is asked to replace what carries it (failover), which most clouds allow to operators only. Where that is
//! refused, does not help, or nothing depends on it yet, it is deleted and made again with the same virtual address; the
//! floating IP stays and is led to it, and control plane machines join it again. Each attempt waits longer than the last.

use std::time::Duration;

use jiff::SignedDuration;

use crate::cloud::load_balancer::LoadBalancer;
use capi_api::conditions;

use super::{
    plan::{Action, Stage, Step},
    world::World,
};

/// The shortest time between a change of a load balancer and the next attempt to repair it.
const FIRST: SignedDuration = SignedDuration::from_secs(60);
/// The longest.
const LONGEST: SignedDuration = SignedDuration::from_hours(1);
/// For so long failover may help.
const FAILOVER: SignedDuration = SignedDuration::from_mins(15);

/// The next step.
pub fn step(world: &World, balancer: &LoadBalancer) -> Step {
    let broken = broken_for(world);
    // A quarter of the time it is broken: attempts become rarer.
    let pause = SignedDuration::from_secs(broken.as_secs() / 4).clamp(FIRST, LONGEST);
    let since = balancer
        .changed()
        .map_or(pause, |changed| world.now.duration_since(changed));
    if since < pause {
        let wait = Duration::try_from(pause - since).unwrap_or_default();
        let operating = match balancer.operating_status.as_str() {
            "" => String::new(),
            status => format!(" (operating status {status})"),
        };
        let text = format!(
            "load balancer {} is in ERROR{operating}{}; it will be repaired, or made again with the same address",
            balancer.name,
            refusal(world)
        );
        return Step::Wait(Stage::Endpoint, text, wait.max(Duration::from_secs(1)));
    }
    let provisioned = world
        .cluster
        .status
        .as_ref()
        .and_then(|status| status.initialization.as_ref())
        .is_some_and(|done| done.provisioned == Some(true));
    let action = match provisioned && broken < FAILOVER && world.octavia.refusal.is_none() {
        true => Action::Failover(balancer.id.clone()),
        false => Action::DeleteBalancer(balancer.id.clone()),
    };
    Step::Act(Stage::Endpoint, vec![action])
}

/// What Octavia said when it was asked to repair the load balancer, to be added to a sentence.
pub fn refusal(world: &World) -> String {
    match &world.octavia.refusal {
        Some(words) => format!("; failover was refused: {words}"),
        None => String::new(),
    }
}

/// For how long the endpoint is not ready.
fn broken_for(world: &World) -> SignedDuration {
    let condition = conditions::get(&world.cluster, "APIEndpointReady");
    let condition = condition.filter(|condition| condition.status == "False");
    condition.map_or(SignedDuration::ZERO, |condition| {
        world.now.duration_since(condition.last_transition_time.0)
    })
}
