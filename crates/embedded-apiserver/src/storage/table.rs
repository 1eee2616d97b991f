//! One resource as readers see it: its rows, and the changes that lead there as far as they are remembered.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::{Change, ChangeKind, Object, Rows};

/// The asked-for revision is older than the history.
#[derive(Debug)]
pub(crate) struct Expired {
    pub oldest: u64,
}

/// How long changes are remembered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Retention {
    /// That many are remembered in any case.
    pub changes: usize,
    /// More are remembered while they are younger than this.
    pub age: Duration,
}

impl Retention {
    /// However young, not more than this many times [`Retention::changes`] are remembered.
    const MOST: usize = 20;

    fn forgets(&self, length: usize, oldest: Instant, now: Instant) -> bool {
        length > self.changes.max(1)
            && (length > self.changes.max(1).saturating_mul(Self::MOST)
                || now.saturating_duration_since(oldest) >= self.age)
    }
}

/// Which rows are wanted, in which portion.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Scope<'a> {
    /// Empty: all namespaces.
    pub namespace: &'a str,
    /// Only rows behind this key.
    pub after: &'a str,
    /// At most so many; 0: all.
    pub limit: usize,
}

impl Scope<'_> {
    /// The bounds of the keys; '0' follows '/', so "namespace0" ends the keys that start with "namespace/".
    fn bounds(&self) -> (String, Option<String>) {
        let to = (!self.namespace.is_empty()).then(|| format!("{}0", self.namespace));
        let from = match self.namespace.is_empty() {
            true => String::new(),
            false => format!("{}/", self.namespace),
        };
        (from.max(self.after.to_owned()), to)
    }
}

#[derive(Debug)]
struct Remembered {
    change: Arc<Change>,
    since: Instant,
}

#[derive(Debug)]
pub(super) struct Table {
    rows: Rows,
    history: VecDeque<Remembered>,
    /// History is complete for revisions above this one.
    floor: u64,
    pub wake: Arc<Notify>,
}

impl Table {
    pub fn new(rows: Rows, floor: u64) -> Self {
        Self {
            rows,
            history: VecDeque::new(),
            floor,
            wake: Arc::new(Notify::new()),
        }
    }

    pub fn rows(&self) -> &Rows {
        &self.rows
    }

    pub fn floor(&self) -> u64 {
        self.floor
    }

    /// Remembers a change that the rows contain already.
    pub fn remember(&mut self, change: Arc<Change>, since: Instant) {
        self.history.push_back(Remembered { change, since });
    }

    /// Takes a change in.
    pub fn apply(&mut self, change: &Arc<Change>, now: Instant) {
        let key = change.object.key();
        match change.kind {
            ChangeKind::Deleted => self.rows.remove(&key),
            _ => self.rows.insert(key, change.object.clone()),
        };
        self.remember(change.clone(), now);
    }

    /// Forgets what is too old; the revisions whose texts nobody needs then go to `garbage`.
    pub fn forget(&mut self, retention: Retention, now: Instant, garbage: &mut Vec<u64>) {
        while let Some(oldest) = self.history.front()
            && retention.forgets(self.history.len(), oldest.since, now)
        {
            self.forget_oldest(garbage);
        }
    }

    /// Forgets everything up to `revision`.
    pub fn forget_until(&mut self, revision: u64, garbage: &mut Vec<u64>) {
        while self
            .history
            .front()
            .is_some_and(|oldest| oldest.change.object.revision <= revision)
        {
            self.forget_oldest(garbage);
        }
        self.floor = self.floor.max(revision);
    }

    fn forget_oldest(&mut self, garbage: &mut Vec<u64>) {
        let Some(Remembered { change, .. }) = self.history.pop_front() else {
            return;
        };
        self.floor = self.floor.max(change.object.revision);
        garbage.extend(change.previous.as_ref().map(|previous| previous.revision));
        if change.kind == ChangeKind::Deleted {
            garbage.push(change.object.revision);
        }
    }

    /// At most `limit` changes after `revision`, and whether there are more.
    pub fn since(&self, revision: u64, limit: usize) -> Result<(Vec<Arc<Change>>, bool), Expired> {
        if revision < self.floor {
            return Err(Expired { oldest: self.floor });
        }
        let first = self
            .history
            .partition_point(|remembered| remembered.change.object.revision <= revision);
        let mut later = self
            .history
            .range(first..)
            .map(|remembered| remembered.change.clone());
        let changes: Vec<_> = later.by_ref().take(limit).collect();
        Ok((changes, later.next().is_some()))
    }

    /// The rows in scope, and how many follow behind them.
    pub fn select(&self, scope: Scope<'_>) -> (Vec<Arc<Object>>, usize) {
        portion(self.range(scope).map(|(_, object)| object.clone()), scope.limit)
    }

    /// As [`Table::select`], but at an earlier revision, by undoing what history tells.
    pub fn select_at(&self, scope: Scope<'_>, revision: u64) -> Result<(Vec<Arc<Object>>, usize), Expired> {
        if revision < self.floor {
            return Err(Expired { oldest: self.floor });
        }
        let undone = self.undone(revision);
        if undone.is_empty() {
            return Ok(self.select(scope));
        }
        let (from, to) = scope.bounds();
        let inside =
            |key: &str| key > scope.after && key >= from.as_str() && to.as_deref().is_none_or(|to| key < to);
        let mut then: BTreeMap<&str, &Arc<Object>> = self
            .range(scope)
            .filter(|(key, _)| !undone.contains_key(&**key))
            .map(|(key, object)| (&**key, object))
            .collect();
        let back = undone.iter().filter(|(key, _)| inside(key));
        then.extend(back.filter_map(|(key, object)| object.map(|object| (&**key, object))));
        Ok(portion(then.into_values().cloned(), scope.limit))
    }

    /// What the keys that changed after `revision` held then.
    fn undone(&self, revision: u64) -> BTreeMap<Box<str>, Option<&Arc<Object>>> {
        let later = self
            .history
            .iter()
            .rev()
            .map(|remembered| &remembered.change)
            .take_while(|change| change.object.revision > revision);
        later
            .map(|change| (change.object.key(), change.previous.as_ref()))
            .collect()
    }

    fn range(&self, scope: Scope<'_>) -> impl Iterator<Item = (&Box<str>, &Arc<Object>)> {
        let (from, to) = scope.bounds();
        let from = match scope.after.is_empty() || from != scope.after {
            true => Bound::Included(from.as_str()),
            false => Bound::Excluded(from.as_str()),
        };
        let to = to.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        self.rows.range::<str, _>((from, to))
    }
}

fn portion(mut rows: impl Iterator<Item = Arc<Object>>, limit: usize) -> (Vec<Arc<Object>>, usize) {
    match limit {
        0 => (rows.collect(), 0),
        limit => (rows.by_ref().take(limit).collect(), rows.count()),
    }
}
