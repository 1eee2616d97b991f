//! Reviews: questions that are answered and not stored. There is no authorization yet, so access is always allowed.

use serde_json::{Value, json};

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
        _ => json!({"allowed": true, "reason": "this server allows every request"}),
    };
    if !review["metadata"].is_object() {
        review["metadata"] = Value::Object(Default::default());
    }
    Ok(Answer::Plain {
        code: 201,
        value: review,
    })
}
