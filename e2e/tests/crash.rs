//! Stops a whole system after each kind of write of its controllers, to the management API, to a workload cluster or to
//! etcd, and starts it again from what was stored: it must come to the end that it reaches without the interruption.
//!
//! `SIM_CRASH=all` stops after every single write, `SIM_SEEDS` does it for more seeds (`make sim`).
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "all of this is test code: a failure is a panic"
)]

use e2e::{
    crash::Story,
    number,
    scenario::{self, LARGE, SMALL},
    simulation::Save,
};

fn survives(story: Story, at_least: usize) {
    let all = std::env::var("SIM_CRASH").is_ok_and(|mode| mode == "all");
    let save = if all { Save::Everything } else { Save::Sites };
    for seed in 0..number("SIM_SEEDS", 1) {
        let sites = story
            .cut(1000 * seed + 42, save)
            .unwrap_or_else(|error| panic!("{error}"));
        println!("{} restarts, after\n  {}", sites.len(), sites.join("\n  "));
        assert!(sites.len() >= at_least, "only {} sites: {sites:#?}", sites.len());
    }
}

#[test]
fn creating_a_cluster_survives_a_stop_after_every_kind_of_write() {
    let story = Story {
        prepare: |_| Box::pin(async { Ok(()) }),
        perform: |s| Box::pin(async { scenario::create(s, SMALL, 3).await.map(drop) }),
    };
    survives(story, 40);
}

#[test]
fn scaling_survives_a_stop_after_every_kind_of_write() {
    let story = Story {
        prepare: |s| Box::pin(async { scenario::create(s, SMALL, 3).await.map(drop) }),
        perform: |s| {
            Box::pin(async {
                scenario::scale_workers(s, 3).await?;
                scenario::scale_control_plane(s, 3).await?;
                scenario::available(s, 6).await?;
                scenario::scale_workers(s, 1).await?;
                scenario::scale_control_plane(s, 1).await?;
                scenario::available(s, 2).await.map(drop)
            })
        },
    };
    survives(story, 20);
}

#[test]
fn upgrading_survives_a_stop_after_every_kind_of_write() {
    let story = Story {
        prepare: |s| Box::pin(async { scenario::create(s, SMALL, 3).await.map(drop) }),
        perform: |s| Box::pin(scenario::upgrade(s, 3)),
    };
    survives(story, 20);
}

#[test]
fn replacing_a_worker_survives_a_stop_after_every_kind_of_write() {
    let story = Story {
        prepare: |s| {
            Box::pin(async {
                scenario::create(s, SMALL, 3).await?;
                scenario::check_health(s).await?;
                let machine = scenario::first(s, false)?;
                scenario::break_machine(s, &machine, "node", "not-ready").await
            })
        },
        perform: |s| Box::pin(async { scenario::healed(s, 3).await.map(drop) }),
    };
    survives(story, 10);
}

#[test]
fn replacing_a_control_plane_machine_survives_a_stop_after_every_kind_of_write() {
    let story = Story {
        prepare: |s| {
            Box::pin(async {
                scenario::create(s, LARGE, 6).await?;
                scenario::check_health(s).await?;
                let machine = scenario::first(s, true)?;
                scenario::break_machine(s, &machine, "etcd", "lost").await
            })
        },
        perform: |s| Box::pin(async { scenario::healed(s, 6).await.map(drop) }),
    };
    survives(story, 10);
}

#[test]
fn deleting_survives_a_stop_after_every_kind_of_write() {
    let story = Story {
        prepare: |s| Box::pin(async { scenario::create(s, SMALL, 3).await.map(drop) }),
        perform: |s| Box::pin(async { scenario::delete(s).await.map(drop) }),
    };
    survives(story, 10);
}
