//! The life of one watch: initial events, then whatever changes, bookmarks now and then, until its time is over.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bytes::{Bytes, BytesMut};
use futures::Stream;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::line::{self, Writer};
use super::{BOOKMARK_INTERVAL, Wishes};
use crate::http::negotiate::Output;
use crate::http::request::Request;
use crate::http::status::{ApiError, ApiResult};
use crate::storage::{Change, ChangeKind};
use crate::table::IncludeObject;
use crate::verbs::{Call, get::Selection};

enum Stage {
    /// Nothing was told yet.
    Start,
    Following,
    Over,
}

struct Watch {
    writer: Writer,
    request: Request,
    selection: Selection,
    wishes: Wishes,
    stage: Stage,
    wake: Arc<Notify>,
    /// Everything up to here was told.
    cursor: u64,
    /// The revision of the last event or bookmark that the client saw.
    told: u64,
    deadline: Instant,
    next_bookmark: Instant,
}

/// The stream of a watch's lines.
pub(super) fn open(
    call: &Call<'_>,
    output: Output,
    include: IncludeObject,
    selection: Selection,
    wishes: Wishes,
) -> Pin<Box<dyn Stream<Item = Bytes> + Send>> {
    let writer = Writer {
        inner: call.inner.clone(),
        served: call.served.clone(),
        output,
        include,
        headed: AtomicBool::new(false),
    };
    let now = Instant::now();
    let from = wishes.from.unwrap_or_else(|| call.inner.store.revision());
    let watch = Watch {
        wake: call.inner.store.wake(&call.served.resource.store),
        // What happens from now on is told, also if the first poll comes later.
        cursor: from,
        told: from,
        deadline: now + wishes.timeout,
        next_bookmark: now + BOOKMARK_INTERVAL,
        writer,
        request: call.request.clone(),
        selection,
        wishes,
        stage: Stage::Start,
    };
    Box::pin(futures::stream::unfold(watch, |mut watch| async move {
        let bytes = watch.next().await?;
        Some((bytes, watch))
    }))
}

impl Watch {
    async fn next(&mut self) -> Option<Bytes> {
        let result = match self.stage {
            Stage::Over => return None,
            Stage::Start => match self.start().await {
                Ok(bytes) if bytes.is_empty() => self.follow().await,
                other => other.map(Some),
            },
            Stage::Following => self.follow().await,
        };
        match result {
            Ok(Some(bytes)) => Some(bytes),
            Ok(None) => None,
            Err(error) => {
                self.stage = Stage::Over;
                Some(line::error(&error))
            }
        }
    }

    /// The initial events and their end.
    async fn start(&mut self) -> ApiResult<Bytes> {
        self.stage = Stage::Following;
        let mut into = BytesMut::new();
        if self.wishes.initial {
            let (objects, revision) = self
                .writer
                .inner
                .store
                .list(&self.writer.served.resource.store, &self.request.namespace);
            for object in objects {
                if self.matches(&object).await? {
                    self.writer
                        .event("ADDED", &object, object.revision, &mut into)
                        .await?;
                }
            }
            (self.cursor, self.told) = (revision, revision);
        }
        if self.wishes.mark_initial {
            self.writer.bookmark(self.cursor, true, &mut into);
        }
        Ok(into.freeze())
    }

    async fn matches(&self, object: &Arc<crate::storage::Object>) -> ApiResult<bool> {
        let writer = &self.writer;
        let call = Call {
            inner: &writer.inner,
            request: &self.request,
            served: &writer.served,
        };
        self.selection.matches(&call, object).await
    }

    /// The next lines; `None` at the end of the watch's time.
    async fn follow(&mut self) -> ApiResult<Option<Bytes>> {
        let wake = self.wake.clone();
        let shutdown = self.writer.inner.shutdown.clone();
        loop {
            let mut changed = std::pin::pin!(wake.notified());
            // Registered before reading, so that no change falls between reading and waiting.
            changed.as_mut().enable();
            if self.is_outdated() {
                self.stage = Stage::Over;
                return Ok(None);
            }
            let bytes = self.read().await?;
            if !bytes.is_empty() {
                return Ok(Some(bytes));
            }
            let timer = if self.wishes.bookmarks {
                self.deadline.min(self.next_bookmark)
            } else {
                self.deadline
            };
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(None),
                () = changed => {}
                () = tokio::time::sleep_until(timer) => {
                    let over = timer == self.deadline;
                    let bookmark = self.bookmark();
                    if over {
                        self.stage = Stage::Over;
                        return Ok(bookmark);
                    }
                    if bookmark.is_some() {
                        return Ok(bookmark);
                    }
                }
            }
        }
    }

    /// Whether the definition of the resource changed; the client comes back and meets the new one.
    fn is_outdated(&self) -> bool {
        let resource = &self.writer.served.resource;
        let present = |now: Arc<crate::registry::Resource>| now.generation == resource.generation;
        resource.is_custom()
            && !self
                .writer
                .inner
                .registry
                .load()
                .by_name(&resource.gr)
                .is_some_and(present)
    }

    fn bookmark(&mut self) -> Option<Bytes> {
        self.next_bookmark = Instant::now() + BOOKMARK_INTERVAL;
        if !self.wishes.bookmarks || self.cursor <= self.told {
            return None;
        }
        self.told = self.cursor;
        let mut into = BytesMut::new();
        self.writer.bookmark(self.cursor, false, &mut into);
        Some(into.freeze())
    }

    /// What happened since the cursor, as lines.
    async fn read(&mut self) -> ApiResult<Bytes> {
        let mut into = BytesMut::new();
        loop {
            let portion = self
                .writer
                .inner
                .store
                .since(&self.writer.served.resource.store, self.cursor)
                .map_err(|expired| ApiError::expired(self.cursor, &expired))?;
            for change in &portion.changes {
                if self.request.namespace.is_empty() || *change.object.namespace == *self.request.namespace {
                    self.tell(change, &mut into).await?;
                }
            }
            self.cursor = portion.upto.max(self.cursor);
            if !into.is_empty() {
                self.told = self.cursor;
            }
            // What is told already goes out before the next portion.
            if !into.is_empty() || !portion.more {
                return Ok(into.freeze());
            }
        }
    }

    /// A change as the selectors show it: entering them is an addition, leaving them a deletion.
    async fn tell(&self, change: &Change, into: &mut BytesMut) -> ApiResult<()> {
        let revision = change.object.revision;
        if self.selection.is_everything() {
            let kind = match change.kind {
                ChangeKind::Added => "ADDED",
                ChangeKind::Modified => "MODIFIED",
                ChangeKind::Deleted => "DELETED",
            };
            return self.writer.event(kind, &change.object, revision, into).await;
        }
        let before = match &change.previous {
            Some(previous) => self.matches(previous).await?,
            None => false,
        };
        let after = change.kind != ChangeKind::Deleted && self.matches(&change.object).await?;
        match (before, after, &change.previous) {
            (false, true, _) => self.writer.event("ADDED", &change.object, revision, into).await,
            (true, true, _) => {
                self.writer
                    .event("MODIFIED", &change.object, revision, into)
                    .await
            }
            (true, false, Some(previous)) => self.writer.event("DELETED", previous, revision, into).await,
            _ => Ok(()),
        }
    }
}
