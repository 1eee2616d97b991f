//! Many watchers of one collection: how long until the last of them has heard of a write, and how many events a second.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::ensure;
use bytes::Bytes;
use http::Method;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::Value;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::client::Connection;
use crate::payload;
use crate::target::Target;
use crate::writes::Seen;

/// Writes one after the other.
const SINGLE: usize = 100;
/// Writes by several clients as fast as they can.
const BURST: usize = 800;
const WRITERS: usize = 8;

/// What the watchers have heard.
struct Heard {
    events: AtomicUsize,
    /// When the last watcher heard of a write, by its number, in nanoseconds since the start.
    last: Vec<AtomicU64>,
    start: Instant,
    all: Notify,
    wanted: AtomicUsize,
}

impl Heard {
    fn event(&self, number: usize) {
        if let Some(last) = self.last.get(number) {
            last.fetch_max(self.start.elapsed().as_nanos() as u64, Ordering::Relaxed);
        }
        if self.events.fetch_add(1, Ordering::SeqCst) + 1 == self.wanted.load(Ordering::SeqCst) {
            self.all.notify_one();
        }
    }

    /// Waits until so many events came in all.
    async fn wait(&self, events: usize) -> anyhow::Result<()> {
        self.wanted.store(events, Ordering::SeqCst);
        let deadline = Instant::now() + Duration::from_secs(120);
        while self.events.load(Ordering::SeqCst) < events {
            tokio::time::timeout_at(deadline, self.all.notified()).await?;
        }
        Ok(())
    }
}

/// Counts the lines of a watch.
async fn follow(mut body: Incoming, heard: Arc<Heard>, _connection: Connection) {
    let mut number = 0;
    while let Some(Ok(frame)) = body.frame().await {
        let Some(data) = frame.data_ref() else { continue };
        for _ in data.iter().filter(|byte| **byte == b'\n') {
            heard.event(number);
            number += 1;
        }
    }
}

async fn patch(connection: &mut Connection, name: &str, step: usize) -> anyhow::Result<()> {
    let path = format!("{}/{name}/status", payload::machines("watch"));
    connection
        .write("PATCH", &path, &payload::status(step))
        .await
        .map(drop)
}

pub async fn measure(target: &Target, watchers: usize, round: usize) -> anyhow::Result<Seen> {
    let mut connection = Connection::open(target).await?;
    let name = |writer: usize| format!("watched-{round}-{writer}");
    for writer in 0..WRITERS {
        let machine = payload::machine(&name(writer));
        connection
            .write("POST", &payload::machines("watch"), &machine)
            .await?;
    }
    let list: Value = serde_json::from_slice(&connection.get(&payload::machines("watch")).await?)?;
    let revision = list["metadata"]["resourceVersion"].as_str().unwrap_or_default();
    let heard = Arc::new(Heard {
        events: AtomicUsize::new(0),
        last: (0..SINGLE).map(|_| AtomicU64::new(0)).collect(),
        start: Instant::now(),
        all: Notify::new(),
        wanted: AtomicUsize::new(usize::MAX),
    });
    let mut tasks = Vec::new();
    for _ in 0..watchers {
        let mut own = Connection::open(target).await?;
        let path = format!(
            "{}?watch=1&resourceVersion={revision}",
            payload::machines("watch")
        );
        let body = own.send(Method::GET, &path, Bytes::new()).await?.into_body();
        tasks.push(tokio::spawn(follow(body, heard.clone(), own)));
    }
    let mut times = Vec::new();
    for step in 0..SINGLE {
        let begin = heard.start.elapsed();
        patch(&mut connection, &name(0), step).await?;
        heard.wait((step + 1) * watchers).await?;
        let last = Duration::from_nanos(heard.last[step].load(Ordering::Relaxed));
        times.push(last.saturating_sub(begin));
    }
    let mut writers = Vec::new();
    let begin = Instant::now();
    for writer in 0..WRITERS {
        let (mut own, name) = (Connection::open(target).await?, name(writer));
        writers.push(tokio::spawn(async move {
            for step in 0..BURST / WRITERS {
                patch(&mut own, &name, SINGLE + 1 + step).await?;
            }
            anyhow::Ok(())
        }));
    }
    for writer in writers {
        writer.await??;
    }
    heard.wait((SINGLE + BURST) * watchers).await?;
    let rate = (BURST * watchers) as f64 / begin.elapsed().as_secs_f64();
    ensure!(
        heard.events.load(Ordering::SeqCst) == (SINGLE + BURST) * watchers,
        "{}: too many events",
        target.name
    );
    for task in tasks {
        task.abort();
    }
    Ok(Seen::new(rate, times))
}
