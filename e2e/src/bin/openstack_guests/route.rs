//! Where OpenStack's records lead the traffic of an endpoint: floating IP, port, load balancer, listener, pool, members.

use std::{collections::BTreeSet, sync::Arc};

use infra_inmemory::backend::Endpoint;
use infra_openstack::cloud::{
    Call, CloudError, Identity, ReqwestTransports, Service, Session, Sessions, Tools,
};
use seams::{SharedClock, SharedRandomness};
use serde_json::Value;

/// Asks OpenStack.
pub struct Routes(Arc<Session>);

impl Routes {
    /// As the user of an entry of a clouds.yaml.
    pub fn new(
        clouds_yaml: &[u8],
        cloud_name: &str,
        clock: SharedClock,
        randomness: SharedRandomness,
    ) -> Result<Self, CloudError> {
        let transports = Arc::new(ReqwestTransports::new("openstack-guests"));
        let identity = Identity {
            clouds_yaml,
            cloud_name,
            region: None,
            cacert: None,
        };
        Sessions::new(Tools::new(transports, clock, randomness))
            .get(identity)
            .map(Self)
    }

    /// The addresses of servers to which connections to the endpoint go.
    pub async fn targets(&self, endpoint: &Endpoint) -> Result<BTreeSet<String>, CloudError> {
        let port = match self.floating_ip(&endpoint.host).await? {
            // On a server's own port, the traffic goes to that server.
            Some(floating) => {
                let Some(port) = text(&floating, "port_id") else {
                    return Ok(BTreeSet::new());
                };
                let servers: BTreeSet<String> = text(&floating, "fixed_ip_address").into_iter().collect();
                let balancers = self.balancers("vip_port_id", &port).await?;
                let Some(balancer) = balancers.first() else {
                    return Ok(servers);
                };
                return self.members(balancer, endpoint.port).await;
            }
            None => self.balancers("vip_address", &endpoint.host).await?,
        };
        match port.first() {
            Some(balancer) => self.members(balancer, endpoint.port).await,
            None => Ok(BTreeSet::from([endpoint.host.clone()])),
        }
    }

    async fn floating_ip(&self, address: &str) -> Result<Option<Value>, CloudError> {
        let call = Call::get(Service::Network, "/floatingips", "guest").query("floating_ip_address", address);
        let found: Vec<Value> = self.0.list(call, "floatingips").await?;
        Ok(found.into_iter().next())
    }

    async fn balancers(&self, field: &str, value: &str) -> Result<Vec<Value>, CloudError> {
        let call = Call::get(Service::LoadBalancer, "/lbaas/loadbalancers", "guest").query(field, value);
        self.0.list(call, "loadbalancers").await
    }

    async fn members(&self, balancer: &Value, port: u16) -> Result<BTreeSet<String>, CloudError> {
        let call = Call::get(Service::LoadBalancer, "/lbaas/listeners", "guest")
            .query("load_balancer_id", text(balancer, "id").unwrap_or_default())
            .query("protocol_port", port.to_string());
        let listeners: Vec<Value> = self.0.list(call, "listeners").await?;
        let Some(pool) = listeners
            .first()
            .and_then(|listener| text(listener, "default_pool_id"))
        else {
            return Ok(BTreeSet::new());
        };
        let path = format!("/lbaas/pools/{pool}/members");
        let members: Vec<Value> = self
            .0
            .list(Call::get(Service::LoadBalancer, path, "guest"), "members")
            .await?;
        // Others are not there yet, or not any more, or broken.
        let serves = |status: &str| matches!(status, "ACTIVE" | "PENDING_UPDATE");
        Ok(members
            .iter()
            .filter(|member| text(member, "provisioning_status").is_some_and(|status| serves(&status)))
            .filter_map(|member| text(member, "address"))
            .collect())
    }
}

fn text(value: &Value, field: &str) -> Option<String> {
    value.get(field).and_then(Value::as_str).map(str::to_owned)
}
