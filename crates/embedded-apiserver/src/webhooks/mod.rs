//! Calls to webhooks over HTTPS: admission (mutating, validating) and conversion of custom resources.
//!
//! What a webhook is told and what its answer means is here; when admission happens is decided in `verbs`. Nothing here
//! runs unless a configuration is stored, so simulations without webhooks never touch the network.

mod answer;
mod client;
mod config;
mod conversion;
mod dispatch;
mod matching;
mod matter;
mod review;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;

use crate::server::Inner;
use crate::storage::GroupResource;
use crate::transport::portforward::ByteStream;

pub use conversion::Converter;
pub(crate) use conversion::convert;
pub(crate) use dispatch::{mutate, validate};

use client::Connections;
use config::Hook;

/// Connects webhooks that are named by a Service with whatever serves it.
#[async_trait]
pub trait ServiceResolver: Send + Sync + 'static {
    /// Opens a connection to a port of a service; TLS is spoken over it. The error's text is told to the client.
    async fn connect(&self, namespace: &str, name: &str, port: u16) -> io::Result<Box<dyn ByteStream>>;
}

/// Hooks of one kind of configuration, with the revisions they were read from.
#[derive(Default)]
struct Compiled {
    of: Vec<(Box<str>, u64)>,
    hooks: Arc<Vec<Arc<Hook>>>,
}

/// What the calls of a server share: read configurations and open connections.
#[derive(Default)]
pub(crate) struct Webhooks {
    mutating: Mutex<Compiled>,
    validating: Mutex<Compiled>,
    connections: Connections,
    services: Option<Arc<dyn ServiceResolver>>,
}

impl Webhooks {
    pub fn new(services: Option<Arc<dyn ServiceResolver>>) -> Self {
        Self {
            services,
            ..Self::default()
        }
    }

    /// The hooks of all configurations of one kind, in the order of the configurations' names.
    fn hooks(&self, inner: &Inner, mutating: bool) -> Arc<Vec<Arc<Hook>>> {
        let (cache, resource) = match mutating {
            true => (&self.mutating, "mutatingwebhookconfigurations"),
            false => (&self.validating, "validatingwebhookconfigurations"),
        };
        let (objects, _) = inner
            .store
            .list(&GroupResource::new("admissionregistration.k8s.io", resource), "");
        let of: Vec<_> = objects
            .iter()
            .map(|object| (object.uid.clone(), object.revision))
            .collect();
        let mut cache = cache.lock();
        if cache.of != of {
            let read = |object: &Arc<crate::storage::Object>| config::read(&object.value(), mutating);
            cache.hooks = Arc::new(objects.iter().flat_map(read).map(Arc::new).collect());
            cache.of = of;
        }
        cache.hooks.clone()
    }
}
