//! Glance: images.

use serde::Deserialize;

use super::{Call, CloudError, Service::Image as Glance, Session};

/// An image.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Image {
    /// The id.
    pub id: String,
    /// The name.
    #[serde(default)]
    pub name: Option<String>,
    /// `active` once it can be used.
    #[serde(default)]
    pub status: String,
    /// The operating system.
    #[serde(default)]
    pub os_type: Option<String>,
}

impl Session {
    /// Images of a name and with all of these tags.
    pub async fn images(&self, name: Option<&str>, tags: &[String]) -> Result<Vec<Image>, CloudError> {
        let mut call = Call::get(Glance, "/images", "image_list");
        if let Some(name) = name {
            call = call.query("name", name);
        }
        for tag in tags {
            call = call.query("tag", tag.as_str());
        }
        self.list(call, "images").await
    }

    /// An image, if it exists.
    pub async fn image(&self, id: &str) -> Result<Option<Image>, CloudError> {
        // The answer of Glance is the image itself.
        match self
            .json(Call::get(Glance, format!("/images/{id}"), "image_get"))
            .await
        {
            Ok(image) => Ok(Some(image)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }
}
