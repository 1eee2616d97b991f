//! The objects that every server has from the start.

use std::sync::Arc;

use http::Method;
use serde_json::json;

use crate::http::handle::internal;
use crate::http::status::ApiResult;
use crate::server::{Inner, namespaces};

/// Creates the initial namespaces where they are missing.
pub(crate) async fn create(inner: &Arc<Inner>) -> ApiResult<()> {
    for name in ["kube-system", "kube-public", "kube-node-lease", "default"] {
        if inner.store.get(&namespaces(), name).is_none() {
            let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
            internal(
                inner,
                "kube-apiserver",
                Method::POST,
                "/api/v1/namespaces",
                Some(body),
            )
            .await?;
        }
    }
    Ok(())
}
