//! Steps of rollouts, and whole rollouts played to their end.

use proptest::prelude::*;

use super::*;

fn set(name: &str, age: i64, spec: i32, actual: i32, available: i32) -> Set {
    let created = Timestamp::from_second(1_000_000 - age).unwrap();
    Set {
        name: name.into(),
        created,
        spec,
        actual,
        available,
        max_replicas: None,
    }
}

fn sizes(intents: &Intents) -> Vec<(&str, i32)> {
    intents
        .iter()
        .map(|(name, intent)| (name.as_str(), intent.replicas))
        .collect()
}

#[test]
fn numbers_and_percentages_are_resolved() {
    let percent = |p: &str| Some(IntOrString::String(p.into()));
    let w = |replicas, surge: Option<IntOrString>, unavailable: Option<IntOrString>| {
        let w = Wanted::rolling(replicas, surge.as_ref(), unavailable.as_ref());
        (w.max_surge, w.max_unavailable)
    };
    assert_eq!(w(3, None, None), (1, 0));
    assert_eq!(w(10, percent("25%"), percent("25%")), (3, 2));
    assert_eq!(w(3, Some(IntOrString::Int(0)), Some(IntOrString::Int(0))), (0, 1));
    assert_eq!(w(2, Some(IntOrString::Int(0)), Some(IntOrString::Int(5))), (0, 2));
    assert_eq!(w(0, None, Some(IntOrString::Int(1))), (1, 0));
}

#[test]
fn without_old_sets_the_new_one_gets_all() {
    let wanted = Wanted {
        replicas: 3,
        max_surge: 1,
        max_unavailable: 0,
    };
    assert_eq!(
        sizes(&rolling_update(&wanted, &set("new", 0, 0, 0, 0), &[])),
        [("new", 3)]
    );
    assert_eq!(
        sizes(&rolling_update(&wanted, &set("new", 0, 5, 5, 5), &[])),
        [("new", 3)]
    );
    assert!(rolling_update(&wanted, &set("new", 0, 3, 1, 0), &[]).is_empty());
}

#[test]
fn a_rolling_update_with_surge_adds_first_then_removes() {
    let wanted = Wanted {
        replicas: 3,
        max_surge: 1,
        max_unavailable: 0,
    };
    let step = |new: Set, old: Set| {
        sizes(&rolling_update(&wanted, &new, &[old]))
            .into_iter()
            .map(|(n, s)| (n.to_owned(), s))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        step(set("new", 0, 0, 0, 0), set("old", 9, 3, 3, 3)),
        [("new".to_owned(), 1)]
    );
    assert_eq!(step(set("new", 0, 1, 1, 0), set("old", 9, 3, 3, 3)), []);
    assert_eq!(
        step(set("new", 0, 1, 1, 1), set("old", 9, 3, 3, 3)),
        [("old".to_owned(), 2)]
    );
    assert_eq!(step(set("new", 0, 1, 1, 1), set("old", 9, 2, 3, 3)), []);
    assert_eq!(
        step(set("new", 0, 1, 1, 1), set("old", 9, 2, 2, 2)),
        [("new".to_owned(), 2)]
    );
}

#[test]
fn unavailable_old_machines_go_first() {
    let wanted = Wanted {
        replicas: 3,
        max_surge: 1,
        max_unavailable: 0,
    };
    let got = rolling_update(
        &wanted,
        &set("new", 0, 1, 1, 1),
        &[set("older", 9, 1, 1, 1), set("broken", 5, 2, 2, 1)],
    );
    assert_eq!(sizes(&got), [("broken", 1)]);
}

#[test]
fn a_rollout_stuck_on_broken_machines_is_unblocked() {
    let wanted = Wanted {
        replicas: 3,
        max_surge: 0,
        max_unavailable: 1,
    };
    let got = rolling_update(&wanted, &set("new", 0, 0, 0, 0), &[set("old", 9, 3, 3, 1)]);
    assert!(got["old"].replicas < 3, "{got:?}");
}

/// Plays a rollout against MachineSets that do at once what they are told, one Machine becoming available a round.
fn play(wanted: Wanted, mut old: Vec<Set>) -> usize {
    let mut new = set("new", 0, 0, 0, 0);
    for round in 0..200 {
        let intents = rolling_update(&wanted, &new, &old);
        for s in old.iter_mut().chain([&mut new]) {
            s.spec = intents.get(&s.name).map_or(s.spec, |i| i.replicas);
            if s.actual > s.spec {
                // The worst case: an available Machine goes although there are others.
                s.actual -= 1;
                s.available = s.available.min(s.actual);
            } else if s.actual < s.spec {
                s.actual += 1;
            }
        }
        let total: i32 = old.iter().chain([&new]).map(|s| s.actual).sum();
        let available: i32 = old.iter().chain([&new]).map(|s| s.available).sum();
        let initially: i32 = wanted.replicas - wanted.max_unavailable;
        assert!(
            total <= wanted.replicas + wanted.max_surge,
            "round {round}: {total} Machines"
        );
        assert!(
            available >= initially,
            "round {round}: {available} available of {initially}"
        );
        if new.available < new.actual {
            new.available += 1;
        }
        if new.available == wanted.replicas && old.iter().all(|s| s.actual == 0) {
            return round;
        }
    }
    panic!("does not end: {new:?} {old:?}");
}

#[test]
fn rollouts_end_and_keep_their_limits() {
    for replicas in 1..8 {
        for (max_surge, max_unavailable) in [(1, 0), (0, 1), (2, 1), (1, 1), (3, 0), (0, 2)] {
            let wanted = Wanted {
                replicas,
                max_surge,
                max_unavailable: max_unavailable.min(replicas),
            };
            play(wanted, vec![set("old", 9, replicas, replicas, replicas)]);
            let half = replicas / 2;
            play(
                wanted,
                vec![
                    set("a", 9, half, half, half),
                    set("b", 5, replicas - half, replicas - half, replicas - half),
                ],
            );
        }
    }
}

#[test]
fn on_delete_replaces_what_the_user_deleted() {
    let got = on_delete(3, &set("new", 0, 0, 0, 0), &[set("old", 9, 3, 3, 3)]);
    assert!(got.is_empty());
    let got = on_delete(3, &set("new", 0, 0, 0, 0), &[set("old", 9, 3, 2, 2)]);
    assert_eq!(sizes(&got), [("old", 2)]);
    let got = on_delete(3, &set("new", 0, 0, 0, 0), &[set("old", 9, 2, 2, 2)]);
    assert_eq!(sizes(&got), [("new", 1)]);
    let got = on_delete(1, &set("new", 0, 1, 1, 1), &[set("old", 9, 2, 2, 2)]);
    assert_eq!(sizes(&got), [("old", 0)]);
}

#[test]
fn a_paused_deployment_scales_in_proportion() {
    let wanted = Wanted {
        replicas: 10,
        max_surge: 0,
        max_unavailable: 0,
    };
    let share = |name: &str, age, spec| Set {
        max_replicas: Some(5),
        ..set(name, age, spec, spec, spec)
    };
    let got = proportional(&wanted, Some(&share("new", 0, 2)), &[share("old", 9, 3)]);
    assert_eq!(sizes(&got), [("new", 4), ("old", 6)]);
    let got = proportional(&wanted, Some(&share("new", 0, 0)), &[share("old", 9, 3)]);
    assert_eq!(sizes(&got), [("old", 10)]);
    let zero = Wanted {
        replicas: 0,
        max_surge: 1,
        max_unavailable: 0,
    };
    let got = proportional(&zero, Some(&share("new", 0, 2)), &[share("old", 9, 3)]);
    assert_eq!(sizes(&got), [("new", 0), ("old", 0)]);
}

/// What is available once a MachineSet has done what it is told: it deletes what is not available first.
fn available_after(sets: &[Set]) -> i32 {
    let left = |s: &Set| {
        let deleted = (s.actual - s.spec).max(0);
        let harmless = s.actual - s.available;
        s.available - (deleted - harmless).max(0)
    };
    sets.iter().map(left).sum()
}

fn total(sets: &[Set]) -> i32 {
    sets.iter().map(|s| s.spec.max(s.actual)).sum()
}

/// A MachineSet does a part of what it is told; Machines become available, or break.
fn disturb(set: &mut Set, choice: u8) {
    match choice % 5 {
        0 if set.actual < set.spec => set.actual += 1,
        0 if set.actual > set.spec => {
            set.actual -= 1;
            set.available = set.available.min(set.actual);
        }
        1 if set.actual != set.spec => {
            let harmless = set.actual - set.available;
            let deleted = (set.actual - set.spec).max(0);
            set.available -= (deleted - harmless).max(0);
            set.actual = set.spec;
        }
        2 | 3 => set.available = (set.available + 1).min(set.actual),
        4 => set.available = (set.available - 1).max(0),
        _ => {}
    }
}

fn obey(sets: &mut [Set], intents: &Intents) {
    for set in sets {
        set.spec = intents.get(&set.name).map_or(set.spec, |i| i.replicas);
    }
}

fn limits() -> impl Strategy<Value = Wanted> {
    (0..10_i32, 0..4_i32, 0..4_i32).prop_map(|(replicas, max_surge, max_unavailable)| Wanted {
        replicas,
        max_surge,
        // As `Wanted::rolling` resolves them.
        max_unavailable: match (max_surge, max_unavailable) {
            (0, 0) => 1.min(replicas),
            (_, unavailable) => unavailable.min(replicas),
        },
    })
}

fn sets_of(sizes: &[i32]) -> Vec<Set> {
    let mut sets = vec![set("new", 0, 0, 0, 0)];
    for (index, size) in sizes.iter().enumerate() {
        let age = 9 + index as i64;
        sets.push(set(&format!("old-{index}"), age, *size, *size, *size));
    }
    sets
}

proptest! {
    #[test]
    fn no_step_exceeds_the_surge_or_falls_below_availability(
        wanted in limits(),
        sizes in prop::collection::vec(0..6_i32, 0..4),
        steps in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..80),
    ) {
        let mut sets = sets_of(&sizes);
        let required = wanted.replicas - wanted.max_unavailable;
        for (which, choice) in steps {
            let intents = rolling_update(&wanted, &sets[0], &sets[1..]);
            let (before, stood) = (total(&sets), available_after(&sets));
            obey(&mut sets, &intents);
            let most = before.max(wanted.replicas + wanted.max_surge);
            prop_assert!(total(&sets) <= most, "{} of {most}: {sets:?}", total(&sets));
            let stands = available_after(&sets);
            prop_assert!(stands >= required.min(stood), "{stands} of {required}: {sets:?}");
            let index = which.index(sets.len());
            disturb(&mut sets[index], choice);
        }
    }

    #[test]
    fn every_rollout_ends_once_machines_are_well(wanted in limits(), sizes in prop::collection::vec(0..6_i32, 0..4)) {
        let mut sets = sets_of(&sizes);
        for _ in 0..200 {
            let intents = rolling_update(&wanted, &sets[0], &sets[1..]);
            obey(&mut sets, &intents);
            for set in &mut sets {
                disturb(set, 1);
                set.available = set.actual;
            }
        }
        prop_assert_eq!(sets[0].available, wanted.replicas);
        prop_assert!(sets[1..].iter().all(|s| s.actual == 0), "{:?}", sets);
    }

    #[test]
    fn on_delete_never_takes_a_machine_the_user_did_not_give_up(
        replicas in 0..10_i32,
        sizes in prop::collection::vec(0..6_i32, 1..4),
        deleted in prop::collection::vec(0..3_i32, 1..4),
    ) {
        let mut sets = sets_of(&sizes);
        for (set, gone) in sets[1..].iter_mut().zip(deleted) {
            set.actual = 0.max(set.actual - gone);
            set.available = set.actual;
        }
        let before: i32 = sets.iter().map(|s| s.spec).sum();
        let actual: i32 = sets.iter().map(|s| s.actual).sum();
        let intents = on_delete(replicas, &sets[0], &sets[1..]);
        obey(&mut sets, &intents);
        let asked: i32 = sets.iter().map(|s| s.spec).sum();
        prop_assert!(asked <= before.max(replicas));
        let kept: i32 = sets.iter().map(|s| s.spec.min(s.actual)).sum();
        prop_assert!(kept >= actual.min(replicas), "{kept} of {actual}: {sets:?}");
    }

    #[test]
    fn shares_of_a_paused_deployment_add_up(
        wanted in limits(),
        sizes in prop::collection::vec(1..8_i32, 2..5),
    ) {
        let mut sets = sets_of(&sizes);
        let former: i32 = sizes.iter().sum();
        for set in &mut sets {
            set.max_replicas = Some(former);
        }
        let intents = proportional(&wanted, Some(&sets[0]), &sets[1..]);
        obey(&mut sets, &intents);
        let allowed = if wanted.replicas == 0 { 0 } else { wanted.replicas + wanted.max_surge };
        prop_assert_eq!(sets.iter().map(|s| s.spec).sum::<i32>(), allowed, "{:?}", sets);
        prop_assert!(sets.iter().all(|s| s.spec >= 0));
        prop_assert_eq!(sets[0].spec, 0, "who has none gets none");
    }
}
