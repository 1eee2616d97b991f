//! Reviews: questions that are answered and not stored. What they are answered is `auth`'s business.

use super::{Answer, Call, input};
use crate::auth::reviews;
use crate::http::status::ApiResult;

pub(super) fn create(call: &Call<'_>, warnings: &mut Vec<String>) -> ApiResult<Answer> {
    let review = input::object(call, warnings)?;
    Ok(Answer::Plain {
        code: 201,
        value: reviews::answer(call, review)?,
    })
}
