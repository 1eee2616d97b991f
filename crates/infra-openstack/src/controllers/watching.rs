//! How objects are woken by what happens in OpenStack.

use std::{sync::Arc, time::Duration};

use capi_runtime::{Context, Key, Waker};

use crate::cloud::{Session, Sessions, watch::Interest};

/// Something is left of what should go.
#[derive(Clone, Debug)]
pub struct Remains {
    /// What is waited for.
    pub message: String,
    /// When to look again, where no list says when it is gone.
    pub wait: Duration,
    /// Whose changes should wake the object.
    pub interests: Vec<Interest>,
}

/// Wakes the objects of one controller.
pub struct Watching {
    kind: &'static str,
    sessions: Arc<Sessions>,
    waker: Waker,
}

impl Watching {
    /// For the controller of a kind.
    pub fn new(kind: &'static str, sessions: Arc<Sessions>) -> Self {
        Self {
            kind,
            sessions,
            waker: Waker::default(),
        }
    }

    /// What the controller is woken by.
    pub fn waker(&self) -> &Waker {
        &self.waker
    }

    /// The object is woken from now on when something of this changes, and by nothing else that it was interested in.
    pub fn set(&self, ctx: &Context, session: &Arc<Session>, interests: Vec<Interest>) {
        let (waker, key) = (self.waker.clone(), ctx.key().clone());
        let wake = Arc::new(move || waker.wake(&key));
        self.sessions
            .watch(session, &self.name(ctx.key()), wake, interests);
    }

    /// The object is interested in nothing any more.
    pub fn forget(&self, ctx: &Context) {
        self.sessions.forget_watcher(&self.name(ctx.key()));
    }

    /// What the object is called among those who watch.
    fn name(&self, key: &Key) -> String {
        format!("{} {key}", self.kind)
    }
}
