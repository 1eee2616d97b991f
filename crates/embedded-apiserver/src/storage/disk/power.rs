//! Power goes at the syncs of ten thousand writes, each time with six pictures of what may have reached the drive: every write
//! that a client was told about is there, nothing else is but what was on its way, and watches go on or are told to list again.
//!
//! A sample of the syncs by default; `POWER_CUTS=all` takes every one (`make test-power`).

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use seams::{Randomness, SeededRandomness};
use serde_json::json;

use super::drive::{Cut, Drive};
use super::tests::open;
use crate::storage::{Change, ChangeKind, Expect, GroupResource, Object, Store, Write};

const WRITES: usize = 10_000;
const KEYS: u64 = 60;
/// Changes that are remembered in any case.
const HISTORY: usize = 150;

fn gadgets() -> GroupResource {
    GroupResource::new("example.dev", "gadgets")
}

type Model = BTreeMap<Box<str>, Arc<Object>>;

fn apply(model: &mut Model, change: &Change) {
    match change.kind {
        ChangeKind::Deleted => model.remove(&change.object.key()),
        _ => model.insert(change.object.key(), change.object.clone()),
    };
}

/// A write to a key, whatever it holds.
fn next_write(model: &Model, key: &str, chance: &dyn Randomness) -> Write {
    let roll = chance.next_u64();
    let found = model.get(key);
    let (namespace, name) = key.split_once('/').unwrap();
    let size = if roll.is_multiple_of(97) { 9000 } else { roll % 400 };
    Write {
        resource: gadgets(),
        key: key.into(),
        expect: found.map_or(Expect::Absent, |object| Expect::Revision(object.revision)),
        value: json!({"metadata": {"namespace": namespace, "name": name}, "roll": roll, "data": "x".repeat(size as usize)}),
        delete: found.is_some() && roll.is_multiple_of(5),
    }
}

fn text(change: &Change) -> (ChangeKind, u64, &[u8], Option<u64>) {
    let previous = change.previous.as_ref().map(|previous| previous.revision);
    (change.kind, change.object.revision, &change.object.json, previous)
}

/// Opens what a cut left and holds it against what was told: `base` before the round, `log` with its writes.
async fn check(cut: Cut, base: &Model, since: u64, log: &[Arc<Change>]) {
    let Cut { name, image, certain } = cut;
    let drive = Drive::holding(image);
    let store = open(&drive, HISTORY)
        .await
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    let revision = store.revision();
    let last = log.last().map_or(1, |change| change.object.revision);
    assert!(
        certain <= revision && revision <= last,
        "{name}: {certain} <= {revision} <= {last}"
    );
    let mut model = base.clone();
    let position = |revision: u64| log.partition_point(|change| change.object.revision <= revision);
    log[position(since)..position(revision)]
        .iter()
        .for_each(|change| apply(&mut model, change));
    let (objects, _) = store.list(&gadgets(), "");
    let stored: Vec<_> = objects.iter().map(|o| (o.key(), o.revision, &o.json)).collect();
    let expected: Vec<_> = model
        .iter()
        .map(|(key, o)| (key.clone(), o.revision, &o.json))
        .collect();
    assert_eq!(stored, expected, "{name}");
    for behind in [0, 1, 7, HISTORY as u64 - 1, 4 * HISTORY as u64, revision] {
        let from = revision.saturating_sub(behind).max(1);
        match store.since(&gadgets(), from) {
            Ok(portion) => {
                let expected = &log[position(from)..position(revision)];
                let told: Vec<_> = portion.changes.iter().map(|change| text(change)).collect();
                let expected: Vec<_> = expected
                    .iter()
                    .take(told.len().max(1))
                    .map(|change| text(change))
                    .collect();
                assert_eq!(told, expected, "{name}: from {from}");
            }
            Err(expired) => {
                assert!(
                    revision - from >= HISTORY as u64,
                    "{name}: from {from} at {revision}"
                );
                assert!(expired.oldest > from);
            }
        }
    }
    let value = json!({"metadata": {"namespace": "n", "name": "after"}});
    let write = Write {
        resource: gadgets(),
        key: "n/after".into(),
        expect: Expect::Absent,
        value,
        delete: false,
    };
    assert_eq!(
        store.commit(write).await.unwrap().revision,
        revision + 1,
        "{name}"
    );
}

/// Writes by as many clients at once as the dice say; each round's cuts are checked.
async fn story(every: u64, writes: usize) -> (u64, u64) {
    let (drive, chance) = (Drive::default(), SeededRandomness::new(7));
    // A new file gets its name when it is whole, so nobody ever opens what a cut left of one.
    let store = open(&drive, HISTORY).await.unwrap();
    drive.cut_every(every);
    let log = Arc::new(Mutex::new(Vec::<Arc<Change>>::new()));
    watch(&store, &drive, &log);
    let (mut model, mut cuts) = (Model::new(), 0);
    while log.lock().len() < writes {
        let since = store.revision();
        let keys: std::collections::BTreeSet<_> = (0..1 + chance.next_u64() % 8)
            .map(|_| chance.next_u64() % KEYS)
            .collect();
        let round = keys
            .iter()
            .map(|key| store.commit(next_write(&model, &format!("n/{key}"), &chance)));
        for done in futures::future::join_all(round).await {
            done.unwrap();
        }
        let log = log.lock().clone();
        for cut in drive.cuts() {
            cuts += 1;
            check(cut, &model, since, &log).await;
        }
        let told = log.partition_point(|change| change.object.revision <= since);
        log[told..].iter().for_each(|change| apply(&mut model, change));
    }
    (drive.syncs(), cuts)
}

fn watch(store: &Store, drive: &Drive, log: &Arc<Mutex<Vec<Arc<Change>>>>) {
    let (drive, log) = (drive.clone(), log.clone());
    store.observe(Box::new(move |change| {
        // Told before anybody else is, so that the drive knows at least what clients know.
        drive.certain(change.object.revision);
        log.lock().push(Arc::new(change.clone()));
    }));
}

#[tokio::test]
async fn after_a_power_cut_everything_that_clients_were_told_is_there() {
    let every = match std::env::var("POWER_CUTS").as_deref() {
        Ok("all") => 1,
        _ => 97,
    };
    let (syncs, cuts) = story(every, WRITES).await;
    eprintln!("{WRITES} writes, {syncs} syncs, {cuts} cuts");
    assert!(
        syncs > WRITES as u64 / 8,
        "group commit needs fewer syncs than writes, but not so few: {syncs}"
    );
    assert!(syncs < WRITES as u64, "{syncs}");
    assert!(cuts >= 5 * (syncs / every - 1), "{cuts}");
}

#[tokio::test]
async fn power_may_go_at_every_sync_of_the_first_writes() {
    story(1, 40).await;
}
