//! The controllers. Each observes, plans and acts; plans are pure.

pub mod floatingippool;
pub mod identity;
pub mod lookup;
pub mod openstackcluster;
pub mod openstackmachine;
pub mod openstackmachinetemplate;
pub mod openstackserver;
pub mod watching;
