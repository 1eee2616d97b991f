//! Granted permissions compared with what the audit log of an API server shows: nothing may be refused, and what is
//! granted must be used, unless its rule says for what it is there.
//!
//! The log must have every request of the ServiceAccounts, reads included (`level: Metadata`).

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::{
    Hooks,
    providers::Provider,
    rbac::{self, Rule},
};

/// A request as the audit log has it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    verb: String,
    user: User,
    object_ref: Option<Object>,
    response_status: Option<Status>,
}

#[derive(Debug, Deserialize)]
struct User {
    username: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Object {
    #[serde(default)]
    api_group: String,
    #[serde(default)]
    resource: String,
    #[serde(default)]
    subresource: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    name: String,
}

#[derive(Debug, Deserialize)]
struct Status {
    #[serde(default)]
    code: u16,
}

/// What somebody did: API group, resource, verb, namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Use {
    group: String,
    resource: String,
    verb: String,
    namespace: String,
    name: String,
}

/// What an audit log shows of everybody.
#[derive(Debug, Default)]
pub struct Usage {
    /// By user.
    used: BTreeMap<String, BTreeSet<Use>>,
    refused: BTreeMap<String, BTreeSet<Use>>,
}

impl Usage {
    /// Reads an audit log: one event a line.
    pub fn read(log: &str) -> Self {
        let mut usage = Self::default();
        for event in log
            .lines()
            .filter_map(|line| serde_json::from_str::<Event>(line).ok())
        {
            let Some(object) = event.object_ref else { continue };
            let resource = match object.subresource.as_str() {
                "" => object.resource,
                subresource => format!("{}/{subresource}", object.resource),
            };
            let seen = Use {
                group: object.api_group,
                resource,
                verb: event.verb,
                namespace: object.namespace,
                name: object.name,
            };
            let refused = event.response_status.is_some_and(|status| status.code == 403);
            let map = if refused {
                &mut usage.refused
            } else {
                &mut usage.used
            };
            map.entry(event.user.username).or_default().insert(seen);
        }
        usage
    }

    /// What is wrong with the permissions of a provider; nothing means that they fit.
    pub fn judge(&self, provider: &Provider, hooks: &Hooks) -> Vec<String> {
        let user = format!(
            "system:serviceaccount:{}:{}",
            provider.namespace,
            provider.service_account()
        );
        let nothing = BTreeSet::new();
        let used = self.used.get(&user).unwrap_or(&nothing);
        let mut wrong = Vec::new();
        if used.is_empty() {
            wrong.push(format!("{user} did nothing: does the log have reads?"));
        }
        for refused in self.refused.get(&user).unwrap_or(&nothing) {
            wrong.push(format!(
                "{user} was refused to {} {} of {:?} ({}/{})",
                refused.verb, refused.resource, refused.group, refused.namespace, refused.name
            ));
        }
        let everywhere = rbac::cluster_rules(provider, hooks);
        let own = rbac::own_rules(provider, hooks);
        let rules = everywhere
            .iter()
            .map(|rule| (rule, None))
            .chain(own.iter().map(|rule| (rule, Some(provider.namespace))));
        for (rule, namespace) in rules.filter(|(rule, _)| rule.beyond.is_none()) {
            for unused in unused(rule, namespace, used) {
                wrong.push(format!("{user} may {unused}, but does not"));
            }
        }
        wrong
    }
}

/// The pairs of verb and resource of a rule that nobody used.
fn unused(rule: &Rule, namespace: Option<&str>, used: &BTreeSet<Use>) -> Vec<String> {
    let mut found = Vec::new();
    for resource in &rule.resources {
        for verb in &rule.verbs {
            let covers = |seen: &&Use| {
                seen.group == rule.group
                    && seen.verb == *verb
                    && (*resource == "*" || seen.resource == *resource)
                    && namespace.is_none_or(|only| seen.namespace == only)
                    && (rule.names.is_empty() || rule.names.contains(&seen.name))
            };
            if !used.iter().any(|seen| covers(&seen)) {
                found.push(format!("{verb} {resource} of {:?} {:?}", rule.group, rule.names));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{super::providers::PROVIDERS, *};

    fn event(verb: &str, group: &str, resource: &str, code: u16) -> String {
        serde_json::json!({
            "verb": verb, "user": {"username": "system:serviceaccount:infra-inmemory-system:infra-inmemory-manager"},
            "objectRef": {"apiGroup": group, "resource": resource, "namespace": "default", "name": "x"},
            "responseStatus": {"code": code},
        })
        .to_string()
    }

    #[test]
    fn what_is_refused_and_what_is_unused_is_told() {
        let provider = PROVIDERS
            .iter()
            .find(|provider| provider.folder == "infra-inmemory")
            .unwrap();
        assert!(Usage::read("").judge(provider, &Hooks::default())[0].contains("did nothing"));
        let rules = rbac::cluster_rules(provider, &Hooks::default());
        let mut log = Vec::new();
        for rule in &rules {
            for resource in &rule.resources {
                for verb in &rule.verbs {
                    log.push(
                        event(verb, rule.group, resource, 200)
                            .replace("/status", "\",\"subresource\":\"status"),
                    );
                }
            }
        }
        assert_eq!(
            Usage::read(&log.join("\n")).judge(provider, &Hooks::default()),
            Vec::<String>::new()
        );
        log.push(event("delete", "", "nodes", 403));
        let wrong = Usage::read(&log.join("\n")).judge(provider, &Hooks::default());
        assert!(
            wrong.len() == 1 && wrong[0].contains("refused to delete nodes"),
            "{wrong:?}"
        );
        log.retain(|line| {
            !(line.contains("devclusters") && line.contains("\"patch\"") && line.contains("status"))
        });
        let wrong = Usage::read(&log.join("\n")).judge(provider, &Hooks::default());
        assert!(
            wrong
                .iter()
                .any(|text| text.contains("may patch devclusters/status")),
            "{wrong:?}"
        );
    }
}
