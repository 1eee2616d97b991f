//! Which OpenStackClusters and which changes of them are refused. Pure.

use capi_runtime::webhook::FieldError;

use crate::api::{OpenStackCluster, OpenStackClusterSpec, SecurityGroupRuleSpec, SubnetParam};

/// What is wrong with a spec.
pub fn validate(spec: &OpenStackClusterSpec) -> Vec<FieldError> {
    let Some(groups) = &spec.managed_security_groups else {
        return Vec::new();
    };
    let lists = [
        (
            "clusterNodesSecurityGroupRules",
            &groups.cluster_nodes_security_group_rules,
        ),
        (
            "controlPlaneNodesSecurityGroupRules",
            &groups.control_plane_nodes_security_group_rules,
        ),
        (
            "workerNodesSecurityGroupRules",
            &groups.worker_nodes_security_group_rules,
        ),
    ];
    let ambiguous = |rule: &SecurityGroupRuleSpec| {
        let sides = [
            rule.remote_group_id.is_some(),
            rule.remote_ip_prefix.is_some(),
            !rule.remote_managed_groups.is_empty(),
        ];
        sides.into_iter().filter(|set| *set).count() > 1
    };
    let mut errors = Vec::new();
    for (field, rules) in lists {
        for (index, rule) in rules.iter().enumerate().filter(|(_, rule)| ambiguous(rule)) {
            let path = format!("spec.managedSecurityGroups.{field}[{index}]");
            let detail = "only one of remoteGroupID, remoteIPPrefix and remoteManagedGroups may be set";
            errors.push(FieldError::invalid(path, &rule.name, detail));
        }
    }
    errors
}

/// What is wrong with a change: everything but what is listed here stays as it is.
pub fn validate_change(old: &OpenStackCluster, new: &OpenStackCluster) -> Vec<FieldError> {
    let was_enabled = old
        .spec
        .bastion
        .as_ref()
        .is_some_and(|bastion| bastion.enabled != Some(false));
    if was_enabled && new.spec.bastion.is_none() {
        return vec![FieldError::forbidden(
            "spec.bastion",
            "cannot be removed before it is disabled",
        )];
    }
    let (mut before, mut after) = (old.spec.clone(), new.spec.clone());
    // Nothing and an empty struct mean the same.
    before.api_server.get_or_insert_default();
    after.api_server.get_or_insert_default();
    let mut allowed = Allowed {
        before: &mut before,
        after: &after,
        old,
    };
    allowed.everywhere();
    allowed.api_server();
    allowed.networks();
    super::immutable("spec", before == after)
}

/// Takes over into the old spec what may have changed.
struct Allowed<'a> {
    before: &'a mut OpenStackClusterSpec,
    after: &'a OpenStackClusterSpec,
    old: &'a OpenStackCluster,
}

impl Allowed<'_> {
    fn everywhere(&mut self) {
        let (before, after) = (&mut *self.before, self.after);
        before.identity_ref = after.identity_ref.clone();
        before.bastion = after.bastion.clone();
        before.control_plane_availability_zones = after.control_plane_availability_zones.clone();
        before.control_plane_omit_availability_zone = after.control_plane_omit_availability_zone;
        before.primary_subnet = after.primary_subnet.clone();
        let host = before
            .control_plane_endpoint
            .as_ref()
            .and_then(|endpoint| endpoint.host.as_deref());
        if host.is_none_or(str::is_empty) {
            before.control_plane_endpoint = after.control_plane_endpoint.clone();
        }
        // Groups may be added and changed, not removed.
        if after.managed_security_groups.is_some() {
            before.managed_security_groups = after.managed_security_groups.clone();
        }
        if before.managed_subnets.len() == after.managed_subnets.len() {
            for (before, after) in before.managed_subnets.iter_mut().zip(&after.managed_subnets) {
                if before.cidr == after.cidr {
                    before.dns_nameservers = after.dns_nameservers.clone();
                }
            }
        }
    }

    fn api_server(&mut self) {
        let (Some(before), Some(after)) = (&mut self.before.api_server, &self.after.api_server) else {
            return;
        };
        if before.enable_floating_ip == Some(false) {
            before.fixed_ip = before.fixed_ip.take().or_else(|| after.fixed_ip.clone());
            before.port = before.port.or(after.port);
        }
        let status = self.old.status.as_ref();
        let used = status
            .and_then(|status| status.api_server_managed_load_balancer.as_ref())
            .map(|balancer| &balancer.ip);
        if after.floating_ip.is_some() && after.floating_ip.as_ref() == used {
            before.floating_ip = after.floating_ip.clone();
        }
        if let (Some(before), Some(after)) = (&mut before.managed_load_balancer, &after.managed_load_balancer)
        {
            before.allowed_cidrs = after.allowed_cidrs.clone();
            before.monitor = after.monitor.clone();
        }
    }

    /// A filter may become the id of what it was found to match.
    fn networks(&mut self) {
        let Some(known) = self.old.status.as_ref().and_then(|status| status.network.clone()) else {
            return;
        };
        let by_id = self
            .after
            .network
            .as_ref()
            .and_then(|network| network.id.as_ref());
        let by_name = self
            .before
            .network
            .as_ref()
            .and_then(|network| network.filter.as_ref()?.name.as_ref());
        if by_id == Some(&known.id) && by_name == Some(&known.name) {
            self.before.network = self.after.network.clone();
        }
        let name_of = |subnet: &SubnetParam| subnet.filter.as_ref().and_then(|filter| filter.name.clone());
        if self.before.subnets.len() == self.after.subnets.len() {
            for (before, after) in self.before.subnets.iter_mut().zip(&self.after.subnets) {
                let found = known
                    .subnets
                    .iter()
                    .find(|subnet| Some(&subnet.id) == after.id.as_ref());
                if found.is_some_and(|subnet| name_of(before).as_ref() == Some(&subnet.name)) {
                    *before = after.clone();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn cluster(spec: Value) -> OpenStackCluster {
        let mut whole = json!({ "identityRef": { "name": "s", "cloudName": "c" }, "tags": ["t"],
            "managedSubnets": [{ "cidr": "10.6.0.0/24" }], "apiServer": { "managedLoadBalancer": { "enabled": true } } });
        for (key, value) in spec.as_object().unwrap() {
            whole[key] = value.clone();
        }
        serde_json::from_value(json!({ "apiVersion": "x/v1", "kind": "OpenStackCluster", "metadata": {}, "spec": whole,
            "status": { "network": { "id": "N", "name": "net", "subnets": [{ "id": "S", "name": "sub", "cidr": "c" }] },
                "apiServerManagedLoadBalancer": { "id": "l", "name": "l", "ip": "203.0.113.7", "internalIP": "10.6.0.5" } } }))
        .unwrap()
    }

    #[test]
    fn only_what_is_listed_may_change() {
        let floating = |ip: &str| json!({ "apiServer": { "floatingIP": ip, "managedLoadBalancer": { "enabled": true } } });
        for (old, new, allowed) in [
            (
                json!({}),
                json!({ "identityRef": { "name": "other", "cloudName": "c" } }),
                true,
            ),
            (json!({}), json!({ "tags": ["u"] }), false),
            (
                json!({}),
                json!({ "controlPlaneEndpoint": { "host": "h", "port": 6443 } }),
                true,
            ),
            (
                json!({ "controlPlaneEndpoint": { "host": "h", "port": 6443 } }),
                json!({ "controlPlaneEndpoint": { "host": "i", "port": 6443 } }),
                false,
            ),
            (json!({}), json!({ "managedSecurityGroups": {} }), true),
            (json!({ "managedSecurityGroups": {} }), json!({}), false),
            (
                json!({}),
                json!({ "managedSubnets": [{ "cidr": "10.6.0.0/24", "dnsNameservers": ["9.9.9.9"] }] }),
                true,
            ),
            (
                json!({}),
                json!({ "managedSubnets": [{ "cidr": "10.7.0.0/24" }] }),
                false,
            ),
            (
                json!({}),
                json!({ "apiServer": { "managedLoadBalancer": { "enabled": true, "allowedCIDRs": ["10.0.0.0/8"], "monitor": { "delay": 5 } } } }),
                true,
            ),
            (
                json!({}),
                json!({ "apiServer": { "managedLoadBalancer": { "enabled": true, "provider": "ovn" } } }),
                false,
            ),
            (json!({}), floating("203.0.113.7"), true),
            (json!({}), floating("203.0.113.8"), false),
            (
                json!({ "apiServer": { "enableFloatingIP": false } }),
                json!({ "apiServer": { "enableFloatingIP": false, "fixedIP": "10.6.0.9", "port": 443 } }),
                true,
            ),
            (
                json!({ "apiServer": { "enableFloatingIP": false, "fixedIP": "10.6.0.8" } }),
                json!({ "apiServer": { "enableFloatingIP": false, "fixedIP": "10.6.0.9" } }),
                false,
            ),
            (json!({}), json!({ "bastion": { "enabled": true } }), true),
            (json!({ "bastion": { "enabled": true } }), json!({}), false),
            (json!({ "bastion": { "enabled": false } }), json!({}), true),
            (
                json!({ "network": { "filter": { "name": "net" } } }),
                json!({ "network": { "id": "N" } }),
                true,
            ),
            (
                json!({ "network": { "filter": { "name": "net" } } }),
                json!({ "network": { "id": "M" } }),
                false,
            ),
            (
                json!({ "subnets": [{ "filter": { "name": "sub" } }] }),
                json!({ "subnets": [{ "id": "S" }] }),
                true,
            ),
        ] {
            let errors = validate_change(&cluster(old.clone()), &cluster(new.clone()));
            assert_eq!(errors.is_empty(), allowed, "{old} to {new}: {errors:?}");
        }
    }

    #[test]
    fn a_rule_has_one_other_side() {
        let spec = cluster(
            json!({ "managedSecurityGroups": { "workerNodesSecurityGroupRules": [
            { "name": "a", "direction": "ingress", "remoteIPPrefix": "10.0.0.0/8", "remoteManagedGroups": ["worker"] },
            { "name": "b", "direction": "ingress", "remoteIPPrefix": "10.0.0.0/8" } ] } }),
        );
        let errors = validate(&spec.spec);
        assert_eq!(errors.len(), 1);
        assert_eq!(
            errors[0].field,
            "spec.managedSecurityGroups.workerNodesSecurityGroupRules[0]"
        );
    }
}
