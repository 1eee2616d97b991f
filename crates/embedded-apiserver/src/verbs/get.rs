//! Get and list.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use super::{Answer, Call, Page, convert};
use crate::http::status::{ApiError, ApiResult};
use crate::selector::{FieldSelector, LabelSelector};
use crate::storage::{Object, Scope};

/// The selectors of a request, checked.
pub(crate) struct Selection {
    pub labels: LabelSelector,
    pub fields: FieldSelector,
    /// Whether the field selector needs more than name and namespace.
    deep: bool,
}

impl Selection {
    pub fn read(call: &Call<'_>) -> ApiResult<Self> {
        let query = &call.request.query;
        let labels = LabelSelector::parse(query.get("labelSelector")).map_err(ApiError::bad_request)?;
        let mut text = query.get("fieldSelector").to_owned();
        if !call.request.name.is_empty() {
            text = format!(
                "{}{}metadata.name={}",
                text,
                if text.is_empty() { "" } else { "," },
                call.request.name
            );
        }
        let fields = FieldSelector::parse(&text).map_err(ApiError::bad_request)?;
        let extra = &call.version().selectable;
        let supported: Vec<&str> = ["metadata.name", "metadata.namespace"]
            .into_iter()
            .chain(extra.iter().map(String::as_str))
            .collect();
        if let Some(field) = fields.first_unsupported(&supported) {
            // Kinds without selectable fields of their own word it in another way.
            let plain = !call.served.resource.is_custom() && extra.is_empty();
            return Err(ApiError::bad_request(match plain {
                true => format!(
                    "{field:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
                ),
                false => format!("field label not supported: {field}"),
            }));
        }
        let deep = extra.iter().any(|field| text.contains(field.as_str()));
        Ok(Self { labels, fields, deep })
    }

    pub fn is_everything(&self) -> bool {
        self.labels.is_everything() && self.fields.is_everything()
    }

    /// Whether an object is selected. The field selector sees it in the served version.
    pub async fn matches(&self, call: &Call<'_>, object: &Arc<Object>) -> ApiResult<bool> {
        if !self.matches_labels(object) {
            return Ok(false);
        }
        if self.fields.is_everything() {
            return Ok(true);
        }
        if self.deep {
            return Ok(self
                .fields
                .matches_object(&convert::value(call.inner, call.served, object).await?));
        }
        let names = json!({"metadata": {"name": &*object.name, "namespace": &*object.namespace}});
        Ok(self.fields.matches_object(&names))
    }

    fn matches_labels(&self, object: &Object) -> bool {
        if self.labels.is_everything() {
            return true;
        }
        let labels: Map<String, Value> = object
            .labels
            .iter()
            .map(|(k, v)| (k.to_string(), v.to_string().into()))
            .collect();
        self.labels.matches(Some(&labels))
    }

    pub async fn filter(&self, call: &Call<'_>, objects: Vec<Arc<Object>>) -> ApiResult<Vec<Arc<Object>>> {
        if self.is_everything() {
            return Ok(objects);
        }
        let mut kept = Vec::new();
        for object in objects {
            if self.matches(call, &object).await? {
                kept.push(object);
            }
        }
        Ok(kept)
    }
}

pub(crate) fn get(call: &Call<'_>) -> ApiResult<Answer> {
    Ok(Answer::Object {
        code: 200,
        object: call.current()?,
    })
}

/// Where a list goes on: the revision it shows (none: whatever there is by then) and the last key that was told.
struct Continue {
    revision: Option<u64>,
    after: String,
}

impl Continue {
    fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(
            json!({"v": "meta.k8s.io/v1", "rv": self.revision.map_or(json!(-1), Value::from), "start": format!("{}\u{0}", self.after)})
                .to_string(),
        )
    }

    fn decode(token: &str) -> ApiResult<Self> {
        let broken = || {
            ApiError::bad_request(
                "invalid continue token: continue key is not valid: illegal base64 data at input byte 0",
            )
        };
        let bytes = URL_SAFE_NO_PAD
            .decode(token.trim_end_matches('='))
            .map_err(|_| broken())?;
        let value: Value = serde_json::from_slice(&bytes).map_err(|_| broken())?;
        let (revision, start) = (value["rv"].as_i64(), value["start"].as_str());
        let (Some(revision), Some(start)) = (revision, start) else {
            return Err(broken());
        };
        Ok(Self {
            revision: u64::try_from(revision).ok(),
            after: start.trim_end_matches('\u{0}').to_owned(),
        })
    }
}

/// Objects, how many follow in the same scope, and the revision at which this is true.
type Portion = (Vec<Arc<Object>>, usize, u64);

/// The objects of the path's scope at the revision that the query wants: behind the last one told, at most `limit` (0: all).
fn snapshot(call: &Call<'_>, token: Option<&Continue>, limit: usize) -> ApiResult<Portion> {
    let (store, query) = (&call.inner.store, &call.request.query);
    let table = &call.served.resource.store;
    let scope = Scope {
        namespace: &call.request.namespace,
        after: token.map_or("", |token| &token.after),
        limit,
    };
    match token {
        None => {}
        Some(Continue { revision: None, .. }) => return Ok(store.page(table, scope)),
        Some(Continue {
            revision: Some(revision),
            after,
        }) => {
            let going_on = || Continue {
                revision: None,
                after: after.clone(),
            };
            let (objects, rest) = store
                .page_at(table, scope, *revision)
                .map_err(|_| ApiError::expired_continue(&going_on().encode()))?;
            return Ok((objects, rest, *revision));
        }
    }
    let wanted = query.revision()?.unwrap_or(0);
    let matching = query.get("resourceVersionMatch");
    let current = store.revision();
    if wanted > current {
        return Err(ApiError::too_large_revision(wanted, current));
    }
    match matching {
        "Exact" => {
            let (objects, rest) = store
                .page_at(table, scope, wanted)
                .map_err(|_| ApiError::expired_list())?;
            Ok((objects, rest, wanted))
        }
        _ => Ok(store.page(table, scope)),
    }
}

pub(crate) async fn list(call: &Call<'_>) -> ApiResult<Answer> {
    let selection = Selection::read(call)?;
    let query = &call.request.query;
    let token = match query.get("continue") {
        "" => None,
        _ if !matches!(query.get("resourceVersion"), "" | "0") => {
            return Err(ApiError::bad_request(
                "specifying resource version is not allowed when using continue",
            ));
        }
        token => Some(Continue::decode(token)?),
    };
    let limit = query.number("limit")?.unwrap_or(0) as usize;
    let everything = selection.is_everything();
    let (objects, mut rest, revision) = snapshot(call, token.as_ref(), if everything { limit } else { 0 })?;
    let mut objects = selection.filter(call, objects).await?;
    if limit > 0 && objects.len() > limit {
        rest = objects.len() - limit;
        objects.truncate(limit);
    }
    let mut page = Page {
        objects,
        revision,
        next: None,
        remaining: None,
    };
    if rest > 0 {
        // Upstream does not count what a selector would have to look through.
        page.remaining = everything.then_some(rest);
        page.next = page.objects.last().map(|last| {
            Continue {
                revision: Some(revision),
                after: last.key().into(),
            }
            .encode()
        });
    }
    Ok(Answer::List(page))
}
