//! Neutron's rules of security groups.

use serde_json::{Value, json};

use super::{
    http::Reply,
    network::{conflict, not_found},
    world::World,
};

impl World {
    pub(super) fn create_rules(&mut self, body: &Value) -> Result<Reply, Reply> {
        let one = body.get("security_group_rule").into_iter();
        let rules: Vec<Value> = one
            .chain(body["security_group_rules"].as_array().into_iter().flatten())
            .cloned()
            .collect();
        let shape = |rule: &Value| {
            [
                "direction",
                "ethertype",
                "protocol",
                "port_range_min",
                "port_range_max",
                "remote_group_id",
                "remote_ip_prefix",
            ]
            .map(|key| rule[key].clone())
        };
        for rule in &rules {
            let group = rule["security_group_id"].as_str().unwrap_or_default();
            let found = self
                .get("security-groups", group)
                .ok_or_else(|| not_found("Security group", group))?;
            let existing = found["security_group_rules"].as_array().into_iter().flatten();
            if existing.into_iter().any(|known| shape(known) == shape(rule)) {
                let message = format!("Security group rule already exists. Rule id is {group}.");
                return Err(conflict("SecurityGroupRuleExists", &message));
            }
        }
        let mut made = Vec::new();
        for mut rule in rules {
            let group = rule["security_group_id"].as_str().unwrap_or_default().to_owned();
            rule["id"] = self.id().into();
            made.push(rule.clone());
            self.change("security-groups", &group, |group| {
                if let Some(known) = group["security_group_rules"].as_array_mut() {
                    known.push(rule);
                }
            });
        }
        match body.get("security_group_rule") {
            Some(_) => Reply::created(json!({ "security_group_rule": made.first() })),
            None => Reply::created(json!({ "security_group_rules": made })),
        }
    }

    pub(super) fn delete_rule(&mut self, id: &str) -> Result<Reply, Reply> {
        let holds = |group: &Value| {
            group["security_group_rules"]
                .as_array()
                .into_iter()
                .flatten()
                .any(|rule| rule["id"] == id)
        };
        let groups = self.ids("security-groups", holds);
        let Some(group) = groups.first() else {
            return Err(not_found("Security group rule", id));
        };
        self.change("security-groups", group, |group| {
            if let Some(rules) = group["security_group_rules"].as_array_mut() {
                rules.retain(|rule| rule["id"] != id);
            }
        });
        Reply::gone()
    }
}
