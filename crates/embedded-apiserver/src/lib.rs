//! A Kubernetes-compatible API server as a library: the zero-setup default of this project and its test bed.
//!
//! One process, one node; objects in memory, and in a file where they shall survive it. [`Server`] is reached in process
//! ([`Server::client`]), over any byte stream ([`Server::serve_pipe`]) and over HTTPS ([`Server::serve_https`]); kubectl and client-go understand it.
//! By default whoever can connect may do everything; [`Builder::authorization`] puts a policy in force.
//!
//! Rooms: `http` reads requests and writes answers, `verbs` does what they ask, `registry` knows the kinds, `storage`
//! holds the objects, `watch` streams changes, `gc` and `lifecycle` clean up behind deletions, `disruption`
//! keeps budgets, `kinds` knows the built-in kinds, `discovery` tells what
//! there is, `auth` knows users and what they may do, `csr` certificate signing requests, `crypto` keys, `transport` carries bytes, `webhooks` asks those outside. `schema`, `cel`, `table`, `patch`, `selector` and `fieldmanager` are pure rules.

// The conformance suite is also run inside of this crate, against broken servers, and uses the public names.
#[cfg(test)]
extern crate self as embedded_apiserver;

pub mod cel;
pub mod fieldmanager;
pub mod patch;
pub mod schema;
pub mod selector;
pub mod table;

mod auth;
mod crypto;
mod csr;
mod data_dir;
mod discovery;
mod disruption;
mod faults;
mod gc;
mod http;
mod kinds;
mod lifecycle;
mod protobuf;
mod registry;
mod server;
mod storage;
mod transport;
mod verbs;
mod watch;
mod webhooks;

pub use crate::auth::{Authentication, Authorization, ServiceAccounts, User};
pub use crate::csr::CertificateAuthority;
pub use crate::data_dir::DataDir;
pub use crate::http::audit::{Audit, AuditEvent};
pub use crate::http::body::ApiBody;
pub use server::{BuildError, Builder, Server};
pub use storage::{
    Batch, Change, ChangeKind, DiskStorage, Done, GroupResource, MemoryStorage, Object, OwnerReference,
    Recovered, Rows, Snapshot, Storage, StorageError,
};
pub use transport::client::ApiService;
pub use transport::portforward::{ByteStream, PortForward};
pub use verbs::admission::{Admission, AdmissionPhase};
pub use webhooks::Converter;
pub use webhooks::ServiceResolver;
