//! Which init locks are gone: several machines that join at once all find the lock, and one of them deletes it.

use std::collections::BTreeMap;

use capi_runtime::Key;
use parking_lot::Mutex;

/// How many clusters are remembered. To forget one costs a request that finds nothing.
const REMEMBERED: usize = 4096;

/// The locks that this process deletes or deleted, by cluster: the uid of the ConfigMap.
#[derive(Default)]
pub(super) struct DroppedLocks(Mutex<BTreeMap<Key, String>>);

impl DroppedLocks {
    /// Whether the caller is the one to delete this lock.
    pub fn claim(&self, cluster: &Key, uid: &str) -> bool {
        let mut dropped = self.0.lock();
        if dropped.get(cluster).is_some_and(|known| known == uid) {
            return false;
        }
        if dropped.len() >= REMEMBERED {
            dropped.clear();
        }
        dropped.insert(cluster.clone(), uid.to_owned());
        true
    }

    /// Lets somebody else try, because the deletion failed.
    pub fn release(&self, cluster: &Key) {
        self.0.lock().remove(cluster);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_deleted_once_unless_that_fails() {
        let (locks, cluster) = (DroppedLocks::default(), Key::new("ns", "c1"));
        assert!(locks.claim(&cluster, "u1"));
        assert!(!locks.claim(&cluster, "u1"));
        assert!(locks.claim(&cluster, "u2"), "another lock of the same name");
        locks.release(&cluster);
        assert!(locks.claim(&cluster, "u2"));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let locks = DroppedLocks::default();
        for number in 0..=REMEMBERED {
            assert!(locks.claim(&Key::new("ns", format!("c{number}")), "u"));
        }
        assert!(locks.0.lock().len() <= REMEMBERED);
    }
}
