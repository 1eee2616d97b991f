//! Which objects of all stores of a process are kept unpacked, and which are kept as text: those used last, up to a number
//! each. All others are compressed.
//!
//! Nothing here depends on time: an object is packed when others come into use, and compressed when others are packed. So a
//! small installation packs nothing, a large one all that rests, and a simulation repeats.

use std::{
    collections::VecDeque,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;

use super::slot::Packing;
use crate::key::Key;

/// How many objects stay unpacked. Few in development builds, so that every test of more than a toy sees packed ones.
const LIMIT: usize = if cfg!(debug_assertions) { 32 } else { 512 };
/// So many times as many packed objects stay uncompressed: what changes again soon is not worth the time.
const TEXTS: usize = 2;

/// What holds objects that can be packed.
pub(super) trait Packs: Send + Sync {
    /// Packs the object of that key, if it is there.
    fn pack(&self, key: &Key) -> Packing;
    /// Compresses the object of that key, if it is there and packed.
    fn compress(&self, key: &Key);
}

/// An object: the store that can pack it, and its key.
type Place = (Weak<dyn Packs>, Arc<Key>);

/// The objects in use, those that came first in front.
pub(crate) struct Warmth {
    limit: usize,
    queue: Mutex<VecDeque<Place>>,
    /// The packed ones that are not compressed.
    texts: Mutex<VecDeque<Place>>,
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
            texts: Mutex::default(),
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
                Some(Packing::Text) => {
                    excess -= 1;
                    self.packed(store, key);
                }
                Some(Packing::Compressed | Packing::Never) | None => excess -= 1,
            }
        }
    }

    /// An object was packed; another one is compressed for it.
    fn packed(&self, store: Weak<dyn Packs>, key: Arc<Key>) {
        let oldest = {
            let mut texts = self.texts.lock();
            texts.push_back((store, key));
            match texts.len() > self.limit * TEXTS {
                true => texts.pop_front(),
                false => None,
            }
        };
        if let Some((store, key)) = oldest
            && let Some(store) = store.upgrade()
        {
            store.compress(&key);
        }
    }
}
