//! The query parameters that are options of a request: checked before anything else happens.

use serde_json::{Value, json};

use super::Call;
use crate::http::query::Query;
use crate::http::request::Verb;
use crate::http::status::{ApiError, ApiResult};
use crate::schema::FieldError;

/// The content type of server-side apply.
pub(super) const APPLY: &str = "application/apply-patch+yaml";

fn write_options(query: &Query) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let dry: Vec<&str> = query.all("dryRun").collect();
    if dry.iter().any(|value| *value != "All") {
        errors.push(FieldError::not_supported("dryRun", json!(dry), &["All"]));
    }
    errors.extend(field_manager(query.get("fieldManager")));
    let validation = query.get("fieldValidation");
    if !matches!(validation, "" | "Ignore" | "Strict" | "Warn") {
        errors.push(FieldError::not_supported(
            "fieldValidation",
            validation,
            &["", "Ignore", "Strict", "Warn"],
        ));
    }
    errors
}

/// Manager names end up in every object they touch.
fn field_manager(name: &str) -> Option<FieldError> {
    const LONGEST: usize = 128;
    if name.len() > LONGEST {
        return Some(FieldError::too_long("fieldManager", LONGEST as i64));
    }
    let (i, bad) = name.char_indices().find(|(_, c)| c.is_control())?;
    let detail = format!("invalid character U+{:04X} (at position {i})", bad as u32);
    Some(FieldError::invalid("fieldManager", name, detail))
}

/// What deletions take; they know no field manager.
fn delete_options(query: &Query) -> Vec<FieldError> {
    let dry: Vec<&str> = query.all("dryRun").collect();
    let wrong = dry.iter().any(|value| *value != "All");
    wrong
        .then(|| FieldError::not_supported("dryRun", json!(dry), &["All"]))
        .into_iter()
        .collect()
}

fn patch_options(call: &Call<'_>) -> Vec<FieldError> {
    let query = &call.request.query;
    let mut errors = Vec::new();
    if call.request.content_type == APPLY {
        if query.get("fieldManager").is_empty() {
            errors.push(FieldError::required(
                "fieldManager",
                "is required for apply patch",
            ));
        }
    } else if query.has("force") {
        errors.push(FieldError::forbidden(
            "force",
            "may not be specified for non-apply patch",
        ));
    }
    errors.extend(write_options(query));
    errors
}

fn list_options(call: &Call<'_>) -> Vec<FieldError> {
    let query = &call.request.query;
    let (matching, path) = (query.get("resourceVersionMatch"), "resourceVersionMatch");
    let watching = call.request.verb == Verb::Watch;
    let forbidden = |detail: &str| vec![FieldError::forbidden(path, detail)];
    if query.has("sendInitialEvents") {
        if !watching {
            return vec![FieldError::forbidden(
                "sendInitialEvents",
                "sendInitialEvents is forbidden for list",
            )];
        }
        if matching != "NotOlderThan" {
            let mut errors =
                forbidden("sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
            if !matching.is_empty() {
                errors.push(FieldError::not_supported(
                    path,
                    Value::from(matching),
                    &["NotOlderThan"],
                ));
            }
            return errors;
        }
        return Vec::new();
    }
    if matching.is_empty() {
        return Vec::new();
    }
    if watching {
        return forbidden("resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided");
    }
    if query.get("resourceVersion").is_empty() {
        return forbidden("resourceVersionMatch is forbidden unless resourceVersion is provided");
    }
    if !query.get("continue").is_empty() {
        return forbidden("resourceVersionMatch is forbidden when continue is provided");
    }
    match matching {
        "Exact" if query.get("resourceVersion") == "0" => {
            forbidden("resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"")
        }
        "Exact" | "NotOlderThan" => Vec::new(),
        other => vec![FieldError::not_supported(
            path,
            Value::from(other),
            &["Exact", "NotOlderThan", ""],
        )],
    }
}

/// Refuses options that make no sense.
pub(super) fn check(call: &Call<'_>) -> ApiResult<()> {
    if call.request.verb == Verb::Patch {
        super::patch::check_type(call)?;
    }
    if matches!(call.request.verb, Verb::List | Verb::DeleteCollection) {
        call.request.query.number("timeoutSeconds")?;
    }
    let (kind, errors) = match call.request.verb {
        Verb::Get => return Ok(()),
        Verb::List | Verb::Watch => ("ListOptions", list_options(call)),
        Verb::Create => ("CreateOptions", write_options(&call.request.query)),
        Verb::Update => ("UpdateOptions", write_options(&call.request.query)),
        Verb::Patch => ("PatchOptions", patch_options(call)),
        Verb::Delete => ("DeleteOptions", delete_options(&call.request.query)),
        Verb::DeleteCollection => match list_options(call) {
            errors if errors.is_empty() => ("DeleteOptions", delete_options(&call.request.query)),
            errors => ("ListOptions", errors),
        },
    };
    match errors.is_empty() {
        true => Ok(()),
        false => Err(ApiError::invalid_options(kind, &errors)),
    }
}
