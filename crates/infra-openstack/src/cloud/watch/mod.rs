//! One list per collection for all who watch something in it.
//!
//! Who depends on resources says so ([`Session::watch`]): which ones, and as what it knows them. A list of the whole
//! collection, filtered to the project, is read every few seconds while somebody waits, every minute or so while nobody
//! does, and not at all where nobody watches; whoever knows a resource as something else than it is now gets woken. So the
//! number of requests does not follow from the number of machines, and nobody asks for single resources.
//!
//! [`list`] keeps the books and is pure; [`follow`] reads the lists.

mod follow;
mod list;

pub use list::{Interest, Wake, Watches};

/// What can be watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Collection {
    /// Nova's servers, by their status.
    Servers,
    /// Octavia's load balancers, by their provisioning status.
    LoadBalancers,
    /// Cinder's volumes, by their status.
    Volumes,
    /// Networks, by their revision.
    Networks,
    /// Routers, by their revision.
    Routers,
    /// Floating IPs, by their revision.
    FloatingIps,
    /// Security groups, by their revision: rules count as changes.
    SecurityGroups,
}

impl Collection {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Servers,
        Self::LoadBalancers,
        Self::Volumes,
        Self::Networks,
        Self::Routers,
        Self::FloatingIps,
        Self::SecurityGroups,
    ];
}
