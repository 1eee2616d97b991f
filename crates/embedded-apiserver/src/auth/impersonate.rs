//! Acting as somebody else, by `Impersonate-` headers, for those who may.
//!
//! Two ways are open: the narrow ones (`impersonate:MODE` for whom, `impersonate-on:MODE:VERB` for what) and the old one
//! (`impersonate`). They are tried in this order; when all refuse, the first refusal is told.

use std::collections::BTreeMap;

use http::HeaderMap;

use super::user::{ANONYMOUS, AUTHENTICATED, MASTERS, NODES, UNAUTHENTICATED};
use super::user::{node_of, service_account_groups, service_account_of};
use super::{Auth, User, quote};
use crate::auth::attributes::Attributes;
use crate::http::query::decode;
use crate::http::request::Request;
use crate::http::status::{ApiError, ApiResult};

const USER: &str = "impersonate-user";
const UID: &str = "impersonate-uid";
const GROUP: &str = "impersonate-group";
const EXTRA: &str = "impersonate-extra-";
/// The API group of what is impersonated, in all but the old way.
const API_GROUP: &str = "authentication.k8s.io";
/// From so many checks on, one for all is tried first.
const MANY: usize = 4;

/// How Go prints the user that was asked for.
fn go_text(user: &User) -> String {
    let list = |list: &[String]| {
        let quoted: Vec<String> = list.iter().map(|text| quote(text)).collect();
        format!("[]string{{{}}}", quoted.join(", "))
    };
    let groups = match user.groups.is_empty() {
        true => "[]string(nil)".to_owned(),
        false => list(&user.groups),
    };
    let extra = match user.extra.is_empty() {
        true => "map[string][]string(nil)".to_owned(),
        false => {
            let pairs: Vec<String> = user
                .extra
                .iter()
                .map(|(key, values)| format!("{}:{}", quote(key), list(values)))
                .collect();
            format!("map[string][]string{{{}}}", pairs.join(", "))
        }
    };
    format!(
        "&user.DefaultInfo{{Name:{}, UID:{}, Groups:{groups}, Extra:{extra}}}",
        quote(&user.name),
        quote(&user.uid)
    )
}

/// The user that a request wants to act as, exactly as the headers name it.
pub(super) fn wanted(headers: &HeaderMap) -> ApiResult<Option<User>> {
    let text = |name: &str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let mut user = User {
        name: text(USER),
        uid: text(UID),
        ..User::default()
    };
    for group in headers.get_all(GROUP) {
        user.groups.push(group.to_str().unwrap_or_default().to_owned());
    }
    for (name, value) in headers {
        if let Some(key) = name.as_str().strip_prefix(EXTRA) {
            let values = user.extra.entry(decode(key, false)).or_default();
            values.push(value.to_str().unwrap_or_default().to_owned());
        }
    }
    if !user.name.is_empty() {
        return Ok(Some(user));
    }
    match user == User::default() {
        true => Ok(None),
        false => Err(ApiError::bad_request(format!(
            "requested {} without impersonating a user name",
            go_text(&user)
        ))),
    }
}

/// A way to act as somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// A service account acts as the node it runs on.
    AssociatedNode,
    ArbitraryNode,
    ServiceAccount,
    UserInfo,
    Legacy,
}

const MODES: [Mode; 5] = [
    Mode::AssociatedNode,
    Mode::ArbitraryNode,
    Mode::ServiceAccount,
    Mode::UserInfo,
    Mode::Legacy,
];

impl Mode {
    fn name(self) -> &'static str {
        match self {
            Self::AssociatedNode => "associated-node",
            Self::ArbitraryNode => "arbitrary-node",
            Self::ServiceAccount => "serviceaccount",
            Self::UserInfo => "user-info",
            Self::Legacy => "",
        }
    }

    fn verb(self) -> String {
        match self {
            Self::Legacy => "impersonate".to_owned(),
            mode => format!("impersonate:{}", mode.name()),
        }
    }

    fn applies(self, user: &User, wanted: &User) -> bool {
        let only_name = wanted.uid.is_empty() && wanted.groups.is_empty() && wanted.extra.is_empty();
        let (node, account) = (node_of(&wanted.name), service_account_of(&wanted.name));
        match self {
            Self::AssociatedNode => {
                let at = user.extra.get("authentication.kubernetes.io/node-name");
                let own = match at.map(Vec::as_slice) {
                    Some([node]) => node.as_str(),
                    _ => "",
                };
                only_name && node == Some(own) && service_account_of(&user.name).is_some()
            }
            Self::ArbitraryNode => only_name && node.is_some(),
            Self::ServiceAccount => only_name && account.is_some(),
            Self::UserInfo => node.is_none() && account.is_none(),
            Self::Legacy => true,
        }
    }
}

/// Of how many users the last way is kept.
const REMEMBERED: usize = 10_000;

/// Lets `user` act as `wanted` for a request, or refuses. The way that `user` took last is tried first.
pub(super) fn authorize(auth: &Auth, request: &Request, user: &User, wanted: User) -> ApiResult<User> {
    let last = auth.impersonations.lock().get(&user.name).copied();
    let ways = last
        .into_iter()
        .chain(MODES.into_iter().filter(|mode| Some(*mode) != last));
    let mut first = None;
    for mode in ways.filter(|mode| mode.applies(user, &wanted)) {
        match attempt(auth, request, user, &wanted, mode) {
            Ok(result) => {
                let mut remembered = auth.impersonations.lock();
                if remembered.len() >= REMEMBERED {
                    remembered.clear();
                }
                remembered.insert(user.name.clone(), mode);
                return Ok(result);
            }
            Err(error) => first = first.or(Some(error)),
        }
    }
    Err(first.unwrap_or_else(|| ApiError::internal("all impersonation modes failed")))
}

/// The checks of one way.
struct Check<'a> {
    auth: &'a Auth,
    user: &'a User,
    verb: String,
    /// The API group of users and groups.
    group: &'static str,
    narrow: bool,
}

fn attempt(auth: &Auth, request: &Request, user: &User, wanted: &User, mode: Mode) -> ApiResult<User> {
    if mode != Mode::Legacy {
        let mut asked = Attributes::of(request, user);
        asked.verb = format!("impersonate-on:{}:{}", mode.name(), asked.verb).into();
        auth.check(&asked)?;
    }
    let check = Check {
        auth,
        user,
        verb: mode.verb(),
        group: if mode == Mode::Legacy { "" } else { API_GROUP },
        narrow: mode != Mode::Legacy,
    };
    let mut result = wanted.clone();
    check.name(mode, wanted, &mut result)?;
    if !wanted.uid.is_empty() {
        check.one(API_GROUP, "uids", "", &wanted.uid)?;
    }
    check.groups(&wanted.groups)?;
    check.extra(&wanted.extra)?;
    if result.name == ANONYMOUS {
        if !result.is_in(UNAUTHENTICATED) {
            result.groups.push(UNAUTHENTICATED.to_owned());
        }
    } else if !result.is_in(UNAUTHENTICATED) && !result.is_in(AUTHENTICATED) {
        result.groups.push(AUTHENTICATED.to_owned());
    }
    Ok(result)
}

impl Check<'_> {
    fn asked<'b>(
        &'b self,
        group: &'b str,
        resource: &'b str,
        subresource: &'b str,
        name: &'b str,
    ) -> Attributes<'b> {
        let mut asked = Attributes::on(self.user, &self.verb, group, resource).named(name);
        asked.subresource = subresource.into();
        asked
    }

    fn one(&self, group: &str, resource: &str, subresource: &str, name: &str) -> ApiResult<()> {
        self.auth.check(&self.asked(group, resource, subresource, name))
    }

    fn name(&self, mode: Mode, wanted: &User, result: &mut User) -> ApiResult<()> {
        let mut asked = self.asked(self.group, "users", "", &wanted.name);
        if self.narrow
            && let Some(node) = node_of(&wanted.name)
        {
            asked.resource = "nodes".into();
            asked.name = if mode == Mode::AssociatedNode { "*" } else { node }.into();
            result.groups = vec![NODES.to_owned()];
        }
        if let Some((namespace, name)) = service_account_of(&wanted.name) {
            asked.resource = "serviceaccounts".into();
            asked.namespace = namespace.into();
            asked.name = name.into();
            if wanted.groups.is_empty() {
                result.groups = service_account_groups(namespace);
            }
        }
        self.auth.check(&asked)
    }

    fn groups(&self, groups: &[String]) -> ApiResult<()> {
        if self.narrow {
            let refuse = |name, why| Err(self.asked(self.group, "groups", "", name).forbidden(why));
            if groups.iter().any(String::is_empty) {
                return refuse("", "impersonating the empty string group is not allowed");
            }
            if groups.iter().any(|group| group == MASTERS) {
                return refuse(MASTERS, "impersonating the system:masters group is not allowed");
            }
            if groups.len() >= MANY && self.one(self.group, "groups", "", "*").is_ok() {
                return Ok(());
            }
        }
        groups
            .iter()
            .try_for_each(|group| self.one(self.group, "groups", "", group))
    }

    fn extra(&self, extra: &BTreeMap<String, Vec<String>>) -> ApiResult<()> {
        if self.narrow {
            if let Some(problem) = extra.iter().find_map(|(key, values)| extra_problem(key, values)) {
                return Err(self.asked(API_GROUP, "userextras", "", "").forbidden(&problem));
            }
            let many = extra.len() >= MANY || extra.values().map(Vec::len).sum::<usize>() >= MANY;
            if many && self.one(API_GROUP, "userextras", "*", "*").is_ok() {
                return Ok(());
            }
        }
        for (key, values) in extra {
            for value in values {
                self.one(API_GROUP, "userextras", key, value)?;
            }
        }
        Ok(())
    }
}

/// What the narrow ways do not take for a key and its values.
fn extra_problem(key: &str, values: &[String]) -> Option<String> {
    if key.is_empty() {
        return Some("impersonating the empty string key in extra is not allowed".to_owned());
    }
    let prefixed = key
        .split_once('/')
        .is_some_and(|(domain, path)| crate::registry::names::is_dns_subdomain(domain) && !path.is_empty());
    if !prefixed {
        let shown = quote(key);
        return Some(format!(
            "impersonating an invalid key in extra is not allowed: extra.key: Invalid value: {shown}: must be a domain-prefixed path \
             (such as \"acme.io/foo\")"
        ));
    }
    if key.chars().any(char::is_uppercase) {
        let shown = quote(key);
        return Some(format!(
            "impersonating a non-lowercase key in extra is not allowed: {shown}"
        ));
    }
    let empty = values.iter().any(String::is_empty);
    empty.then(|| "impersonating the empty string value in extra is not allowed".to_owned())
}

/// Who acts as whom.
#[cfg(test)]
fn shown(user: &User) -> String {
    format!("{} {}", user.name, crate::auth::quote_list(&user.groups))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderName, HeaderValue};

    use super::*;
    use crate::auth::rbac::Policy;
    use crate::auth::{Authentication, Authorization};
    use crate::storage::Object;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(
                HeaderName::try_from(*name).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        headers
    }

    fn auth(rules: serde_json::Value) -> Auth {
        let auth = Auth::new(Authentication::default(), Authorization::Rbac, None, None);
        let [roles, _, bindings, _] = Policy::resources();
        let role = serde_json::json!({"kind": "ClusterRole", "metadata": {"name": "r"}, "rules": rules});
        let binding = serde_json::json!({"kind": "ClusterRoleBinding", "metadata": {"name": "b"},
            "roleRef": {"kind": "ClusterRole", "name": "r"}, "subjects": [{"kind": "User", "name": "jane"}]});
        auth.note(&roles, &Object::freeze(role, 1), false);
        auth.note(&bindings, &Object::freeze(binding, 2), false);
        auth
    }

    fn act(auth: &Auth, pairs: &[(&str, &str)]) -> Result<String, String> {
        let parts = http::Request::get("/api/v1/nodes")
            .body(())
            .unwrap()
            .into_parts()
            .0;
        let request = Request::read(&parts, Bytes::new(), User::default());
        let wanted = wanted(&headers(pairs)).map_err(|e| e.message)?.unwrap();
        let user = authorize(auth, &request, &User::new("jane", &[]), wanted);
        user.map(|user| shown(&user)).map_err(|e| e.message)
    }

    #[test]
    fn the_old_way_needs_one_permission_for_each_part() {
        let auth = auth(serde_json::json!([
            {"verbs": ["impersonate"], "apiGroups": [""], "resources": ["users", "serviceaccounts"]},
            {"verbs": ["impersonate"], "apiGroups": [""], "resources": ["groups"], "resourceNames": ["g"]},
        ]));
        let cases: [(&[(&str, &str)], &str); 5] = [
            (&[(USER, "bob")], "bob [\"system:authenticated\"]"),
            (
                &[(USER, "bob"), (GROUP, "g")],
                "bob [\"g\" \"system:authenticated\"]",
            ),
            (
                &[(USER, "system:anonymous")],
                "system:anonymous [\"system:unauthenticated\"]",
            ),
            (
                &[(USER, "system:serviceaccount:a:b")],
                "system:serviceaccount:a:b [\"system:serviceaccounts\" \"system:serviceaccounts:a\" \"system:authenticated\"]",
            ),
            (&[(USER, "bob"), (GROUP, "system:unauthenticated")], ""),
        ];
        for (pairs, expected) in cases {
            assert_eq!(act(&auth, pairs).unwrap_or_default(), expected, "{pairs:?}");
        }
        let refused = act(&auth, &[(GROUP, "g")]).unwrap_err();
        assert_eq!(
            refused,
            "requested &user.DefaultInfo{Name:\"\", UID:\"\", Groups:[]string{\"g\"}, Extra:map[string][]string(nil)} \
             without impersonating a user name"
        );
    }

    #[test]
    fn the_narrow_way_needs_the_permission_for_the_verb_too() {
        let whom = serde_json::json!({"verbs": ["impersonate:user-info"], "apiGroups": ["authentication.k8s.io"], "resources": ["users"]});
        let what = serde_json::json!({"verbs": ["impersonate-on:user-info:list"], "apiGroups": [""], "resources": ["nodes"]});
        let both = auth(serde_json::json!([whom, what]));
        assert_eq!(
            act(&both, &[(USER, "bob")]).unwrap(),
            "bob [\"system:authenticated\"]"
        );
        assert!(act(&both, &[(USER, "bob"), (GROUP, MASTERS)]).is_err());
        assert!(act(&both, &[(USER, "system:node:n")]).is_err());
        let refused = act(&auth(serde_json::json!([whom])), &[(USER, "bob")]).unwrap_err();
        assert_eq!(
            refused,
            "nodes is forbidden: User \"jane\" cannot impersonate-on:user-info:list resource \"nodes\" in API group \"\" at the cluster scope"
        );
    }
}
