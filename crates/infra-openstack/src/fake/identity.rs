//! Keystone: tokens and the catalog.

use ::http::StatusCode;
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::{http::Reply, world::World};

/// How long a token is good for.
const LIFE: SignedDuration = SignedDuration::from_hours(1);

impl World {
    pub(super) fn identity(&mut self, method: &str, path: &[&str], body: &Value) -> Result<Reply, Reply> {
        match (method, path) {
            ("POST", ["v3", "auth", "tokens"]) => self.log_in(body),
            _ => Err(Reply::keystone(StatusCode::NOT_FOUND, "not found")),
        }
    }

    fn log_in(&mut self, body: &Value) -> Result<Reply, Reply> {
        let identity = &body["auth"]["identity"];
        let user = &identity["password"]["user"];
        let credential = &identity["application_credential"];
        let accepted = match identity["methods"][0].as_str() {
            Some("password") => {
                let known = user["name"] == "demo" && user.get("domain").is_some() || user["id"] == "demo-id";
                known && user["password"] == self.password.as_str()
            }
            Some("application_credential") => {
                let known = credential["id"] == "credential-id"
                    || (credential["name"] == "credential" && credential.get("user").is_some());
                known && credential["secret"] == "credential-secret" && body["auth"].get("scope").is_none()
            }
            Some("token") => identity["token"]["id"]
                .as_str()
                .is_some_and(|token| self.tokens.contains(token)),
            _ => false,
        };
        if !accepted {
            let message = "The request you have made requires authentication.";
            return Err(Reply::keystone(StatusCode::UNAUTHORIZED, message));
        }
        let token = format!("token-{}", self.id());
        self.tokens.insert(token.clone());
        let expires = self
            .clock
            .now()
            .saturating_add(LIFE)
            .unwrap_or(jiff::Timestamp::MAX);
        let endpoint = |type_: &str, path: &str| {
            let one = |interface: &str| {
                json!({ "interface": interface, "region": "RegionOne", "region_id": "RegionOne",
                    "url": format!("http://openstack.fake/{path}") })
            };
            json!({ "type": type_, "name": path, "endpoints": [one("admin"), one("internal"), one("public")] })
        };
        let catalog = [
            endpoint("identity", "identity"),
            endpoint("compute", "compute/v2.1"),
            endpoint("network", "network"),
            endpoint("load-balancer", "load-balancer"),
            endpoint("volumev3", "volume/v3/demo-project"),
            endpoint("image", "image"),
        ];
        let body = json!({ "token": {
            "expires_at": expires.strftime("%Y-%m-%dT%H:%M:%S.000000Z").to_string(),
            "project": { "id": "demo-project", "name": "demo" },
            "catalog": catalog,
        } });
        Ok(Reply::new(StatusCode::CREATED, body).with_token(token))
    }
}
