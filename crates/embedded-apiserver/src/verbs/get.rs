//! Get and list.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use super::{Answer, Call, Page, convert};
use crate::http::status::{ApiError, ApiResult};
use crate::selector::{FieldSelector, LabelSelector};
use crate::storage::Object;

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

/// Where a list goes on: the revision it shows and the last key that was told.
struct Continue {
    revision: u64,
    after: String,
}

impl Continue {
    fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(
            json!({"v": "meta.k8s.io/v1", "rv": self.revision, "start": format!("{}\u{0}", self.after)})
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
        let (revision, start) = (value["rv"].as_u64(), value["start"].as_str());
        let (Some(revision), Some(start)) = (revision, start) else {
            return Err(broken());
        };
        Ok(Self {
            revision,
            after: start.trim_end_matches('\u{0}').to_owned(),
        })
    }
}

/// The objects of the path's scope at the revision that the query wants.
fn snapshot(call: &Call<'_>, token: Option<&Continue>) -> ApiResult<(Vec<Arc<Object>>, u64)> {
    let (store, query) = (&call.inner.store, &call.request.query);
    let (table, namespace) = (&call.served.resource.store, &call.request.namespace);
    if let Some(token) = token {
        let objects = store
            .list_at(table, namespace, token.revision)
            .map_err(|_| ApiError::expired_continue())?;
        return Ok((objects, token.revision));
    }
    let wanted = query.revision()?.unwrap_or(0);
    let matching = query.get("resourceVersionMatch");
    let current = store.revision();
    if wanted > current {
        return Err(ApiError::too_large_revision(wanted, current));
    }
    match matching {
        "Exact" => {
            let objects = store
                .list_at(table, namespace, wanted)
                .map_err(|expired| ApiError::expired(wanted, &expired))?;
            Ok((objects, wanted))
        }
        _ => Ok(store.list(table, namespace)),
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
    let (objects, revision) = snapshot(call, token.as_ref())?;
    let mut objects = selection.filter(call, objects).await?;
    if let Some(token) = &token {
        objects.retain(|object| *object.key() > *token.after);
    }
    let limit = query.number("limit")?.unwrap_or(0) as usize;
    let mut page = Page {
        objects,
        revision,
        next: None,
        remaining: None,
    };
    if limit > 0 && page.objects.len() > limit {
        let rest = page.objects.split_off(limit);
        // Upstream does not count what a selector would have to look through.
        page.remaining = selection.is_everything().then_some(rest.len());
        page.next = page.objects.last().map(|last| {
            Continue {
                revision,
                after: last.key().into(),
            }
            .encode()
        });
    }
    Ok(Answer::List(page))
}
