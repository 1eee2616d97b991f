//! One request to a service, before it is sent.

use http::Method;
use serde_json::Value;

use super::{Microversion, Operation};

/// A service of OpenStack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    /// Nova.
    Compute,
    /// Neutron.
    Network,
    /// Octavia.
    LoadBalancer,
    /// Cinder.
    Volume,
    /// Glance.
    Image,
}

impl Service {
    /// Its type in the catalog.
    pub fn catalog_type(self) -> &'static str {
        match self {
            Self::Compute => "compute",
            Self::Network => "network",
            Self::LoadBalancer => "load-balancer",
            Self::Volume => "block-storage",
            Self::Image => "image",
        }
    }

    /// What is appended to the URL of the catalog, unless it is there.
    pub(super) fn version(self) -> &'static str {
        match self {
            Self::Network | Self::LoadBalancer => "v2.0",
            Self::Image => "v2",
            Self::Compute | Self::Volume => "",
        }
    }
}

/// One request to a service.
#[derive(Clone, Debug)]
pub struct Call {
    pub(super) service: Service,
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) query: Vec<(String, String)>,
    pub(super) body: Option<Value>,
    pub(super) microversion: Option<Microversion>,
    pub(super) name: &'static str,
    pub(super) unversioned: bool,
}

impl Call {
    /// A request. `name` is what it is counted as, as in `server_get`.
    pub fn new(service: Service, method: Method, path: impl Into<String>, name: &'static str) -> Self {
        Self {
            service,
            method,
            path: path.into(),
            query: Vec::new(),
            body: None,
            microversion: None,
            name,
            unversioned: false,
        }
    }

    /// A GET.
    pub fn get(service: Service, path: impl Into<String>, name: &'static str) -> Self {
        Self::new(service, Method::GET, path, name)
    }

    /// A DELETE.
    pub fn delete(service: Service, path: impl Into<String>, name: &'static str) -> Self {
        Self::new(service, Method::DELETE, path, name)
    }

    /// A POST.
    pub fn post(service: Service, path: impl Into<String>, name: &'static str, body: Value) -> Self {
        Self::new(service, Method::POST, path, name).body(body)
    }

    /// A PUT.
    pub fn put(service: Service, path: impl Into<String>, name: &'static str, body: Value) -> Self {
        Self::new(service, Method::PUT, path, name).body(body)
    }

    /// Adds a parameter to the query.
    pub fn query(mut self, key: &str, value: impl Into<String>) -> Self {
        self.query.push((key.to_owned(), value.into()));
        self
    }

    /// Adds parameters to the query.
    pub fn queries(mut self, pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        self.query.extend(pairs);
        self
    }

    /// Asks in a newer dialect.
    pub fn microversion(mut self, microversion: Microversion) -> Self {
        self.microversion = Some(microversion);
        self
    }

    /// Asks the endpoint itself, without the version.
    pub fn unversioned(mut self) -> Self {
        self.unversioned = true;
        self
    }

    fn body(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    pub(super) fn operation(&self) -> Operation {
        Operation {
            method: self.method.clone(),
            service: self.service.catalog_type(),
            path: self.path.clone(),
        }
    }
}
