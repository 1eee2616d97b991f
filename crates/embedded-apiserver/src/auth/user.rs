//! Who sends a request, and the names that mean something everywhere.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::transport::subject;

/// May do everything, on every Kubernetes API server.
pub(crate) const MASTERS: &str = "system:masters";
/// Everybody whose identity was proven.
pub(crate) const AUTHENTICATED: &str = "system:authenticated";
/// Everybody else.
pub(crate) const UNAUTHENTICATED: &str = "system:unauthenticated";
/// The name of those who did not say who they are.
pub(crate) const ANONYMOUS: &str = "system:anonymous";
/// The group of all nodes.
pub(crate) const NODES: &str = "system:nodes";
/// Where `extra` says which credential was used.
pub(crate) const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";

const SERVICE_ACCOUNT: &str = "system:serviceaccount:";
const NODE: &str = "system:node:";

/// Who sends a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct User {
    /// The name by which policies and logs know the user.
    pub name: String,
    /// Tells apart users who had the same name at different times; often empty.
    pub uid: String,
    /// The groups the user is in.
    pub groups: Vec<String>,
    /// What else the authenticator knows.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl User {
    /// A user whose identity is taken for proven; `system:authenticated` is among the groups.
    pub fn new(name: &str, groups: &[&str]) -> Self {
        Self {
            name: name.to_owned(),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            ..Self::default()
        }
        .authenticated()
    }

    /// The one who may do everything.
    pub fn administrator() -> Self {
        Self::new("system:admin", &[MASTERS])
    }

    /// The one who did not say who it is.
    pub fn anonymous() -> Self {
        Self {
            name: ANONYMOUS.to_owned(),
            groups: vec![UNAUTHENTICATED.to_owned()],
            ..Self::default()
        }
    }

    /// A service account.
    pub fn service_account(namespace: &str, name: &str) -> Self {
        Self {
            name: service_account_name(namespace, name),
            groups: service_account_groups(namespace),
            ..Self::default()
        }
        .authenticated()
    }

    /// The user that a client certificate (DER) names; whether it may be trusted was decided before. `None` when it names
    /// nobody.
    pub fn from_certificate(der: &[u8]) -> Option<Self> {
        let subject = subject::read(der)?;
        let name = subject.common_name.filter(|name| !name.is_empty())?;
        let digest: String = Sha256::digest(der)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let user = Self {
            name,
            uid: subject.uid.unwrap_or_default(),
            groups: subject.organizations,
            extra: BTreeMap::from([(CREDENTIAL_ID.to_owned(), vec![format!("X509SHA256={digest}")])]),
        };
        Some(user.authenticated())
    }

    /// With the group of all proven users, unless it is anonymous.
    pub(crate) fn authenticated(mut self) -> Self {
        let decided = [AUTHENTICATED, UNAUTHENTICATED];
        if !self.groups.iter().any(|group| decided.contains(&group.as_str())) {
            self.groups.push(AUTHENTICATED.to_owned());
        }
        self
    }

    pub(crate) fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|g| g == group)
    }

    /// As reviews show it.
    pub(crate) fn info(&self) -> Value {
        let mut info = Map::new();
        let mut put = |field: &str, value: Value, empty: bool| {
            if !empty {
                info.insert(field.to_owned(), value);
            }
        };
        put("username", self.name.as_str().into(), self.name.is_empty());
        put("uid", self.uid.as_str().into(), self.uid.is_empty());
        put("groups", json!(self.groups), self.groups.is_empty());
        put("extra", json!(self.extra), self.extra.is_empty());
        Value::Object(info)
    }
}

/// The user name of a service account.
pub(crate) fn service_account_name(namespace: &str, name: &str) -> String {
    format!("{SERVICE_ACCOUNT}{namespace}:{name}")
}

/// The groups of a service account.
pub(crate) fn service_account_groups(namespace: &str) -> Vec<String> {
    vec![
        "system:serviceaccounts".to_owned(),
        format!("system:serviceaccounts:{namespace}"),
    ]
}

/// Namespace and name of the service account that a user name means.
pub(crate) fn service_account_of(user_name: &str) -> Option<(&str, &str)> {
    let (namespace, name) = user_name.strip_prefix(SERVICE_ACCOUNT)?.split_once(':')?;
    let good =
        crate::registry::names::is_dns_label(namespace) && crate::registry::names::is_dns_subdomain(name);
    good.then_some((namespace, name))
}

/// The node that a user name means.
pub(crate) fn node_of(user_name: &str) -> Option<&str> {
    let name = user_name.strip_prefix(NODE)?;
    crate::registry::names::is_dns_subdomain(name).then_some(name)
}
