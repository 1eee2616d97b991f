//! Events go after an hour. New events push old ones out, so that no timer is needed and a quiet server does nothing.

use std::collections::VecDeque;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;

use crate::server::Inner;
use crate::storage::{Expect, GroupResource, Object, Write};

/// How long events are kept after their last change.
const KEPT: SignedDuration = SignedDuration::from_hours(1);

/// The events there are, by the time at which they may go.
#[derive(Debug, Default)]
pub(crate) struct Expiry {
    queue: Mutex<VecDeque<(Timestamp, Box<str>)>>,
}

pub(crate) fn events() -> GroupResource {
    GroupResource::new("", "events")
}

impl Expiry {
    /// Takes in what a snapshot holds.
    pub fn load(&self, inner: &Inner) {
        let mut objects = inner.store.list(&events(), "").0;
        objects.sort_by_key(|object| object.revision);
        let due = inner.now() + KEPT;
        self.queue
            .lock()
            .extend(objects.iter().map(|object| (due, object.key())));
    }

    fn pop(&self, now: Timestamp) -> Option<Box<str>> {
        let mut queue = self.queue.lock();
        queue.front().filter(|(due, _)| *due <= now)?;
        queue.pop_front().map(|(_, key)| key)
    }

    /// Notes a new event and deletes those whose time is over.
    pub async fn note(&self, inner: &Arc<Inner>, event: &Object) {
        let now = inner.now();
        self.queue.lock().push_back((now + KEPT, event.key()));
        while let Some(key) = self.pop(now) {
            let Some(object) = inner.store.get(&events(), &key) else {
                continue;
            };
            let expect = Expect::Revision(object.revision);
            let write = Write {
                resource: events(),
                key,
                expect,
                value: object.value(),
                delete: true,
            };
            // One that changed at this very moment is told about again when it is next repeated.
            let _ = inner.store.commit(write).await;
        }
    }
}
