//! The record of every request, told to an observer in the order in which the server answered.

use bytes::Bytes;
use sha2::{Digest, Sha256};

/// One answered request. Watches are told when they start.
#[derive(Debug, Clone)]
pub struct AuditEvent {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`, or the HTTP method in lower case
    /// for paths that are no resource.
    pub verb: String,
    /// Path and query, as they came.
    pub path: String,
    /// The group of the resource; empty for the core group and for paths that are no resource.
    pub group: String,
    /// The plural name of the resource; empty for paths that are no resource.
    pub resource: String,
    /// The namespace, if any.
    pub namespace: String,
    /// The object's name, if any; for creates the name that was given.
    pub name: String,
    /// The subresource, if any.
    pub subresource: String,
    /// The name of the user who asked; of the one acted as, if somebody acts as another.
    pub user: String,
    /// The `User-Agent` header; the server's own controllers have names of their own.
    pub user_agent: String,
    /// The request's content type.
    pub content_type: String,
    /// The request's body.
    pub body: Bytes,
    /// The HTTP code of the answer.
    pub code: u16,
}

impl AuditEvent {
    /// Whether the request asked for a change.
    pub fn is_write(&self) -> bool {
        matches!(
            self.verb.as_str(),
            "create" | "update" | "patch" | "delete" | "deletecollection"
        )
    }

    /// SHA-256 of the request's body in hexadecimal digits.
    pub fn body_hash(&self) -> String {
        Sha256::digest(&self.body)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

/// Is told about every request.
pub trait Audit: Send + Sync + 'static {
    /// Called once per request, before the answer leaves; the write, if any, is done.
    fn observe(&self, event: &AuditEvent);
}
