//! What the managed security groups allow, and what is to be done about the rules that are there.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::{
    api::{
        EtherType, ManagedSecurityGroupName as Role, ManagedSecurityGroups, RuleDirection,
        SecurityGroupRuleSpec,
    },
    cloud::network::{SecurityGroup, SecurityGroupRule},
};

/// A rule, without its id. Descriptions do not make rules differ.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    ingress: bool,
    ipv6: bool,
    protocol: Option<String>,
    ports: Option<(i32, i32)>,
    remote_group: Option<String>,
    remote_prefix: Option<String>,
}

impl Rule {
    fn ingress(protocol: &str, from: i32, to: i32) -> Self {
        Self {
            ingress: true,
            ipv6: false,
            protocol: Some(protocol.to_owned()),
            ports: Some((from, to)),
            remote_group: None,
            remote_prefix: None,
        }
    }

    fn any(ingress: bool, ipv6: bool) -> Self {
        Self {
            ingress,
            ipv6,
            protocol: None,
            ports: None,
            remote_group: None,
            remote_prefix: None,
        }
    }

    fn group(mut self, id: &str) -> Self {
        self.remote_group = Some(id.to_owned());
        self
    }

    fn prefix(mut self, cidr: &str) -> Self {
        self.remote_prefix = Some(cidr.to_owned());
        self
    }

    /// The rule that Neutron has.
    fn of(rule: &SecurityGroupRule) -> Self {
        let ports = match (rule.port_range_min, rule.port_range_max) {
            (None, None) => None,
            (min, max) => Some((min.or(max).unwrap_or_default(), max.or(min).unwrap_or_default())),
        };
        Self {
            ingress: rule.direction == "ingress",
            ipv6: rule.ethertype == "IPv6",
            protocol: protocol(rule.protocol.as_deref()),
            ports,
            remote_group: rule.remote_group_id.clone().filter(|id| !id.is_empty()),
            remote_prefix: rule.remote_ip_prefix.clone().filter(|cidr| !cidr.is_empty()),
        }
    }

    /// The body that makes this rule in a group.
    pub fn body(&self, group: &str) -> Value {
        let mut body = json!({
            "security_group_id": group,
            "direction": if self.ingress { "ingress" } else { "egress" },
            "ethertype": if self.ipv6 { "IPv6" } else { "IPv4" },
        });
        if let Some(protocol) = &self.protocol {
            body["protocol"] = protocol.as_str().into();
        }
        if let Some((min, max)) = self.ports {
            body["port_range_min"] = min.into();
            body["port_range_max"] = max.into();
        }
        if let Some(id) = &self.remote_group {
            body["remote_group_id"] = id.as_str().into();
        }
        if let Some(cidr) = &self.remote_prefix {
            body["remote_ip_prefix"] = cidr.as_str().into();
        }
        body
    }
}

fn protocol(name: Option<&str>) -> Option<String> {
    let name = name?.to_lowercase();
    (!name.is_empty() && name != "any").then_some(name)
}

/// What the rules depend on.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// What the user wants.
    pub spec: &'a ManagedSecurityGroups,
    /// The ids of the groups that there are.
    pub groups: &'a BTreeMap<Role, String>,
    /// The IPv4 ranges of the cluster's subnets.
    pub cidrs: &'a [String],
    /// The port of the API server and further ports of the load balancer.
    pub api_ports: &'a [i32],
}

/// A rule names a group that there is not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("rule {rule}: there is no managed security group {group}; enable it or change remoteManagedGroups")]
pub struct NoSuchGroup {
    /// The name of the rule.
    pub rule: String,
    /// The group.
    pub group: Role,
}

/// The rules that a group should have.
pub fn wanted(role: Role, facts: &Facts<'_>) -> Result<BTreeSet<Rule>, NoSuchGroup> {
    let id = |role| facts.groups.get(&role).map(String::as_str);
    let (control_plane, worker) = (id(Role::ControlPlane), id(Role::Worker));
    // What Neutron gives to every group.
    let mut rules = BTreeSet::from([Rule::any(false, false), Rule::any(false, true)]);
    let open = facts.spec.allow_all_in_cluster_traffic == Some(true);
    let nodes = || [control_plane, worker].into_iter().flatten();
    match role {
        Role::Bastion => {
            rules.insert(Rule::ingress("tcp", 22, 22));
        }
        Role::ControlPlane => {
            rules.extend(
                facts
                    .api_ports
                    .iter()
                    .map(|port| Rule::ingress("tcp", *port, *port)),
            );
            if open {
                rules.extend(nodes().map(|group| Rule::any(true, false).group(group)));
            } else {
                rules.extend(control_plane.map(|group| Rule::ingress("tcp", 2379, 2380).group(group)));
                rules.extend(nodes().map(|group| Rule::ingress("tcp", 10250, 10250).group(group)));
            }
        }
        Role::Worker => {
            for protocol in ["tcp", "udp"] {
                let node_ports = || Rule::ingress(protocol, 30000, 32767);
                rules.extend(facts.cidrs.iter().map(|cidr| node_ports().prefix(cidr)));
                rules.extend(nodes().map(|group| node_ports().group(group)));
            }
            let inside = || {
                if open {
                    Rule::any(true, false)
                } else {
                    Rule::ingress("tcp", 10250, 10250)
                }
            };
            rules.extend(nodes().map(|group| inside().group(group)));
        }
    }
    if role != Role::Bastion {
        rules.extend(id(Role::Bastion).map(|bastion| Rule::ingress("tcp", 22, 22).group(bastion)));
    }
    let own = match role {
        Role::ControlPlane => &facts.spec.control_plane_nodes_security_group_rules[..],
        Role::Worker => &facts.spec.worker_nodes_security_group_rules[..],
        Role::Bastion => &[],
    };
    let all = match role {
        Role::Bastion => &[],
        _ => &facts.spec.cluster_nodes_security_group_rules[..],
    };
    for rule in all.iter().chain(own) {
        rules.extend(of_user(rule, facts.groups)?);
    }
    Ok(rules)
}

/// A rule of the user; one for each group that it names.
fn of_user(spec: &SecurityGroupRuleSpec, groups: &BTreeMap<Role, String>) -> Result<Vec<Rule>, NoSuchGroup> {
    let ports = match (spec.port_range_min, spec.port_range_max) {
        (None | Some(0), None | Some(0)) => None,
        (min, max) => Some((min.or(max).unwrap_or_default(), max.or(min).unwrap_or_default())),
    };
    let rule = Rule {
        ingress: spec.direction == RuleDirection::Ingress,
        ipv6: spec.ether_type == Some(EtherType::IPv6),
        protocol: protocol(spec.protocol.as_deref()),
        ports,
        remote_group: spec.remote_group_id.clone().filter(|id| !id.is_empty()),
        remote_prefix: spec.remote_ip_prefix.clone().filter(|cidr| !cidr.is_empty()),
    };
    if spec.remote_managed_groups.is_empty() {
        return Ok(vec![rule]);
    }
    let of_group = |group: &Role| match groups.get(group) {
        Some(id) => Ok(rule.clone().group(id)),
        None => Err(NoSuchGroup {
            rule: spec.name.clone(),
            group: *group,
        }),
    };
    spec.remote_managed_groups.iter().map(of_group).collect()
}

/// What to do about the rules of a group: ids to delete, rules to make.
pub fn difference(group: &SecurityGroup, wanted: &BTreeSet<Rule>) -> (Vec<String>, Vec<Rule>) {
    let mut kept = BTreeSet::new();
    let mut surplus = Vec::new();
    for rule in &group.security_group_rules {
        let known = Rule::of(rule);
        // Of two alike one is enough.
        if !wanted.contains(&known) || !kept.insert(known) {
            surplus.push(rule.id.clone());
        }
    }
    (surplus, wanted.difference(&kept).cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(roles: &[(Role, &str)]) -> BTreeMap<Role, String> {
        roles.iter().map(|(role, id)| (*role, (*id).to_owned())).collect()
    }

    fn bodies(role: Role, spec: &ManagedSecurityGroups, groups: &BTreeMap<Role, String>) -> Vec<String> {
        let cidrs = ["10.6.0.0/24".to_owned()];
        let facts = Facts {
            spec,
            groups,
            cidrs: &cidrs,
            api_ports: &[6443],
        };
        let show = |rule: &Rule| {
            format!(
                "{} {} {} {}",
                if rule.ingress { "in" } else { "out" },
                rule.protocol.as_deref().unwrap_or("any"),
                rule.ports
                    .map_or_else(|| "*".to_owned(), |(min, max)| format!("{min}-{max}")),
                rule.remote_group
                    .as_deref()
                    .or(rule.remote_prefix.as_deref())
                    .unwrap_or("*"),
            )
        };
        let mut shown: Vec<String> = wanted(role, &facts)
            .unwrap()
            .iter()
            .map(show)
            .filter(|rule| rule.starts_with("in"))
            .collect();
        shown.sort();
        shown
    }

    #[test]
    fn the_usual_rules_are_upstreams() {
        let both = groups(&[(Role::ControlPlane, "C"), (Role::Worker, "W")]);
        let spec = ManagedSecurityGroups::default();
        assert_eq!(
            bodies(Role::ControlPlane, &spec, &both),
            [
                "in tcp 10250-10250 C",
                "in tcp 10250-10250 W",
                "in tcp 2379-2380 C",
                "in tcp 6443-6443 *"
            ]
        );
        assert_eq!(
            bodies(Role::Worker, &spec, &both),
            [
                "in tcp 10250-10250 C",
                "in tcp 10250-10250 W",
                "in tcp 30000-32767 10.6.0.0/24",
                "in tcp 30000-32767 C",
                "in tcp 30000-32767 W",
                "in udp 30000-32767 10.6.0.0/24",
                "in udp 30000-32767 C",
                "in udp 30000-32767 W",
            ]
        );
    }

    #[test]
    fn a_bastion_and_open_clusters_have_their_rules() {
        let all = groups(&[
            (Role::ControlPlane, "C"),
            (Role::Worker, "W"),
            (Role::Bastion, "B"),
        ]);
        let spec = ManagedSecurityGroups {
            allow_all_in_cluster_traffic: Some(true),
            ..ManagedSecurityGroups::default()
        };
        assert_eq!(
            bodies(Role::ControlPlane, &spec, &all),
            ["in any * C", "in any * W", "in tcp 22-22 B", "in tcp 6443-6443 *"]
        );
        assert_eq!(bodies(Role::Bastion, &spec, &all), ["in tcp 22-22 *"]);
    }

    #[test]
    fn rules_of_users_are_expanded_and_missing_groups_named() {
        let rule = SecurityGroupRuleSpec {
            name: "ipip".into(),
            protocol: Some("4".into()),
            remote_managed_groups: vec![Role::ControlPlane, Role::Bastion],
            ..SecurityGroupRuleSpec::default()
        };
        let error = of_user(&rule, &groups(&[(Role::ControlPlane, "C")])).unwrap_err();
        assert_eq!((error.rule.as_str(), error.group), ("ipip", Role::Bastion));
        let both = groups(&[(Role::ControlPlane, "C"), (Role::Bastion, "B")]);
        assert_eq!(of_user(&rule, &both).unwrap().len(), 2);
    }

    #[test]
    fn only_what_differs_is_changed() {
        let rule = |id: &str, protocol: Option<&str>, port: Option<i32>| SecurityGroupRule {
            id: id.into(),
            direction: "ingress".into(),
            ethertype: "IPv4".into(),
            protocol: protocol.map(str::to_owned),
            port_range_min: port,
            port_range_max: port,
            ..SecurityGroupRule::default()
        };
        let group = SecurityGroup {
            security_group_rules: vec![
                rule("1", Some("TCP"), Some(22)),
                rule("2", Some("tcp"), Some(22)),
                rule("3", None, None),
            ],
            ..SecurityGroup::default()
        };
        let wanted = BTreeSet::from([Rule::ingress("tcp", 22, 22), Rule::ingress("tcp", 6443, 6443)]);
        let (surplus, missing) = difference(&group, &wanted);
        assert_eq!(surplus, ["2", "3"]);
        assert_eq!(missing, [Rule::ingress("tcp", 6443, 6443)]);
    }
}
