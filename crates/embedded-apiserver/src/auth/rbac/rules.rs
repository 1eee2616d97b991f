//! Single rules: whether one allows a request, and whether some cover others.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::auth::attributes::Attributes;
use crate::auth::quote_list;

/// A rule of a role.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rule {
    pub verbs: Vec<String>,
    pub groups: Vec<String>,
    pub resources: Vec<String>,
    pub names: Vec<String>,
    pub urls: Vec<String>,
}

fn texts(value: &Value) -> Vec<String> {
    let texts = value.as_array().into_iter().flatten().filter_map(Value::as_str);
    texts.map(str::to_owned).collect()
}

/// The rules of a role object.
pub(crate) fn of_role(role: &Value) -> Vec<Rule> {
    role["rules"]
        .as_array()
        .into_iter()
        .flatten()
        .map(Rule::read)
        .collect()
}

fn has(list: &[String], wanted: &str) -> bool {
    list.iter().any(|entry| entry == wanted)
}

fn has_all(list: &[String], wanted: &[String]) -> bool {
    wanted.iter().all(|entry| has(list, entry))
}

/// Whether a path of a rule, which may end in `*`, covers another.
fn url_covers(rule: &str, wanted: &str) -> bool {
    rule == wanted || (rule.ends_with('*') && wanted.starts_with(rule.trim_end_matches('*')))
}

impl Rule {
    pub fn read(value: &Value) -> Self {
        Self {
            verbs: texts(&value["verbs"]),
            groups: texts(&value["apiGroups"]),
            resources: texts(&value["resources"]),
            names: texts(&value["resourceNames"]),
            urls: texts(&value["nonResourceURLs"]),
        }
    }

    /// As it stands in a role; empty lists are left out.
    pub fn value(&self) -> Value {
        let fields = [
            ("apiGroups", &self.groups),
            ("nonResourceURLs", &self.urls),
            ("resourceNames", &self.names),
            ("resources", &self.resources),
            ("verbs", &self.verbs),
        ];
        let present = fields.into_iter().filter(|(_, list)| !list.is_empty());
        Value::Object(
            present
                .map(|(name, list)| (name.to_owned(), list.clone().into()))
                .collect(),
        )
    }

    fn allows_resource(&self, asked: &Attributes<'_>) -> bool {
        let full = asked.full_resource();
        let below = &*asked.subresource;
        self.resources.iter().any(|resource| {
            resource == "*"
                || *resource == full
                || (!below.is_empty() && resource.strip_prefix("*/").is_some_and(|rest| rest == below))
        })
    }

    /// Whether the rule allows what is asked.
    pub fn allows(&self, asked: &Attributes<'_>) -> bool {
        if !(has(&self.verbs, "*") || has(&self.verbs, &asked.verb)) {
            return false;
        }
        if !asked.is_resource {
            return self.urls.iter().any(|url| url_covers(url, &asked.path));
        }
        (has(&self.groups, "*") || has(&self.groups, &asked.group))
            && self.allows_resource(asked)
            && (self.names.is_empty() || has(&self.names, &asked.name))
    }

    /// The same as rules of one verb, one resource and at most one name each.
    fn break_down(&self) -> Vec<Self> {
        let mut parts = Vec::new();
        let one = |text: &String| vec![text.clone()];
        for group in &self.groups {
            for resource in &self.resources {
                for verb in &self.verbs {
                    let part = Self {
                        groups: one(group),
                        resources: one(resource),
                        verbs: one(verb),
                        ..Self::default()
                    };
                    match self.names.is_empty() {
                        true => parts.push(part),
                        false => parts.extend(self.names.iter().map(|name| Self {
                            names: one(name),
                            ..part.clone()
                        })),
                    }
                }
            }
        }
        for url in &self.urls {
            parts.extend(self.verbs.iter().map(|verb| Self {
                urls: one(url),
                verbs: one(verb),
                ..Self::default()
            }));
        }
        parts
    }

    /// Whether this rule grants all that `part`, which is broken down, does.
    fn covers(&self, part: &Self) -> bool {
        let resources = has(&self.resources, "*")
            || part.resources.iter().all(|wanted| {
                has(&self.resources, wanted)
                    || wanted
                        .split_once('/')
                        .is_some_and(|(_, below)| has(&self.resources, &format!("*/{below}")))
            });
        (has(&self.verbs, "*") || has_all(&self.verbs, &part.verbs))
            && (has(&self.groups, "*") || has_all(&self.groups, &part.groups))
            && resources
            && part
                .urls
                .iter()
                .all(|url| self.urls.iter().any(|own| url_covers(own, url)))
            && (self.names.is_empty() || (!part.names.is_empty() && has_all(&self.names, &part.names)))
    }

    /// As refusals print it.
    fn text(&self) -> String {
        let fields = [
            ("APIGroups", &self.groups),
            ("Resources", &self.resources),
            ("NonResourceURLs", &self.urls),
            ("ResourceNames", &self.names),
            ("Verbs", &self.verbs),
        ];
        let shown: Vec<String> = fields
            .into_iter()
            .filter(|(_, list)| !list.is_empty())
            .map(|(name, list)| format!("{name}:{}", quote_list(list)))
            .collect();
        format!("{{{}}}", shown.join(", "))
    }
}

/// What of `wanted` the rules `owned` do not grant.
pub(crate) fn missing(owned: &[Rule], wanted: &[Rule]) -> Vec<Rule> {
    wanted
        .iter()
        .flat_map(Rule::break_down)
        .filter(|part| !owned.iter().any(|rule| rule.covers(part)))
        .collect()
}

/// Missing rules as a refusal lists them: one line for each resource, sorted.
pub(crate) fn lines(missing: Vec<Rule>) -> Vec<String> {
    let mut lines = Vec::new();
    let mut simple: BTreeMap<Rule, Vec<String>> = BTreeMap::new();
    for rule in missing {
        match rule.urls.is_empty() {
            false => lines.push(rule.text()),
            true => {
                let mut key = rule;
                let verbs = std::mem::take(&mut key.verbs);
                simple.entry(key).or_default().extend(verbs);
            }
        }
    }
    lines.extend(
        simple
            .into_iter()
            .map(|(rule, verbs)| Rule { verbs, ..rule }.text()),
    );
    lines.sort();
    lines.dedup();
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::User;

    /// `verbs groups resources names`, or `verbs url PATHS`.
    fn rule(text: &str) -> Rule {
        let list = |text: &str| {
            text.split(',')
                .map(|t| t.trim_matches('_').to_owned())
                .collect::<Vec<_>>()
        };
        match text.split(' ').collect::<Vec<_>>()[..] {
            [verbs, "url", paths] => Rule {
                verbs: list(verbs),
                urls: list(paths),
                ..Rule::default()
            },
            [verbs, groups, resources] => Rule {
                verbs: list(verbs),
                groups: list(groups),
                resources: list(resources),
                ..Rule::default()
            },
            [verbs, groups, resources, names] => Rule {
                verbs: list(verbs),
                groups: list(groups),
                resources: list(resources),
                names: list(names),
                ..Rule::default()
            },
            _ => panic!("{text}"),
        }
    }

    #[test]
    fn rules_allow_what_they_name() {
        let user = User::new("jane", &[]);
        let on = |verb, group, resource, subresource: &'static str, name| {
            let mut asked = Attributes::on(&user, verb, group, resource).named(name);
            asked.subresource = subresource.into();
            asked
        };
        let cases = [
            ("get,list _ pods", on("get", "", "pods", "", "a"), true),
            ("get,list _ pods", on("watch", "", "pods", "", ""), false),
            ("get _ pods", on("get", "", "pods", "status", "a"), false),
            ("get _ pods/status", on("get", "", "pods", "status", "a"), true),
            ("get _ */status", on("get", "", "pods", "status", "a"), true),
            ("get _ */scale", on("get", "", "pods", "status", "a"), false),
            ("get * *", on("get", "x", "pods", "status", "a"), true),
            ("get apps pods", on("get", "", "pods", "", "a"), false),
            ("get _ pods a,b", on("get", "", "pods", "", "b"), true),
            ("get,list _ pods a,b", on("list", "", "pods", "", ""), false),
            ("* url *", Attributes::path(&user, "get", "/x"), true),
            (
                "get url /healthz/*",
                Attributes::path(&user, "get", "/healthz/etcd"),
                true,
            ),
            (
                "get url /healthz/*",
                Attributes::path(&user, "get", "/healthz"),
                false,
            ),
            (
                "get url /healthz",
                Attributes::path(&user, "post", "/healthz"),
                false,
            ),
            ("* * *", Attributes::path(&user, "get", "/x"), false),
        ];
        for (text, asked, expected) in cases {
            assert_eq!(rule(text).allows(&asked), expected, "{text} {asked:?}");
        }
    }

    #[test]
    fn rules_cover_others_part_by_part() {
        let cases: [(&[&str], &str, &[&str]); 7] = [
            (&["get _ pods", "list _ pods"], "get,list _ pods", &[]),
            (
                &["get _ pods"],
                "get,list _ pods,secrets",
                &[
                    "{APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"list\"]}",
                    "{APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"get\" \"list\"]}",
                ],
            ),
            (&["* * *"], "get x y/z", &[]),
            (&["get x */z"], "get x y/z", &[]),
            (
                &["get _ pods a"],
                "get _ pods",
                &["{APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"get\"]}"],
            ),
            (
                &["get _ pods a"],
                "get _ pods a,b",
                &["{APIGroups:[\"\"], Resources:[\"pods\"], ResourceNames:[\"b\"], Verbs:[\"get\"]}"],
            ),
            (
                &["get url /a/*"],
                "get,post url /a/b",
                &["{NonResourceURLs:[\"/a/b\"], Verbs:[\"post\"]}"],
            ),
        ];
        for (owned, wanted, expected) in cases {
            let owned: Vec<Rule> = owned.iter().map(|text| rule(text)).collect();
            assert_eq!(lines(missing(&owned, &[rule(wanted)])), expected, "{wanted}");
        }
    }
}
