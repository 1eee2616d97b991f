//! Watches: a cursor over a resource's history, turned into lines of JSON.
//!
//! A watch holds no queue. It sleeps until its resource changes, then reads on from its revision; one that is too slow
//! falls off the history and is told so (410). Thus idle watches cost a registered waker each and nothing else.

mod line;
mod stream;

use std::time::Duration;

use crate::http::negotiate::{Encoding, Output};
use crate::http::status::{ApiError, ApiResult};
use crate::table::IncludeObject;
use crate::verbs::{Answer, Call, get::Selection};

/// Bookmarks come about this often, and only when there was something new.
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(60);
/// Watches without `timeoutSeconds` end after this time and up to as much again.
const LONGEST: Duration = Duration::from_secs(1800);

/// What a watch was asked for.
struct Wishes {
    bookmarks: bool,
    /// Whether what exists is told first.
    initial: bool,
    /// Whether a bookmark marks the end of the initial events.
    mark_initial: bool,
    from: Option<u64>,
    timeout: Duration,
}

fn wishes(call: &Call<'_>) -> ApiResult<Wishes> {
    let query = &call.request.query;
    // A list calls this a bad request, a watch an error without a reason, as on the real server.
    let revision = query.revision().map_err(|error| {
        let why = error.message.trim_start_matches("invalid resource version: ");
        ApiError::new(500, "", why)
    })?;
    let bookmarks = query.flag("allowWatchBookmarks");
    let streaming = query.has("sendInitialEvents");
    let sends = streaming && query.flag("sendInitialEvents");
    let initial = if streaming {
        sends
    } else {
        matches!(revision, None | Some(0))
    };
    let timeout = match query.number("timeoutSeconds")? {
        Some(seconds) if seconds > 0 => Duration::from_secs(seconds),
        _ => seams::jittered(&*call.inner.randomness, LONGEST, 1.0),
    };
    Ok(Wishes {
        bookmarks,
        initial,
        mark_initial: sends && bookmarks,
        from: revision.filter(|r| *r > 0),
        timeout,
    })
}

/// Starts a watch.
pub(crate) async fn start(call: &Call<'_>, output: &Output) -> ApiResult<Answer> {
    if output.encoding == Encoding::Yaml {
        let message = "only the following media types are accepted: application/json;stream=watch";
        return Err(ApiError::new(406, "NotAcceptable", message));
    }
    let selection = Selection::read(call)?;
    let wishes = wishes(call)?;
    let include =
        IncludeObject::parse(call.request.query.get("includeObject")).map_err(ApiError::bad_request)?;
    Ok(Answer::Stream(stream::open(
        call,
        output.clone(),
        include,
        selection,
        wishes,
    )))
}
