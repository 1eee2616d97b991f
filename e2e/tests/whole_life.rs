//! The whole life of a cluster with three control-plane machines and three workers, in simulated time: every change that
//! users make and every failure that they meet, with what must hold in between judged after each single write.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "all of this is test code: a failure is a panic"
)]

#[path = "whole_life/upkeep.rs"]
mod upkeep;

use std::{collections::BTreeSet, time::Duration};

use capictl::inventory::Inventory;
use e2e::{
    invariants,
    observer::{Limits, Range},
    scenario::{self, CONTROL_PLANE, LARGE, NEW_VERSION, WORKERS},
    simulation::{Simulation, Start, passes},
};
use serde_json::json;

/// Surge 1, and never fewer than there should be.
const WHOLE: Limits = Limits {
    control_plane: Range {
        available: 3,
        machines: 4,
    },
    workers: Range {
        available: 3,
        machines: 4,
    },
};

/// One control-plane machine or worker may be broken.
const ONE_BROKEN: Limits = Limits {
    control_plane: Range {
        available: 2,
        machines: 3,
    },
    workers: Range {
        available: 2,
        machines: 3,
    },
};

async fn large(simulation: Simulation) -> Result<Simulation, String> {
    let simulation = simulation.patient();
    scenario::create(&simulation, LARGE, 6).await?;
    Ok(simulation)
}

#[test]
fn workers_go_from_three_to_ten_to_one() {
    passes(Start::seed(10), |simulation| async move {
        let simulation = large(simulation).await?;
        for (workers, limits) in [(10, Range::new(3, 10)), (1, Range::new(1, 10))] {
            simulation.journal.observer.limit(Some(Limits {
                workers: limits,
                ..WHOLE
            }));
            scenario::scale_workers(&simulation, workers).await?;
            scenario::available(&simulation, workers as usize + 3).await?;
            invariants::check(&simulation).await?;
        }
        Ok(())
    });
}

#[test]
fn the_control_plane_goes_from_three_to_five_to_one() {
    passes(Start::seed(11), |simulation| async move {
        let simulation = large(simulation).await?;
        for (replicas, limits) in [(5, Range::new(3, 5)), (1, Range::new(1, 5))] {
            simulation.journal.observer.limit(Some(Limits {
                control_plane: limits,
                ..WHOLE
            }));
            scenario::scale_control_plane(&simulation, replicas).await?;
            scenario::available_within(&simulation, replicas as usize + 3, scenario::LONG).await?;
            invariants::check(&simulation).await?;
        }
        Ok(())
    });
}

#[test]
fn an_upgrade_replaces_the_control_plane_and_then_the_workers_within_surge_and_availability() {
    passes(Start::seed(12), |simulation| async move {
        let simulation = large(simulation).await?;
        simulation.journal.observer.limit(Some(WHOLE));
        scenario::upgrade(&simulation, 6).await?;
        invariants::check(&simulation).await?;
        simulation.journal.observer.limit(None);
        scenario::delete(&simulation).await.map(drop)
    });
}

#[test]
fn a_changed_template_rolls_workers_and_control_plane() {
    passes(Start::seed(13), |simulation| async move {
        let simulation = large(simulation).await?;
        simulation.journal.observer.limit(Some(WHOLE));
        for control_plane in [false, true] {
            let name = if control_plane {
                "other-control-plane"
            } else {
                "other-workers"
            };
            scenario::change_template(&simulation, control_plane, name).await?;
            scenario::rolled(&simulation, control_plane, name, 6).await?;
        }
        invariants::check(&simulation).await
    });
}

#[test]
fn a_control_plane_machine_that_nobody_can_use_yet_keeps_the_old_ones() {
    passes(Start::seed(16), |simulation| async move {
        let simulation = large(simulation).await?;
        simulation.journal.observer.limit(Some(WHOLE));
        scenario::change_template(&simulation, true, "other-control-plane").await?;
        let old = scenario::machines(&simulation.inventory(), true);
        let new = |inventory: &Inventory| {
            let mut all = scenario::machines(inventory, true).into_iter();
            all.find(|name| !old.contains(name))
        };
        let cloned = |inventory: &Inventory| new(inventory).is_some();
        simulation
            .until("a fourth machine", scenario::LIMIT, cloned)
            .await?;
        // All that runs on it is well, but its Node is not.
        let name = new(&simulation.inventory()).unwrap();
        scenario::break_machine(&simulation, &name, "node", "not-ready").await?;
        tokio::time::sleep(Duration::from_secs(300)).await;
        let now = scenario::machines(&simulation.inventory(), true);
        if now.len() != 4 || !old.iter().all(|name| now.contains(name)) {
            return Err(format!("there were {old:?}, now there are {now:?}"));
        }
        let node = format!("{}node", scenario::FAULTS);
        let machine = scenario::dev_machine(&simulation, &name)?;
        scenario::annotate(&simulation, "DevMachine", &machine, &node, None).await?;
        scenario::rolled(&simulation, true, "other-control-plane", 6).await?;
        invariants::check(&simulation).await
    });
}

#[test]
fn workers_deleted_in_the_middle_of_an_upgrade_do_not_stop_it() {
    passes(Start::seed(14), |simulation| async move {
        let simulation = large(simulation).await?;
        scenario::upgrade_control_plane(&simulation, NEW_VERSION).await?;
        scenario::upgraded(&simulation, true, NEW_VERSION, 6).await?;
        scenario::upgrade_workers(&simulation, NEW_VERSION).await?;
        let (mut deleted, mut pause) = (BTreeSet::new(), 5);
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_secs(pause)).await;
            pause += 4;
            let mut machines = scenario::machines(&simulation.inventory(), false).into_iter();
            // Old ones and new ones, whatever is there.
            if let Some(machine) = machines.find(|m| !deleted.contains(m)) {
                scenario::delete_one(&simulation, "Machine", &machine).await?;
                deleted.insert(machine);
            }
        }
        scenario::upgraded(&simulation, false, NEW_VERSION, 6).await?;
        invariants::check(&simulation).await
    });
}

#[test]
fn on_delete_waits_for_the_user_to_delete_each_worker() {
    passes(Start::seed(15), |simulation| async move {
        let simulation = large(simulation).await?;
        let strategy =
            json!({"spec": {"rollout": {"strategy": {"type": "OnDelete", "rollingUpdate": null}}}});
        scenario::patch(&simulation, "MachineDeployment", WORKERS, strategy).await?;
        scenario::upgrade_control_plane(&simulation, NEW_VERSION).await?;
        scenario::upgraded(&simulation, true, NEW_VERSION, 6).await?;
        let before = scenario::machines(&simulation.inventory(), false);
        scenario::upgrade_workers(&simulation, NEW_VERSION).await?;
        invariants::at_rest(&simulation, Duration::from_secs(120)).await?;
        if scenario::machines(&simulation.inventory(), false) != before {
            return Err("OnDelete replaced a machine that nobody deleted".to_owned());
        }
        for machine in &before {
            scenario::delete_one(&simulation, "Machine", machine).await?;
            let what = format!("{machine} is replaced");
            simulation
                .until(&what, scenario::LIMIT, |inventory| {
                    let names = scenario::machines(inventory, false);
                    let running = inventory
                        .of_kind("Machine")
                        .filter(|m| scenario::is(m, "Available"));
                    names.len() == 3 && !names.contains(machine) && running.count() == 6
                })
                .await?;
        }
        scenario::upgraded(&simulation, false, NEW_VERSION, 6).await?;
        invariants::check(&simulation).await
    });
}

#[test]
fn an_unhealthy_machine_is_replaced() {
    for (seed, control_plane, part, fault) in [
        (20, false, "node", "not-ready"),
        (21, false, "node", "unknown"),
        (22, true, "node", "unknown"),
        (23, true, "etcd", "lost"),
        (24, true, "etcd", "down"),
    ] {
        let what = format!("{part}: {fault}");
        passes(Start::seed(seed), |simulation| async move {
            let simulation = large(simulation).await?;
            scenario::check_health(&simulation).await?;
            simulation.journal.observer.limit(Some(ONE_BROKEN));
            let machine = scenario::first(&simulation, control_plane)?;
            scenario::break_machine(&simulation, &machine, part, fault).await?;
            let healed = async {
                scenario::healed(&simulation, 6).await?;
                invariants::check(&simulation).await
            };
            healed.await.map_err(|e| format!("{what}: {e}"))
        });
    }
}

#[test]
fn a_machine_that_never_becomes_a_node_is_replaced() {
    passes(Start::seed(25), |simulation| async move {
        let simulation = large(simulation).await?;
        scenario::check_health(&simulation).await?;
        scenario::scale_workers(&simulation, 4).await?;
        let new = |inventory: &Inventory| {
            let mut machines = inventory.of_kind("Machine");
            machines
                .find(|m| {
                    m.text("/spec/providerID").is_none() && m.text("/spec/infrastructureRef/name").is_some()
                })
                .map(|m| m.name())
        };
        simulation
            .until("a new machine", scenario::LIMIT, |i| new(i).is_some())
            .await?;
        let machine = new(&simulation.inventory()).unwrap();
        scenario::break_machine(&simulation, &machine, "node", "never-joins").await?;
        scenario::healed(&simulation, 7).await?;
        scenario::replaced(&simulation, &machine, 7).await?;
        invariants::check(&simulation).await
    });
}

#[test]
fn a_deleted_node_is_healed() {
    for (seed, control_plane) in [(30, false), (31, true)] {
        passes(Start::seed(seed), |simulation| async move {
            let simulation = large(simulation).await?;
            scenario::check_health(&simulation).await?;
            let machine = scenario::first(&simulation, control_plane)?;
            scenario::delete_node(&simulation, &machine).await?;
            scenario::replaced(&simulation, &machine, 6).await?;
            invariants::check(&simulation).await
        });
    }
}

#[test]
fn wiped_owner_references_and_finalizers_come_back() {
    for (seed, paused) in [(40, false), (41, true)] {
        passes(Start::seed(seed), |simulation| async move {
            let simulation = large(simulation).await?;
            scenario::check_health(&simulation).await?;
            invariants::check(&simulation).await?;
            let before = scenario::ties(&simulation.inventory());
            if paused {
                scenario::pause(&simulation, true).await?;
            }
            scenario::wipe(&simulation).await?;
            if paused {
                tokio::time::sleep(Duration::from_secs(60)).await;
                scenario::pause(&simulation, false).await?;
            }
            scenario::tied(&simulation, &before).await?;
            scenario::available(&simulation, 6).await?;
            invariants::check(&simulation).await
        });
    }
}

#[test]
fn a_paused_cluster_is_not_written_to_and_goes_on_when_resumed() {
    passes(Start::seed(42), |simulation| async move {
        let simulation = large(simulation).await?;
        scenario::check_health(&simulation).await?;
        scenario::pause(&simulation, true).await?;
        // Reasons enough to do something.
        scenario::scale_workers(&simulation, 4).await?;
        scenario::change_template(&simulation, true, "other-control-plane").await?;
        let unwanted = scenario::first(&simulation, false)?;
        scenario::delete_one(&simulation, "Machine", &unwanted).await?;
        invariants::at_rest(&simulation, Duration::from_secs(300)).await?;
        scenario::pause(&simulation, false).await?;
        scenario::rolled(&simulation, true, "other-control-plane", 7).await?;
        invariants::check(&simulation).await?;
        // A paused cluster that is deleted goes when it is resumed.
        scenario::pause(&simulation, true).await?;
        scenario::delete_one(&simulation, "Cluster", scenario::CLUSTER).await?;
        invariants::at_rest(&simulation, Duration::from_secs(60)).await?;
        let resume = json!({"spec": {"paused": false}});
        scenario::patch(&simulation, "Cluster", scenario::CLUSTER, resume).await?;
        scenario::delete(&simulation).await.map(drop)
    });
}

#[test]
fn a_control_plane_with_surge_zero_is_upgraded_in_place_of_its_machines() {
    passes(Start::seed(43), |simulation| async move {
        let simulation = large(simulation).await?;
        let strategy = json!({"spec": {"rollout": {"strategy": {"rollingUpdate": {"maxSurge": 0}}}}});
        scenario::patch(&simulation, "KubeadmControlPlane", CONTROL_PLANE, strategy).await?;
        simulation.journal.observer.limit(Some(Limits {
            control_plane: Range::new(2, 3),
            ..WHOLE
        }));
        scenario::upgrade_control_plane(&simulation, NEW_VERSION).await?;
        scenario::upgraded(&simulation, true, NEW_VERSION, 6).await?;
        invariants::check(&simulation).await
    });
}
