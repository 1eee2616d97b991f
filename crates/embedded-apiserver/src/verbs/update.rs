//! Replacement by PUT.

use super::write::{Part, Replaced, replace};
use super::{Answer, Call, convert, create, input, meta, write};
use crate::http::status::ApiResult;

pub(super) async fn update(call: &Call<'_>, part: Part, warnings: &mut Vec<String>) -> ApiResult<Answer> {
    let mut value = input::object(call, warnings)?;
    meta::place(call, &mut value)?;
    loop {
        let current = match call.current() {
            Ok(current) => current,
            Err(_) if part == Part::Main && write::upserts(call) => {
                meta::put(&mut value, "resourceVersion", serde_json::Value::Null);
                return create::create_value(call, value, false, warnings).await;
            }
            Err(error) => return Err(error),
        };
        let old = convert::value(call.inner, call.served, &current).await?;
        match replace(call, part, &current, old, value.clone(), false, warnings).await? {
            Replaced::Done(answer) => return Ok(answer),
            Replaced::Raced => {}
        }
    }
}
