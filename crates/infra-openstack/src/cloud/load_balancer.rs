//! Octavia: load balancers, listeners, pools, members, monitors.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Call, CloudError, Service::LoadBalancer as Octavia, Session, compute::Named};

/// A load balancer.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct LoadBalancer {
    /// The id.
    pub id: String,
    /// The name.
    #[serde(default)]
    pub name: String,
    /// ACTIVE, ERROR or PENDING_...
    #[serde(default)]
    pub provisioning_status: String,
    /// ONLINE, OFFLINE, DEGRADED, ERROR ...
    #[serde(default)]
    pub operating_status: String,
    /// When it was made, in UTC.
    #[serde(default)]
    pub created_at: String,
    /// When it was changed last, in UTC.
    #[serde(default)]
    pub updated_at: String,
    /// The virtual address.
    #[serde(default)]
    pub vip_address: String,
    /// The port of the virtual address.
    #[serde(default)]
    pub vip_port_id: String,
    /// The subnet of the virtual address.
    #[serde(default)]
    pub vip_subnet_id: String,
    /// The network of the virtual address.
    #[serde(default)]
    pub vip_network_id: String,
    /// The provider.
    #[serde(default)]
    pub provider: String,
    /// The tags.
    #[serde(default)]
    pub tags: Vec<String>,
}

impl LoadBalancer {
    /// When it was made or changed last. Octavia leaves the time zone out.
    pub fn changed(&self) -> Option<Timestamp> {
        [&self.updated_at, &self.created_at]
            .into_iter()
            .find_map(|text| format!("{}Z", text.trim_end_matches('Z')).parse().ok())
    }
}

/// A listener.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Listener {
    /// The id.
    pub id: String,
    /// The name.
    #[serde(default)]
    pub name: String,
    /// The port it listens on.
    #[serde(default)]
    pub protocol_port: i32,
    /// From where it may be used; nothing means everywhere.
    #[serde(default)]
    pub allowed_cidrs: Option<Vec<String>>,
}

/// A pool.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Pool {
    /// The id.
    pub id: String,
    /// The name.
    #[serde(default)]
    pub name: String,
    /// Its monitor.
    #[serde(default)]
    pub healthmonitor_id: Option<String>,
}

/// A member of a pool.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Member {
    /// The id.
    pub id: String,
    /// The name.
    #[serde(default)]
    pub name: String,
    /// The address.
    #[serde(default)]
    pub address: String,
    /// The port.
    #[serde(default)]
    pub protocol_port: i32,
    /// Whether Octavia has done what it was told about the member.
    #[serde(default)]
    pub provisioning_status: String,
}

/// A monitor.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Monitor {
    /// The id.
    pub id: String,
    /// The name.
    #[serde(default)]
    pub name: String,
    /// Time between checks, in seconds.
    #[serde(default)]
    pub delay: i32,
    /// Time for an answer, in seconds.
    #[serde(default)]
    pub timeout: i32,
    /// Successes until a member counts as up.
    #[serde(default)]
    pub max_retries: i32,
    /// Failures until a member counts as down.
    #[serde(default)]
    pub max_retries_down: i32,
}

fn list(path: &str, name: &'static str, of: &str) -> Call {
    Call::get(Octavia, path, name).query("name", of)
}

impl Session {
    /// The newest version of Octavia's API, as in `2.30`.
    pub async fn load_balancer_version(&self) -> Result<super::Microversion, CloudError> {
        #[derive(Deserialize)]
        struct Version {
            id: String,
        }
        let call = Call::get(Octavia, "/", "version_list").unversioned();
        let versions: Vec<Version> = self.member(call, "versions").await?;
        let parsed = versions
            .iter()
            .filter_map(|version| super::Microversion::parse(version.id.trim_start_matches('v')));
        Ok(parsed.max().unwrap_or(super::Microversion(2, 0)))
    }

    /// The names of the providers.
    pub async fn load_balancer_providers(&self) -> Result<Vec<String>, CloudError> {
        #[derive(Deserialize)]
        struct Provider {
            name: String,
        }
        let call = Call::get(Octavia, "/lbaas/providers", "loadbalancer_provider_list");
        let found: Vec<Provider> = self.list(call, "providers").await?;
        Ok(found.into_iter().map(|provider| provider.name).collect())
    }

    /// The flavors that may be used.
    pub async fn load_balancer_flavors(&self) -> Result<Vec<Named>, CloudError> {
        let call = Call::get(Octavia, "/lbaas/flavors", "loadbalancer_flavor_list").query("enabled", "true");
        self.list(call, "flavors").await
    }

    /// Load balancers of a name.
    pub async fn load_balancers_named(&self, name: &str) -> Result<Vec<LoadBalancer>, CloudError> {
        self.list(
            list("/lbaas/loadbalancers", "loadbalancer_list", name),
            "loadbalancers",
        )
        .await
    }

    /// All load balancers of the project.
    pub async fn load_balancers(&self) -> Result<Vec<LoadBalancer>, CloudError> {
        let call = Call::get(Octavia, "/lbaas/loadbalancers", "loadbalancer_list");
        self.list(call, "loadbalancers").await
    }

    /// A load balancer, if it exists.
    pub async fn load_balancer(&self, id: &str) -> Result<Option<LoadBalancer>, CloudError> {
        let call = Call::get(Octavia, format!("/lbaas/loadbalancers/{id}"), "loadbalancer_get");
        self.found(call, "loadbalancer").await
    }

    /// Creates a load balancer.
    pub async fn create_load_balancer(&self, load_balancer: Value) -> Result<LoadBalancer, CloudError> {
        let body = json!({ "loadbalancer": load_balancer });
        let call = Call::post(Octavia, "/lbaas/loadbalancers", "loadbalancer_create", body);
        self.member(call, "loadbalancer").await
    }

    /// Deletes a load balancer with everything below it.
    pub async fn delete_load_balancer(&self, id: &str) -> Result<bool, CloudError> {
        let path = format!("/lbaas/loadbalancers/{id}");
        self.gone(Call::delete(Octavia, path, "loadbalancer_delete").query("cascade", "true"))
            .await
    }

    /// Asks Octavia to replace what carries a load balancer.
    pub async fn fail_over(&self, id: &str) -> Result<(), CloudError> {
        let path = format!("/lbaas/loadbalancers/{id}/failover");
        let call = Call::put(Octavia, path, "loadbalancer_failover", Value::Null);
        self.send(call).await.map(drop)
    }

    /// Listeners of a name.
    pub async fn listeners_named(&self, name: &str) -> Result<Vec<Listener>, CloudError> {
        self.list(
            list("/lbaas/listeners", "loadbalancer_listener_list", name),
            "listeners",
        )
        .await
    }

    /// Creates a listener.
    pub async fn create_listener(&self, listener: Value) -> Result<Listener, CloudError> {
        let body = json!({ "listener": listener });
        self.member(
            Call::post(Octavia, "/lbaas/listeners", "loadbalancer_listener_create", body),
            "listener",
        )
        .await
    }

    /// Changes from where a listener may be used; nothing means everywhere.
    pub async fn set_allowed_cidrs(&self, id: &str, cidrs: Option<&[String]>) -> Result<(), CloudError> {
        let body = json!({ "listener": { "allowed_cidrs": cidrs } });
        let call = Call::put(
            Octavia,
            format!("/lbaas/listeners/{id}"),
            "loadbalancer_listener_update",
            body,
        );
        self.send(call).await.map(drop)
    }

    /// Pools of a name.
    pub async fn pools_named(&self, name: &str) -> Result<Vec<Pool>, CloudError> {
        self.list(list("/lbaas/pools", "loadbalancer_pool_list", name), "pools")
            .await
    }

    /// Creates a pool.
    pub async fn create_pool(&self, pool: Value) -> Result<Pool, CloudError> {
        let call = Call::post(
            Octavia,
            "/lbaas/pools",
            "loadbalancer_pool_create",
            json!({ "pool": pool }),
        );
        self.member(call, "pool").await
    }

    /// The members of a pool.
    pub async fn members(&self, pool: &str) -> Result<Vec<Member>, CloudError> {
        let call = Call::get(
            Octavia,
            format!("/lbaas/pools/{pool}/members"),
            "loadbalancer_pool_list",
        );
        self.list(call, "members").await
    }

    /// Creates a member.
    pub async fn create_member(&self, pool: &str, member: Value) -> Result<Member, CloudError> {
        let path = format!("/lbaas/pools/{pool}/members");
        let call = Call::post(
            Octavia,
            path,
            "loadbalancer_member_create",
            json!({ "member": member }),
        );
        self.member(call, "member").await
    }

    /// Deletes a member.
    pub async fn delete_member(&self, pool: &str, member: &str) -> Result<bool, CloudError> {
        let path = format!("/lbaas/pools/{pool}/members/{member}");
        self.gone(Call::delete(Octavia, path, "loadbalancer_member_delete"))
            .await
    }

    /// Monitors of a name.
    pub async fn monitors_named(&self, name: &str) -> Result<Vec<Monitor>, CloudError> {
        let call = list("/lbaas/healthmonitors", "loadbalancer_healthmonitor_list", name);
        self.list(call, "healthmonitors").await
    }

    /// Creates a monitor.
    pub async fn create_monitor(&self, monitor: Value) -> Result<Monitor, CloudError> {
        let body = json!({ "healthmonitor": monitor });
        let call = Call::post(
            Octavia,
            "/lbaas/healthmonitors",
            "loadbalancer_healthmonitor_create",
            body,
        );
        self.member(call, "healthmonitor").await
    }

    /// Changes a monitor.
    pub async fn update_monitor(&self, id: &str, monitor: Value) -> Result<(), CloudError> {
        let path = format!("/lbaas/healthmonitors/{id}");
        let body = json!({ "healthmonitor": monitor });
        self.send(Call::put(
            Octavia,
            path,
            "loadbalancer_healthmonitor_update",
            body,
        ))
        .await
        .map(drop)
    }
}
