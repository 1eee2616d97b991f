//! What Nova gave a server, as the lab writes it down.

use std::{collections::BTreeMap, path::Path};

use anyhow::Context as _;
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use serde::Deserialize;

/// A server that runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Server {
    /// Nova's id.
    pub id: String,
    /// Its display name.
    pub name: String,
    /// Its host name, cloud-init's `local_hostname`.
    pub hostname: String,
    /// The addresses of its ports.
    #[serde(default)]
    pub addresses: Vec<String>,
    /// The name of its image.
    #[serde(default)]
    pub image: Option<String>,
    user_data: Option<String>,
}

impl Server {
    /// Its user data; none if it was given none.
    pub fn user_data(&self) -> Option<Result<Vec<u8>, String>> {
        let text = self.user_data.as_deref().filter(|text| !text.is_empty())?;
        Some(
            BASE64
                .decode(text)
                .map_err(|error| format!("its user data is not base64: {error}")),
        )
    }

    /// The Kubernetes version of its image, by the image's name, as images for clusters are called.
    pub fn kubernetes_version(&self) -> Option<String> {
        let image = self.image.as_deref()?;
        let found = image.match_indices('v').find_map(|(at, _)| {
            let rest = &image[at + 1..];
            let end = rest.find(|c: char| c != '.' && !c.is_ascii_digit());
            let version = rest[..end.unwrap_or(rest.len())].trim_end_matches('.');
            semver::Version::parse(version).ok().map(|_| version)
        });
        found.map(|version| format!("v{version}"))
    }
}

/// All servers that run, by id.
pub fn read_all(folder: &Path) -> anyhow::Result<BTreeMap<String, Server>> {
    let mut found = BTreeMap::new();
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        // Made with the first server.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(found),
        Err(error) => return Err(error).with_context(|| folder.display().to_string()),
    };
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        // It may have gone meanwhile.
        let Ok(text) = std::fs::read(&path) else { continue };
        let server: Server = serde_json::from_slice(&text).with_context(|| path.display().to_string())?;
        found.insert(server.id.clone(), server);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_in_the_name_of_the_image() {
        for (image, want) in [
            ("ubuntu-2404-kube-v1.35.0", Some("v1.35.0")),
            ("ubuntu-kube-v1.36.2-gpu", Some("v1.36.2")),
            ("very-v1.35.1.img", Some("v1.35.1")),
            ("lab-image", None),
        ] {
            let server = Server {
                image: Some(image.to_owned()),
                ..Server::default()
            };
            assert_eq!(server.kubernetes_version().as_deref(), want, "{image}");
        }
    }
}
