//! How bytes get in and out: calls in this process, byte streams, HTTPS, and upgraded connections to pods.

pub(crate) mod client;
pub(crate) mod portforward;
pub(crate) mod serve;
pub(crate) mod subject;
