//! Writes by several clients at once, each with its own connection and its own objects.

use std::time::Duration;

use http::Method;
use tokio::time::Instant;

use crate::client::Connection;
use crate::payload;
use crate::target::Target;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    CreateConfigMap,
    CreateCustom,
    PatchStatus,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::CreateConfigMap => "create ConfigMap",
            Self::CreateCustom => "create custom resource",
            Self::PatchStatus => "patch its status",
        }
    }
}

/// What was seen; times in milliseconds.
pub struct Seen {
    pub rate: f64,
    pub p50: f64,
    pub p99: f64,
}

impl Seen {
    /// From the times of all requests, of which so many were done in a second.
    pub fn new(rate: f64, mut times: Vec<Duration>) -> Self {
        times.sort();
        let at = |part: f64| {
            let index = ((times.len() as f64 * part) as usize).min(times.len().saturating_sub(1));
            times
                .get(index)
                .map_or(f64::NAN, |time| time.as_secs_f64() * 1000.0)
        };
        Self {
            rate,
            p50: at(0.5),
            p99: at(0.99),
        }
    }
}

struct Writer {
    connection: Connection,
    kind: Kind,
    prefix: String,
    step: usize,
}

impl Writer {
    async fn open(target: &Target, kind: Kind, prefix: String) -> anyhow::Result<Self> {
        let mut connection = Connection::open(target).await?;
        if kind == Kind::PatchStatus {
            let path = payload::machines("writes");
            connection
                .write("POST", &path, &payload::machine(&prefix))
                .await?;
        }
        Ok(Self {
            connection,
            kind,
            prefix,
            step: 0,
        })
    }

    async fn write(&mut self) -> anyhow::Result<()> {
        self.step += 1;
        let name = format!("{}-{}", self.prefix, self.step);
        let (method, path, body) = match self.kind {
            Kind::CreateConfigMap => (
                Method::POST,
                payload::config_maps("writes"),
                payload::config_map(&name),
            ),
            Kind::CreateCustom => (Method::POST, payload::machines("writes"), payload::machine(&name)),
            Kind::PatchStatus => {
                let path = format!("{}/{}/status", payload::machines("writes"), self.prefix);
                (Method::PATCH, path, payload::status(self.step))
            }
        };
        self.connection
            .call(method, &path, body.to_string().into())
            .await?;
        Ok(())
    }
}

/// Lets clients write for some time.
pub async fn measure(
    target: &Target,
    kind: Kind,
    clients: usize,
    round: usize,
    time: Duration,
) -> anyhow::Result<Seen> {
    let mut writers = Vec::new();
    for client in 0..clients {
        let prefix = format!("{}-{clients}-{round}-{client}", kind as usize);
        writers.push(Writer::open(target, kind, prefix).await?);
    }
    let start = Instant::now();
    let tasks: Vec<_> = writers
        .into_iter()
        .map(|mut writer| {
            tokio::spawn(async move {
                let mut times = Vec::new();
                while start.elapsed() < time {
                    let begin = Instant::now();
                    writer.write().await?;
                    times.push(begin.elapsed());
                }
                anyhow::Ok(times)
            })
        })
        .collect();
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await??);
    }
    Ok(Seen::new(
        times.len() as f64 / start.elapsed().as_secs_f64(),
        times,
    ))
}

/// Creates custom resources until there are so many; tells writes per second.
pub async fn fill(target: &Target, from: usize, to: usize) -> anyhow::Result<f64> {
    const CLIENTS: usize = 16;
    let start = Instant::now();
    let mut tasks = Vec::new();
    for client in 0..CLIENTS {
        let mut connection = Connection::open(target).await?;
        tasks.push(tokio::spawn(async move {
            for index in (from..to).skip(client).step_by(CLIENTS) {
                let machine = payload::machine(&format!("machine-{index:06}"));
                connection
                    .write("POST", &payload::machines("fill"), &machine)
                    .await?;
            }
            anyhow::Ok(())
        }));
    }
    for task in tasks {
        task.await??;
    }
    Ok((to - from) as f64 / start.elapsed().as_secs_f64())
}
