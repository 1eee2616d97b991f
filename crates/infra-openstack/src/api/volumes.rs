//! Root and further block devices of servers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::wire::wire_enum;

/// The volume that a server boots from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RootVolume {
    /// The availability zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub availability_zone: Option<VolumeAvailabilityZone>,
    /// The size in GiB.
    #[serde(rename = "sizeGiB")]
    #[schemars(range(min = 1))]
    pub size_gib: i32,
    /// The volume type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub type_: Option<String>,
}

/// A further block device of a server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AdditionalBlockDevice {
    /// The name.
    #[schemars(length(min = 1))]
    pub name: String,
    /// The size in GiB.
    #[serde(rename = "sizeGiB")]
    #[schemars(range(min = 1))]
    pub size_gib: i32,
    /// What the device is made of.
    pub storage: BlockDeviceStorage,
}

/// What a block device is made of.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BlockDeviceStorage {
    /// What the device is made of.
    pub type_: BlockDeviceType,
    /// The volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<BlockDeviceVolume>,
}

/// The volume behind a block device.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BlockDeviceVolume {
    /// The availability zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub availability_zone: Option<VolumeAvailabilityZone>,
    /// The volume type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub type_: Option<String>,
}

/// Where a volume is placed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{"message": "name is required when from is 'Name' or default", "rule": "!has(self.from) || self.from == 'Name' ? has(self.name) : !has(self.name)"}]))]
pub struct VolumeAvailabilityZone {
    /// Where the zone comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "Name"))]
    pub from: Option<VolumeAZSource>,
    /// The name of the zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1), regex(pattern = r"^[^ ]+$"))]
    pub name: Option<String>,
}

wire_enum! {
    /// What a block device is made of.
    pub enum BlockDeviceType {
        /// Storage of the hypervisor.
        #[default]
        Local = "Local",
        /// A volume.
        Volume = "Volume",
    }
}

wire_enum! {
    /// Where the availability zone of a volume comes from.
    pub enum VolumeAZSource {
        /// It is named.
        #[default]
        Name = "Name",
        /// It is that of the machine.
        Machine = "Machine",
    }
}
