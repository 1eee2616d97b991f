//! One session per identity, shared by all objects that use it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tokio::{sync::Notify, time::Instant};

use super::{
    CloudError, Session, Tools, clouds_yaml,
    watch::{Interest, Wake},
};

/// A session that nobody used for so long is dropped.
const IDLE: Duration = Duration::from_secs(3600);

/// For so long a changed Secret may go unnoticed while the old credentials still work.
const RECENT: Duration = Duration::from_secs(300);

/// Everything that makes a session what it is, hashed: other credentials, region or authorities are another session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdentityKey([u8; 32]);

/// What an identity is made of.
#[derive(Clone, Copy, Debug)]
pub struct Identity<'a> {
    /// The content of clouds.yaml.
    pub clouds_yaml: &'a [u8],
    /// The entry in it.
    pub cloud_name: &'a str,
    /// The region, if the object names one.
    pub region: Option<&'a str>,
    /// Authorities in PEM, if there are any.
    pub cacert: Option<&'a [u8]>,
}

impl Identity<'_> {
    /// The key of its session.
    pub fn key(&self) -> IdentityKey {
        let mut hash = Sha256::new();
        let parts = [
            Some(self.clouds_yaml),
            Some(self.cloud_name.as_bytes()),
            self.region.map(str::as_bytes),
            self.cacert,
        ];
        for part in parts {
            // With lengths, so that no two identities run together.
            hash.update([u8::from(part.is_some())]);
            let part = part.unwrap_or_default();
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        IdentityKey(hash.finalize().into())
    }
}

/// The sessions of a process.
#[derive(Debug)]
pub struct Sessions {
    tools: Tools,
    open: Mutex<BTreeMap<IdentityKey, (Arc<Session>, Instant)>>,
    /// Sessions by what objects call their identity, so that Secrets are not read each time.
    named: Mutex<BTreeMap<String, (Arc<Session>, Instant)>>,
    opened: Notify,
}

impl Sessions {
    /// No sessions yet.
    pub fn new(tools: Tools) -> Self {
        Self {
            tools,
            open: Mutex::default(),
            named: Mutex::default(),
            opened: Notify::new(),
        }
    }

    /// The session of an identity.
    pub fn get(&self, identity: Identity<'_>) -> Result<Arc<Session>, CloudError> {
        let key = identity.key();
        let now = Instant::now();
        let mut open = self.open.lock();
        open.retain(|_, (session, used)| now.duration_since(*used) < IDLE || !session.watches().is_empty());
        if let Some((session, used)) = open.get_mut(&key) {
            *used = now;
            return Ok(session.clone());
        }
        let cloud = clouds_yaml::parse(
            identity.clouds_yaml,
            identity.cloud_name,
            identity.region,
            identity.cacert,
        )?;
        let session = Arc::new(Session::new(cloud, self.tools.clone())?);
        open.insert(key, (session.clone(), now));
        self.opened.notify_one();
        Ok(session)
    }

    /// The session that was found for this name of an identity not long ago.
    pub fn recent(&self, name: &str) -> Option<Arc<Session>> {
        let named = self.named.lock();
        let (session, since) = named.get(name)?;
        (since.elapsed() < RECENT).then(|| session.clone())
    }

    /// Remembers the session for this name of an identity.
    pub fn remember(&self, name: String, session: Arc<Session>) {
        let mut named = self.named.lock();
        named.retain(|_, (_, since)| since.elapsed() < RECENT);
        named.insert(name, (session, Instant::now()));
    }

    /// Forgets the session for this name of an identity: the credentials may have changed.
    pub fn forget(&self, name: &str) {
        self.named.lock().remove(name);
    }

    /// All sessions.
    pub fn open_sessions(&self) -> Vec<Arc<Session>> {
        self.open
            .lock()
            .values()
            .map(|(session, _)| session.clone())
            .collect()
    }

    /// Comes back when there may be a new session.
    pub(super) async fn opened(&self) {
        self.opened.notified().await;
    }

    /// What somebody depends on from now on, in the project of this session and in no other.
    pub fn watch(&self, session: &Arc<Session>, watcher: &str, wake: Wake, interests: Vec<Interest>) {
        for other in self.open_sessions() {
            if !Arc::ptr_eq(&other, session) {
                other.watches().forget(watcher);
            }
        }
        session.watch(watcher, wake, interests);
    }

    /// Somebody depends on nothing any more.
    pub fn forget_watcher(&self, watcher: &str) {
        for session in self.open_sessions() {
            session.watches().forget(watcher);
        }
    }

    /// How many sessions there are.
    pub fn len(&self) -> usize {
        self.open.lock().len()
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
