//! How many replicas each MachineSet of a MachineDeployment should have now. Pure: numbers in, numbers out.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// A MachineSet in numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Set {
    /// Its name.
    pub name: String,
    /// When it was created.
    pub created: Timestamp,
    /// The replicas it is asked to have.
    pub spec: i32,
    /// The replicas it has.
    pub actual: i32,
    /// How many of them are available.
    pub available: i32,
    /// The replicas of the whole MachineDeployment when it was last scaled: what its share is measured by.
    pub max_replicas: Option<i32>,
}

/// What the MachineDeployment asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wanted {
    /// The replicas in the end.
    pub replicas: i32,
    /// How many more there may be meanwhile.
    pub max_surge: i32,
    /// How many fewer may be available meanwhile.
    pub max_unavailable: i32,
}

/// The new size of a MachineSet, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Intent {
    /// The replicas to ask for.
    pub replicas: i32,
    /// Why.
    pub why: String,
}

/// New sizes by MachineSet name; those not named stay.
pub type Intents = BTreeMap<String, Intent>;

/// A number, or a part of `total` in percent; surges are rounded up, shortages down. A text that is neither counts as 0.
pub fn scaled(value: Option<&IntOrString>, total: i32, default: i32, round_up: bool) -> i32 {
    match value {
        None => default,
        Some(IntOrString::Int(number)) => (*number).max(0),
        Some(IntOrString::String(text)) => {
            let percent: i64 = text.trim_end_matches('%').parse().unwrap_or(0);
            let product = percent.max(0) * i64::from(total.max(0));
            let part = if round_up {
                (product + 99) / 100
            } else {
                product / 100
            };
            i32::try_from(part).unwrap_or(i32::MAX)
        }
    }
}

impl Wanted {
    /// From the fields of a rolling update. Were both limits 0 nothing could ever move: one may then be missing.
    pub fn rolling(
        replicas: i32,
        max_surge: Option<&IntOrString>,
        max_unavailable: Option<&IntOrString>,
    ) -> Self {
        let surge = scaled(max_surge, replicas, 1, true);
        let unavailable = scaled(max_unavailable, replicas, 0, false);
        let unavailable = if surge == 0 && unavailable == 0 {
            1
        } else {
            unavailable
        };
        Self {
            replicas,
            max_surge: surge,
            max_unavailable: if replicas == 0 {
                0
            } else {
                unavailable.min(replicas)
            },
        }
    }

    /// Without surge and shortage.
    pub fn exact(replicas: i32) -> Self {
        Self {
            replicas,
            max_surge: 0,
            max_unavailable: 0,
        }
    }
}

/// The next step of a rolling update.
pub fn rolling_update(wanted: &Wanted, new: &Set, old: &[Set]) -> Intents {
    let mut intents = Intents::new();
    grow_new(wanted, new, old, &mut intents);
    shrink_old(wanted, new, old, &mut intents);
    break_deadlock(new, old, &mut intents);
    intents
}

/// The new MachineSet gets what is missing, as far as the surge allows.
fn grow_new(wanted: &Wanted, new: &Set, old: &[Set], intents: &mut Intents) {
    if new.spec > wanted.replicas {
        let why = "scale down to align MachineSet spec.replicas to MachineDeployment spec.replicas";
        intents.insert(
            new.name.clone(),
            Intent {
                replicas: wanted.replicas,
                why: why.to_owned(),
            },
        );
        return;
    }
    let total: i32 = old.iter().chain([new]).map(|s| s.spec.max(s.actual)).sum();
    let limit = wanted.replicas + wanted.max_surge;
    let more = (wanted.replicas - new.spec).min(limit - total);
    if more > 0 {
        let why = format!(
            "{total} current Machines < {} MachineDeployment spec.replicas + {} maxSurge",
            wanted.replicas, wanted.max_surge
        );
        intents.insert(
            new.name.clone(),
            Intent {
                replicas: new.spec + more,
                why,
            },
        );
    }
}

/// Old MachineSets shrink as far as enough stays available: first what is not available anyway, the oldest first.
fn shrink_old(wanted: &Wanted, new: &Set, old: &[Set], intents: &mut Intents) {
    let min_available = (wanted.replicas - wanted.max_unavailable).max(0);
    let all = || old.iter().chain([new]);
    let total_spec: i32 = all().map(|s| s.spec).sum();
    let available: i32 = all().map(|s| s.available).sum();
    // Deletions that were asked for and have not happened yet.
    let pending: i32 = all()
        .map(|s| {
            let spec = intents.get(&s.name).map_or(s.spec, |i| i.replicas.min(s.spec));
            (s.actual - spec).max(0)
        })
        .sum();
    // New Machines that are not available yet cannot stand in for old ones.
    let not_ready = (new.spec - new.available).max(0);
    let mut budget = total_spec - pending - min_available - not_ready;
    if budget <= 0 {
        return;
    }
    let mut sorted: Vec<&Set> = old.iter().collect();
    sorted.sort_by(|a, b| a.created.cmp(&b.created).then_with(|| a.name.cmp(&b.name)));
    let mut available = available;
    for only_unavailable in [true, false] {
        for set in &sorted {
            shrink_one(
                set,
                only_unavailable,
                min_available,
                &mut budget,
                &mut available,
                intents,
            );
        }
    }
}

fn shrink_one(
    set: &Set,
    only_unavailable: bool,
    min_available: i32,
    budget: &mut i32,
    available: &mut i32,
    intents: &mut Intents,
) {
    let replicas = intents.get(&set.name).map_or(set.spec, |i| i.replicas);
    if *budget <= 0 || replicas <= 0 {
        return;
    }
    let most = if only_unavailable {
        (replicas - set.available).max(0)
    } else {
        replicas
    };
    let mut down = most.min(*budget);
    if down == 0 {
        return;
    }
    let before = *available;
    let mut deleted = (set.actual - (replicas - down)).max(0);
    if set.available > 0 && deleted > 0 {
        // It cannot be known which Machines the MachineSet will delete: count each as an available one.
        if *available - min_available < deleted {
            let may_delete = (*available - min_available).max(0);
            let keep = (set.actual - may_delete).min(replicas);
            down = (replicas - keep).max(0);
            deleted = (set.actual - keep).max(0);
        }
        *available -= set.available.min(deleted);
    }
    if down > 0 {
        let why = if before == *available {
            "scale down to existing Machines or by removing unavailable replicas".to_owned()
        } else {
            format!("{before} available replicas > {min_available} minimum available replicas")
        };
        intents.insert(
            set.name.clone(),
            Intent {
                replicas: replicas - down,
                why,
            },
        );
        *budget = (*budget - down).max(0);
    }
}

/// When nothing moves any more because old Machines are broken, one of them goes.
fn break_deadlock(new: &Set, old: &[Set], intents: &mut Intents) {
    let actual: i32 = old.iter().map(|s| s.actual).sum();
    let available: i32 = old.iter().map(|s| s.available).sum();
    let moving = old.iter().chain([new]).any(|s| s.spec != s.actual);
    if actual == 0 || actual == available || moving || !intents.is_empty() || new.available != new.actual {
        return;
    }
    if let Some(set) = old.iter().find(|s| s.available != s.actual && s.spec > 0) {
        let why = "scaling down by 1 to unblock rollout stuck due to unavailable Machine on oldMS".to_owned();
        intents.insert(
            set.name.clone(),
            Intent {
                replicas: set.spec - 1,
                why,
            },
        );
    }
}

/// The next step where the user deletes old Machines: the new MachineSet fills the gaps.
pub fn on_delete(replicas: i32, new: &Set, old: &[Set]) -> Intents {
    let mut intents = Intents::new();
    grow_new(&Wanted::exact(replicas), new, old, &mut intents);
    let new_replicas = intents.get(&new.name).map_or(new.spec, |i| i.replicas);
    let total: i32 = old.iter().map(|s| s.spec).sum::<i32>() + new_replicas;
    let mut budget = (total - replicas).max(0);
    let mut sorted: Vec<&Set> = old.iter().collect();
    sorted.sort_by(|a, b| a.created.cmp(&b.created).then_with(|| a.name.cmp(&b.name)));
    for set in sorted.iter().filter(|s| s.spec > s.actual) {
        budget -= set.spec - set.actual;
        let why = "scale down to align to existing Machines".to_owned();
        intents.insert(
            set.name.clone(),
            Intent {
                replicas: set.actual.max(0),
                why,
            },
        );
    }
    for set in sorted {
        let current = intents.get(&set.name).map_or(set.spec, |i| i.replicas);
        let down = current.min(budget);
        if down > 0 {
            budget -= down;
            let why =
                "scale down to align MachineSet spec.replicas to MachineDeployment spec.replicas".to_owned();
            intents.insert(
                set.name.clone(),
                Intent {
                    replicas: current - down,
                    why,
                },
            );
        }
    }
    intents
}

/// Sizes while the MachineDeployment is paused: every MachineSet keeps its share of the total.
pub fn proportional(wanted: &Wanted, new: Option<&Set>, old: &[Set]) -> Intents {
    let mut intents = Intents::new();
    let mut set_to = |set: &Set, replicas: i32| {
        if set.spec != replicas {
            let why = format!(
                "the paused MachineDeployment asks for {} replicas",
                wanted.replicas
            );
            intents.insert(set.name.clone(), Intent { replicas, why });
        }
    };
    let mut active: Vec<&Set> = old.iter().chain(new).filter(|s| s.spec > 0).collect();
    let newest_old = old
        .iter()
        .max_by(|a, b| a.created.cmp(&b.created).then_with(|| a.name.cmp(&b.name)));
    match active.len() {
        0 => {
            if let Some(set) = new.or(newest_old) {
                set_to(set, wanted.replicas);
            }
            return intents;
        }
        1 => {
            set_to(active[0], wanted.replicas);
            return intents;
        }
        _ => {}
    }
    let allowed = if wanted.replicas > 0 {
        wanted.replicas + wanted.max_surge
    } else {
        0
    };
    let to_add = allowed - active.iter().map(|s| s.spec).sum::<i32>();
    // Growing, the newest of the largest comes first and takes the remainder; shrinking, the oldest does.
    active.sort_by(|a, b| {
        let age = if to_add >= 0 {
            b.created.cmp(&a.created)
        } else {
            a.created.cmp(&b.created)
        };
        b.spec.cmp(&a.spec).then(age).then_with(|| a.name.cmp(&b.name))
    });
    let mut added = 0;
    let mut sizes: Vec<i32> = Vec::new();
    for set in &active {
        let share = if wanted.replicas == 0 {
            -set.spec
        } else {
            let total = set.max_replicas.filter(|m| *m > 0).unwrap_or(allowed.max(1));
            let size = f64::from(set.spec) * f64::from(allowed) / f64::from(total);
            size.round() as i32 - set.spec
        };
        let left = to_add - added;
        let share = if to_add > 0 {
            share.min(left)
        } else {
            share.max(left)
        };
        let share = if to_add == 0 { 0 } else { share };
        added += share;
        sizes.push(set.spec + share);
    }
    // What rounding left over: the first takes it, as far as it can.
    let mut rest = to_add - added;
    for size in &mut sizes {
        let change = rest.max(-*size);
        *size += change;
        rest -= change;
    }
    for (set, size) in active.iter().zip(sizes) {
        set_to(set, size.max(0));
    }
    intents
}

#[cfg(test)]
mod tests;
