//! Releases in an OCI image layout, every blob checked against its digest.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, bail};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{ProviderId, Release, number};

const REFERENCE: &str = "org.opencontainers.image.ref.name";
const TITLE: &str = "org.opencontainers.image.title";

/// All releases of a layout.
pub(super) fn releases(place: &Path) -> anyhow::Result<Vec<Release>> {
    let index = fs::read(place.join("index.json")).context("cannot read index.json")?;
    let index: Value = serde_json::from_slice(&index).context("index.json")?;
    let mut releases = Vec::new();
    for entry in index["manifests"].as_array().into_iter().flatten() {
        let reference = entry["annotations"][REFERENCE].as_str().unwrap_or_default();
        // Other artifacts, images for example, may lie beside.
        let Some((label, version)) = split(reference) else {
            continue;
        };
        let manifest: Value = serde_json::from_slice(&blob(place, entry)?)
            .with_context(|| format!("manifest of {reference}"))?;
        let mut files = BTreeMap::new();
        for layer in manifest["layers"].as_array().into_iter().flatten() {
            let Some(title) = layer["annotations"][TITLE].as_str() else {
                continue;
            };
            let text =
                String::from_utf8(blob(place, layer)?).with_context(|| format!("{title} of {reference}"))?;
            files.insert(title.to_owned(), text);
        }
        releases.push(Release {
            provider: ProviderId::of_label(label),
            version: version.to_owned(),
            files,
        });
    }
    Ok(releases)
}

/// `<label>-<version>` as its two parts.
fn split(reference: &str) -> Option<(&str, &str)> {
    let at = reference
        .match_indices("-v")
        .map(|(at, _)| at)
        .find(|at| number(&reference[at + 1..]).is_ok())?;
    Some((&reference[..at], &reference[at + 1..]))
}

/// What a descriptor points to.
fn blob(place: &Path, descriptor: &Value) -> anyhow::Result<Vec<u8>> {
    let digest = descriptor["digest"].as_str().unwrap_or_default();
    let Some(hex) = digest
        .strip_prefix("sha256:")
        .filter(|hex| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
    else {
        bail!("{digest:?} is no sha256 digest");
    };
    let content = fs::read(place.join("blobs/sha256").join(hex))
        .with_context(|| format!("cannot read blob {digest}"))?;
    let found: String = Sha256::digest(&content)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    if found != hex.to_lowercase() {
        bail!("blob {digest} is damaged: its digest is sha256:{found}");
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::Repository, *};

    /// Writes a blob and returns its descriptor.
    fn put(place: &Path, content: &[u8], annotations: Value) -> Value {
        let hex: String = Sha256::digest(content)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        fs::create_dir_all(place.join("blobs/sha256")).unwrap();
        fs::write(place.join("blobs/sha256").join(&hex), content).unwrap();
        json!({"digest": format!("sha256:{hex}"), "size": content.len(), "annotations": annotations})
    }

    #[test]
    fn releases_are_read_from_an_image_layout_and_damaged_ones_refused() {
        let place = std::env::temp_dir().join(format!("capictl-oci-{}", std::process::id()));
        let layer = put(&place, b"releaseSeries: []\n", json!({TITLE: "metadata.yaml"}));
        let manifest = json!({"schemaVersion": 2, "layers": [layer]}).to_string();
        let entry = put(
            &place,
            manifest.as_bytes(),
            json!({REFERENCE: "control-plane-kubeadm-v1.2.0-rc.1"}),
        );
        let image = put(&place, b"{}", json!({REFERENCE: "latest"}));
        fs::write(place.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        fs::write(
            place.join("index.json"),
            json!({"manifests": [entry, image]}).to_string(),
        )
        .unwrap();
        let repository = Repository::open(&place).unwrap();
        let provider = ProviderId::of_label("control-plane-kubeadm");
        let release = repository.find(&provider, None).unwrap();
        assert_eq!(release.version, "v1.2.0-rc.1");
        assert_eq!(release.file("metadata.yaml"), Some("releaseSeries: []\n"));
        let hex = layer["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
        fs::write(place.join("blobs/sha256").join(hex), "other").unwrap();
        let error = format!("{:#}", Repository::open(&place).unwrap_err());
        assert!(error.contains("is damaged"), "{error}");
        fs::remove_dir_all(&place).unwrap();
    }
}
