//! Cinder: volumes.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Call, CloudError, Service::Volume as Cinder, Session};

/// A volume.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Volume {
    /// The id.
    pub id: String,
    /// The name.
    #[serde(default)]
    pub name: String,
    /// `creating`, `available`, `in-use`, `error` ...
    #[serde(default)]
    pub status: String,
    /// The size in GiB.
    #[serde(default)]
    pub size: i32,
    /// Whether several servers may attach it.
    #[serde(default)]
    pub multiattach: bool,
}

impl Session {
    /// Volumes of a name in the project of the credentials.
    pub async fn volumes_named(&self, name: &str) -> Result<Vec<Volume>, CloudError> {
        let mut call = Call::get(Cinder, "/volumes/detail", "volume_list").query("name", name);
        if let Some(project) = self.project_id().await? {
            call = call.query("project_id", project);
        }
        self.list(call, "volumes").await
    }

    /// Creates a volume.
    pub async fn create_volume(&self, volume: Value) -> Result<Volume, CloudError> {
        let call = Call::post(Cinder, "/volumes", "volume_create", json!({ "volume": volume }));
        self.member(call, "volume").await
    }

    /// Deletes a volume.
    pub async fn delete_volume(&self, id: &str) -> Result<bool, CloudError> {
        self.gone(Call::delete(Cinder, format!("/volumes/{id}"), "volume_delete"))
            .await
    }
}
