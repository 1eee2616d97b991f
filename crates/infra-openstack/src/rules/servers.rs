//! Servers and their volumes: what is asked of Nova and Cinder.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

use super::names;
use crate::{
    api::{
        AdditionalBlockDevice, BlockDeviceType, OpenStackServerSpec, SchedulerHintValueType, VolumeAZSource,
        VolumeAvailabilityZone,
    },
    cloud::compute::Dialect,
};

/// A volume that a server needs.
#[derive(Clone, Debug, PartialEq)]
pub struct WantedVolume {
    /// The name.
    pub name: String,
    /// The size in GiB.
    pub size: i32,
    /// The body that makes it.
    pub body: Value,
}

fn zone(of_volume: Option<&VolumeAvailabilityZone>, of_server: Option<&str>) -> Option<String> {
    let chosen = of_volume?;
    match chosen.from.unwrap_or_default() {
        VolumeAZSource::Machine => of_server.map(str::to_owned),
        VolumeAZSource::Name => chosen.name.clone(),
    }
}

fn volume(
    name: String,
    description: String,
    size: i32,
    type_: Option<&str>,
    zone: Option<String>,
    image: Option<&str>,
) -> WantedVolume {
    let mut body = json!({ "name": name, "description": description, "size": size });
    if let Some(type_) = type_.filter(|type_| !type_.is_empty()) {
        body["volume_type"] = type_.into();
    }
    if let Some(zone) = zone {
        body["availability_zone"] = zone.into();
    }
    if let Some(image) = image {
        body["imageRef"] = image.into();
    }
    WantedVolume { name, size, body }
}

/// The volumes that a server needs, the root volume first.
pub fn volumes(server: &str, spec: &OpenStackServerSpec, image: &str) -> Vec<WantedVolume> {
    let own_zone = spec.availability_zone.as_deref();
    let root = spec.root_volume.iter().map(|root| {
        let zone = zone(root.availability_zone.as_ref(), own_zone);
        let description = format!("Root volume for {server}");
        volume(
            names::root_volume(server),
            description,
            root.size_gib,
            root.type_.as_deref(),
            zone,
            Some(image),
        )
    });
    let further = spec
        .additional_block_devices
        .iter()
        .filter(|device| is_volume(device))
        .map(|device| {
            let of_volume = device.storage.volume.as_ref();
            let zone = zone(
                of_volume.and_then(|volume| volume.availability_zone.as_ref()),
                own_zone,
            );
            let description = format!("Additional block device for {server}");
            let type_ = of_volume.and_then(|volume| volume.type_.as_deref());
            volume(
                names::volume(server, &device.name),
                description,
                device.size_gib,
                type_,
                zone,
                None,
            )
        });
    root.chain(further).collect()
}

fn is_volume(device: &AdditionalBlockDevice) -> bool {
    device.storage.type_ == BlockDeviceType::Volume
}

/// What a create request is made of.
#[derive(Clone, Debug)]
pub struct Parts<'a> {
    /// The name.
    pub name: &'a str,
    /// The spec.
    pub spec: &'a OpenStackServerSpec,
    /// The image, by id.
    pub image: &'a str,
    /// The flavor, by id.
    pub flavor: &'a str,
    /// The server group, by id.
    pub server_group: Option<&'a str>,
    /// The ports, by id, in order.
    pub ports: &'a [String],
    /// The volumes, by id, as [`volumes`] lists them, and whether several servers may attach them.
    pub volumes: &'a [(String, bool)],
    /// The user data.
    pub user_data: Option<&'a [u8]>,
}

/// The request that makes a server, and the dialect it needs.
pub fn request(parts: &Parts<'_>) -> (Value, Dialect) {
    let spec = parts.spec;
    let mut server = json!({
        "name": parts.name,
        "imageRef": if spec.root_volume.is_some() { "" } else { parts.image },
        "flavorRef": parts.flavor,
        "networks": parts.ports.iter().map(|port| json!({ "port": port })).collect::<Vec<_>>(),
        "config_drive": spec.config_drive.unwrap_or_default(),
        "block_device_mapping_v2": devices(parts),
    });
    if let Some(zone) = spec.availability_zone.as_deref().filter(|zone| !zone.is_empty()) {
        server["availability_zone"] = zone.into();
    }
    if !spec.ssh_key_name.is_empty() {
        server["key_name"] = spec.ssh_key_name.as_str().into();
    }
    if let Some(data) = parts.user_data {
        server["user_data"] = STANDARD.encode(data).into();
    }
    if !spec.tags.is_empty() {
        server["tags"] = spec.tags.clone().into();
    }
    if !spec.server_metadata.is_empty() {
        let pairs = spec
            .server_metadata
            .iter()
            .map(|pair| (pair.key.clone(), pair.value.as_str().into()));
        server["metadata"] = Value::Object(pairs.collect());
    }
    let dialect = Dialect {
        tags: !spec.tags.is_empty() || !spec.additional_block_devices.is_empty(),
        multiattach: parts.volumes.iter().any(|(_, multiattach)| *multiattach),
    };
    let mut body = json!({ "server": server });
    let hints = hints(parts);
    if !hints.is_empty() {
        body["os:scheduler_hints"] = Value::Object(hints);
    }
    (body, dialect)
}

fn devices(parts: &Parts<'_>) -> Vec<Value> {
    let mut volumes = parts.volumes.iter().map(|(id, _)| id.as_str());
    let mut devices = Vec::new();
    devices.push(match parts.spec.root_volume {
        Some(_) => json!({ "boot_index": 0, "delete_on_termination": true, "uuid": volumes.next(),
            "source_type": "volume", "destination_type": "volume" }),
        None => json!({ "boot_index": 0, "delete_on_termination": true, "uuid": parts.image,
            "source_type": "image", "destination_type": "local" }),
    });
    for device in &parts.spec.additional_block_devices {
        devices.push(match is_volume(device) {
            true => json!({ "boot_index": -1, "delete_on_termination": true, "tag": device.name,
                "uuid": volumes.next(), "source_type": "volume", "destination_type": "volume" }),
            false => json!({ "boot_index": -1, "delete_on_termination": true, "tag": device.name,
                "volume_size": device.size_gib, "source_type": "blank", "destination_type": "local" }),
        });
    }
    devices
}

fn hints(parts: &Parts<'_>) -> Map<String, Value> {
    let mut hints = Map::new();
    if let Some(group) = parts.server_group {
        hints.insert("group".to_owned(), group.into());
    }
    for hint in &parts.spec.scheduler_hint_additional_properties {
        let value = match hint.value.type_ {
            SchedulerHintValueType::Bool => hint.value.bool.map(Value::from),
            SchedulerHintValueType::Number => hint.value.number.map(Value::from),
            SchedulerHintValueType::String => hint.value.string.clone().map(Value::from),
        };
        hints.insert(hint.name.clone(), value.unwrap_or_default());
    }
    hints
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(spec: Value) -> OpenStackServerSpec {
        let mut whole = json!({ "identityRef": { "name": "i", "cloudName": "c" }, "image": {}, "ports": [], "sshKeyName": "" });
        for (key, value) in spec.as_object().unwrap() {
            whole[key] = value.clone();
        }
        serde_json::from_value(whole).unwrap()
    }

    fn parts<'a>(
        spec: &'a OpenStackServerSpec,
        ports: &'a [String],
        volumes: &'a [(String, bool)],
    ) -> Parts<'a> {
        Parts {
            name: "s",
            spec,
            image: "I",
            flavor: "F",
            server_group: None,
            ports,
            volumes,
            user_data: None,
        }
    }

    #[test]
    fn a_plain_server_boots_from_its_image() {
        let spec = spec(json!({ "sshKeyName": "k", "availabilityZone": "az1" }));
        let ports = ["p".to_owned()];
        let (body, dialect) = request(&Parts {
            user_data: Some(b"hello"),
            ..parts(&spec, &ports, &[])
        });
        assert_eq!(
            body,
            json!({ "server": { "name": "s", "imageRef": "I", "flavorRef": "F", "networks": [{ "port": "p" }],
                "config_drive": false, "availability_zone": "az1", "key_name": "k", "user_data": "aGVsbG8=",
                "block_device_mapping_v2": [{ "boot_index": 0, "delete_on_termination": true, "uuid": "I",
                    "source_type": "image", "destination_type": "local" }] } })
        );
        assert_eq!(dialect, Dialect::default());
    }

    #[test]
    fn volumes_follow_the_zone_they_are_told() {
        let spec = spec(json!({
            "availabilityZone": "az1",
            "rootVolume": { "sizeGiB": 20, "availabilityZone": { "from": "Machine" } },
            "additionalBlockDevices": [
                { "name": "etcd", "sizeGiB": 5, "storage": { "type": "Volume", "volume": { "type": "fast", "availabilityZone": { "name": "v" } } } },
                { "name": "scratch", "sizeGiB": 7, "storage": { "type": "Local" } } ],
        }));
        let wanted = volumes("s", &spec, "I");
        assert_eq!(
            wanted
                .iter()
                .map(|volume| volume.body.clone())
                .collect::<Vec<_>>(),
            [
                json!({ "name": "s-root", "description": "Root volume for s", "size": 20, "availability_zone": "az1", "imageRef": "I" }),
                json!({ "name": "s-etcd", "description": "Additional block device for s", "size": 5, "volume_type": "fast", "availability_zone": "v" }),
            ]
        );
        let made = [("R".to_owned(), false), ("E".to_owned(), true)];
        let (body, dialect) = request(&parts(&spec, &[], &made));
        assert_eq!(body["server"]["imageRef"], "");
        let devices: Vec<&Value> = body["server"]["block_device_mapping_v2"]
            .as_array()
            .unwrap()
            .iter()
            .collect();
        assert_eq!(
            devices
                .iter()
                .map(|device| device["uuid"].clone())
                .collect::<Vec<_>>(),
            [json!("R"), json!("E"), Value::Null]
        );
        assert_eq!(devices[2]["volume_size"], 7);
        assert!(dialect.tags && dialect.multiattach);
    }

    #[test]
    fn hints_stand_beside_the_server() {
        let spec = spec(json!({ "schedulerHintAdditionalProperties": [
            { "name": "a", "value": { "type": "Bool", "bool": true } },
            { "name": "b", "value": { "type": "String", "string": "x" } } ],
            "tags": ["t"], "serverMetadata": [{ "key": "k", "value": "v" }] }));
        let (body, dialect) = request(&Parts {
            server_group: Some("G"),
            ..parts(&spec, &[], &[])
        });
        assert_eq!(
            body["os:scheduler_hints"],
            json!({ "group": "G", "a": true, "b": "x" })
        );
        assert_eq!(
            (&body["server"]["tags"], &body["server"]["metadata"]),
            (&json!(["t"]), &json!({ "k": "v" }))
        );
        assert!(dialect.tags);
    }
}
