//! One list of servers for all who watch one: the changes since the last look, and everything now and then.
//!
//! So the number of requests follows from how recent the answers must be, not from the number of servers.

use std::{collections::BTreeMap, time::Duration};

use jiff::{SignedDuration, Timestamp};
use tokio::{sync::Mutex, time::Instant};

use super::{CloudError, Session, compute::Server};

/// Clocks differ, and Nova's has whole seconds: every look overlaps with the one before.
const OVERLAP: SignedDuration = SignedDuration::from_secs(10);
/// After so long everything is listed again: addresses change without a trace in the list of changes.
const WHOLE: Duration = Duration::from_secs(600);

/// The servers of a project as they were a moment ago.
#[derive(Debug, Default)]
pub struct ServerList {
    known: Mutex<Option<Known>>,
}

#[derive(Debug)]
struct Known {
    servers: BTreeMap<String, Server>,
    /// When the last look began, in wall-clock time.
    asked: Timestamp,
    looked: Instant,
    whole: Instant,
}

impl Known {
    fn merge(&mut self, changed: Vec<Server>) {
        for server in changed {
            match server.status.as_str() {
                "DELETED" => self.servers.remove(&server.id),
                _ => self.servers.insert(server.id.clone(), server),
            };
        }
    }
}

impl Session {
    /// A server as it was at most `age` ago; nothing if it does not exist.
    pub async fn recent_server(&self, id: &str, age: Duration) -> Result<Option<Server>, CloudError> {
        let mut known = self.server_list().known.lock().await;
        let fresh = |known: &Known| known.looked.elapsed() <= age;
        if !known.as_ref().is_some_and(fresh) {
            self.look_at_servers(&mut known).await?;
        }
        let found = known.as_ref().and_then(|known| known.servers.get(id).cloned());
        drop(known);
        match found {
            Some(server) => Ok(Some(server)),
            // Made a moment ago, or gone: that must be certain.
            None => self.server(id).await,
        }
    }

    /// The states of all servers now.
    pub(super) async fn server_states(&self) -> Result<BTreeMap<String, String>, CloudError> {
        let mut known = self.server_list().known.lock().await;
        self.look_at_servers(&mut known).await?;
        let servers = known.iter().flat_map(|known| known.servers.values());
        let state = |server: &Server| (server.id.clone(), server.status.clone());
        Ok(servers.map(state).collect())
    }

    /// Brings the list up to date.
    async fn look_at_servers(&self, known: &mut Option<Known>) -> Result<(), CloudError> {
        let (now, asked) = (Instant::now(), self.now());
        match known {
            Some(known) if now.duration_since(known.whole) <= WHOLE => {
                let since = known.asked.saturating_sub(OVERLAP).unwrap_or(known.asked);
                known.merge(self.servers(Some(since)).await?);
                (known.asked, known.looked) = (asked, now);
            }
            _ => {
                let servers = self.servers(None).await?;
                *known = Some(Known {
                    servers: servers
                        .into_iter()
                        .map(|server| (server.id.clone(), server))
                        .collect(),
                    asked,
                    looked: now,
                    whole: now,
                });
            }
        }
        Ok(())
    }
}
