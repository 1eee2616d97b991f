//! HTTP in and out: reading a request, choosing the answer's form, errors as `metav1.Status`.
//!
//! What a verb does is in `verbs`; how bytes travel is in `transport`.

pub(crate) mod audit;
pub(crate) mod body;
pub(crate) mod handle;
pub(crate) mod negotiate;
pub(crate) mod query;
pub(crate) mod request;
pub(crate) mod respond;
pub(crate) mod status;
