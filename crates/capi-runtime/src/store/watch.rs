//! Lists a kind and follows its changes: the requests, and what their answers say.
//!
//! kube's watcher would do, but for each watch it keeps a buffer and a client's queue, 20 KiB; a process has three
//! watches for every workload cluster. Here nothing is held while nothing comes.

use std::{marker::PhantomData, sync::Arc, time::Duration};

use bytes::{Buf, Bytes, BytesMut};
use http_body_util::BodyExt;
use kube::{
    api::{ApiResource, DynamicObject, ListParams, Request, WatchParams},
    client::Body,
    core::Status,
};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;

use super::feed::Arrived;
use crate::{
    error::describe,
    key::Stored,
    transport::{self, Answer, Requests},
};

/// How many objects are listed at a time.
const PAGE: u32 = 500;
/// The server ends a watch after this time.
const SERVER_LIMIT: Duration = Duration::from_secs(290);
/// A watch on which nothing comes for this time, bookmarks included, is dead.
const SILENCE_LIMIT: Duration = Duration::from_secs(295);

/// Why a list or a watch ended before its time.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The server does not remember the version: everything must be listed again.
    #[error("{0}")]
    Expired(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl Failure {
    fn of(error: &kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::of_status(status.code, describe(error)),
            _ => Self::Other(describe(error)),
        }
    }

    fn of_status(code: u16, text: String) -> Self {
        match code {
            410 => Self::Expired(text),
            _ => Self::Other(text),
        }
    }
}

/// What a watch says.
pub(super) enum Change<K> {
    /// An object came or changed.
    Applied(Box<Arrived<K>>),
    /// An object went.
    Deleted(Box<Arrived<K>>),
    /// Time passed.
    Bookmark,
}

/// What is listed and watched.
pub(super) struct Source<K> {
    pub(super) requests: Arc<dyn Requests>,
    pub(super) resource: ApiResource,
    pub(super) namespace: Option<String>,
    pub(super) label_selector: Option<String>,
    pub(super) kind: PhantomData<fn() -> K>,
}

impl<K: Stored> Source<K> {
    fn url(&self) -> Request {
        use kube::Resource;
        Request::new(DynamicObject::url_path(&self.resource, self.namespace.as_deref()))
    }

    async fn send(
        &self,
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Result<http::Response<Answer>, Failure> {
        let request = request.map_err(|error| Failure::Other(error.to_string()))?;
        let answer = self.requests.send(request.map(Body::from)).await;
        let answer = answer.map_err(|error| Failure::of(&error))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let body = transport::collect(answer)
            .await
            .map_err(|error| Failure::of(&error))?;
        Err(Failure::of(&transport::refusal(status, &body)))
    }

    /// All objects, each handed to `take`, and the version of the whole.
    pub(super) async fn list(&self, mut take: impl FnMut(Arrived<K>)) -> Result<String, Failure> {
        let mut params = ListParams::default().limit(PAGE);
        params.label_selector.clone_from(&self.label_selector);
        loop {
            let request = match K::metadata_api() {
                true => self.url().list_metadata(&params),
                false => self.url().list(&params),
            };
            let answer = self.send(request).await?;
            let body = transport::collect(answer)
                .await
                .map_err(|error| Failure::of(&error))?;
            let page: Page<K> =
                serde_json::from_slice(&body).map_err(|error| Failure::Other(error.to_string()))?;
            drop(body);
            page.items.into_iter().for_each(&mut take);
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params.continue_token = Some(token),
                None if page.metadata.resource_version.is_empty() => {
                    return Err(Failure::Other("the list has no resource version".to_owned()));
                }
                None => return Ok(page.metadata.resource_version),
            }
        }
    }

    /// Follows changes after a version.
    pub(super) async fn watch(&self, version: &str) -> Result<Watch, Failure> {
        let params = WatchParams {
            label_selector: self.label_selector.clone(),
            timeout: u32::try_from(SERVER_LIMIT.as_secs()).ok(),
            bookmarks: true,
            ..WatchParams::default()
        };
        let request = match K::metadata_api() {
            true => self.url().watch_metadata(&params, version),
            false => self.url().watch(&params, version),
        };
        let answer = self.send(request).await?;
        Ok(Watch {
            body: answer.into_body(),
            begun: BytesMut::new(),
            came: Bytes::new(),
        })
    }
}

#[derive(Deserialize)]
#[serde(bound = "K: Stored")]
struct Page<K> {
    metadata: PageMeta,
    items: Vec<Arrived<K>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PageMeta {
    #[serde(default)]
    resource_version: String,
    #[serde(default, rename = "continue")]
    continue_: Option<String>,
}

/// An open watch.
pub(super) struct Watch {
    body: Answer,
    /// The beginning of a line whose end has not come yet.
    begun: BytesMut,
    /// What came and was not looked at yet.
    came: Bytes,
}

impl Watch {
    /// The next change, and the version that it leads to. None when the server ends the watch, or says nothing for long.
    pub(super) async fn next<K: Stored>(&mut self) -> Option<Result<(Change<K>, String), Failure>> {
        let silent_at = Instant::now() + SILENCE_LIMIT;
        loop {
            if let Some(line) = self.line() {
                if line.iter().all(u8::is_ascii_whitespace) {
                    continue;
                }
                return Some(change(&line));
            }
            let frame = tokio::time::timeout_at(silent_at, self.body.frame())
                .await
                .ok()??;
            match frame {
                Ok(frame) => self.came = frame.into_data().unwrap_or_default(),
                Err(error) => return Some(Err(Failure::Other(crate::error::chain(error.as_ref())))),
            }
        }
    }

    /// The next whole line.
    fn line(&mut self) -> Option<Bytes> {
        let end = self.came.iter().position(|byte| *byte == b'\n');
        let Some(end) = end else {
            self.begun.extend_from_slice(&self.came);
            self.came = Bytes::new();
            return None;
        };
        let rest = self.came.split_to(end);
        self.came.advance(1);
        if self.came.is_empty() {
            // Even an empty rest would keep the buffer of the connection.
            self.came = Bytes::new();
        }
        if self.begun.is_empty() {
            return Some(rest);
        }
        self.begun.extend_from_slice(&rest);
        Some(std::mem::take(&mut self.begun).freeze())
    }
}

fn change<K: Stored>(line: &[u8]) -> Result<(Change<K>, String), Failure> {
    #[derive(Deserialize)]
    struct Event {
        #[serde(rename = "type")]
        type_: String,
        object: Value,
    }
    let unreadable =
        |error: serde_json::Error| Failure::Other(format!("the watch says what is no event: {error}"));
    let event: Event = match serde_json::from_slice(line) {
        Ok(event) => event,
        Err(error) => {
            let status = serde_json::from_slice::<Status>(line).map_err(|_| unreadable(error))?;
            return Err(Failure::of_status(status.code, status.message));
        }
    };
    if event.type_ == "ERROR" {
        let status: Status = serde_json::from_value(event.object).map_err(unreadable)?;
        return Err(Failure::of_status(status.code, status.message));
    }
    let arrived = Arrived::<K>::new(event.object);
    let version = arrived.meta.resource_version.clone().unwrap_or_default();
    if version.is_empty() {
        return Err(Failure::Expired("an object has no resource version".to_owned()));
    }
    let arrived = Box::new(arrived);
    match event.type_.as_str() {
        "ADDED" | "MODIFIED" => Ok((Change::Applied(arrived), version)),
        "DELETED" => Ok((Change::Deleted(arrived), version)),
        "BOOKMARK" => Ok((Change::Bookmark, version)),
        other => Err(Failure::Other(format!(
            "the watch says {other:?}, which nobody knows"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{StreamBody, combinators::UnsyncBoxBody};
    use hyper::body::Frame;
    use k8s_openapi::api::core::v1::ConfigMap;
    use serde_json::json;

    use super::*;

    fn watch(parts: &[&str]) -> Watch {
        let parts: Vec<_> = parts
            .iter()
            .map(|part| Ok(Frame::data(Bytes::from((*part).to_owned()))))
            .collect();
        Watch {
            body: UnsyncBoxBody::new(StreamBody::new(futures::stream::iter(parts))),
            begun: BytesMut::new(),
            came: Bytes::new(),
        }
    }

    fn event(type_: &str, name: &str, version: &str) -> String {
        let object = json!({ "metadata": { "name": name, "resourceVersion": version } });
        json!({ "type": type_, "object": object }).to_string() + "\n"
    }

    async fn told(mut watch: Watch) -> Vec<String> {
        let mut told = Vec::new();
        while let Some(change) = watch.next::<ConfigMap>().await {
            told.push(match change {
                Ok((Change::Applied(arrived), version)) => {
                    format!("applied {} {version}", arrived.meta.name.unwrap())
                }
                Ok((Change::Deleted(arrived), version)) => {
                    format!("deleted {} {version}", arrived.meta.name.unwrap())
                }
                Ok((Change::Bookmark, version)) => format!("bookmark {version}"),
                Err(Failure::Expired(text)) => format!("expired: {text}"),
                Err(Failure::Other(text)) => format!("failed: {text}"),
            });
        }
        assert!(watch.begun.is_empty() && watch.came.is_empty(), "nothing is held");
        told
    }

    #[tokio::test]
    async fn lines_are_found_however_they_are_cut() {
        let text =
            event("ADDED", "a", "1") + "\n" + &event("MODIFIED", "b", "2") + &event("DELETED", "a", "3");
        let expected = ["applied a 1", "applied b 2", "deleted a 3"];
        assert_eq!(told(watch(&[&text])).await, expected);
        for size in 1..text.len() {
            let (first, second) = text.split_at(size);
            assert_eq!(told(watch(&[first, "", second])).await, expected, "cut at {size}");
        }
        let single: Vec<String> = text.chars().map(String::from).collect();
        let single: Vec<&str> = single.iter().map(String::as_str).collect();
        assert_eq!(told(watch(&single)).await, expected);
    }

    #[tokio::test]
    async fn bookmarks_expiry_and_nonsense_are_told_apart() {
        let gone =
            json!({ "type": "ERROR", "object": { "code": 410, "message": "too old", "status": "Failure" } });
        let busy =
            json!({ "type": "ERROR", "object": { "code": 500, "message": "oops", "status": "Failure" } });
        let lines = [
            event("BOOKMARK", "", "7"),
            gone.to_string() + "\n",
            busy.to_string() + "\n",
            "nonsense\n".to_owned(),
            event("SHOUTED", "a", "8"),
        ];
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let told = told(watch(&lines)).await;
        assert_eq!(told[..3], ["bookmark 7", "expired: too old", "failed: oops"]);
        assert!(
            told[3].starts_with("failed: the watch says what is no event"),
            "{}",
            told[3]
        );
        assert!(told[4].contains("SHOUTED"), "{}", told[4]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_watch_counts_as_ended() {
        let mut silent = Watch {
            body: UnsyncBoxBody::new(StreamBody::new(futures::stream::pending())),
            begun: BytesMut::new(),
            came: Bytes::new(),
        };
        let start = Instant::now();
        assert!(silent.next::<ConfigMap>().await.is_none());
        assert_eq!(start.elapsed(), SILENCE_LIMIT);
    }
}
