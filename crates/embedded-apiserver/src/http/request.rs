//! From a path to what is asked: verb, group, version, resource, namespace, name, subresource.

use std::fmt;

use bytes::Bytes;
use http::Method;

pub(crate) use crate::auth::User;
use crate::http::negotiate::Accept;
use crate::http::query::{Query, decode};

/// What is to be done with a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    List,
    Watch,
    Create,
    Update,
    Patch,
    Delete,
    DeleteCollection,
}

impl Verb {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where a path leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// A resource: the rest is in [`Request`].
    Resource,
    /// `/api`.
    CoreVersions,
    /// `/apis`.
    Groups,
    /// `/apis/GROUP`.
    Group(String),
    /// `/api/v1` or `/apis/GROUP/VERSION`.
    Version { group: String, version: String },
    /// Anything else.
    Other,
}

/// One request, read.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub target: Target,
    pub method: Method,
    /// The path alone, not decoded.
    pub path: String,
    pub verb: Verb,
    pub group: String,
    pub version: String,
    pub resource: String,
    pub namespace: String,
    pub name: String,
    pub subresource: String,
    pub query: Query,
    pub accept: Accept,
    pub content_type: String,
    pub user_agent: String,
    pub if_none_match: String,
    pub user: User,
    pub body: Bytes,
}

impl Request {
    /// Reads a request. Nothing here fails: a path that makes no sense has the target [`Target::Other`].
    pub fn read(parts: &http::request::Parts, body: Bytes, user: User) -> Self {
        let header = |name: http::header::HeaderName| {
            parts
                .headers
                .get(name)
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default()
                .to_owned()
        };
        let path = parts.uri.path().to_owned();
        let mut request = Self {
            target: Target::Other,
            method: parts.method.clone(),
            path: path.clone(),
            verb: Verb::Get,
            group: String::new(),
            version: String::new(),
            resource: String::new(),
            namespace: String::new(),
            name: String::new(),
            subresource: String::new(),
            query: Query::parse(parts.uri.query().unwrap_or_default()),
            accept: Accept::parse(&header(http::header::ACCEPT)),
            content_type: content_type(&header(http::header::CONTENT_TYPE)),
            user_agent: header(http::header::USER_AGENT),
            if_none_match: header(http::header::IF_NONE_MATCH),
            user,
            body,
        };
        if path.starts_with("//") {
            return request;
        }
        let segments: Vec<String> = path
            .split('/')
            .filter(|s| !s.is_empty())
            .map(|s| decode(s, false))
            .collect();
        request.route(&segments.iter().map(String::as_str).collect::<Vec<_>>());
        request
    }

    fn route(&mut self, segments: &[&str]) {
        let rest = match segments {
            ["api"] => return self.target = Target::CoreVersions,
            ["apis"] => return self.target = Target::Groups,
            ["apis", group] => return self.target = Target::Group((*group).to_owned()),
            ["api", version, rest @ ..] => {
                self.version = (*version).to_owned();
                rest
            }
            ["apis", group, version, rest @ ..] => {
                (self.group, self.version) = ((*group).to_owned(), (*version).to_owned());
                rest
            }
            _ => return,
        };
        if rest.is_empty() {
            return self.target = Target::Version {
                group: self.group.clone(),
                version: self.version.clone(),
            };
        }
        // The old form of watches: the word stands in the path.
        let (old_watch, rest) = match rest {
            ["watch", rest @ ..] => (true, rest),
            _ => (false, rest),
        };
        let (namespace, rest) = match rest {
            // `namespaces/x/status` is a subresource of the namespace, not a resource in it.
            ["namespaces", _, "status" | "finalize"] => ("", rest),
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
            _ => ("", rest),
        };
        self.namespace = namespace.to_owned();
        let (resource, name, subresource) = match rest {
            [resource] => (*resource, "", String::new()),
            [resource, name] => (*resource, *name, String::new()),
            [resource, name, subresource @ ..] => (*resource, *name, subresource.join("/")),
            [] => return,
        };
        (self.resource, self.name, self.subresource) = (resource.to_owned(), name.to_owned(), subresource);
        self.target = Target::Resource;
        self.verb = self.choose_verb(old_watch);
    }

    fn choose_verb(&self, old_watch: bool) -> Verb {
        let named = !self.name.is_empty();
        match self.method {
            Method::POST => Verb::Create,
            Method::PUT => Verb::Update,
            Method::PATCH => Verb::Patch,
            Method::DELETE if named => Verb::Delete,
            Method::DELETE => Verb::DeleteCollection,
            _ if old_watch => Verb::Watch,
            _ if named => Verb::Get,
            _ if self.query.flag("watch") => Verb::Watch,
            _ => Verb::List,
        }
    }

    #[cfg(test)]
    fn api_version(&self) -> String {
        api_version(&self.group, &self.version)
    }
}

/// The media type alone, in small letters; as it stands when its parameters cannot be read.
fn content_type(header: &str) -> String {
    let (kind, parameters) = header.split_once(';').unwrap_or((header, ""));
    let mut parameters = parameters.split(';').map(str::trim);
    let readable = parameters.clone().count() <= 1 || parameters.all(|one| one.contains('='));
    match readable {
        true => kind.trim().to_ascii_lowercase(),
        false => header.to_owned(),
    }
}

/// `group/version`, or only the version for the core group.
pub(crate) fn api_version(group: &str, version: &str) -> String {
    match group.is_empty() {
        true => version.to_owned(),
        false => format!("{group}/{version}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(method: &str, uri: &str) -> Request {
        let (parts, ()) = http::Request::builder()
            .method(method)
            .uri(uri)
            .body(())
            .unwrap()
            .into_parts();
        Request::read(&parts, Bytes::new(), User::default())
    }

    #[test]
    fn paths_tell_what_is_asked() {
        let cases = [
            ("GET", "/api/v1/pods", "list v1 pods   "),
            ("GET", "/api/v1/pods?watch=1", "watch v1 pods   "),
            ("GET", "/api/v1/namespaces/a/pods/b/log", "get v1 pods a b log"),
            ("POST", "/api/v1/namespaces/a/pods", "create v1 pods a  "),
            ("GET", "/api/v1/namespaces/a", "get v1 namespaces  a "),
            (
                "PUT",
                "/api/v1/namespaces/a/finalize",
                "update v1 namespaces  a finalize",
            ),
            (
                "PATCH",
                "/apis/x.io/v2/namespaces/a/foos/b/status",
                "patch x.io/v2 foos a b status",
            ),
            (
                "DELETE",
                "/apis/x.io/v2/namespaces/a/foos",
                "deletecollection x.io/v2 foos a  ",
            ),
            (
                "DELETE",
                "/apis/x.io/v2/foos/system%3Ab",
                "delete x.io/v2 foos  system:b ",
            ),
            ("GET", "/api/v1/watch/namespaces/a/pods", "watch v1 pods a  "),
        ];
        for (method, uri, expected) in cases {
            let r = read(method, uri);
            assert_eq!(r.target, Target::Resource, "{uri}");
            let seen = format!(
                "{} {} {} {} {} {}",
                r.verb,
                r.api_version(),
                r.resource,
                r.namespace,
                r.name,
                r.subresource
            );
            assert_eq!(seen, expected, "{uri}");
        }
        assert_eq!(read("GET", "/apis/x.io").target, Target::Group("x.io".into()));
        assert_eq!(read("GET", "/healthz").target, Target::Other);
    }
}
