//! A webhook server for the cases: what it answers stands in the path, and what it was asked is kept for comparison.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// Where the webhooks are and what they heard.
pub struct Hooks {
    /// `https://127.0.0.1:PORT`.
    pub url: String,
    /// The authority of its certificate, PEM in base64.
    pub authority: String,
    heard: Arc<Mutex<Vec<Value>>>,
}

impl Hooks {
    pub async fn start() -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let (authority, config) = certificates();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let heard = Arc::new(Mutex::new(Vec::new()));
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let hooks = Self {
            url,
            authority: STANDARD.encode(authority),
            heard: heard.clone(),
        };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, heard) = (acceptor.clone(), heard.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    let service = service_fn(move |request| answer(request, heard.clone()));
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        hooks
    }

    /// What was heard since the last call.
    pub fn take(&self) -> Vec<Value> {
        std::mem::take(&mut self.heard.lock())
    }
}

fn certificates() -> (String, rustls::ServerConfig) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let authority = params.self_signed(&key).unwrap();
    let issuer = Issuer::from_params(&params, &key);
    let serving_key = KeyPair::generate().unwrap();
    let serving = CertificateParams::new(vec!["127.0.0.1".to_owned()])
        .unwrap()
        .signed_by(&serving_key, &issuer)
        .unwrap();
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(serving_key.serialize_der()));
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![serving.der().clone()], private)
        .unwrap();
    (authority.pem(), config)
}

/// What is compared of a request: all but who asked.
fn note(path: &str, review: &Value) -> Value {
    let mut request = review["request"].clone();
    if let Some(map) = request.as_object_mut() {
        map.remove("userInfo");
    }
    json!({"path": path, "apiVersion": review["apiVersion"], "kind": review["kind"], "request": request})
}

async fn answer(
    request: Request<Incoming>,
    heard: Arc<Mutex<Vec<Value>>>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await?.to_bytes();
    let review: Value = serde_json::from_slice(&body).unwrap_or_default();
    heard.lock().push(note(&path, &review));
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    let (code, kind, text) = match segments.as_slice() {
        ["slow"] => {
            tokio::time::sleep(Duration::from_secs(4)).await;
            (
                200,
                "application/json",
                respond(&review, json!({"allowed": true})),
            )
        }
        ["error-500"] => (500, "text/plain; charset=utf-8", "out of order\n".to_owned()),
        ["error-404"] => (404, "text/plain; charset=utf-8", "no such page\n".to_owned()),
        ["text"] => (200, "text/plain", "hello".to_owned()),
        ["convert", how @ ..] => (200, "application/json", convert(&review, how)),
        steps => (200, "application/json", respond(&review, decide(&review, steps))),
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = http::StatusCode::from_u16(code).unwrap();
    response
        .headers_mut()
        .insert("content-type", http::HeaderValue::from_static(kind));
    Ok(response)
}

fn respond(review: &Value, mut response: Value) -> String {
    if response == "nothing" {
        return json!({"apiVersion": review["apiVersion"], "kind": "AdmissionReview"}).to_string();
    }
    if response == "other kind" {
        return json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}}).to_string();
    }
    if response.get("uid").is_none() {
        response["uid"] = review["request"]["uid"].clone();
    }
    json!({"apiVersion": review["apiVersion"], "kind": "AdmissionReview", "response": response}).to_string()
}

fn patched(patch: Value) -> Value {
    json!({"allowed": true, "patchType": "JSONPatch", "patch": STANDARD.encode(patch.to_string())})
}

/// The response to an admission review.
fn decide(review: &Value, steps: &[&str]) -> Value {
    let object = &review["request"]["object"];
    match steps {
        ["deny"] => json!({"allowed": false, "status": {"message": "not on a Friday"}}),
        ["deny-silent"] => json!({"allowed": false}),
        ["deny-reason"] => json!({"allowed": false, "status": {"reason": "Forbidden", "code": 403}}),
        ["deny-full"] => json!({"allowed": false, "status": {
            "status": "Failure", "code": 422, "reason": "Invalid", "message": "spec.size: too small",
            "details": {"name": "x", "kind": "Thing", "causes": [{"reason": "FieldValueInvalid", "field": "spec.size", "message": "too small"}]},
        }}),
        ["deny-code-200"] => {
            json!({"allowed": false, "status": {"code": 200, "status": "Success", "message": "odd"}})
        }
        ["warn"] => {
            json!({"allowed": true, "warnings": ["mind the gap", "and the step"], "auditAnnotations": {"seen": "yes"}})
        }
        ["deny-warn"] => json!({"allowed": false, "status": {"message": "no"}, "warnings": ["told you"]}),
        ["label", key] => match object["metadata"].get("labels") {
            Some(_) => {
                patched(json!([{"op": "add", "path": format!("/metadata/labels/{key}"), "value": "hooked"}]))
            }
            None => patched(json!([{"op": "add", "path": "/metadata/labels", "value": {*key: "hooked"}}])),
        },
        ["append", text] => {
            let before = object["spec"]["note"].as_str().unwrap_or_default();
            match before.len() < 20 {
                true => {
                    patched(json!([{"op": "add", "path": "/spec/note", "value": format!("{before}{text}")}]))
                }
                false => json!({"allowed": true}),
            }
        }
        ["size", number] => {
            let number: i64 = number.parse().unwrap();
            patched(json!([{"op": "add", "path": "/spec/size", "value": number}]))
        }
        ["length", number] => {
            let number: i64 = number.parse().unwrap();
            patched(json!([{"op": "add", "path": "/spec/length", "value": number}]))
        }
        ["replicas", number] => {
            let number: i64 = number.parse().unwrap();
            patched(json!([{"op": "replace", "path": "/spec/replicas", "value": number}]))
        }
        ["unknown-field"] => patched(json!([{"op": "add", "path": "/spec/unheard", "value": "of"}])),
        ["finalizer"] => patched(json!([{"op": "add", "path": "/metadata/finalizers", "value": ["x.y/z"]}])),
        ["empty-patch"] => patched(json!([])),
        ["patch-nowhere"] => patched(json!([{"op": "remove", "path": "/spec/none"}])),
        ["patch-garbage"] => {
            json!({"allowed": true, "patchType": "JSONPatch", "patch": STANDARD.encode("{}")})
        }
        ["patch-untyped"] => json!({"allowed": true, "patch": STANDARD.encode("[]")}),
        ["type-unpatched"] => json!({"allowed": true, "patchType": "JSONPatch"}),
        ["other-type"] => json!({"allowed": true, "patchType": "Poem", "patch": STANDARD.encode("[]")}),
        ["other-uid"] => json!({"allowed": true, "uid": "somebody-else"}),
        ["nothing"] => "nothing".into(),
        ["other-kind"] => "other kind".into(),
        _ => json!({"allowed": true}),
    }
}

/// Between v1 (`spec.size`) and v2 (`spec.length`), rightly or, as the path wants, wrongly.
fn convert(review: &Value, how: &[&str]) -> String {
    let request = &review["request"];
    let desired = request["desiredAPIVersion"].as_str().unwrap_or_default();
    let mut objects: Vec<Value> = request["objects"].as_array().cloned().unwrap_or_default();
    for object in &mut objects {
        let (from, to) = if desired.ends_with("/v2") {
            ("size", "length")
        } else {
            ("length", "size")
        };
        if let Some(spec) = object["spec"].as_object_mut()
            && let Some(moved) = spec.remove(from)
        {
            spec.insert(to.to_owned(), moved);
        }
        if let Some(spec) = object["spec"].as_object_mut().filter(|_| to == "size") {
            spec.remove("color");
        }
        object["apiVersion"] = desired.into();
    }
    let mut result = json!({"status": "Success"});
    let wrong = objects
        .first()
        .is_some_and(|o| o["metadata"]["annotations"]["wrong"] == "yes");
    match how.first().copied().filter(|_| wrong) {
        Some("fail") => result = json!({"status": "Failed", "message": "I would rather not"}),
        Some("fail-silent") => result = json!({"status": "Failed"}),
        Some("few") => {
            objects.pop();
        }
        Some("name") => objects[0]["metadata"]["name"] = "renamed".into(),
        Some("uid") => objects[0]["metadata"]["uid"] = "renewed".into(),
        Some("kind") => objects[0]["kind"] = "Other".into(),
        Some("version") => objects[0]["apiVersion"] = "versions.conformance.dev/v9".into(),
        Some("no-metadata") => {
            objects[0].as_object_mut().unwrap().remove("metadata");
        }
        Some("labels") => objects[0]["metadata"]["labels"] = json!({"from": "webhook"}),
        Some("bad-labels") => objects[0]["metadata"]["labels"] = json!({"from": 5}),
        Some("wrong-labels") => objects[0]["metadata"]["labels"] = json!({"from": "a b"}),
        Some("finalizers") => objects[0]["metadata"]["finalizers"] = json!(["a.b/c"]),
        _ => {}
    }
    json!({
        "apiVersion": review["apiVersion"], "kind": "ConversionReview",
        "response": {"uid": request["uid"], "result": result, "convertedObjects": objects},
    })
    .to_string()
}
