//! The infrastructure provider for OpenStack.
