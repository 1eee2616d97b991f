//! The server as its users hold it: building, forking, shutting down.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use seams::{SharedClock, SharedRandomness, SystemClock, SystemRandomness};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::auth::rbac::bootstrap as policy;
use crate::auth::service_account::Issuer;
use crate::auth::{Auth, Authentication, Authorization, controllers};
use crate::csr::{Authority, CertificateAuthority};
use crate::http::audit::Audit;
use crate::lifecycle::bootstrap;
use crate::lifecycle::expiry::Expiry;
use crate::registry::{Registry, crd};
use crate::storage::{
    Change, ChangeKind, CommitError, GroupResource, MemoryStorage, Object, Retention, Storage, StorageError,
    Store, Write,
};
use crate::transport::portforward::PortForward;
use crate::verbs::admission::Admission;
use crate::webhooks::Converter;
use crate::webhooks::{ServiceResolver, Webhooks};
use crate::{gc, lifecycle};

/// Why a server could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The storage engine failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A key or certificate that the host gave cannot be used.
    #[error("{0}: the key given to the builder {1}")]
    Key(&'static str, String),
    /// An object that every server has could not be created.
    #[error("creating the initial objects: {0}")]
    Bootstrap(String),
}

/// Collects what a server is made of; see [`Server::builder`].
pub struct Builder {
    clock: SharedClock,
    randomness: SharedRandomness,
    storage: Arc<dyn Storage>,
    audit: Option<Arc<dyn Audit>>,
    admission: Vec<Arc<dyn Admission>>,
    converter: Option<Arc<dyn Converter>>,
    port_forward: Option<Arc<dyn PortForward>>,
    services: Option<Arc<dyn ServiceResolver>>,
    authentication: Authentication,
    authorization: Authorization,
    certificate_authority: Option<CertificateAuthority>,
    options: Options,
}

#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// Changes kept per resource for watches that resume.
    pub history: Retention,
    /// Whether updates and patches maintain `metadata.managedFields`.
    pub managed_fields: bool,
}

impl Builder {
    /// Takes the wall-clock time from `clock`.
    pub fn clock(self, clock: SharedClock) -> Self {
        Self { clock, ..self }
    }

    /// Takes uids and name suffixes from `randomness`.
    pub fn randomness(self, randomness: SharedRandomness) -> Self {
        Self { randomness, ..self }
    }

    /// Keeps objects in `storage`; without this they live in memory.
    pub fn storage(self, storage: impl Storage) -> Self {
        Self {
            storage: Arc::new(storage),
            ..self
        }
    }

    /// Tells every request to `observer`.
    pub fn audit(self, observer: Arc<dyn Audit>) -> Self {
        Self {
            audit: Some(observer),
            ..self
        }
    }

    /// Adds an admission plugin; plugins are asked in the order in which they were added.
    pub fn admission(mut self, plugin: Arc<dyn Admission>) -> Self {
        self.admission.push(plugin);
        self
    }

    /// Asks `converter` before the conversion webhooks that definitions name.
    pub fn converter(self, converter: Arc<dyn Converter>) -> Self {
        Self {
            converter: Some(converter),
            ..self
        }
    }

    /// Answers port-forward requests on pods with `handler`.
    pub fn port_forward(self, handler: Arc<dyn PortForward>) -> Self {
        Self {
            port_forward: Some(handler),
            ..self
        }
    }

    /// Connects webhooks that are named by a Service through `resolver`. Without one the endpoints of the stored Service are
    /// dialled.
    pub fn services(self, resolver: Arc<dyn ServiceResolver>) -> Self {
        Self {
            services: Some(resolver),
            ..self
        }
    }

    /// Sets how users prove who they are. By default in-process clients may do everything, client certificates name users,
    /// and bootstrap tokens are taken.
    pub fn authentication(self, authentication: Authentication) -> Self {
        Self {
            authentication,
            ..self
        }
    }

    /// Sets whether requests are checked against roles and bindings (default: everything is allowed).
    pub fn authorization(self, authorization: Authorization) -> Self {
        Self {
            authorization,
            ..self
        }
    }

    /// Publishes a certificate authority as `kube-root-ca.crt`, and signs certificate signing requests with its key.
    pub fn certificate_authority(self, authority: CertificateAuthority) -> Self {
        Self {
            certificate_authority: Some(authority),
            ..self
        }
    }

    /// Switches the tracking of field ownership by updates and patches (default: on). Simulated clusters, whose objects
    /// nobody applies, save time and memory without it. Server-side apply works in both cases.
    pub fn managed_fields(mut self, on: bool) -> Self {
        self.options.managed_fields = on;
        self
    }

    /// How many changes per resource are kept for watches that resume (default 1000).
    pub fn history(mut self, changes: usize) -> Self {
        self.options.history.changes = changes;
        self
    }

    /// How long changes beyond those of [`Builder::history`] are kept (default: not at all), up to twenty times as many. Clients
    /// that are slow for a moment under many writes need that.
    pub fn history_age(mut self, age: Duration) -> Self {
        self.options.history.age = age;
        self
    }

    /// Loads the storage and starts the server's controllers on the current tokio runtime.
    pub async fn build(self) -> Result<Server, BuildError> {
        let store = Store::open(self.storage, self.options.history).await?;
        let mut registry = Registry::builtin();
        for object in store.list(&definitions(), "").0 {
            registry = registry_after(&registry, &object, false);
        }
        let issuer = self.authentication.service_accounts.as_ref().map(Issuer::new);
        let issuer = issuer
            .transpose()
            .map_err(|why| BuildError::Key("service accounts", why))?;
        let authority = self.certificate_authority.as_ref().map(Authority::new);
        let authority = authority
            .transpose()
            .map_err(|why| BuildError::Key("the certificate authority", why))?;
        let auth = Auth::new(self.authentication, self.authorization, issuer, authority);
        auth.load(&store);
        let inner = Arc::new(Inner {
            auth,
            store,
            registry: ArcSwap::from_pointee(registry),
            clock: self.clock,
            randomness: self.randomness,
            audit: self.audit,
            admission: self.admission,
            converter: self.converter,
            port_forward: self.port_forward,
            webhooks: Webhooks::new(self.services),
            options: self.options,
            shutdown: CancellationToken::new(),
            expiry: Expiry::default(),
        });
        let weak = Arc::downgrade(&inner);
        inner.store.observe(Box::new(move |change| {
            if let Some(inner) = weak.upgrade() {
                inner.note(change);
            }
        }));
        inner.expiry.load(&inner);
        bootstrap::create(&inner)
            .await
            .map_err(|e| BuildError::Bootstrap(e.message))?;
        if inner.auth.is_enforced() {
            policy::create(&inner)
                .await
                .map_err(|e| BuildError::Bootstrap(e.message))?;
        }
        gc::start(&inner);
        lifecycle::start(&inner);
        controllers::start(&inner);
        Ok(Server { inner })
    }
}

/// A running API server; clones are the same server.
#[derive(Clone)]
pub struct Server {
    pub(crate) inner: Arc<Inner>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("revision", &self.inner.store.revision())
            .finish_non_exhaustive()
    }
}

impl Server {
    /// Starts to describe a server: in memory, with the machine's clock and randomness.
    pub fn builder() -> Builder {
        Builder {
            clock: Arc::new(SystemClock),
            randomness: Arc::new(SystemRandomness),
            storage: Arc::new(MemoryStorage::new()),
            audit: None,
            admission: Vec::new(),
            converter: None,
            port_forward: None,
            services: None,
            authentication: Authentication::default(),
            authorization: Authorization::default(),
            certificate_authority: None,
            options: Options {
                history: Retention {
                    changes: 1000,
                    age: Duration::ZERO,
                },
                managed_fields: true,
            },
        }
    }

    /// A copy of everything that is stored now, from which another server can be built.
    pub fn fork(&self) -> MemoryStorage {
        MemoryStorage::starting_from(self.inner.store.snapshot())
    }

    /// The revision of the last write.
    pub fn revision(&self) -> u64 {
        self.inner.store.revision()
    }

    /// Forgets all changes up to a revision: watches and lists that go back further are told so (410). On disk they go with the
    /// next compaction, so that a restart before may still know them.
    pub fn compact(&self, revision: u64) {
        self.inner.store.compact(revision);
    }

    /// Ends the server's controllers, watches and connections. Requests are still answered.
    pub fn shutdown(&self) {
        self.inner.shutdown.cancel();
    }
}

/// What requests and controllers share.
pub(crate) struct Inner {
    pub auth: Auth,
    pub store: Store,
    pub registry: ArcSwap<Registry>,
    pub clock: SharedClock,
    pub randomness: SharedRandomness,
    pub audit: Option<Arc<dyn Audit>>,
    pub admission: Vec<Arc<dyn Admission>>,
    pub converter: Option<Arc<dyn Converter>>,
    pub port_forward: Option<Arc<dyn PortForward>>,
    pub webhooks: Webhooks,
    pub options: Options,
    pub shutdown: CancellationToken,
    pub expiry: Expiry,
}

/// The resource of custom resource definitions.
pub(crate) fn definitions() -> GroupResource {
    GroupResource::new("apiextensions.k8s.io", "customresourcedefinitions")
}

/// The resource of namespaces.
pub(crate) fn namespaces() -> GroupResource {
    GroupResource::new("", "namespaces")
}

/// A time as metadata shows it.
pub(crate) fn time_text(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn registry_after(registry: &Registry, definition: &Object, deleted: bool) -> Registry {
    let value = definition.value();
    let gr = crd::gr(&value);
    if deleted || !crd::is_established(&value) {
        return registry.without(&gr);
    }
    // A definition that does not compile was refused when it was written; should one be stored all the same, it is not served.
    let Ok(mut resource) = crd::resource(&value) else {
        return registry.without(&gr);
    };
    if let Some(previous) = registry
        .by_name(&gr)
        .filter(|p| p.generation == resource.generation)
    {
        resource.since = previous.since;
    }
    registry.with(Arc::new(resource))
}

impl Inner {
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub fn now_text(&self) -> String {
        time_text(self.now())
    }

    pub async fn commit(&self, write: Write) -> Result<Arc<Object>, CommitError> {
        self.store.commit(write).await
    }

    /// Lets a change of roles or definitions change what is allowed and served, whether or not its client still waits.
    fn note(&self, change: &Change) {
        let deleted = change.kind == ChangeKind::Deleted;
        self.auth.note(&change.resource, &change.object, deleted);
        if change.resource == definitions() {
            self.registry
                .rcu(|registry| registry_after(registry, &change.object, deleted));
        }
    }

    /// The current value of an object of a built-in resource.
    pub fn read(&self, gr: &GroupResource, key: &str) -> Option<Value> {
        self.store.get(gr, key).map(|object| object.value())
    }
}
