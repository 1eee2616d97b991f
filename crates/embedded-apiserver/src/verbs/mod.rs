//! What requests ask for: each verb on resources and subresources.
//!
//! A verb reads the store, decides, asks admission, and commits. How its answer is written is `http`'s business.

pub(crate) mod admission;
pub(crate) mod builtin;
pub(crate) mod convert;
mod create;
pub(crate) mod delete;
mod eviction;
pub(crate) mod get;
mod input;
mod meta;
mod options;
mod patch;
mod reviews;
mod scale;
mod subresource;
mod update;
mod write;

pub(crate) use delete::{CLEANUP, FOREGROUND, ORPHAN, delete_options};
pub(crate) use input::body;
pub(crate) use meta::{label_errors, label_value_error, qualified_name_error};
pub(crate) use write::{Part, manager};

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures::Stream;
use serde_json::Value;

use crate::http::negotiate::Output;
use crate::http::request::{Request, Verb};
use crate::http::status::{ApiError, ApiResult};
use crate::registry::builtin::Builtin;
use crate::registry::{Served, Version};
use crate::server::Inner;
use crate::storage::{GroupResource, Object, object_key};
use crate::watch;

/// A verb's answer.
pub(crate) enum Answer {
    /// A stored object.
    Object {
        code: u16,
        object: Arc<Object>,
    },
    /// An object that is not stored as it is shown (dry run, deletion), in the served version; may become a table.
    Preview {
        code: u16,
        value: Value,
    },
    /// A value of another kind than the resource's (scale, reviews).
    Plain {
        code: u16,
        value: Value,
    },
    /// A `metav1.Status` of success.
    Status(Value),
    List(Page),
    Stream(Pin<Box<dyn Stream<Item = Bytes> + Send>>),
}

impl Answer {
    pub fn code(&self) -> u16 {
        match self {
            Self::Object { code, .. } | Self::Preview { code, .. } | Self::Plain { code, .. } => *code,
            Self::Status(_) | Self::List(_) | Self::Stream(_) => 200,
        }
    }
}

/// Part of a list.
pub(crate) struct Page {
    pub objects: Vec<Arc<Object>>,
    pub revision: u64,
    /// The token that continues the list.
    pub next: Option<String>,
    pub remaining: Option<usize>,
}

/// A request with everything it refers to.
pub(crate) struct Call<'a> {
    pub inner: &'a Arc<Inner>,
    pub request: &'a Request,
    pub served: &'a Served,
}

impl Call<'_> {
    pub fn version(&self) -> &Version {
        self.served.version()
    }

    pub fn gr(&self) -> &GroupResource {
        &self.served.resource.gr
    }

    /// The storage key of the object that the path names.
    pub fn key(&self) -> Box<str> {
        object_key(&self.request.namespace, &self.request.name)
    }

    pub fn not_found(&self) -> ApiError {
        ApiError::not_found(self.gr(), &self.request.name)
    }

    /// The stored object that the path names.
    pub fn current(&self) -> ApiResult<Arc<Object>> {
        self.inner
            .store
            .get(&self.served.resource.store, &self.key())
            .ok_or_else(|| self.not_found())
    }
}

/// Does what a request asks; warnings are for the client's eyes.
pub(crate) async fn dispatch(
    inner: &Arc<Inner>,
    request: &Request,
    output: &Output,
    warnings: &mut Vec<String>,
) -> ApiResult<(Served, Answer)> {
    let served = inner
        .registry
        .load()
        .find(&request.group, &request.version, &request.resource);
    let served = served.ok_or_else(ApiError::no_such_path)?;
    warnings.extend(served.version().deprecation.clone());
    let call = Call {
        inner,
        request,
        served: &served,
    };
    check_scope(&call)?;
    options::check(&call)?;
    let answer = match request.subresource.as_str() {
        "" => main(&call, output, warnings).await?,
        _ => subresource::dispatch(&call, warnings).await?,
    };
    Ok((served, answer))
}

fn check_scope(call: &Call<'_>) -> ApiResult<()> {
    let (request, resource) = (call.request, &call.served.resource);
    if matches!(request.name.as_str(), "." | "..") && request.verb != Verb::Create {
        let name = &request.name;
        return Err(ApiError::bad_request(format!(
            "Name parameter invalid: {name:?}: may not be '{name}'"
        )));
    }
    if !resource.namespaced && !request.namespace.is_empty() {
        return Err(ApiError::no_such_path());
    }
    let unnamed = request.name.is_empty();
    if resource.namespaced && request.namespace.is_empty() {
        return match request.verb {
            Verb::List | Verb::Watch if unnamed => Ok(()),
            _ if unnamed && !resource.is_custom() => Err(ApiError::method_not_allowed()),
            _ => Err(ApiError::no_such_path()),
        };
    }
    if unnamed && matches!(request.verb, Verb::Update | Verb::Patch) {
        return Err(match resource.is_custom() {
            true => ApiError::bad_request("name must be provided"),
            false => ApiError::method_not_allowed(),
        });
    }
    Ok(())
}

async fn main(call: &Call<'_>, output: &Output, warnings: &mut Vec<String>) -> ApiResult<Answer> {
    if call
        .served
        .resource
        .builtin()
        .is_some_and(|row| row.has(Builtin::VIRTUAL))
    {
        return match call.request.verb {
            Verb::Create => reviews::create(call, warnings),
            _ => Err(ApiError::method_not_allowed()),
        };
    }
    match call.request.verb {
        Verb::Get => get::get(call),
        Verb::List => get::list(call).await,
        Verb::Watch => watch::start(call, output).await,
        Verb::Create if !call.request.name.is_empty() && !call.served.resource.is_custom() => {
            Err(ApiError::method_not_allowed())
        }
        Verb::Create if !call.request.name.is_empty() => {
            // Custom resources are created whatever name stands in the path.
            let request = Request {
                name: String::new(),
                ..call.request.clone()
            };
            let call = Call {
                request: &request,
                ..*call
            };
            create::create(&call, warnings).await
        }
        Verb::Create => create::create(call, warnings).await,
        Verb::Update => update::update(call, write::Part::Main, warnings).await,
        Verb::Patch => patch::patch(call, write::Part::Main, warnings).await,
        Verb::Delete => delete::delete(call, warnings).await,
        Verb::DeleteCollection => delete::delete_collection(call, warnings).await,
    }
}
