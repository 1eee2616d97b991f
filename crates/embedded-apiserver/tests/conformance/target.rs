//! A server under test, and the running of cases on it.

use std::time::Duration;

use embedded_apiserver::{MemoryStorage, Server};
use http::Request;
use http_body_util::BodyExt;
use kube::client::Body;
use serde_json::{Value, json};

use super::hooks::Hooks;
use super::identity::{self, Identity};
use super::normalise;

/// Names the field manager of requests that do not choose one.
const AGENT: &str = "conformance/1";
/// How often a case is tried, each time with more patience.
pub const PATIENCE: usize = 3;
/// How long a server is given to notice what was written. The embedded one's controllers only need their turn.
const SETTLING: [(u64, u64); PATIENCE] = [(50, 500), (500, 2000), (2000, 8000)];
/// How long watches are listened to, in seconds.
const LISTENING: [u64; PATIENCE] = [1, 3, 10];

/// One request of a case.
pub struct Step {
    /// Method and path with query; `{ns}` stands for the namespace of the case.
    pub request: String,
    content_type: String,
    accept: String,
    body: Option<String>,
    only: Vec<String>,
    /// The uid in the answer is known under this name from then on: `{name}`.
    save: String,
    /// The resource version in the answer is known under this name from then on.
    mark: String,
    /// How long a real server takes to notice what was written.
    settle: bool,
    /// Asks again until this pointer has this value, since controllers take their time.
    until: Option<(String, Value)>,
    identity: Identity,
}

/// Requests that build on each other, in a namespace of their own.
pub struct Case {
    pub name: String,
    namespace: String,
    pub steps: Vec<Step>,
}

impl Case {
    pub fn read(group: &str, case: &Value) -> Self {
        let name = case["name"].as_str().unwrap().to_owned();
        let steps = case["steps"].as_array().unwrap().iter().map(Step::read).collect();
        let slug: String = name
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() {
                    c.to_ascii_lowercase()
                } else {
                    '-'
                }
            })
            .collect();
        let mut namespace = format!("{group}-{slug}");
        namespace.truncate(50);
        Self {
            name,
            namespace: namespace.trim_end_matches('-').to_owned(),
            steps,
        }
    }
}

impl Step {
    fn read(step: &Value) -> Self {
        let text = |key: &str| step[key].as_str().unwrap_or_default().to_owned();
        let request = text("do");
        let content_type = match text("as").as_str() {
            "" => "application/json",
            "merge" => "application/merge-patch+json",
            "json" => "application/json-patch+json",
            "strategic" => "application/strategic-merge-patch+json",
            "apply" => "application/apply-patch+yaml",
            other => panic!("unknown content type {other} in {request}"),
        }
        .to_owned();
        let accept = match text("accept").as_str() {
            "" => "application/json",
            "table" => "application/json;as=Table;g=meta.k8s.io;v=v1",
            "partial" => "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
            other => panic!("unknown form {other} in {request}"),
        }
        .to_owned();
        let body = match &step["body"] {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        };
        let only = step["only"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|p| p.as_str().unwrap().to_owned())
            .collect();
        Self {
            request,
            content_type,
            accept,
            body,
            only,
            save: text("save"),
            mark: text("mark"),
            settle: step["settle"] == true,
            until: step["until"]
                .as_object()
                .and_then(|o| o.iter().next())
                .map(|(pointer, value)| (pointer.clone(), value.clone())),
            identity: Identity::read(step),
        }
    }
}

/// A server under test.
pub struct Target {
    client: kube::Client,
    /// For those who prove who they are by a token, or not at all.
    stranger: kube::Client,
    /// Kept alive; None for a real server.
    _server: Option<Server>,
    hooks: Hooks,
}

impl Target {
    pub async fn embedded() -> Self {
        const HISTORY: usize = 100;
        let builder = Server::builder().storage(MemoryStorage::new()).history(HISTORY);
        let server = identity::configured(builder).build().await.unwrap();
        let target = Self {
            client: server.client_as(AGENT),
            stranger: server.client_for(AGENT, None),
            _server: Some(server),
            hooks: Hooks::start().await,
        };
        // A server that lives for a while has forgotten its first versions, as the real one has.
        let (all, past) = (
            "/api/v1/namespaces/default/configmaps",
            "/api/v1/namespaces/default/configmaps/past",
        );
        for i in 0..=HISTORY {
            let (method, path) = if i == 0 { ("POST", all) } else { ("PUT", past) };
            let object = json!({
                "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "past"}, "data": {"i": i.to_string()},
            });
            target.plain(method, path, Some(object.to_string())).await;
        }
        target.plain("DELETE", past, None).await;
        target
    }

    pub async fn real(kubeconfig: &str) -> Self {
        let kubeconfig = kube::config::Kubeconfig::read_from(kubeconfig).unwrap();
        let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default())
            .await
            .unwrap();
        // A 429 is an answer here.
        config.default_retry = false;
        Self {
            stranger: kube::Client::try_from(identity::without(config.clone())).unwrap(),
            client: kube::Client::try_from(config).unwrap(),
            _server: None,
            hooks: Hooks::start().await,
        }
    }

    /// Creates the group's definitions and waits until they are served.
    pub async fn define(&self, definitions: &[Value]) {
        const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
        for definition in definitions {
            let definition = &self.with_hooks(definition);
            let name = definition["metadata"]["name"].as_str().unwrap();
            let group = definition["spec"]["group"].as_str().unwrap();
            let plural = definition["spec"]["names"]["plural"].as_str().unwrap();
            // What an earlier run left behind would answer for another schema.
            self.send("DELETE", &format!("{CRDS}/{name}"), "application/json", "", None)
                .await;
            self.until(&format!("{CRDS}/{name}"), 404).await;
            let (code, body, _) = self
                .send("POST", CRDS, "application/json", "", Some(definition.to_string()))
                .await;
            assert_eq!(code, 201, "{name}: {body}");
            for version in definition["spec"]["versions"].as_array().unwrap() {
                let version = version["name"].as_str().unwrap();
                self.until(&format!("/apis/{group}/{version}/{plural}"), 200)
                    .await;
            }
        }
    }

    /// Puts the address of the webhooks into a definition.
    fn with_hooks(&self, value: &Value) -> Value {
        let text = value.to_string();
        let text = text
            .replace("{hook}", &self.hooks.url)
            .replace("{ca}", &self.hooks.authority);
        serde_json::from_str(&text).unwrap()
    }

    pub async fn until(&self, path: &str, wanted: u16) {
        for _ in 0..1200 {
            if self.send("GET", path, "application/json", "", None).await.0 == wanted {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{path} did not answer {wanted}");
    }

    pub fn is_real(&self) -> bool {
        self._server.is_none()
    }

    /// Runs a case; one normalised answer for each step.
    pub async fn run(&self, case: &Case, patience: usize) -> Vec<Value> {
        // A name of its own for each run: namespaces of earlier runs may still be terminating.
        let namespace = match patience {
            0 => format!("{}-{}", case.namespace, std::process::id()),
            again => format!("{}-{}{again}", case.namespace, std::process::id()),
        };
        let created = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        let (code, body, _) = self
            .send(
                "POST",
                "/api/v1/namespaces",
                "application/json",
                "",
                Some(created.to_string()),
            )
            .await;
        assert_eq!(code, 201, "{body}");
        // Pods are refused before their service account is there, and what comes later by itself would disturb.
        for path in ["serviceaccounts/default", "configmaps/kube-root-ca.crt"] {
            self.until(&format!("/api/v1/namespaces/{namespace}/{path}"), 200)
                .await;
        }
        let mut version = String::new();
        let mut names = vec![
            ("ns".to_owned(), namespace.clone()),
            ("hook".to_owned(), self.hooks.url.clone()),
            ("ca".to_owned(), self.hooks.authority.clone()),
        ];
        // Numbers, which answers may hold by chance.
        let mut marks: Vec<(String, String)> = Vec::new();
        self.hooks.take();
        let mut answers = Vec::new();
        for step in &case.steps {
            let fill = |text: &str| {
                let text = text.replace("{rv}", &version);
                names.iter().chain(&marks).fold(text, |text, (name, value)| {
                    text.replace(&format!("{{{name}}}"), value)
                })
            };
            let listening = format!("timeoutSeconds={}", LISTENING[patience]);
            let request = fill(&step.request).replace("timeoutSeconds=1", &listening);
            let (method, path) = request
                .split_once(' ')
                .unwrap_or_else(|| panic!("no method in {request}"));
            let body = step.body.as_deref().map(fill);
            let (code, mut body, warnings) = match method {
                // What the webhooks were asked since the last such step.
                "HEARD" => (200, Value::Array(self.hooks.take()), Vec::new()),
                _ => {
                    self.answer(step, method, path, body, &step.identity.filled(&fill))
                        .await
                }
            };
            if step.settle {
                let (embedded, real) = SETTLING[patience];
                let pause = if self.is_real() { real } else { embedded };
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
            normalise::check_versions(&mut body, &version, path);
            if let Some(seen) = body["metadata"]["resourceVersion"].as_str() {
                version = seen.to_owned();
            }
            step.identity.keep(&body, &mut names);
            if !step.mark.is_empty() {
                marks.push((step.mark.clone(), version.clone()));
            }
            if !step.save.is_empty() {
                let uid = body["metadata"]["uid"].as_str().unwrap_or_default();
                names.push((step.save.clone(), uid.to_owned()));
            }
            answers.push(normalise::answer(code, &warnings, &body, &names, &step.only));
        }
        // Webhooks of a case know no namespace; they have its name, so that they can be found.
        for kind in ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"] {
            for suffix in ["", "-2"] {
                let path = format!("/apis/admissionregistration.k8s.io/v1/{kind}/{namespace}{suffix}");
                self.send("DELETE", &path, "application/json", "", None).await;
            }
        }
        let path = format!("/api/v1/namespaces/{namespace}");
        self.send("DELETE", &path, "application/json", "", None).await;
        answers
    }

    async fn answer(
        &self,
        step: &Step,
        method: &str,
        path: &str,
        body: Option<String>,
        identity: &Identity,
    ) -> (u16, Value, Vec<String>) {
        let mut tries = 0;
        loop {
            let answer = self
                .send_as(
                    identity,
                    method,
                    path,
                    &step.content_type,
                    &step.accept,
                    body.clone(),
                )
                .await;
            let fits = |(pointer, value): &(String, Value)| answer.1.pointer(pointer) == Some(value);
            tries += 1;
            if step.until.as_ref().is_none_or(fits) || tries > 600 {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// A request of the administrator with JSON, or a merge patch.
    pub async fn plain(&self, method: &str, path: &str, body: Option<String>) -> (u16, Value) {
        let content_type = match method {
            "PATCH" => "application/merge-patch+json",
            _ => "application/json",
        };
        let (code, body, _) = self.send(method, path, content_type, "", body).await;
        (code, body)
    }

    /// A request as it stands.
    pub async fn raw(
        &self,
        method: &str,
        path: &str,
        headers: &[(String, String)],
        body: Vec<u8>,
    ) -> (u16, Value) {
        let mut request = Request::builder().method(method).uri(path);
        if headers.iter().all(|(name, _)| name != "user-agent") {
            request = request.header("user-agent", AGENT);
        }
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let body = if body.is_empty() {
            Body::empty()
        } else {
            Body::from(body)
        };
        let (code, body, _) = self.finish(&self.client, request.body(body).unwrap()).await;
        (code, body)
    }

    async fn send(
        &self,
        method: &str,
        path: &str,
        content_type: &str,
        accept: &str,
        body: Option<String>,
    ) -> (u16, Value, Vec<String>) {
        self.send_as(&Identity::default(), method, path, content_type, accept, body)
            .await
    }

    async fn send_as(
        &self,
        identity: &Identity,
        method: &str,
        path: &str,
        content_type: &str,
        accept: &str,
        body: Option<String>,
    ) -> (u16, Value, Vec<String>) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", content_type)
            .header("user-agent", AGENT)
            .header(
                "accept",
                if accept.is_empty() {
                    "application/json"
                } else {
                    accept
                },
            )
            .body(body.map_or_else(Body::empty, |text| Body::from(text.into_bytes())))
            .unwrap();
        let request = identity.sign(request);
        let client = if identity.is_stranger() {
            &self.stranger
        } else {
            &self.client
        };
        self.finish(client, request).await
    }

    /// Sends a request and reads its answer: code, body, warnings.
    async fn finish(&self, client: &kube::Client, request: Request<Body>) -> (u16, Value, Vec<String>) {
        let (method, path) = (request.method().clone(), request.uri().to_string());
        let response = match client.send(request).await {
            Ok(response) => response,
            // A busy machine may lose a connection.
            Err(error) if self.is_real() => return (0, Value::from(error.to_string()), Vec::new()),
            Err(error) => panic!("{method} {path}: {error}"),
        };
        let code = response.status().as_u16();
        let warnings = response
            .headers()
            .get_all("warning")
            .iter()
            .filter_map(|value| value.to_str().ok())
            .map(str::to_owned)
            .collect();
        let bytes = match response.into_body().collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if self.is_real() => return (0, Value::from(error.to_string()), Vec::new()),
            Err(error) => panic!("{method} {path}: {error}"),
        };
        let lines = || serde_json::Deserializer::from_slice(&bytes).into_iter::<Value>();
        let body = match path.contains("watch=") && status_is_good(code) {
            // A watch is one event after the other.
            true => lines().map_while(Result::ok).collect(),
            false => serde_json::from_slice(&bytes)
                .unwrap_or_else(|_| Value::from(String::from_utf8_lossy(&bytes).into_owned())),
        };
        (code, body, warnings)
    }
}

fn status_is_good(code: u16) -> bool {
    code < 300
}
