//! Role-based access control: roles and bindings as the authorizer sees them, kept up with what is stored.

pub(crate) mod aggregate;
pub(crate) mod bootstrap;
pub(crate) mod escalation;
pub(crate) mod rules;
pub(crate) mod validate;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use super::attributes::Attributes;
use super::user::service_account_name;
use super::{User, quote};
use crate::storage::{GroupResource, Object};
use rules::Rule;

/// The API group of roles and bindings.
pub(crate) const GROUP: &str = "rbac.authorization.k8s.io";

/// A role that a binding names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RoleRef {
    pub group: String,
    pub kind: String,
    pub name: String,
}

impl RoleRef {
    pub fn of(binding: &Value) -> Self {
        let text = |field: &str| binding["roleRef"][field].as_str().unwrap_or_default().to_owned();
        Self {
            group: text("apiGroup"),
            kind: text("kind"),
            name: text("name"),
        }
    }
}

#[derive(Debug)]
struct Subject {
    kind: String,
    name: String,
    namespace: String,
}

impl Subject {
    fn is(&self, user: &User, namespace: &str) -> bool {
        match self.kind.as_str() {
            "User" => user.name == self.name,
            "Group" => user.is_in(&self.name),
            "ServiceAccount" => {
                let namespace = match self.namespace.as_str() {
                    "" => namespace,
                    own => own,
                };
                !namespace.is_empty() && user.name == service_account_name(namespace, &self.name)
            }
            _ => false,
        }
    }
}

#[derive(Debug)]
struct Binding {
    name: String,
    namespace: String,
    role: RoleRef,
    subjects: Vec<Subject>,
}

impl Binding {
    fn read(value: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let subjects = value["subjects"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|subject| Subject {
                kind: text(&subject["kind"]),
                name: text(&subject["name"]),
                namespace: text(&subject["namespace"]),
            });
        Self {
            name: text(&value["metadata"]["name"]),
            namespace: text(&value["metadata"]["namespace"]),
            role: RoleRef::of(value),
            subjects: subjects.collect(),
        }
    }
}

/// Why something is allowed.
pub(crate) struct Source<'a> {
    binding: &'a Binding,
    subject: &'a Subject,
}

impl fmt::Display for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (binding, subject) = (self.binding, self.subject);
        let (kind, name) = match binding.namespace.as_str() {
            "" => ("ClusterRoleBinding", binding.name.clone()),
            namespace => ("RoleBinding", format!("{}/{namespace}", binding.name)),
        };
        let who = match (subject.kind.as_str(), subject.namespace.as_str()) {
            ("ServiceAccount", "") => format!("{}/{}", subject.name, binding.namespace),
            ("ServiceAccount", namespace) => format!("{}/{namespace}", subject.name),
            _ => subject.name.clone(),
        };
        write!(
            f,
            "{kind} {} of {} {} to {} {}",
            quote(&name),
            binding.role.kind,
            quote(&binding.role.name),
            subject.kind,
            quote(&who)
        )
    }
}

type Namespaced<T> = BTreeMap<String, BTreeMap<String, T>>;

/// All roles and bindings.
#[derive(Debug, Default)]
pub(crate) struct Policy {
    cluster_roles: BTreeMap<String, Arc<[Rule]>>,
    roles: Namespaced<Arc<[Rule]>>,
    cluster_bindings: BTreeMap<String, Binding>,
    bindings: Namespaced<Binding>,
}

fn put<T>(map: &mut BTreeMap<String, T>, name: &str, value: Option<T>) {
    match value {
        Some(value) => {
            map.insert(name.to_owned(), value);
        }
        None => {
            map.remove(name);
        }
    }
}

impl Policy {
    /// The resources that make up a policy.
    pub fn resources() -> [GroupResource; 4] {
        ["clusterroles", "roles", "clusterrolebindings", "rolebindings"].map(|r| GroupResource::new(GROUP, r))
    }

    /// Takes in a change of a role or a binding.
    pub fn note(&mut self, gr: &GroupResource, object: &Object, deleted: bool) {
        let value = object.value();
        let rules = || -> Option<Arc<[Rule]>> { (!deleted).then(|| rules::of_role(&value).into()) };
        let binding = || (!deleted).then(|| Binding::read(&value));
        let namespace = || object.namespace.to_string();
        match &*gr.resource {
            "clusterroles" => put(&mut self.cluster_roles, &object.name, rules()),
            "roles" => put(self.roles.entry(namespace()).or_default(), &object.name, rules()),
            "clusterrolebindings" => put(&mut self.cluster_bindings, &object.name, binding()),
            "rolebindings" => put(
                self.bindings.entry(namespace()).or_default(),
                &object.name,
                binding(),
            ),
            _ => {}
        }
    }

    /// The rules of a role that is named in `namespace`; `None` if it is not there.
    pub fn role(&self, role: &RoleRef, namespace: &str) -> Option<&[Rule]> {
        let rules = match role.kind.as_str() {
            "ClusterRole" => self.cluster_roles.get(&role.name),
            "Role" => self.roles.get(namespace)?.get(&role.name),
            _ => None,
        };
        rules.map(|rules| &**rules)
    }

    /// Shows `visit` every rule that applies to a user in a namespace, cluster-wide ones first, until it returns true.
    /// Bindings of roles that are not there are told to `broken`.
    fn visit<'a>(
        &'a self,
        user: &User,
        namespace: &str,
        mut visit: impl FnMut(Source<'a>, &'a Rule) -> bool,
        mut broken: impl FnMut(&'a RoleRef),
    ) {
        let local = self.bindings.get(namespace).filter(|_| !namespace.is_empty());
        let local = local.into_iter().flat_map(BTreeMap::values);
        for binding in self.cluster_bindings.values().chain(local) {
            let found = binding.subjects.iter().find(|s| s.is(user, &binding.namespace));
            let Some(subject) = found else { continue };
            match self.role(&binding.role, &binding.namespace) {
                None => broken(&binding.role),
                Some(rules) => {
                    for rule in rules {
                        if visit(Source { binding, subject }, rule) {
                            return;
                        }
                    }
                }
            }
        }
    }

    /// Who allows what is asked; the reasons of a refusal are the bindings that lead nowhere.
    pub fn find(&self, asked: &Attributes<'_>) -> Result<Source<'_>, Vec<String>> {
        let (mut allowed, mut errors) = (None, Vec::new());
        self.visit(
            asked.user,
            &asked.namespace,
            |source, rule| {
                let allows = rule.allows(asked);
                if allows {
                    allowed = Some(source);
                }
                allows
            },
            |role| errors.push(unknown(role, None)),
        );
        allowed.ok_or(errors)
    }

    /// All rules of a user in a namespace, and what went wrong with some, told to one who asked for the resource `asked`.
    pub fn rules_of(&self, user: &User, namespace: &str, asked: Option<&str>) -> (Vec<Rule>, Vec<String>) {
        let (mut rules, mut errors) = (Vec::new(), Vec::new());
        self.visit(
            user,
            namespace,
            |_, rule| {
                rules.push(rule.clone());
                false
            },
            |role| errors.push(unknown(role, asked)),
        );
        (rules, errors)
    }
}

/// What upstream says of a role that is not there. While a resource is written, it is confused with that resource.
fn unknown(role: &RoleRef, asked: Option<&str>) -> String {
    let name = quote(&role.name);
    match (role.kind.as_str(), asked) {
        ("ClusterRole" | "Role", Some(asked)) => format!("{asked}.{GROUP} {name} not found"),
        ("ClusterRole" | "Role", None) => format!("{}.{GROUP} {name} not found", role.kind.to_lowercase()),
        (other, _) => format!("unsupported role reference kind: {}", quote(other)),
    }
}

/// What decoding fills in.
pub(crate) fn default(value: &mut Value) {
    let empty = |entry: &Value| entry["apiGroup"].as_str().unwrap_or_default().is_empty();
    if let Some(role) = value
        .get_mut("roleRef")
        .filter(|role| role.is_object() && empty(role))
    {
        role["apiGroup"] = GROUP.into();
    }
    let subjects = value.get_mut("subjects").and_then(Value::as_array_mut);
    for subject in subjects.into_iter().flatten() {
        if matches!(subject["kind"].as_str(), Some("User" | "Group")) && empty(subject) {
            subject["apiGroup"] = GROUP.into();
        }
    }
}

/// What the encoder of upstream writes where there is nothing.
pub(crate) fn complete(value: &mut Value) {
    let is_role = value["kind"].as_str().is_some_and(|kind| kind.ends_with("Role"));
    if is_role && value.get("rules").is_none() {
        value["rules"] = Value::Null;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn policy(objects: &[Value]) -> Policy {
        let mut policy = Policy::default();
        for value in objects {
            let resource = format!("{}s", value["kind"].as_str().unwrap().to_lowercase());
            policy.note(
                &GroupResource::new(GROUP, &resource),
                &Object::freeze(value.clone(), 1),
                false,
            );
        }
        policy
    }

    fn role(kind: &str, namespace: &str, name: &str, verb: &str) -> Value {
        json!({"kind": kind, "metadata": {"name": name, "namespace": namespace},
            "rules": [{"verbs": [verb], "apiGroups": [""], "resources": ["pods"]}]})
    }

    fn binding(kind: &str, namespace: &str, name: &str, role: (&str, &str), subject: Value) -> Value {
        json!({"kind": kind, "metadata": {"name": name, "namespace": namespace},
            "roleRef": {"kind": role.0, "name": role.1, "apiGroup": GROUP}, "subjects": [subject]})
    }

    #[test]
    fn bindings_reach_as_far_as_their_scope() {
        let user = json!({"kind": "User", "name": "jane"});
        let account = json!({"kind": "ServiceAccount", "name": "robot"});
        let policy = policy(&[
            role("ClusterRole", "", "reader", "get"),
            role("Role", "a", "writer", "create"),
            binding("RoleBinding", "a", "r", ("ClusterRole", "reader"), user.clone()),
            binding("RoleBinding", "a", "w", ("Role", "writer"), account),
            binding(
                "ClusterRoleBinding",
                "",
                "lost",
                ("ClusterRole", "none"),
                json!({"kind": "Group", "name": "g"}),
            ),
        ]);
        let jane = User::new("jane", &["g"]);
        let robot = User::service_account("a", "robot");
        let ask = |user, verb, namespace| {
            policy
                .find(&Attributes::on(user, verb, "", "pods").within(namespace))
                .map(|source| source.to_string())
        };
        assert_eq!(
            ask(&jane, "get", "a"),
            Ok("RoleBinding \"r/a\" of ClusterRole \"reader\" to User \"jane\"".to_owned())
        );
        let lost = vec![format!("clusterrole.{GROUP} \"none\" not found")];
        assert_eq!(ask(&jane, "get", ""), Err(lost.clone()));
        assert_eq!(ask(&jane, "get", "b"), Err(lost));
        assert_eq!(
            ask(&robot, "create", "a"),
            Ok("RoleBinding \"w/a\" of Role \"writer\" to ServiceAccount \"robot/a\"".to_owned())
        );
        assert_eq!(
            ask(&User::service_account("b", "robot"), "create", "a"),
            Err(vec![])
        );
    }
}
