//! One watch event as a line of JSON.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::{BufMut, Bytes, BytesMut};
use serde_json::{Value, json};

use crate::faults::{Fault, broken};
use crate::http::negotiate::{Form, Output};
use crate::http::respond;
use crate::http::status::{ApiError, ApiResult};
use crate::registry::Served;
use crate::server::Inner;
use crate::storage::Object;
use crate::table::IncludeObject;
use crate::verbs::convert;

/// Writes events in the form one watcher wants.
pub(super) struct Writer {
    pub inner: Arc<Inner>,
    pub served: Served,
    pub output: Output,
    pub include: IncludeObject,
    /// Whether a table was sent already: only the first has column headers.
    pub headed: AtomicBool,
}

fn line(kind: &str, object: &[u8], into: &mut BytesMut) {
    into.reserve(object.len() + 48);
    into.put_slice(b"{\"type\":\"");
    into.put_slice(kind.as_bytes());
    into.put_slice(b"\",\"object\":");
    into.put_slice(object);
    into.put_slice(b"}\n");
}

/// The JSON text of `object` with another revision.
fn at_revision(value: &mut Value, revision: u64) {
    value["metadata"]["resourceVersion"] = revision.to_string().into();
}

impl Writer {
    /// An event about `object`; `revision` replaces its own where the event is younger than the object.
    pub async fn event(
        &self,
        kind: &str,
        object: &Arc<Object>,
        revision: u64,
        into: &mut BytesMut,
    ) -> ApiResult<()> {
        if broken(Fault::LostEvent) && kind == "MODIFIED" {
            return Ok(());
        }
        if self.output.form == Form::Object && object.revision == revision {
            line(
                kind,
                &convert::text(&self.inner, &self.served, object).await?,
                into,
            );
            return Ok(());
        }
        let mut value = convert::value(&self.inner, &self.served, object).await?;
        at_revision(&mut value, revision);
        line(kind, self.shape(&value).to_string().as_bytes(), into);
        Ok(())
    }

    fn shape(&self, value: &Value) -> Value {
        let headers = !self.headed.swap(true, Ordering::Relaxed);
        respond::shape(
            &self.inner,
            &self.served,
            &self.output.form,
            value,
            self.include,
            headers,
        )
    }

    /// A bookmark: "you have seen everything up to `revision`".
    pub fn bookmark(&self, revision: u64, ends_initial: bool, into: &mut BytesMut) {
        let revision = if broken(Fault::OldBookmark) { 1 } else { revision };
        let mut metadata = json!({"resourceVersion": revision.to_string()});
        if ends_initial {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let object = json!({"kind": self.served.resource.kind, "apiVersion": self.served.api_version(), "metadata": metadata});
        line("BOOKMARK", self.shape(&object).to_string().as_bytes(), into);
    }
}

/// The last line of a watch that cannot go on.
pub(super) fn error(error: &ApiError) -> Bytes {
    let mut into = BytesMut::new();
    if broken(Fault::MissingExpiry) {
        return into.freeze();
    }
    line("ERROR", error.to_value().to_string().as_bytes(), &mut into);
    into.freeze()
}
