//! Reading the answers of webhooks, with the texts of the real server's client for what is none.

use serde_json::Value;

/// What the generic client of the real server says to an answer with an unexpected code.
pub(super) fn read(parts: http::response::Parts, body: &[u8]) -> Result<Value, String> {
    let code = parts.status.as_u16();
    if (200..300).contains(&code) {
        return serde_json::from_slice(body).map_err(|e| {
            let why = if e.is_eof() {
                "unexpected end of JSON input".to_owned()
            } else {
                go_syntax(body, &e)
            };
            format!("couldn't get version/kind; json parse error: {why}")
        });
    }
    if let Ok(status) = serde_json::from_slice::<Value>(body)
        && status["kind"] == "Status"
        && let Some(message) = status["message"].as_str()
    {
        return Err(message.to_owned());
    }
    let is_text = parts
        .headers
        .get(http::header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .is_none_or(|kind| kind.starts_with("text/"));
    let text = String::from_utf8_lossy(&body[..body.len().min(2048)])
        .trim()
        .to_owned();
    let said = if is_text { text } else { "unknown".to_owned() };
    Err(match code {
        400 => "the server rejected our request for an unknown reason".to_owned(),
        401 => "the server has asked for the client to provide credentials".to_owned(),
        403 => said,
        404 => "the server could not find the requested resource".to_owned(),
        405 => "the server does not allow this method on the requested resource".to_owned(),
        409 => "the server reported a conflict".to_owned(),
        410 => "the server reported that the request is expired".to_owned(),
        415 => "the server was unable to respond with a content type that the client supports".to_owned(),
        422 => "the server rejected our request due to an error in our request".to_owned(),
        429 => "the server has received too many requests and has asked us to try again later".to_owned(),
        503 => "the server is currently unable to handle the request".to_owned(),
        504 => "the server was unable to return a response in the time allotted, but may still be processing the request"
            .to_owned(),
        code if code >= 500 => {
            format!("an error on the server ({said:?}) has prevented the request from succeeding")
        }
        code => format!("the server responded with the status code {code} but did not return more information"),
    })
}

/// What is wrong with a text that is no JSON object, as Go's decoder tells it after it was read as YAML.
fn go_syntax(body: &[u8], error: &serde_json::Error) -> String {
    const TARGET: &str = "struct { APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }";
    if !body.starts_with(b"{") {
        return format!("json: cannot unmarshal string into Go value of type {TARGET}");
    }
    let line = body
        .split(|b| *b == b'\n')
        .nth(error.line().saturating_sub(1))
        .unwrap_or_default();
    let found = line
        .get(error.column().saturating_sub(1))
        .copied()
        .unwrap_or(b' ');
    format!(
        "invalid character {:?} looking for beginning of value",
        char::from(found)
    )
}
