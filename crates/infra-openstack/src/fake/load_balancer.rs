//! Octavia: load balancers that are busy for a while after each change.

use ::http::StatusCode;
use serde_json::{Value, json};

use super::{
    http::{Reply, fits},
    world::{Change, World},
};

fn not_found(what: &str, id: &str) -> Reply {
    Reply::octavia(StatusCode::NOT_FOUND, &format!("{what} {id} not found."))
}

impl World {
    pub(super) fn load_balancer(
        &mut self,
        method: &str,
        path: &[&str],
        query: &[(String, String)],
        body: &Value,
    ) -> Result<Reply, Reply> {
        let path = match path {
            [] => {
                let versions: Vec<Value> = ["v2.0", "v2.12", "v2.30"]
                    .iter()
                    .map(|id| json!({ "id": id }))
                    .collect();
                return Reply::ok(json!({ "versions": versions }));
            }
            ["v2.0", "lbaas", rest @ ..] => rest,
            _ => return Err(Reply::empty(StatusCode::NOT_FOUND)),
        };
        match (method, path) {
            ("GET", ["providers"]) => {
                Reply::ok(json!({ "providers": [{ "name": "amphora" }, { "name": "octavia" }] }))
            }
            ("GET", ["flavors"]) => {
                Reply::ok(json!({ "flavors": self.list("lb-flavors").collect::<Vec<_>>() }))
            }
            ("POST", ["loadbalancers"]) => self.create_load_balancer(&body["loadbalancer"]),
            ("DELETE", ["loadbalancers", id]) => self.delete_load_balancer(id),
            ("GET", ["pools", pool, "members"]) => {
                let of_pool = self.list("members").filter(|member| member["pool_id"] == *pool);
                let found: Vec<&Value> = of_pool.filter(|member| fits(member, query)).collect();
                Reply::ok(json!({ "members": found }))
            }
            ("POST", ["pools", pool, "members"]) => self.create_member(pool, &body["member"]),
            ("DELETE", ["pools", pool, "members", member]) => {
                let balancer = self.balancer_of("pools", pool)?;
                if self.get("members", member).is_none() {
                    return Err(not_found("Member", member));
                }
                self.touch(&balancer)?;
                self.remove("members", member);
                Reply::gone()
            }
            ("GET", [collection]) => {
                let fits_query = |resource: &&Value| fits(resource, query);
                let found: Vec<&Value> = self.list(collection).filter(fits_query).collect();
                Reply::ok(json!({ *collection: found }))
            }
            ("GET", [collection, id]) => match self.get(collection, id) {
                Some(found) => Reply::ok(json!({ collection.trim_end_matches('s'): found })),
                None => Err(not_found(collection, id)),
            },
            ("POST", [collection @ ("listeners" | "pools" | "healthmonitors")]) => {
                self.create_child(collection, &body[collection.trim_end_matches('s')])
            }
            ("PUT", ["loadbalancers", id, "failover"]) => self.fail_over(id),
            ("PUT", [collection @ ("listeners" | "healthmonitors"), id]) => {
                let balancer = self.balancer_of(collection, id)?;
                self.touch(&balancer)?;
                let changes = body[collection.trim_end_matches('s')].clone();
                self.change(collection, id, |resource| {
                    for (key, value) in changes.as_object().into_iter().flatten() {
                        resource[key] = value.clone();
                    }
                });
                Reply::ok(json!({ collection.trim_end_matches('s'): self.get(collection, id) }))
            }
            _ => Err(Reply::empty(StatusCode::METHOD_NOT_ALLOWED)),
        }
    }

    fn balancer_of(&self, collection: &str, id: &str) -> Result<String, Reply> {
        let found = self
            .get(collection, id)
            .ok_or_else(|| not_found(collection, id))?;
        Ok(found["loadbalancer_id"].as_str().unwrap_or_default().to_owned())
    }

    /// Makes a load balancer busy; refuses if it is.
    fn touch(&mut self, id: &str) -> Result<(), Reply> {
        let status = self
            .get("loadbalancers", id)
            .ok_or_else(|| not_found("Load Balancer", id))?["provisioning_status"]
            .clone();
        if status != "ACTIVE" {
            let message = format!("Load Balancer {id} is immutable and cannot be updated.");
            return Err(Reply::octavia(StatusCode::CONFLICT, &message));
        }
        self.change("loadbalancers", id, |balancer| {
            balancer["provisioning_status"] = "PENDING_UPDATE".into()
        });
        let delay = self.delays.load_balancer;
        self.later(delay, Change::LoadBalancerDone(id.to_owned()));
        Ok(())
    }

    fn fail_over(&mut self, id: &str) -> Result<Reply, Reply> {
        if !self.failover {
            let message = "Policy does not allow this request to be performed.";
            return Err(Reply::octavia(StatusCode::FORBIDDEN, message));
        }
        if self.get("loadbalancers", id).is_none() {
            return Err(not_found("Load Balancer", id));
        }
        let now = self.stamped();
        self.change("loadbalancers", id, |balancer| {
            balancer["provisioning_status"] = "PENDING_UPDATE".into();
            balancer["updated_at"] = now;
        });
        let delay = self.delays.load_balancer;
        self.later(delay, Change::LoadBalancerDone(id.to_owned()));
        Reply::ok(json!({}))
    }

    /// The time as Octavia writes it.
    fn stamped(&self) -> Value {
        self.clock.now().strftime("%Y-%m-%dT%H:%M:%S").to_string().into()
    }

    fn create_load_balancer(&mut self, request: &Value) -> Result<Reply, Reply> {
        if self.is_full("loadbalancers") {
            let message = "Quota has been met for resources: Load Balancer";
            return Err(Reply::octavia(StatusCode::FORBIDDEN, message));
        }
        let subnet = request["vip_subnet_id"].as_str().unwrap_or_default();
        let Some(found) = self.get("subnets", subnet) else {
            return Err(Reply::octavia(
                StatusCode::BAD_REQUEST,
                &format!("Subnet {subnet} not found."),
            ));
        };
        let (network, subnet) = (found["network_id"].clone(), subnet.to_owned());
        let mut ip = json!({ "subnet_id": subnet });
        if request["vip_address"].is_string() {
            ip["ip_address"] = request["vip_address"].clone();
        }
        let port = json!({ "port": { "network_id": network, "fixed_ips": [ip], "device_owner": "Octavia",
            "name": format!("octavia-lb-{}", request["name"].as_str().unwrap_or_default()) } });
        self.network("POST", &["v2.0", "ports"], &[], &port)?;
        let newest = self.list("ports").last().cloned().unwrap_or_default();
        let mut balancer = request.clone();
        balancer["provisioning_status"] = "PENDING_CREATE".into();
        balancer["operating_status"] = "OFFLINE".into();
        balancer["created_at"] = self.stamped();
        balancer["vip_port_id"] = newest["id"].clone();
        balancer["vip_address"] = newest["fixed_ips"][0]["ip_address"].clone();
        balancer["vip_network_id"] = network;
        if !balancer["provider"].is_string() {
            balancer["provider"] = "amphora".into();
        }
        let id = self.insert("loadbalancers", balancer);
        let delay = self.delays.load_balancer;
        self.later(delay, Change::LoadBalancerDone(id.clone()));
        Reply::created(json!({ "loadbalancer": self.get("loadbalancers", &id) }))
    }

    fn create_child(&mut self, collection: &str, request: &Value) -> Result<Reply, Reply> {
        let parent = |world: &Self, collection: &str, key: &str| match request[key].as_str() {
            Some(id) => world.balancer_of(collection, id).map(Some),
            None => Ok(None),
        };
        let direct = request["loadbalancer_id"].as_str().map(str::to_owned);
        let balancer = match direct {
            Some(id) => Some(id),
            None => match parent(self, "listeners", "listener_id")? {
                Some(id) => Some(id),
                None => parent(self, "pools", "pool_id")?,
            },
        };
        let balancer =
            balancer.ok_or_else(|| Reply::octavia(StatusCode::BAD_REQUEST, "Must specify a parent."))?;
        let taken = collection == "listeners"
            && self.list("listeners").any(|other| {
                other["loadbalancer_id"] == balancer.as_str()
                    && other["protocol_port"] == request["protocol_port"]
            });
        if taken {
            let message = format!(
                "Another Listener on this Load Balancer is already using protocol_port {}",
                request["protocol_port"]
            );
            return Err(Reply::octavia(StatusCode::CONFLICT, &message));
        }
        self.touch(&balancer)?;
        let mut resource = request.clone();
        resource["loadbalancer_id"] = balancer.into();
        let pool = resource["pool_id"].as_str().map(str::to_owned);
        let id = self.insert(collection, resource);
        if let (Some(pool), "healthmonitors") = (pool, collection) {
            self.change("pools", &pool, |pool| {
                pool["healthmonitor_id"] = id.as_str().into()
            });
        }
        Reply::created(json!({ collection.trim_end_matches('s'): self.get(collection, &id) }))
    }

    fn create_member(&mut self, pool: &str, request: &Value) -> Result<Reply, Reply> {
        let balancer = self.balancer_of("pools", pool)?;
        let same = |member: &Value| {
            member["pool_id"] == pool
                && member["address"] == request["address"]
                && member["protocol_port"] == request["protocol_port"]
        };
        if self.list("members").any(same) {
            return Err(Reply::octavia(
                StatusCode::CONFLICT,
                "Another member on this pool is already using this address and port",
            ));
        }
        self.touch(&balancer)?;
        let mut member = request.clone();
        member["pool_id"] = pool.into();
        let id = self.insert("members", member);
        Reply::created(json!({ "member": self.get("members", &id) }))
    }

    fn delete_load_balancer(&mut self, id: &str) -> Result<Reply, Reply> {
        let status = self
            .get("loadbalancers", id)
            .ok_or_else(|| not_found("Load Balancer", id))?["provisioning_status"]
            .clone();
        if status != "ACTIVE" && status != "ERROR" {
            let message = format!("Invalid state {status} of loadbalancer resource {id}");
            return Err(Reply::octavia(StatusCode::CONFLICT, &message));
        }
        self.change("loadbalancers", id, |balancer| {
            balancer["provisioning_status"] = "PENDING_DELETE".into()
        });
        let delay = self.delays.load_balancer;
        self.later(delay, Change::LoadBalancerGone(id.to_owned()));
        Reply::gone()
    }

    pub(super) fn load_balancer_done(&mut self, id: &str) {
        let status = if self.failing_load_balancers {
            "ERROR"
        } else {
            "ACTIVE"
        };
        self.change("loadbalancers", id, |balancer| {
            if balancer["provisioning_status"] != "PENDING_DELETE" {
                balancer["provisioning_status"] = status.into();
            }
        });
    }

    pub(super) fn load_balancer_gone(&mut self, id: &str) {
        let Some(balancer) = self.remove("loadbalancers", id) else {
            return;
        };
        let pools = self.ids("pools", |pool| pool["loadbalancer_id"] == id);
        for member in self.ids("members", |member| {
            pools.iter().any(|pool| member["pool_id"] == pool.as_str())
        }) {
            self.remove("members", &member);
        }
        for collection in ["listeners", "pools", "healthmonitors"] {
            for child in self.ids(collection, |child| child["loadbalancer_id"] == id) {
                self.remove(collection, &child);
            }
        }
        if let Some(port) = balancer["vip_port_id"].as_str() {
            let port = port.to_owned();
            for floating in self.ids("floatingips", |floating| floating["port_id"] == port.as_str()) {
                self.change("floatingips", &floating, |floating| {
                    floating["port_id"] = Value::Null
                });
            }
            self.remove("ports", &port);
        }
    }
}
