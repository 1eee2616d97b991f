//! The catalog: which service has its endpoint where. Pure.

use osauth::InterfaceType;
use serde::Deserialize;

/// The services and their endpoints.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(transparent)]
pub struct Catalog {
    entries: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Entry {
    #[serde(rename = "type")]
    type_: String,
    #[serde(default)]
    endpoints: Vec<Endpoint>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Endpoint {
    interface: String,
    url: String,
    #[serde(default)]
    region: Option<String>,
    #[serde(default)]
    region_id: Option<String>,
}

/// The catalog types under which a service may be found, best first.
pub fn aliases(service_type: &str) -> &'static [&'static str] {
    match service_type {
        "compute" => &["compute"],
        "network" => &["network"],
        "load-balancer" => &["load-balancer", "octavia"],
        "block-storage" | "volumev3" => &["block-storage", "volumev3", "block-store", "volume"],
        "image" => &["image"],
        "identity" => &["identity"],
        _ => &[],
    }
}

impl Catalog {
    /// The URL of a service's endpoint: the first one that fits.
    pub fn url(&self, service_type: &str, interface: InterfaceType, region: Option<&str>) -> Option<&str> {
        let own = [service_type];
        let names: &[&str] = match aliases(service_type) {
            [] => &own,
            names => names,
        };
        let fits = |endpoint: &&Endpoint| {
            let same = |name: &Option<String>| name.as_deref() == region;
            interface == endpoint.interface.trim_end_matches("URL")
                && (region.is_none() || same(&endpoint.region) || same(&endpoint.region_id))
        };
        names.iter().find_map(|name| {
            let entries = self.entries.iter().filter(|entry| entry.type_ == *name);
            entries
                .flat_map(|entry| &entry.endpoints)
                .find(fits)
                .map(|endpoint| endpoint.url.as_str())
        })
    }

    /// What there is, for people.
    pub fn known(&self) -> String {
        let all: Vec<String> = self
            .entries
            .iter()
            .map(|entry| {
                let of = |endpoint: &Endpoint| match endpoint.region.as_ref().or(endpoint.region_id.as_ref())
                {
                    Some(region) => format!("{} {region}", endpoint.interface),
                    None => endpoint.interface.clone(),
                };
                let endpoints: Vec<String> = entry.endpoints.iter().map(of).collect();
                format!("{} ({})", entry.type_, endpoints.join(", "))
            })
            .collect();
        all.join("; ")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn endpoints_are_found_by_alias_interface_and_region() {
        let endpoint = |interface: &str, region: &str, url: &str| json!({ "interface": interface, "region_id": region, "url": url });
        let catalog: Catalog = serde_json::from_value(json!([
            { "type": "volumev3", "endpoints": [endpoint("public", "A", "http://a"), endpoint("public", "B", "http://b"), endpoint("internal", "B", "http://i")] },
            { "type": "compute", "endpoints": [{ "interface": "public", "url": "http://c" }] },
        ]))
        .unwrap();
        let public = InterfaceType::Public;
        assert_eq!(catalog.url("block-storage", public, None), Some("http://a"));
        assert_eq!(catalog.url("block-storage", public, Some("B")), Some("http://b"));
        assert_eq!(
            catalog.url("block-storage", InterfaceType::Internal, Some("B")),
            Some("http://i")
        );
        assert_eq!(
            catalog.url("compute", public, Some("A")),
            None,
            "an endpoint without region is in no region"
        );
        assert_eq!(catalog.url("compute", public, None), Some("http://c"));
        assert_eq!(catalog.url("image", public, None), None);
        assert_eq!(
            catalog.known(),
            "volumev3 (public A, public B, internal B); compute (public)"
        );
    }
}
