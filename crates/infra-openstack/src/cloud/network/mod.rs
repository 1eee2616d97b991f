//! Neutron: networks, subnets, routers, ports, trunks, floating IPs, security groups.

use std::{collections::BTreeSet, sync::Arc};

use serde::Deserialize;
use serde_json::{Value, json};

mod kinds;

use super::{Call, CloudError, Service::Network as Neutron, Session};

pub use kinds::*;

/// Parameters of a list.
pub type Query = Vec<(String, String)>;

/// One parameter of a list.
pub fn by(key: &str, value: impl Into<String>) -> (String, String) {
    (key.to_owned(), value.into())
}

fn get(path: impl Into<String>, name: &'static str) -> Call {
    Call::get(Neutron, path, name)
}

fn post(path: impl Into<String>, name: &'static str, body: Value) -> Call {
    Call::post(Neutron, path, name, body)
}

fn put(path: impl Into<String>, name: &'static str, body: Value) -> Call {
    Call::put(Neutron, path, name, body)
}

fn delete(path: impl Into<String>, name: &'static str) -> Call {
    Call::delete(Neutron, path, name)
}

impl Session {
    /// The extensions that Neutron has, by alias; asked for once.
    pub async fn network_extensions(&self) -> Result<Arc<BTreeSet<String>>, CloudError> {
        #[derive(Deserialize)]
        struct Extension {
            alias: String,
        }
        let known = self.extensions().get_or_try_init(|| async {
            let found: Vec<Extension> = self
                .list(get("/extensions", "network_extension_list"), "extensions")
                .await?;
            Ok::<_, CloudError>(Arc::new(
                found.into_iter().map(|extension| extension.alias).collect(),
            ))
        });
        known.await.cloned()
    }

    /// Networks.
    pub async fn networks(&self, query: Query) -> Result<Vec<Network>, CloudError> {
        self.list(get("/networks", "network_list").queries(query), "networks")
            .await
    }

    /// A network, if it exists.
    pub async fn network(&self, id: &str) -> Result<Option<Network>, CloudError> {
        self.found(get(format!("/networks/{id}"), "network_get"), "network")
            .await
    }

    /// Creates a network.
    pub async fn create_network(&self, network: Value) -> Result<Network, CloudError> {
        self.member(
            post("/networks", "network_create", json!({ "network": network })),
            "network",
        )
        .await
    }

    /// Deletes a network with its subnets.
    pub async fn delete_network(&self, id: &str) -> Result<bool, CloudError> {
        self.gone(delete(format!("/networks/{id}"), "network_delete"))
            .await
    }

    /// Subnets.
    pub async fn subnets(&self, query: Query) -> Result<Vec<Subnet>, CloudError> {
        self.list(get("/subnets", "subnet_list").queries(query), "subnets")
            .await
    }

    /// A subnet, if it exists.
    pub async fn subnet(&self, id: &str) -> Result<Option<Subnet>, CloudError> {
        self.found(get(format!("/subnets/{id}"), "subnet_get"), "subnet")
            .await
    }

    /// Creates a subnet.
    pub async fn create_subnet(&self, subnet: Value) -> Result<Subnet, CloudError> {
        self.member(
            post("/subnets", "subnet_create", json!({ "subnet": subnet })),
            "subnet",
        )
        .await
    }

    /// Sets the name servers of a subnet.
    pub async fn set_name_servers(&self, id: &str, servers: &[String]) -> Result<Subnet, CloudError> {
        let body = json!({ "subnet": { "dns_nameservers": servers } });
        self.member(put(format!("/subnets/{id}"), "subnet_update", body), "subnet")
            .await
    }

    /// Routers.
    pub async fn routers(&self, query: Query) -> Result<Vec<Router>, CloudError> {
        self.list(get("/routers", "router_list").queries(query), "routers")
            .await
    }

    /// A router, if it exists.
    pub async fn router(&self, id: &str) -> Result<Option<Router>, CloudError> {
        self.found(get(format!("/routers/{id}"), "router_get"), "router")
            .await
    }

    /// Creates a router.
    pub async fn create_router(&self, router: Value) -> Result<Router, CloudError> {
        self.member(
            post("/routers", "router_create", json!({ "router": router })),
            "router",
        )
        .await
    }

    /// Changes a router.
    pub async fn update_router(&self, id: &str, router: Value) -> Result<Router, CloudError> {
        let call = put(
            format!("/routers/{id}"),
            "router_update",
            json!({ "router": router }),
        );
        self.member(call, "router").await
    }

    /// Connects a router to a subnet.
    pub async fn add_router_interface(&self, router: &str, subnet: &str) -> Result<(), CloudError> {
        let path = format!("/routers/{router}/add_router_interface");
        self.send(put(
            path,
            "server_os_interface_create",
            json!({ "subnet_id": subnet }),
        ))
        .await
        .map(drop)
    }

    /// Disconnects a router from a subnet; says whether it was connected.
    pub async fn remove_router_interface(&self, router: &str, subnet: &str) -> Result<bool, CloudError> {
        let path = format!("/routers/{router}/remove_router_interface");
        self.gone(put(
            path,
            "server_os_interface_delete",
            json!({ "subnet_id": subnet }),
        ))
        .await
    }

    /// Deletes a router.
    pub async fn delete_router(&self, id: &str) -> Result<bool, CloudError> {
        self.gone(delete(format!("/routers/{id}"), "router_delete")).await
    }

    /// Ports.
    pub async fn ports(&self, query: Query) -> Result<Vec<Port>, CloudError> {
        self.list(get("/ports", "port_list").queries(query), "ports")
            .await
    }

    /// Creates a port.
    pub async fn create_port(&self, port: Value) -> Result<Port, CloudError> {
        self.member(post("/ports", "port_create", json!({ "port": port })), "port")
            .await
    }

    /// Changes a port.
    pub async fn update_port(&self, id: &str, port: Value) -> Result<Port, CloudError> {
        self.member(
            put(format!("/ports/{id}"), "port_update", json!({ "port": port })),
            "port",
        )
        .await
    }

    /// Deletes a port.
    pub async fn delete_port(&self, id: &str) -> Result<bool, CloudError> {
        self.gone(delete(format!("/ports/{id}"), "port_delete")).await
    }

    /// Trunks.
    pub async fn trunks(&self, query: Query) -> Result<Vec<Trunk>, CloudError> {
        self.list(get("/trunks", "trunk_list").queries(query), "trunks")
            .await
    }

    /// Creates a trunk.
    pub async fn create_trunk(&self, trunk: Value) -> Result<Trunk, CloudError> {
        self.member(
            post("/trunks", "trunk_create", json!({ "trunk": trunk })),
            "trunk",
        )
        .await
    }

    /// Takes subports out of a trunk.
    pub async fn remove_subports(&self, trunk: &str, ports: &[String]) -> Result<bool, CloudError> {
        let ports: Vec<Value> = ports.iter().map(|port| json!({ "port_id": port })).collect();
        let path = format!("/trunks/{trunk}/remove_subports");
        self.gone(put(path, "trunk_deletesubports", json!({ "sub_ports": ports })))
            .await
    }

    /// Deletes a trunk.
    pub async fn delete_trunk(&self, id: &str) -> Result<bool, CloudError> {
        self.gone(delete(format!("/trunks/{id}"), "trunk_delete")).await
    }

    /// Floating IPs.
    pub async fn floating_ips(&self, query: Query) -> Result<Vec<FloatingIp>, CloudError> {
        self.list(
            get("/floatingips", "floating_ip_list").queries(query),
            "floatingips",
        )
        .await
    }

    /// Creates a floating IP.
    pub async fn create_floating_ip(&self, floating_ip: Value) -> Result<FloatingIp, CloudError> {
        let call = post(
            "/floatingips",
            "floating_ip_create",
            json!({ "floatingip": floating_ip }),
        );
        self.member(call, "floatingip").await
    }

    /// Leads a floating IP to a port, or nowhere.
    pub async fn associate_floating_ip(
        &self,
        id: &str,
        port: Option<&str>,
    ) -> Result<FloatingIp, CloudError> {
        let body = json!({ "floatingip": { "port_id": port } });
        self.member(
            put(format!("/floatingips/{id}"), "floating_ip_update", body),
            "floatingip",
        )
        .await
    }

    /// Deletes a floating IP.
    pub async fn delete_floating_ip(&self, id: &str) -> Result<bool, CloudError> {
        self.gone(delete(format!("/floatingips/{id}"), "floating_ip_delete"))
            .await
    }

    /// Security groups with their rules.
    pub async fn security_groups(&self, query: Query) -> Result<Vec<SecurityGroup>, CloudError> {
        self.list(
            get("/security-groups", "group_list").queries(query),
            "security_groups",
        )
        .await
    }

    /// Creates a security group.
    pub async fn create_security_group(&self, group: Value) -> Result<SecurityGroup, CloudError> {
        let call = post(
            "/security-groups",
            "security_group_create",
            json!({ "security_group": group }),
        );
        self.member(call, "security_group").await
    }

    /// Deletes a security group.
    pub async fn delete_security_group(&self, id: &str) -> Result<bool, CloudError> {
        self.gone(delete(format!("/security-groups/{id}"), "security_group_delete"))
            .await
    }

    /// Creates rules, all or none.
    pub async fn create_security_group_rules(&self, rules: Vec<Value>) -> Result<(), CloudError> {
        let body = json!({ "security_group_rules": rules });
        self.send(post("/security-group-rules", "security_group_rule_create", body))
            .await
            .map(drop)
    }

    /// Deletes a rule.
    pub async fn delete_security_group_rule(&self, id: &str) -> Result<bool, CloudError> {
        self.gone(delete(
            format!("/security-group-rules/{id}"),
            "security_group_rule_delete",
        ))
        .await
    }

    /// Replaces the tags of a resource, as in `("networks", id)`.
    pub async fn set_tags(&self, collection: &str, id: &str, tags: &[String]) -> Result<(), CloudError> {
        let path = format!("/{collection}/{id}/tags");
        self.send(put(path, "attributes_tags_replace_all", json!({ "tags": tags })))
            .await
            .map(drop)
    }
}
