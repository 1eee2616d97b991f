//! Which objects of all stores of a process are kept unpacked: those used last, up to a number.
//!
//! Nothing here depends on time: an object is packed when others come into use. So a small installation packs nothing, a
//! large one all that rests, and a simulation repeats.

use std::{
    collections::VecDeque,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;

use super::slot::Packing;
use crate::key::Key;

/// How many objects stay unpacked. Few in development builds, so that every test of more than a toy sees packed ones.
const LIMIT: usize = if cfg!(debug_assertions) { 32 } else { 512 };

/// What holds objects that can be packed.
pub(super) trait Packs: Send + Sync {
    /// Packs the object of that key, if it is there.
    fn pack(&self, key: &Key) -> Packing;
}

/// An object that is unpacked: the store that can pack it, and its key.
type Unpacked = (Weak<dyn Packs>, Arc<Key>);

/// The objects in use, those that came first in front.
pub(crate) struct Warmth {
    limit: usize,
    queue: Mutex<VecDeque<Unpacked>>,
}

impl Default for Warmth {
    fn default() -> Self {
        Self::new(LIMIT)
    }
}

impl Warmth {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            queue: Mutex::default(),
        }
    }

    /// Objects came into use; others are packed for them. The caller must hold no lock of a store's state.
    pub(super) fn warmed(&self, store: &Weak<dyn Packs>, keys: Vec<Arc<Key>>) {
        if keys.is_empty() {
            return;
        }
        let mut excess = {
            let mut queue = self.queue.lock();
            queue.extend(keys.into_iter().map(|key| (store.clone(), key)));
            queue.len().saturating_sub(self.limit)
        };
        // Those in use get a second chance; if all are, some stay beyond the limit until the next time.
        let mut looks = excess * 2;
        while excess > 0 && looks > 0 {
            looks -= 1;
            let Some((store, key)) = self.queue.lock().pop_front() else {
                return;
            };
            match store.upgrade().map(|store| store.pack(&key)) {
                Some(Packing::Later) => self.queue.lock().push_back((store, key)),
                Some(Packing::Packed | Packing::Never) | None => excess -= 1,
            }
        }
    }
}
