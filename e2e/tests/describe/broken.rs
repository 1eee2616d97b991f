//! What breaks by itself: each fault switch of the in-memory provider.

use e2e::scenario::{self, LARGE, SMALL};
use serde_json::json;

use super::{Case, case};

/// The manifest with an annotation on the machines that are cloned from one of its templates.
fn annotated(manifest: &str, template: &str, key: &str, value: &str) -> String {
    let wanted = format!(
        "kind: DevMachineTemplate\nmetadata:\n  name: {template}\n  namespace: default\nspec:\n  template:\n"
    );
    assert!(
        manifest.contains(&wanted),
        "the manifest has a template {template}"
    );
    let annotations = format!("    metadata:\n      annotations:\n        {key}: \"{value}\"\n");
    manifest.replace(&wanted, &format!("{wanted}{annotations}"))
}

/// Creates the small cluster with all workers broken from the start.
macro_rules! workers_from_the_start {
    ($part:literal, $fault:literal) => {
        |s| {
            Box::pin(async {
                let key = concat!("simulation.capi-rs.io/", $part);
                scenario::apply(s, &annotated(SMALL, scenario::WORKERS, key, $fault)).await
            })
        }
    };
}

/// Breaks the first machine of a cluster that is well.
macro_rules! later {
    ($manifest:expr, $machines:literal, $control_plane:literal, $part:literal, $fault:literal) => {
        |s| {
            Box::pin(async {
                scenario::create(s, $manifest, $machines).await?;
                let machine = scenario::first(s, $control_plane)?;
                scenario::break_machine(s, &machine, $part, $fault).await
            })
        }
    };
}

pub fn cases() -> Vec<Case> {
    vec![
        case(
            "`vm: never-boots` on the workers",
            workers_from_the_start!("vm", "never-boots"),
        ),
        case(
            "`node: never-joins` on the workers, whose health check replaces them over and over",
            |s| {
                Box::pin(async {
                    let key = "simulation.capi-rs.io/node";
                    scenario::apply(s, &annotated(SMALL, scenario::WORKERS, key, "never-joins")).await?;
                    scenario::check_health(s).await
                })
            },
        ),
        case("`vm: never-boots` on the first control-plane machine", |s| {
            Box::pin(async {
                let key = "simulation.capi-rs.io/vm";
                scenario::apply(s, &annotated(SMALL, scenario::CONTROL_PLANE, key, "never-boots")).await
            })
        }),
        case(
            "`node: never-joins` on the workers",
            workers_from_the_start!("node", "never-joins"),
        ),
        case(
            "`slow: 30m` on the workers",
            workers_from_the_start!("slow", "30m"),
        ),
        case(
            "`node: not-ready` on a worker",
            later!(SMALL, 3, false, "node", "not-ready"),
        ),
        case(
            "`node: unknown` on a worker",
            later!(SMALL, 3, false, "node", "unknown"),
        ),
        case(
            "`node: not-ready` on a control-plane machine",
            later!(LARGE, 6, true, "node", "not-ready"),
        ),
        case(
            "`api-server: down` on one of three",
            later!(LARGE, 6, true, "api-server", "down"),
        ),
        case(
            "`api-server: down` on the only one",
            later!(SMALL, 3, true, "api-server", "down"),
        )
        .after(400),
        case(
            "`etcd: down` on one of three",
            later!(LARGE, 6, true, "etcd", "down"),
        ),
        case(
            "`etcd: lost` on one of three",
            later!(LARGE, 6, true, "etcd", "lost"),
        ),
        case("`etcd: down` on two of three", |s| {
            Box::pin(async {
                scenario::create(s, LARGE, 6).await?;
                for machine in scenario::machines(&s.inventory(), true).iter().take(2) {
                    scenario::break_machine(s, machine, "etcd", "down").await?;
                }
                Ok(())
            })
        })
        .after(400),
        case("`endpoint: unreachable`", |s| {
            Box::pin(async {
                scenario::create(s, SMALL, 3).await?;
                let key = "simulation.capi-rs.io/endpoint";
                scenario::annotate(s, "DevCluster", scenario::CLUSTER, key, Some("unreachable")).await
            })
        })
        .after(400),
        case("the Node of a worker was deleted", |s| {
            Box::pin(async {
                scenario::create(s, SMALL, 3).await?;
                let machine = scenario::first(s, false)?;
                scenario::delete_node(s, &machine).await
            })
        }),
        case("a worker's infrastructure object was deleted", |s| {
            Box::pin(async {
                scenario::create(s, SMALL, 3).await?;
                let machine = scenario::dev_machine(s, &scenario::first(s, false)?)?;
                scenario::delete_one(s, "DevMachine", &machine).await
            })
        }),
        case(
            "the only control-plane machine is unhealthy, and nothing can replace it",
            |s| {
                Box::pin(async {
                    scenario::create(s, SMALL, 3).await?;
                    scenario::check_health(s).await?;
                    let machine = scenario::first(s, true)?;
                    scenario::break_machine(s, &machine, "node", "not-ready").await
                })
            },
        ),
        case(
            "too many workers are unhealthy for the health check to act",
            |s| {
                Box::pin(async {
                    scenario::create(s, SMALL, 3).await?;
                    scenario::check_health(s).await?;
                    let guard =
                        json!({"spec": {"remediation": {"triggerIf": {"unhealthyLessThanOrEqualTo": 1}}}});
                    scenario::patch(s, "MachineHealthCheck", "quickstart-workers", guard).await?;
                    for machine in scenario::machines(&s.inventory(), false) {
                        scenario::break_machine(s, &machine, "node", "not-ready").await?;
                    }
                    Ok(())
                })
            },
        ),
    ]
}
