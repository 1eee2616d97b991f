//! Reviews: questions that are answered and not stored. What they are answered is `auth`'s business.

use super::{Answer, Call, input, meta, write};
use crate::auth::reviews;
use crate::http::status::ApiResult;

pub(super) fn create(call: &Call<'_>, warnings: &mut Vec<String>) -> ApiResult<Answer> {
    let mut review = input::object(call, warnings)?;
    meta::place(call, &mut review)?;
    write::own(call, write::Part::Main, None, &mut review);
    Ok(Answer::Plain {
        code: 201,
        value: reviews::answer(call, review)?,
    })
}
