//! Reviews: questions that are answered and not stored. There is no authorization yet, so access is always allowed.

use serde_json::json;

use super::{Answer, Call, input};
use crate::http::status::ApiResult;

pub(super) fn create(call: &Call<'_>) -> ApiResult<Answer> {
    let mut review = input::object(call, &mut Vec::new())?;
    let user = &call.request.user;
    let info = json!({"username": user.name, "groups": user.groups});
    review["status"] = match &*call.gr().resource {
        "selfsubjectreviews" => json!({"userInfo": info}),
        "tokenreviews" => {
            json!({"authenticated": false, "user": {}, "error": "tokens are not known to this server"})
        }
        "selfsubjectrulesreviews" => json!({
            "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
            "incomplete": false,
        }),
        _ => json!({"allowed": true}),
    };
    if &*call.gr().resource == "selfsubjectreviews" {
        review["metadata"]["creationTimestamp"] = call.inner.now_text().into();
    }
    Ok(Answer::Plain {
        code: 201,
        value: review,
    })
}
