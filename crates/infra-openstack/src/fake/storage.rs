//! Cinder and Glance: volumes and images.

use ::http::StatusCode;
use serde_json::{Value, json};

use super::{
    http::{Reply, fits},
    world::{Change, World},
};

impl World {
    pub(super) fn volume(
        &mut self,
        method: &str,
        path: &[&str],
        query: &[(String, String)],
        body: &Value,
    ) -> Result<Reply, Reply> {
        let missing = |id: &str| {
            let message = format!("Volume {id} could not be found.");
            Reply::nova(StatusCode::NOT_FOUND, "itemNotFound", &message)
        };
        match (method, path) {
            ("GET", ["v3", _, "volumes", "detail"]) => {
                let found: Vec<&Value> = self
                    .list("volumes")
                    .filter(|volume| fits(volume, query))
                    .collect();
                Reply::ok(json!({ "volumes": found }))
            }
            ("POST", ["v3", _, "volumes"]) => {
                if self.is_full("volumes") {
                    let message = "VolumeLimitExceeded: Maximum number of volumes allowed exceeded for quota 'volumes'.";
                    return Err(Reply::nova(StatusCode::PAYLOAD_TOO_LARGE, "overLimit", message));
                }
                let mut volume = body["volume"].clone();
                volume["status"] = "creating".into();
                let id = self.insert("volumes", volume);
                let delay = self.delays.volume;
                self.later(delay, Change::VolumeAvailable(id.clone()));
                Ok(Reply::new(
                    StatusCode::ACCEPTED,
                    json!({ "volume": self.get("volumes", &id) }),
                ))
            }
            ("GET", ["v3", _, "volumes", id]) => match self.get("volumes", id) {
                Some(volume) => Reply::ok(json!({ "volume": volume })),
                None => Err(missing(id)),
            },
            ("DELETE", ["v3", _, "volumes", id]) => match self.get("volumes", id) {
                Some(volume)
                    if !["available", "error"]
                        .iter()
                        .any(|free| volume["status"] == *free) =>
                {
                    let message = "Invalid volume: Volume status must be available or error";
                    Err(Reply::nova(StatusCode::BAD_REQUEST, "badRequest", message))
                }
                Some(_) => {
                    self.remove_volume(id);
                    Ok(Reply::empty(StatusCode::ACCEPTED))
                }
                None => Err(missing(id)),
            },
            _ => Err(Reply::empty(StatusCode::NOT_FOUND)),
        }
    }

    /// A volume goes; that takes a while.
    pub(super) fn remove_volume(&mut self, id: &str) {
        self.change("volumes", id, |volume| volume["status"] = "deleting".into());
        let delay = self.delays.volume;
        self.later(delay, Change::VolumeGone(id.to_owned()));
    }

    pub(super) fn image(
        &mut self,
        method: &str,
        path: &[&str],
        query: &[(String, String)],
    ) -> Result<Reply, Reply> {
        match (method, path) {
            ("GET", ["v2", "images"]) => {
                let found: Vec<&Value> = self.list("images").filter(|image| fits(image, query)).collect();
                Reply::ok(json!({ "images": found }))
            }
            ("GET", ["v2", "images", id]) => match self.get("images", id) {
                Some(image) => Reply::ok(image.clone()),
                None => Err(Reply::new(
                    StatusCode::NOT_FOUND,
                    json!({ "message": format!("No image found with ID {id}") }),
                )),
            },
            _ => Err(Reply::empty(StatusCode::NOT_FOUND)),
        }
    }
}
