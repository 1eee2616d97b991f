//! Discovery, tables, content negotiation, health, admission.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod common;

use std::sync::Arc;

use async_trait::async_trait;
use common::*;
use embedded_apiserver::{Admission, AdmissionPhase};
use kube::Client;
use kube::api::{Patch, PatchParams, PostParams};
use kube::core::DynamicObject;
use kube::core::admission::{AdmissionRequest, AdmissionResponse, Operation};
use kube::discovery::{Discovery, Scope};
use serde_json::{Value, json};

async fn get(client: &Client, uri: &str, accept: &str) -> (u16, Value) {
    let request = http::Request::get(uri)
        .header("accept", accept)
        .body(kube::client::Body::empty())
        .unwrap();
    let response = client.send(request).await.unwrap();
    let code = response.status().as_u16();
    let bytes = http_body_util::BodyExt::collect(response.into_body())
        .await
        .unwrap()
        .to_bytes();
    (code, serde_json::from_slice(&bytes).unwrap_or_default())
}

#[tokio::test(start_paused = true)]
async fn definitions_show_up_in_discovery() {
    let (_server, client) = with_gadgets().await;
    for discovery in [
        Discovery::new(client.clone()).run().await.unwrap(),
        Discovery::new(client.clone()).run_aggregated().await.unwrap(),
    ] {
        let gadget = kube::core::GroupVersionKind::gvk("example.dev", "v1", "Gadget");
        let (resource, capabilities) = discovery.resolve_gvk(&gadget).unwrap();
        assert_eq!(
            (resource.plural.as_str(), &capabilities.scope),
            ("gadgets", &Scope::Namespaced)
        );
        assert_eq!(
            discovery
                .get("example.dev")
                .unwrap()
                .preferred_version_or_latest(),
            "v1"
        );
        assert!(discovery.get("apps").is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn tables_have_the_printer_columns() {
    let (_server, client) = with_gadgets().await;
    create(&client, gadget("a", json!({"size": 3}))).await;
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    let (code, list) = get(&client, "/apis/example.dev/v1/namespaces/default/gadgets", table).await;
    assert_eq!((code, &list["kind"]), (200, &json!("Table")));
    let names: Vec<_> = list["columnDefinitions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["Name", "Size"]);
    assert_eq!(list["rows"][0]["cells"], json!(["a", 3]));
    let partial = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
    let (_, one) = get(
        &client,
        "/apis/example.dev/v1/namespaces/default/gadgets/a",
        partial,
    )
    .await;
    assert_eq!(
        (&one["kind"], one.get("spec")),
        (&json!("PartialObjectMetadata"), None)
    );
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_served_is_refused_with_a_status() {
    let (_server, client) = with_gadgets().await;
    create(&client, gadget("a", json!({}))).await;
    let (code, status) = get(&client, "/api/v1/pods", "application/vnd.kubernetes.protobuf").await;
    assert_eq!((code, &status["reason"]), (406, &json!("NotAcceptable")));
    let one = "/apis/example.dev/v1/namespaces/default/gadgets/a";
    let cases = [
        (
            "GET",
            "/api/v1/namespaces/default/pods/absent",
            "",
            "",
            404,
            "NotFound",
        ),
        (
            "PATCH",
            one,
            "application/strategic-merge-patch+json",
            "{}",
            415,
            "UnsupportedMediaType",
        ),
        (
            "POST",
            "/api/v1/pods",
            "application/json",
            "{}",
            405,
            "MethodNotAllowed",
        ),
        (
            "POST",
            "/api/v1/namespaces/default/configmaps",
            "application/vnd.kubernetes.protobuf",
            "x",
            400,
            "BadRequest",
        ),
        (
            "POST",
            "/api/v1/namespaces/default/configmaps",
            "application/json",
            "{",
            400,
            "BadRequest",
        ),
        (
            "POST",
            "/api/v1/namespaces/default/configmaps",
            "application/json",
            r#"{"metadata":{"name":"A"}}"#,
            422,
            "Invalid",
        ),
        (
            "POST",
            "/api/v1/namespaces/absent/configmaps",
            "application/json",
            r#"{"metadata":{"name":"a"}}"#,
            404,
            "NotFound",
        ),
        (
            "DELETE",
            "/api/v1/namespaces/kube-system",
            "",
            "",
            403,
            "Forbidden",
        ),
        (
            "PUT",
            one,
            "application/json",
            r#"{"apiVersion":"example.dev/v1","kind":"Gadget","metadata":{"name":"b"}}"#,
            400,
            "BadRequest",
        ),
        (
            "GET",
            "/api/v1/configmaps?labelSelector=a%3D%3D%3D%3Db",
            "",
            "",
            400,
            "BadRequest",
        ),
    ];
    // A path that leads nowhere is told as a line of text, as by kube-apiserver.
    let nowhere = raw(&client, "GET", "/apis/nowhere.dev/v1/things", "", "").await;
    assert_eq!(nowhere, (404, json!("404 page not found\n")));
    for (method, uri, content_type, body, code, reason) in cases {
        let (seen, status) = raw(&client, method, uri, content_type, body).await;
        assert_eq!(
            (seen, status["reason"].as_str()),
            (code, Some(reason)),
            "{method} {uri}: {status}"
        );
        assert_eq!(
            (&status["kind"], &status["code"]),
            (&json!("Status"), &json!(code)),
            "{status}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn health_version_and_openapi_answer() {
    let (_server, client) = with_gadgets().await;
    for path in ["/healthz", "/livez", "/readyz", "/readyz/ping"] {
        assert_eq!(raw(&client, "GET", path, "", "").await, (200, json!("ok")));
    }
    let (_, index) = get(&client, "/openapi/v3", "application/json").await;
    let url = index["paths"]["apis/example.dev/v1"]["serverRelativeURL"]
        .as_str()
        .unwrap();
    let (code, document) = get(&client, url, "application/json").await;
    let schema = &document["components"]["schemas"]["dev.example.v1.Gadget"];
    assert_eq!(
        (code, &schema["properties"]["spec"]["properties"]["size"]["type"]),
        (200, &json!("integer"))
    );
    assert_eq!(
        get(&client, "/openapi/v2", "application/json").await.1["swagger"],
        "2.0"
    );
}

#[tokio::test(start_paused = true)]
async fn dry_runs_leave_nothing_behind() {
    let (server, client) = with_gadgets().await;
    let before = server.revision();
    let params = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let shown = gadgets(&client)
        .create(&params, &gadget("a", json!({})))
        .await
        .unwrap();
    assert_eq!(shown.data["spec"]["color"], "blue");
    assert_eq!(server.revision(), before);
    assert!(gadgets(&client).get_opt("a").await.unwrap().is_none());
}

/// Paints gadgets red, and refuses those of size 13.
struct Painter;

#[async_trait]
impl Admission for Painter {
    fn name(&self) -> String {
        "painter.example.dev".into()
    }

    fn handles(
        &self,
        _phase: AdmissionPhase,
        operation: &Operation,
        group: &str,
        _version: &str,
        resource: &str,
    ) -> bool {
        *operation != Operation::Delete && group == "example.dev" && resource == "gadgets"
    }

    async fn admit(
        &self,
        phase: AdmissionPhase,
        request: AdmissionRequest<DynamicObject>,
    ) -> AdmissionResponse {
        let response = AdmissionResponse::from(&request);
        let object = request.object.as_ref().unwrap();
        match phase {
            AdmissionPhase::Mutating => {
                let patch = json!([{"op": "add", "path": "/spec/color", "value": "red"}]);
                response
                    .with_patch(serde_json::from_value(patch).unwrap())
                    .unwrap()
            }
            AdmissionPhase::Validating if object.data["spec"]["size"] == 13 => {
                response.deny("that is bad luck")
            }
            AdmissionPhase::Validating => response,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn admission_changes_and_refuses() {
    let server = builder().admission(Arc::new(Painter)).build().await.unwrap();
    let client = server.client();
    install_gadgets(&client).await;
    let created = create(&client, gadget("a", json!({"size": 1, "color": "green"}))).await;
    assert_eq!(created.data["spec"]["color"], "red");
    let patch = Patch::Merge(json!({"spec": {"size": 13}}));
    let refused = gadgets(&client)
        .patch("a", &PatchParams::default(), &patch)
        .await
        .unwrap_err();
    assert_eq!(
        refusal(&refused),
        "admission webhook \"painter.example.dev\" denied the request: that is bad luck: Forbidden"
    );
}
