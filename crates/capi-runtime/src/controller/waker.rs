//! Wakes objects for what happens outside of the API: a list of a cloud that changed, a message of a host.

use std::sync::Arc;

use parking_lot::RwLock;

use crate::{
    key::Key,
    queue::{Priority, WorkQueue},
};

/// Wakes objects of the controllers that were told of it ([`Controller::woken_by`](super::Controller::woken_by)). Before
/// they run it does nothing: they look at every object when they start.
#[derive(Clone, Default)]
pub struct Waker(Arc<RwLock<Vec<Arc<WorkQueue>>>>);

impl Waker {
    /// Has the object looked at soon.
    pub fn wake(&self, key: &Key) {
        for queue in self.0.read().iter() {
            queue.add(key.clone(), Priority::High);
        }
    }

    pub(super) fn attach(&self, queue: Arc<WorkQueue>) {
        self.0.write().push(queue);
    }
}

impl std::fmt::Debug for Waker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Waker")
    }
}
