//! Nova: servers that build, run, fail and go.

use ::http::StatusCode;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{
    http::Reply,
    world::{Change, World},
};

impl World {
    pub(super) fn compute(
        &mut self,
        method: &str,
        path: &[&str],
        query: &[(String, String)],
        body: &Value,
    ) -> Result<Reply, Reply> {
        let path = path.strip_prefix(&["v2.1"]).unwrap_or(path);
        match (method, path) {
            ("GET", []) => {
                Reply::ok(json!({ "version": { "id": "v2.1", "min_version": "2.1", "version": "2.103" } }))
            }
            ("GET", ["os-availability-zone"]) => {
                let zone =
                    |zone: &Value| json!({ "zoneName": zone["name"], "zoneState": { "available": true } });
                let zones: Vec<Value> = self.list("zones").map(zone).collect();
                Reply::ok(json!({ "availabilityZoneInfo": zones }))
            }
            ("GET", ["flavors", "detail"]) => {
                Reply::ok(json!({ "flavors": self.list("flavors").collect::<Vec<_>>() }))
            }
            ("GET", ["flavors", id]) => match self.get("flavors", id) {
                Some(flavor) => Reply::ok(json!({ "flavor": flavor })),
                None => Err(missing(&format!("Flavor {id} could not be found."))),
            },
            ("GET", ["os-server-groups"]) => {
                Reply::ok(json!({ "server_groups": self.list("server_groups").collect::<Vec<_>>() }))
            }
            ("POST", ["os-server-groups"]) => {
                let id = self.insert("server_groups", body["server_group"].clone());
                Reply::ok(json!({ "server_group": self.get("server_groups", &id) }))
            }
            ("DELETE", ["os-server-groups", id]) => match self.remove("server_groups", id) {
                Some(_) => Reply::gone(),
                None => Err(missing(&format!("Instance group {id} could not be found."))),
            },
            ("GET", ["servers", "detail"]) => self.list_servers(query),
            ("GET", ["servers", id]) => match self.get("servers", id) {
                Some(server) => Reply::ok(json!({ "server": self.shown(server) })),
                None => Err(missing(&format!("Instance {id} could not be found."))),
            },
            ("POST", ["servers"]) => self.create_server(body),
            ("DELETE", ["servers", id]) => {
                if self.get("servers", id).is_none() {
                    return Err(missing(&format!("Instance {id} could not be found.")));
                }
                let updated = self.stamp();
                self.change("servers", id, |server| {
                    server["OS-EXT-STS:task_state"] = "deleting".into();
                    server["updated"] = updated;
                });
                let delay = self.delays.server_delete;
                self.later(delay, Change::ServerGone((*id).to_owned()));
                Reply::gone()
            }
            _ => Err(missing("The resource could not be found.")),
        }
    }

    fn stamp(&self) -> Value {
        self.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string().into()
    }

    fn list_servers(&self, query: &[(String, String)]) -> Result<Reply, Reply> {
        let parameter = |key: &str| {
            query
                .iter()
                .find(|(name, _)| name == key)
                .map(|(_, value)| value.as_str())
        };
        let name = parameter("name").map(regex::Regex::new).transpose();
        let name =
            name.map_err(|error| Reply::nova(StatusCode::BAD_REQUEST, "badRequest", &error.to_string()))?;
        let since: Option<Timestamp> = parameter("changes-since").and_then(|text| text.parse().ok());
        let deleted = self.list("deleted-servers").filter(|_| since.is_some());
        let fits = |server: &&Value| {
            let named = name
                .as_ref()
                .is_none_or(|name| name.is_match(server["name"].as_str().unwrap_or_default()));
            let updated: Option<Timestamp> = server["updated"].as_str().and_then(|text| text.parse().ok());
            named && since.is_none_or(|since| updated.is_some_and(|updated| updated >= since))
        };
        let found = self.list("servers").chain(deleted).filter(fits);
        let servers: Vec<Value> = found.map(|server| self.shown(server)).collect();
        Reply::ok(json!({ "servers": servers }))
    }

    /// A server with the addresses that its ports have now.
    fn shown(&self, server: &Value) -> Value {
        let mut addresses: Map<String, Value> = Map::new();
        for port in self
            .list("ports")
            .filter(|port| port["device_id"] == server["id"])
        {
            let network = port["network_id"]
                .as_str()
                .and_then(|id| self.get("networks", id));
            let name = network
                .and_then(|network| network["name"].as_str())
                .unwrap_or_default();
            let list = addresses.entry(name).or_insert_with(|| json!([]));
            let Some(list) = list.as_array_mut() else { continue };
            for ip in port["fixed_ips"].as_array().into_iter().flatten() {
                let version = if ip["ip_address"].as_str().is_some_and(|text| text.contains(':')) {
                    6
                } else {
                    4
                };
                list.push(
                    json!({ "addr": ip["ip_address"], "version": version, "OS-EXT-IPS:type": "fixed" }),
                );
            }
            for floating in self
                .list("floatingips")
                .filter(|floating| floating["port_id"] == port["id"] && floating["shown"] == true)
            {
                let address = &floating["floating_ip_address"];
                list.push(json!({ "addr": address, "version": 4, "OS-EXT-IPS:type": "floating" }));
            }
        }
        let mut shown = server.clone();
        shown["addresses"] = Value::Object(addresses);
        shown
    }

    fn create_server(&mut self, body: &Value) -> Result<Reply, Reply> {
        let bad = |message: &str| Reply::nova(StatusCode::BAD_REQUEST, "badRequest", message);
        let request = &body["server"];
        let name = request["name"]
            .as_str()
            .ok_or_else(|| bad("'name' is a required property"))?;
        if self.is_full("servers") {
            let used = self.list("servers").count();
            let message = format!(
                "Quota exceeded for instances: Requested 1, but already used {used} of {used} instances"
            );
            return Err(Reply::nova(StatusCode::FORBIDDEN, "forbidden", &message));
        }
        let flavor = request["flavorRef"].as_str().unwrap_or_default();
        if self.get("flavors", flavor).is_none() {
            return Err(bad(&format!("Flavor {flavor} could not be found.")));
        }
        let zone = &request["availability_zone"];
        if zone.is_string() && !self.list("zones").any(|known| known["name"] == *zone) {
            return Err(bad("The requested availability zone is not available"));
        }
        let networks = request["networks"].as_array().cloned().unwrap_or_default();
        let ports: Vec<String> = networks
            .iter()
            .filter_map(|entry| entry["port"].as_str())
            .map(str::to_owned)
            .collect();
        for port in &ports {
            let Some(found) = self.get("ports", port) else {
                return Err(bad(&format!("Port {port} could not be found.")));
            };
            if found["device_id"]
                .as_str()
                .is_some_and(|device| !device.is_empty())
            {
                let message = format!("Port {port} is still in use.");
                return Err(Reply::nova(StatusCode::CONFLICT, "conflictingRequest", &message));
            }
        }
        let devices = request["block_device_mapping_v2"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        for device in devices.iter().filter(|device| device["source_type"] == "volume") {
            let volume = device["uuid"].as_str().unwrap_or_default();
            if self
                .get("volumes", volume)
                .is_none_or(|volume| volume["status"] != "available")
            {
                return Err(bad(&format!(
                    "Block Device Mapping is Invalid: failed to get volume {volume}."
                )));
            }
        }
        let updated = self.stamp();
        let server = json!({
            "name": name, "status": "BUILD", "updated": updated, "OS-EXT-STS:task_state": "spawning",
            "key_name": request["key_name"], "tags": request["tags"], "metadata": request["metadata"],
            "OS-EXT-AZ:availability_zone": request["availability_zone"], "flavor": { "id": flavor },
            "request": request, "hints": body["os:scheduler_hints"],
        });
        let id = self.insert("servers", server);
        for port in &ports {
            self.change("ports", port, |port| {
                port["device_id"] = id.as_str().into();
                port["device_owner"] = "compute:nova".into();
                port["status"] = "ACTIVE".into();
            });
        }
        for device in devices.iter().filter(|device| device["source_type"] == "volume") {
            let volume = device["uuid"].as_str().unwrap_or_default().to_owned();
            let vanishes = device["delete_on_termination"] == true;
            self.change("volumes", &volume, |volume| {
                volume["status"] = "in-use".into();
                volume["server_id"] = id.as_str().into();
                volume["vanishes"] = vanishes.into();
            });
        }
        let delay = self.delays.server_build;
        self.later(delay, Change::ServerBuilt(id.clone()));
        Ok(Reply::new(
            StatusCode::ACCEPTED,
            json!({ "server": { "id": id } }),
        ))
    }

    pub(super) fn server_built(&mut self, id: &str) {
        let name = self
            .get("servers", id)
            .and_then(|server| server["name"].as_str())
            .unwrap_or_default()
            .to_owned();
        let failure = self
            .failing_servers
            .iter()
            .find(|(prefix, _)| name.starts_with(prefix))
            .cloned();
        let updated = self.stamp();
        self.change("servers", id, |server| {
            server["updated"] = updated;
            server["OS-EXT-STS:task_state"] = Value::Null;
            match failure {
                Some((_, message)) => {
                    server["status"] = "ERROR".into();
                    server["fault"] = json!({ "code": 500, "message": message });
                }
                None => server["status"] = "ACTIVE".into(),
            }
        });
    }

    pub(super) fn server_gone(&mut self, id: &str) {
        let Some(mut server) = self.remove("servers", id) else {
            return;
        };
        server["status"] = "DELETED".into();
        server["updated"] = self.stamp();
        self.insert("deleted-servers", server);
        for port in self.ids("ports", |port| port["device_id"] == id) {
            self.change("ports", &port, |port| {
                port["device_id"] = "".into();
                port["device_owner"] = "".into();
                port["status"] = "DOWN".into();
            });
        }
        for volume in self.ids("volumes", |volume| volume["server_id"] == id) {
            let vanishes = self
                .get("volumes", &volume)
                .is_some_and(|volume| volume["vanishes"] == true);
            if vanishes {
                self.remove_volume(&volume);
            } else {
                self.change("volumes", &volume, |volume| volume["status"] = "available".into());
            }
        }
    }

    pub(super) fn lose_server(&mut self, name: &str) {
        for id in self.ids("servers", |server| server["name"] == name) {
            self.server_gone(&id);
        }
    }
}

fn missing(message: &str) -> Reply {
    Reply::nova(StatusCode::NOT_FOUND, "itemNotFound", message)
}
