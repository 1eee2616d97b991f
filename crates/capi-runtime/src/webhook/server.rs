//! The HTTPS server in front of admission.

use std::sync::Arc;

use super::Admission;
use crate::{error::Error, manager::Shared};

/// Where and as whom admission is served.
#[derive(Clone, Debug, Default)]
pub struct WebhookOptions {
    /// The port.
    pub port: u16,
}

/// Serves admission over HTTPS.
pub struct WebhookServer {
    #[allow(dead_code)]
    options: WebhookOptions,
}

impl WebhookServer {
    /// A server.
    pub fn new(options: WebhookOptions) -> Self {
        Self { options }
    }

    pub(crate) async fn run(self, _: Admission, _: Arc<Shared>) -> Result<(), Error> {
        std::future::pending().await
    }
}
