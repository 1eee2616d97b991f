//! Answers, in the form that each service gives to its errors, and filters of lists.

use ::http::{HeaderMap, HeaderValue, StatusCode};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::cloud::HttpResponse;

/// An answer to be.
pub(super) struct Reply {
    status: StatusCode,
    body: Value,
    token: Option<String>,
}

impl Reply {
    pub fn new(status: StatusCode, body: Value) -> Self {
        Self {
            status,
            body,
            token: None,
        }
    }

    pub fn ok(body: Value) -> Result<Self, Self> {
        Ok(Self::new(StatusCode::OK, body))
    }

    pub fn created(body: Value) -> Result<Self, Self> {
        Ok(Self::new(StatusCode::CREATED, body))
    }

    pub fn gone() -> Result<Self, Self> {
        Ok(Self::empty(StatusCode::NO_CONTENT))
    }

    pub fn empty(status: StatusCode) -> Self {
        Self::new(status, Value::Null)
    }

    pub fn with_token(mut self, token: String) -> Self {
        self.token = Some(token);
        self
    }

    /// An error of Nova, Cinder or Glance.
    pub fn nova(status: StatusCode, kind: &str, message: &str) -> Self {
        let error = json!({ "code": status.as_u16(), "message": message });
        Self::new(status, json!({ kind: error }))
    }

    /// An error of Neutron.
    pub fn neutron(status: StatusCode, kind: &str, message: &str) -> Self {
        let error = json!({ "type": kind, "message": message, "detail": "" });
        Self::new(status, json!({ "NeutronError": error }))
    }

    /// An error of Octavia.
    pub fn octavia(status: StatusCode, message: &str) -> Self {
        let body = json!({ "faultcode": "Client", "faultstring": message, "debuginfo": null });
        Self::new(status, body)
    }

    /// An error of Keystone.
    pub fn keystone(status: StatusCode, message: &str) -> Self {
        let error =
            json!({ "code": status.as_u16(), "message": message, "title": status.canonical_reason() });
        Self::new(status, json!({ "error": error }))
    }

    pub fn into_response(self) -> HttpResponse {
        let mut headers = HeaderMap::new();
        if let Some(value) = self.token.and_then(|token| HeaderValue::from_str(&token).ok()) {
            headers.insert("x-subject-token", value);
        }
        let body = match self.body {
            Value::Null => Bytes::new(),
            body => Bytes::from(body.to_string()),
        };
        HttpResponse {
            status: self.status,
            headers,
            body,
        }
    }
}

/// Parameters that are no filters.
const NOT_FILTERS: &[&str] = &[
    "limit",
    "marker",
    "fields",
    "sort_key",
    "sort_dir",
    "cascade",
    "project_id",
    "enabled",
];

/// True if a resource fits all parameters; several of one name mean "any of them".
pub(super) fn fits(resource: &Value, query: &[(String, String)]) -> bool {
    let keys = query
        .iter()
        .map(|(key, _)| key.as_str())
        .filter(|key| !NOT_FILTERS.contains(key));
    let mut keys: Vec<&str> = keys.collect();
    keys.dedup();
    keys.into_iter().all(|key| {
        let mut wanted = query
            .iter()
            .filter(|(name, _)| name == key)
            .map(|(_, value)| value.as_str());
        match key {
            "tags" => wanted.all(|tags| tags.split(',').all(|tag| has_tag(resource, tag))),
            "tag" => wanted.all(|tag| has_tag(resource, tag)),
            "tags-any" => wanted.any(|tags| tags.split(',').any(|tag| has_tag(resource, tag))),
            "not-tags" => !wanted.any(|tags| tags.split(',').all(|tag| has_tag(resource, tag))),
            "not-tags-any" => !wanted.any(|tags| tags.split(',').any(|tag| has_tag(resource, tag))),
            "fixed_ips" => wanted.any(|wish| {
                let (field, value) = wish.split_once('=').unwrap_or(("ip_address", wish));
                resource["fixed_ips"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .any(|ip| ip[field] == value)
            }),
            _ => wanted.any(|value| match &resource[key] {
                Value::String(text) => text == value,
                Value::Bool(flag) => flag.to_string() == value.to_lowercase(),
                Value::Number(number) => number.to_string() == value,
                Value::Null => {
                    value.is_empty() || (key.starts_with("router:") && value.eq_ignore_ascii_case("false"))
                }
                _ => false,
            }),
        }
    })
}

fn has_tag(resource: &Value, tag: &str) -> bool {
    resource["tags"]
        .as_array()
        .into_iter()
        .flatten()
        .any(|found| found == tag)
}
