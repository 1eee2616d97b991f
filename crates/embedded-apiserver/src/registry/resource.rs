//! The description of one resource, built in or custom.

use std::sync::Arc;

use serde_json::Value;

use super::builtin::Builtin;
use crate::cel::Rules;
use crate::fieldmanager::TypeSchema;
use crate::schema::Structural;
use crate::storage::GroupResource;
use crate::table::Columns;

/// A resource: what discovery tells about it and how its objects are treated.
#[derive(Debug)]
pub(crate) struct Resource {
    pub gr: GroupResource,
    /// Where its objects are; differs from `gr` where two groups show the same objects.
    pub store: GroupResource,
    pub kind: String,
    pub list_kind: String,
    pub singular: String,
    pub short_names: Vec<String>,
    pub categories: Vec<String>,
    pub namespaced: bool,
    /// All versions, the preferred one first; those not served are only known.
    pub versions: Vec<Version>,
    pub storage_version: String,
    pub origin: Origin,
    /// Generation of the definition this was built from.
    pub generation: i64,
    /// Objects written before this revision have not seen the present schema.
    pub since: u64,
}

/// Where a resource comes from.
#[derive(Debug)]
pub(crate) enum Origin {
    Builtin(&'static Builtin),
    Custom {
        conversion: Conversion,
        preserve_unknown: bool,
    },
}

/// How objects get from one version to another.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Conversion {
    /// Only `apiVersion` changes.
    None,
    /// A webhook; its client configuration.
    Webhook(Value),
}

/// One version of a resource.
#[derive(Debug)]
pub(crate) struct Version {
    pub name: String,
    pub served: bool,
    /// The warning that answers requests to this version.
    pub deprecation: Option<String>,
    pub status: bool,
    pub scale: Option<ScalePaths>,
    pub schema: Option<Structural>,
    pub rules: Option<Rules>,
    pub columns: Columns,
    pub types: TypeSchema,
    /// Field selectors besides `metadata.name` and `metadata.namespace`, without the leading dot.
    pub selectable: Vec<String>,
}

/// Where the scale subresource finds its numbers, as JSON paths (`.spec.replicas`).
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ScalePaths {
    pub spec: String,
    pub status: String,
    pub selector: Option<String>,
}

impl Resource {
    /// The built-in table's row, if it is a built-in resource.
    pub fn builtin(&self) -> Option<&'static Builtin> {
        match &self.origin {
            Origin::Builtin(row) => Some(row),
            Origin::Custom { .. } => None,
        }
    }

    pub fn is_custom(&self) -> bool {
        matches!(self.origin, Origin::Custom { .. })
    }

    pub fn is(&self, group: &str, resource: &str) -> bool {
        &*self.gr.group == group && &*self.gr.resource == resource
    }

    /// Whether `metadata.generation` counts changes.
    pub fn has_generation(&self) -> bool {
        self.builtin().is_none_or(|row| row.has(Builtin::GENERATION))
    }

    pub fn storage_api_version(&self) -> String {
        crate::http::request::api_version(&self.store.group, &self.storage_version)
    }

    /// The subresources of a version, as discovery lists them.
    pub fn subresources(&self, version: &Version) -> Vec<&'static str> {
        let mut all: Vec<&'static str> = self
            .builtin()
            .map(|row| row.subresources.to_vec())
            .unwrap_or_default();
        let (scale, status) = (
            version.scale.is_some().then_some("scale"),
            version.status.then_some("status"),
        );
        // Upstream's order differs between custom and built-in resources.
        match self.is_custom() {
            true => all.extend(status.into_iter().chain(scale)),
            false => all.extend(scale.into_iter().chain(status)),
        }
        all
    }

    /// Shared by everything that needs to name the resource with its version.
    pub fn preferred(&self) -> Option<&Version> {
        self.versions.iter().find(|v| v.served)
    }
}

/// A resource with the version that a request uses.
#[derive(Debug, Clone)]
pub(crate) struct Served {
    pub resource: Arc<Resource>,
    pub version: usize,
}

impl Served {
    pub fn version(&self) -> &Version {
        &self.resource.versions[self.version]
    }

    pub fn api_version(&self) -> String {
        crate::http::request::api_version(&self.resource.gr.group, &self.version().name)
    }
}
