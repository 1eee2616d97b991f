//! What is asked of authorization: who wants to do what with what.

use std::borrow::Cow;

use crate::http::query::decode;
use crate::http::request::{Request, Target, Verb};
use crate::http::status::ApiError;
use crate::selector::FieldSelector;
use crate::storage::GroupResource;

use super::{User, quote};

/// One question.
#[derive(Debug, Clone)]
pub(crate) struct Attributes<'a> {
    pub user: &'a User,
    pub verb: Cow<'a, str>,
    pub group: Cow<'a, str>,
    pub resource: Cow<'a, str>,
    pub subresource: Cow<'a, str>,
    pub namespace: Cow<'a, str>,
    pub name: Cow<'a, str>,
    /// The path, for what is no resource.
    pub path: Cow<'a, str>,
    pub is_resource: bool,
}

impl<'a> Attributes<'a> {
    /// A question about a resource.
    pub fn on(user: &'a User, verb: &'a str, group: &'a str, resource: &'a str) -> Self {
        Self {
            user,
            verb: verb.into(),
            group: group.into(),
            resource: resource.into(),
            subresource: "".into(),
            namespace: "".into(),
            name: "".into(),
            path: "".into(),
            is_resource: true,
        }
    }

    pub fn named(mut self, name: &'a str) -> Self {
        self.name = name.into();
        self
    }

    pub fn within(mut self, namespace: &'a str) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// A question about a path.
    pub fn path(user: &'a User, verb: impl Into<Cow<'a, str>>, path: impl Into<Cow<'a, str>>) -> Self {
        Self {
            verb: verb.into(),
            path: path.into(),
            is_resource: false,
            ..Self::on(user, "", "", "")
        }
    }

    /// What a request asks, for `user`.
    pub fn of(request: &'a Request, user: &'a User) -> Self {
        if request.target != Target::Resource {
            let verb = request.method.as_str().to_lowercase();
            return Self::path(user, verb, decode(&request.path, false));
        }
        let mut name: Cow<'a, str> = request.name.as_str().into();
        // A list of the one object with a name asks about that object.
        if name.is_empty()
            && matches!(request.verb, Verb::List | Verb::Watch)
            && let Ok(selector) = FieldSelector::parse(request.query.get("fieldSelector"))
            && let Some(required) = selector.required_name()
        {
            name = required.to_owned().into();
        }
        // Requests for a namespace are requests in that namespace.
        let namespace = match request.group.is_empty() && request.resource == "namespaces" {
            true => request.name.as_str(),
            false => request.namespace.as_str(),
        };
        let subresource = request.subresource.split('/').next().unwrap_or_default();
        Self {
            subresource: subresource.into(),
            name,
            ..Self::on(user, request.verb.as_str(), &request.group, &request.resource).within(namespace)
        }
    }

    /// `resource` or `resource/subresource`.
    pub fn full_resource(&self) -> Cow<'_, str> {
        match self.subresource.is_empty() {
            true => Cow::Borrowed(&*self.resource),
            false => format!("{}/{}", self.resource, self.subresource).into(),
        }
    }

    fn cannot(&self) -> String {
        let (user, verb) = (quote(&self.user.name), &self.verb);
        if !self.is_resource {
            return format!("User {user} cannot {verb} path {}", quote(&self.path));
        }
        let (resource, group) = (quote(&self.full_resource()), quote(&self.group));
        let scope = match self.namespace.is_empty() {
            true => "at the cluster scope".to_owned(),
            false => format!("in the namespace {}", quote(&self.namespace)),
        };
        format!("User {user} cannot {verb} resource {resource} in API group {group} {scope}")
    }

    /// The answer to one who may not.
    pub fn forbidden(&self, reason: &str) -> ApiError {
        // What browsers could take for HTML is escaped.
        let cannot = self
            .cannot()
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;");
        let why = match reason {
            "" => cannot,
            reason => format!("{cannot}: {reason}"),
        };
        if self.resource.is_empty() {
            return ApiError {
                details: Some(serde_json::json!({})),
                ..ApiError::new(403, "Forbidden", format!("forbidden: {why}"))
            };
        }
        ApiError::forbidden(&GroupResource::new(&self.group, &self.resource), &self.name, &why)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn request(method: &str, uri: &str) -> Request {
        let parts = http::Request::builder()
            .method(method)
            .uri(uri)
            .body(())
            .unwrap()
            .into_parts()
            .0;
        Request::read(&parts, Bytes::new(), User::default())
    }

    #[test]
    fn refusals_have_the_words_of_kube_apiserver() {
        let user = User::new("jane", &[]);
        let cases = [
            (
                "GET",
                "/api/v1/namespaces/a/pods",
                "pods is forbidden: User \"jane\" cannot list resource \"pods\" in API group \"\" in the namespace \"a\"",
            ),
            (
                "PUT",
                "/apis/x.io/v1/namespaces/a/foos/b/status",
                "foos.x.io \"b\" is forbidden: User \"jane\" cannot update resource \"foos/status\" in API group \"x.io\" in the namespace \"a\"",
            ),
            (
                "GET",
                "/api/v1/namespaces/a",
                "namespaces \"a\" is forbidden: User \"jane\" cannot get resource \"namespaces\" in API group \"\" in the namespace \"a\"",
            ),
            (
                "GET",
                "/api/v1/nodes?fieldSelector=metadata.name%3Dn",
                "nodes \"n\" is forbidden: User \"jane\" cannot list resource \"nodes\" in API group \"\" at the cluster scope",
            ),
            (
                "GET",
                "/metrics",
                "forbidden: User \"jane\" cannot get path \"/metrics\"",
            ),
            (
                "POST",
                "/x%3Cy",
                "forbidden: User \"jane\" cannot post path \"/x&lt;y\"",
            ),
        ];
        for (method, uri, expected) in cases {
            let request = request(method, uri);
            assert_eq!(Attributes::of(&request, &user).forbidden("").message, expected);
        }
    }
}
