//! Nova: servers, flavors, zones, server groups.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::{Call, CloudError, Microversion, Service::Compute, Session};

/// What every request to Nova is written for.
const BASE: Microversion = Microversion(2, 38);
/// Tags at creation, and tags of block devices.
const TAGS: Microversion = Microversion(2, 53);
/// Volumes that several servers may attach.
const MULTIATTACH: Microversion = Microversion(2, 60);

/// A server.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Server {
    /// The id.
    pub id: String,
    /// The name.
    #[serde(default)]
    pub name: String,
    /// The state: ACTIVE, BUILD, ERROR, DELETED ...
    #[serde(default)]
    pub status: String,
    /// When the record changed last.
    #[serde(default)]
    pub updated: Option<Timestamp>,
    /// The addresses by network name.
    #[serde(default)]
    pub addresses: BTreeMap<String, Vec<Address>>,
    /// Why it is in ERROR.
    #[serde(default)]
    pub fault: Option<ServerFault>,
    /// The key pair.
    #[serde(default)]
    pub key_name: Option<String>,
    /// What is being done to it.
    #[serde(default, rename = "OS-EXT-STS:task_state")]
    pub task_state: Option<String>,
}

/// An address of a server.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Address {
    /// The address.
    pub addr: String,
    /// 4 or 6.
    #[serde(default)]
    pub version: u8,
    /// `fixed` or `floating`.
    #[serde(default, rename = "OS-EXT-IPS:type")]
    pub type_: String,
}

/// Why a server is in ERROR.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct ServerFault {
    /// An HTTP status.
    #[serde(default)]
    pub code: u16,
    /// The words of Nova.
    #[serde(default)]
    pub message: String,
}

/// A flavor.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Flavor {
    /// The id.
    pub id: String,
    /// The name.
    #[serde(default)]
    pub name: String,
    /// Virtual processors.
    #[serde(default)]
    pub vcpus: u64,
    /// Memory in MiB.
    #[serde(default)]
    pub ram: u64,
    /// Root disk in GiB.
    #[serde(default)]
    pub disk: u64,
    /// Ephemeral disk in GiB.
    #[serde(default, rename = "OS-FLV-EXT-DATA:ephemeral")]
    pub ephemeral: u64,
}

/// Something with id and name.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Named {
    /// The id.
    pub id: String,
    /// The name.
    #[serde(default)]
    pub name: String,
}

/// What a server request needs of Nova's dialect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dialect {
    /// Tags of the server or of its block devices.
    pub tags: bool,
    /// A volume that several servers may attach.
    pub multiattach: bool,
}

impl Dialect {
    fn microversion(self) -> Microversion {
        match (self.tags, self.multiattach) {
            (_, true) => MULTIATTACH,
            (true, false) => TAGS,
            (false, false) => BASE,
        }
    }
}

impl Session {
    /// The highest microversion that Nova speaks; asked for once.
    pub async fn compute_microversion(&self) -> Result<Microversion, CloudError> {
        let limit = self.compute_limit().get_or_try_init(|| async {
            let answer: Value = self
                .json(Call::get(Compute, "/", "compute_version_get").unversioned())
                .await?;
            // One version, or the list of all where the catalog names the root.
            let one = answer.get("version").into_iter();
            let all = answer
                .get("versions")
                .and_then(Value::as_array)
                .into_iter()
                .flatten();
            let highest = one
                .chain(all)
                .filter_map(|version| Microversion::parse(version.get("version")?.as_str()?))
                .max();
            Ok::<_, CloudError>(highest.unwrap_or(Microversion(2, 1)))
        });
        limit.await.copied()
    }

    async fn compute(&self, call: Call, needed: Microversion) -> Result<Call, CloudError> {
        let highest = self.compute_microversion().await?;
        match needed <= highest {
            true => Ok(call.microversion(needed)),
            false => Err(CloudError::TooOld {
                service: "compute",
                highest: highest.to_string(),
                needed: needed.to_string(),
            }),
        }
    }

    /// A server, if it exists.
    pub async fn server(&self, id: &str) -> Result<Option<Server>, CloudError> {
        let call = self
            .compute(Call::get(Compute, format!("/servers/{id}"), "server_get"), BASE)
            .await?;
        self.found(call, "server").await
    }

    /// All servers of exactly this name.
    pub async fn servers_named(&self, name: &str) -> Result<Vec<Server>, CloudError> {
        // Nova takes a regular expression.
        let pattern = format!("^{}$", regex::escape(name));
        let call = Call::get(Compute, "/servers/detail", "server_list").query("name", pattern);
        let found: Vec<Server> = self.list(self.compute(call, BASE).await?, "servers").await?;
        Ok(found.into_iter().filter(|server| server.name == name).collect())
    }

    /// All servers of the project; with `since`, those that changed since then, deleted ones included.
    pub async fn servers(&self, since: Option<Timestamp>) -> Result<Vec<Server>, CloudError> {
        let mut call = Call::get(Compute, "/servers/detail", "server_list");
        if let Some(since) = since {
            call = call.query("changes-since", since.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
        }
        self.list(self.compute(call, BASE).await?, "servers").await
    }

    /// Creates a server: `body` is the whole request.
    pub async fn create_server(&self, body: Value, dialect: Dialect) -> Result<Named, CloudError> {
        let call = Call::post(Compute, "/servers", "server_create", body);
        self.member(self.compute(call, dialect.microversion()).await?, "server")
            .await
    }

    /// Deletes a server; says whether there was one.
    pub async fn delete_server(&self, id: &str) -> Result<bool, CloudError> {
        let call = Call::delete(Compute, format!("/servers/{id}"), "server_delete");
        self.gone(self.compute(call, BASE).await?).await
    }

    /// The availability zones that accept servers, sorted.
    pub async fn availability_zones(&self) -> Result<Vec<String>, CloudError> {
        #[derive(Deserialize)]
        struct Zone {
            #[serde(rename = "zoneName")]
            name: String,
            #[serde(rename = "zoneState")]
            state: State,
        }
        #[derive(Deserialize)]
        struct State {
            available: bool,
        }
        let call = Call::get(Compute, "/os-availability-zone", "availability_zone_list");
        let zones: Vec<Zone> = self
            .member(self.compute(call, BASE).await?, "availabilityZoneInfo")
            .await?;
        let mut names: Vec<String> = zones
            .into_iter()
            .filter(|zone| zone.state.available)
            .map(|zone| zone.name)
            .collect();
        names.sort();
        names.dedup();
        Ok(names)
    }

    /// All flavors.
    pub async fn flavors(&self) -> Result<Vec<Flavor>, CloudError> {
        let call = Call::get(Compute, "/flavors/detail", "flavor_list");
        self.list(self.compute(call, BASE).await?, "flavors").await
    }

    /// A flavor, if it exists.
    pub async fn flavor(&self, id: &str) -> Result<Option<Flavor>, CloudError> {
        let call = Call::get(Compute, format!("/flavors/{id}"), "flavor_get");
        self.found(self.compute(call, BASE).await?, "flavor").await
    }

    /// All server groups.
    pub async fn server_groups(&self) -> Result<Vec<Named>, CloudError> {
        let call = Call::get(Compute, "/os-server-groups", "server_group_list");
        self.list(self.compute(call, BASE).await?, "server_groups").await
    }
}
