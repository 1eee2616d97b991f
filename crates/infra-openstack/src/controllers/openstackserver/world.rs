//! What is known about a server before anything is decided.

use crate::{
    api::{OpenStackServer, ResolvedServerSpec},
    cloud::{
        compute::Server,
        network::{Port, Trunk},
        volume::Volume,
    },
    rules::servers::WantedVolume,
};

/// The object, and what OpenStack has of it.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// The object.
    pub object: OpenStackServer,
    /// What the spec was resolved to.
    pub resolved: ResolvedServerSpec,
    /// The ports, in the order of the spec.
    pub ports: Vec<Option<Port>>,
    /// The trunks of the ports.
    pub trunks: Vec<Trunk>,
    /// The volumes that are needed, and those that are there. Known only while there is no server.
    pub volumes: Vec<(WantedVolume, Option<Volume>)>,
    /// The server.
    pub server: Option<Server>,
    /// Neutron takes the trust of virtual functions as an attribute.
    pub trusted_attribute: bool,
    /// The user data.
    pub user_data: Option<Vec<u8>>,
}

impl World {
    /// The name of object and server.
    pub fn name(&self) -> &str {
        self.object.metadata.name.as_deref().unwrap_or_default()
    }

    /// The id under which the server was made, if it was.
    pub fn instance_id(&self) -> Option<&str> {
        self.object
            .status
            .as_ref()?
            .instance_id
            .as_deref()
            .filter(|id| !id.is_empty())
    }
}
