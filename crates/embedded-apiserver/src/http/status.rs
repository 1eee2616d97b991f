//! Errors as clients see them: `metav1.Status` with code, reason, message and details, in kube-apiserver's words.

use std::borrow::Cow;

use serde_json::{Value, json};

use crate::faults::{Fault, broken};
use crate::patch::PatchError;
use crate::registry::Resource;
use crate::schema::{FieldError, aggregate};
use crate::storage::{Expired, GroupResource};

/// A failure with its HTTP code.
#[derive(Debug, Clone)]
pub(crate) struct ApiError {
    pub code: u16,
    pub reason: Cow<'static, str>,
    pub message: String,
    pub details: Option<Value>,
    /// Where a list may go on that has expired.
    pub next: Option<String>,
    /// Written as a line of text, not as a Status.
    pub plain: bool,
}

pub(crate) type ApiResult<T> = Result<T, ApiError>;

/// The text of a conflict that a re-read and a retry may solve.
pub(crate) const MODIFIED: &str =
    "the object has been modified; please apply your changes to the latest version and try again";

fn details(gr: &GroupResource, name: &str) -> Value {
    let mut details = json!({"kind": &*gr.resource});
    set(&mut details, "name", name);
    set(&mut details, "group", &gr.group);
    details
}

fn set(details: &mut Value, field: &str, text: &str) {
    if !text.is_empty() {
        details[field] = text.into();
    }
}

impl ApiError {
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason: reason.into(),
            message: message.into(),
            details: None,
            next: None,
            plain: false,
        }
    }

    fn about(mut self, details: Value) -> Self {
        self.details = Some(details);
        self
    }

    pub fn with_causes(mut self, causes: Vec<Value>) -> Self {
        if !causes.is_empty() {
            self.details.get_or_insert_with(|| json!({}))["causes"] = causes.into();
        }
        self
    }

    pub fn not_found(gr: &GroupResource, name: &str) -> Self {
        let reason = if broken(Fault::WrongReason) {
            "Gone"
        } else {
            "NotFound"
        };
        Self::new(404, reason, format!("{gr} \"{name}\" not found")).about(details(gr, name))
    }

    /// A path that leads nowhere.
    pub fn no_such_path() -> Self {
        Self::new(
            404,
            "NotFound",
            "the server could not find the requested resource",
        )
        .about(json!({}))
    }

    /// A path that no group knows.
    pub fn page_not_found() -> Self {
        Self {
            plain: true,
            ..Self::new(404, "", "404 page not found\n")
        }
    }

    pub fn already_exists(gr: &GroupResource, name: &str) -> Self {
        Self::new(409, "AlreadyExists", format!("{gr} \"{name}\" already exists")).about(details(gr, name))
    }

    pub fn conflict(gr: &GroupResource, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {gr} \"{name}\": {why}");
        Self::new(409, "Conflict", message).about(details(gr, name))
    }

    pub fn forbidden(gr: &GroupResource, name: &str, why: &str) -> Self {
        let message = match name.is_empty() {
            true => format!("{gr} is forbidden: {why}"),
            false => format!("{gr} \"{name}\" is forbidden: {why}"),
        };
        Self::new(403, "Forbidden", message).about(details(gr, name))
    }

    pub fn invalid(resource: &Resource, name: &str, errors: &[FieldError]) -> Self {
        Self::invalid_named(&resource.kind, &resource.gr.group, name, errors)
    }

    /// Options of a request that make no sense.
    pub fn invalid_options(kind: &str, errors: &[FieldError]) -> Self {
        let message = format!("{kind}.meta.k8s.io \"\" is invalid: {}", aggregate(errors));
        let causes = errors.iter().map(FieldError::cause).collect();
        Self::new(422, "Invalid", message)
            .about(json!({"group": "meta.k8s.io", "kind": kind}))
            .with_causes(causes)
    }

    /// Invalid, told by code that knows a name for the kind but not the resource.
    pub fn invalid_named(kind: &str, group: &str, name: &str, errors: &[FieldError]) -> Self {
        let qualified = if group.is_empty() {
            kind.to_owned()
        } else {
            format!("{kind}.{group}")
        };
        let mut details = json!({});
        for (field, text) in [("name", name), ("group", group), ("kind", kind)] {
            set(&mut details, field, text);
        }
        let message = format!("{qualified} \"{name}\" is invalid: {}", aggregate(errors));
        let causes = errors.iter().map(FieldError::cause).collect();
        Self::new(422, "Invalid", message)
            .about(details)
            .with_causes(causes)
    }

    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    pub fn internal(message: impl std::fmt::Display) -> Self {
        let causes = vec![json!({"message": message.to_string()})];
        Self::new(
            500,
            "InternalError",
            format!("Internal error occurred: {message}"),
        )
        .with_causes(causes)
    }

    pub fn method_not_allowed() -> Self {
        Self::new(
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        )
        .about(json!({}))
    }

    pub fn unsupported_media_type(accepted: &[&str]) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {}",
            accepted.join(", ")
        );
        Self::new(415, "UnsupportedMediaType", message)
    }

    pub fn not_acceptable() -> Self {
        let message = "only the following media types are accepted: application/json, application/yaml";
        Self::new(406, "NotAcceptable", message)
    }

    pub fn expired(asked: u64, oldest: &Expired) -> Self {
        Self::new(
            410,
            "Expired",
            format!("too old resource version: {asked} ({})", oldest.oldest),
        )
    }

    pub fn expired_list() -> Self {
        Self::new(
            410,
            "Expired",
            "The resourceVersion for the provided list is too old.",
        )
    }

    /// A list cannot go on where it was; with `next` it goes on among what there is now.
    pub fn expired_continue(next: &str) -> Self {
        let message = "The provided continue parameter is too old to display a consistent list result. You can start a new list \
                       without the continue parameter, or use the continue token in this response to retrieve the remainder of the \
                       results. Continuing with the provided token results in an inconsistent list - objects that were created, \
                       modified, or deleted between the time the first chunk was returned and now may show up in the list.";
        Self {
            next: Some(next.to_owned()),
            ..Self::new(410, "Expired", message)
        }
    }

    /// Asked for a revision that is not reached yet.
    pub fn too_large_revision(asked: u64, current: u64) -> Self {
        let message = format!("Timeout: Too large resource version: {asked}, current: {current}");
        let causes =
            vec![json!({"reason": "ResourceVersionTooLarge", "message": "Too large resource version"})];
        Self::new(504, "Timeout", message)
            .about(json!({"retryAfterSeconds": 1}))
            .with_causes(causes)
    }

    /// The answer's body.
    pub fn to_value(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "code": self.code,
        });
        set(&mut status, "reason", &self.reason);
        if let Some(next) = &self.next {
            status["metadata"]["continue"] = next.as_str().into();
        }
        if let Some(details) = &self.details {
            status["details"] = details.clone();
        }
        status
    }
}

impl From<PatchError> for ApiError {
    fn from(error: PatchError) -> Self {
        match error {
            PatchError::BadRequest(message) => Self::bad_request(message),
            PatchError::Unprocessable(why) => {
                tracing::debug!(%why, "a patch could not be applied");
                Self::new(
                    422,
                    "Invalid",
                    "the server rejected our request due to an error in our request",
                )
                .about(json!({}))
            }
            PatchError::TooLarge(message) => Self::new(413, "RequestEntityTooLarge", message),
            PatchError::Internal(message) => Self::new(500, "", message),
        }
    }
}

/// The body that answers a deletion which is complete.
pub(crate) fn success(gr: &GroupResource, name: &str, uid: &str) -> Value {
    let mut details = details(gr, name);
    set(&mut details, "uid", uid);
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}
