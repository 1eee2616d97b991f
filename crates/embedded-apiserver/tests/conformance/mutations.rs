//! Requests that are nearly right: good ones, each broken in one or two places. The same seed gives the same requests.

use serde_json::{Map, Value, json};

/// What the path of every namespaced request begins with; one namespace, whose objects stand in [`objects`].
pub const NAMESPACE: &str = "fuzz";
pub const GROUP: &str = "/apis/fuzz.conformance.dev/v1/namespaces/fuzz";

/// One request, as it is sent.
#[derive(Debug, Clone)]
pub struct Mutated {
    pub method: &'static str,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Mutated {
    /// Tells requests apart in the recorded answers; the body stands in the failure's message only.
    pub fn title(&self) -> String {
        let headers: Vec<String> = self.headers.iter().map(|(k, v)| format!("{k}: {v}")).collect();
        format!("{} {} [{}]", self.method, self.path, headers.join("; "))
    }
}

/// A generator of numbers that is the same everywhere (splitmix64).
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }
}

/// The custom resource among the objects.
pub fn definition() -> Value {
    serde_saphyr::from_str(include_str!("fuzz-definition.yaml")).unwrap()
}

/// The objects that are there before every request: path of the collection, object.
pub fn objects() -> Vec<(&'static str, Value)> {
    vec![
        ("/api/v1/namespaces/fuzz/configmaps", config_map("a")),
        ("/api/v1/namespaces/fuzz/secrets", secret("a")),
        ("/api/v1/namespaces/fuzz/services", service("a")),
        ("/apis/coordination.k8s.io/v1/namespaces/fuzz/leases", lease("a")),
        (
            "/apis/rbac.authorization.k8s.io/v1/namespaces/fuzz/roles",
            role("a"),
        ),
        ("/apis/batch/v1/namespaces/fuzz/cronjobs", cron_job("a")),
        ("/apis/fuzz.conformance.dev/v1/namespaces/fuzz/things", thing("a")),
    ]
}

fn meta(name: &str) -> Value {
    json!({"name": name, "labels": {"app": "a"}})
}

fn config_map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta(name), "data": {"a": "b", "c": "d"}})
}

fn secret(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": meta(name), "type": "Opaque", "data": {"a": "Yg=="}})
}

fn service(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": meta(name),
        "spec": {"clusterIP": "None", "selector": {"app": "a"}, "ports": [{"name": "x", "port": 80}, {"name": "y", "port": 81}]},
    })
}

fn lease(name: &str) -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta(name),
        "spec": {"holderIdentity": "me", "leaseDurationSeconds": 10, "renewTime": "2026-01-01T00:00:00.000000Z"},
    })
}

fn role(name: &str) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": meta(name),
        "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}],
    })
}

fn cron_job(name: &str) -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": meta(name),
        "spec": {"schedule": "0 0 1 1 *", "suspend": true, "jobTemplate": {"spec": {"template": {"spec": {
            "restartPolicy": "Never",
            "containers": [{"name": "one", "image": "i", "env": [{"name": "A", "value": "b"}], "resources": {"limits": {"cpu": "1"}}}],
        }}}}},
    })
}

fn thing(name: &str) -> Value {
    json!({
        "apiVersion": "fuzz.conformance.dev/v1", "kind": "Thing", "metadata": meta(name),
        "spec": {"size": 3, "note": "hm", "port": 80, "tags": ["x", "y"], "free": {"any": [1, {"b": null}]},
                 "parts": [{"name": "p"}, {"name": "q", "count": 2}]},
    })
}

const JSON: &str = "application/json";
const MERGE: &str = "application/merge-patch+json";
const PATCH: &str = "application/json-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const APPLY: &str = "application/apply-patch+yaml";

fn request(method: &'static str, path: String, content_type: &str, body: &Value) -> Mutated {
    Mutated {
        method,
        path,
        headers: vec![
            ("accept".to_owned(), JSON.to_owned()),
            ("content-type".to_owned(), content_type.to_owned()),
        ],
        body: if body.is_null() {
            Vec::new()
        } else {
            body.to_string().into_bytes()
        },
    }
}

/// A request that is right.
fn good(dice: &mut Dice) -> Mutated {
    let objects = objects();
    let (collection, object) = dice.pick(&objects).clone();
    let named = format!("{collection}/a");
    let custom = collection.ends_with("things");
    match dice.below(15) {
        0 => request("GET", named, JSON, &Value::Null),
        1 | 2 => request(
            "GET",
            format!(
                "{collection}?{}",
                dice.pick(&[
                    "limit=1",
                    "labelSelector=app%3Da",
                    "fieldSelector=metadata.name%3Da",
                    "resourceVersion=0",
                    ""
                ])
            ),
            JSON,
            &Value::Null,
        ),
        3 | 4 => {
            let mut new = object;
            new["metadata"]["name"] = json!("new");
            request("POST", collection.to_owned(), JSON, &new)
        }
        5 | 6 => {
            let mut new = object;
            new["metadata"]["annotations"] = json!({"put": "yes"});
            request("PUT", named, JSON, &new)
        }
        7 => request("PATCH", named, MERGE, &merge(&object)),
        8 => request(
            "PATCH",
            named,
            PATCH,
            &json!([
                {"op": "test", "path": "/metadata/name", "value": "a"},
                {"op": "add", "path": "/metadata/labels/new", "value": "x"},
                {"op": "replace", "path": "/metadata/labels/app", "value": "b"},
                {"op": "copy", "from": "/metadata/labels/app", "path": "/metadata/labels/copy"},
                {"op": "remove", "path": "/metadata/labels/new"},
            ]),
        ),
        9 | 10 => request(
            "PATCH",
            named,
            if custom { MERGE } else { STRATEGIC },
            &strategic(&object),
        ),
        11 | 12 => request(
            "PATCH",
            format!("{named}?fieldManager=me&force=true"),
            APPLY,
            &object,
        ),
        13 => request(
            "DELETE",
            named,
            JSON,
            &json!({
                "kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background", "gracePeriodSeconds": 0, "preconditions": {},
            }),
        ),
        _ => special(dice),
    }
}

fn merge(object: &Value) -> Value {
    let mut patch = json!({"metadata": {"labels": {"app": null, "m": "1"}}});
    for field in ["spec", "data"] {
        if let Some(value) = object.get(field) {
            patch[field] = value.clone();
        }
    }
    patch
}

fn strategic(object: &Value) -> Value {
    match object["kind"].as_str().unwrap() {
        "Service" => {
            json!({"spec": {"ports": [{"port": 81, "$patch": "delete"}, {"name": "z", "port": 82}], "$setElementOrder/ports": [{"port": 82}, {"port": 80}]}})
        }
        "CronJob" => {
            json!({"spec": {"jobTemplate": {"spec": {"template": {"spec": {"containers": [{"name": "one", "env": [{"name": "B", "value": "c"}]}, {"name": "two", "image": "j"}]}}}}}})
        }
        "Role" => {
            json!({"rules": [{"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["list"]}]})
        }
        "Thing" => json!({"spec": {"size": 4, "parts": [{"name": "p", "count": 5}]}}),
        _ => {
            json!({"metadata": {"labels": {"$retainKeys": null, "x": "y"}, "finalizers": ["a.b/c"], "$deleteFromPrimitiveList/finalizers": ["a.b/c"]}})
        }
    }
}

/// Subresources, reviews, definitions, collections, and what is no resource.
fn special(dice: &mut Dice) -> Mutated {
    let thing = format!("{GROUP}/things/a");
    match dice.below(9) {
        0 => request(
            "PATCH",
            format!("{thing}/status"),
            MERGE,
            &json!({"status": {"phase": "x", "replicas": 1}}),
        ),
        1 => request(
            "PUT",
            format!("{thing}/scale"),
            JSON,
            &json!({
                "apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "a", "namespace": NAMESPACE}, "spec": {"replicas": 3},
            }),
        ),
        2 => request("GET", format!("{thing}/scale"), JSON, &Value::Null),
        3 => request(
            "POST",
            "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews".to_owned(),
            JSON,
            &json!({
                "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
                "spec": {"resourceAttributes": {"verb": "get", "resource": "pods", "namespace": "fuzz"}},
            }),
        ),
        4 => {
            let mut other = definition();
            other["metadata"]["name"] = json!("others.fuzz.conformance.dev");
            other["spec"]["names"] = json!({"plural": "others", "singular": "other", "kind": "Other"});
            request(
                "POST",
                "/apis/apiextensions.k8s.io/v1/customresourcedefinitions?dryRun=All".to_owned(),
                JSON,
                &other,
            )
        }
        5 => request(
            "DELETE",
            "/api/v1/namespaces/fuzz/configmaps?labelSelector=app%3Da".to_owned(),
            JSON,
            &Value::Null,
        ),
        6 => request(
            "GET",
            dice.pick(&[
                "/api",
                "/apis",
                "/apis/batch/v1",
                "/api/v1",
                "/version",
                "/openapi/v3",
                "/healthz",
                "/apis/batch",
            ])
            .to_string(),
            JSON,
            &Value::Null,
        ),
        7 => request(
            "PUT",
            format!("{thing}/status"),
            JSON,
            &json!({
                "apiVersion": "fuzz.conformance.dev/v1", "kind": "Thing", "metadata": {"name": "a"}, "status": {"phase": "y"},
            }),
        ),
        _ => request(
            "POST",
            "/api/v1/namespaces/fuzz/pods?dryRun=All".to_owned(),
            JSON,
            &json!({
                "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
                "spec": {"containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 80}], "resources": {"requests": {"memory": "1Mi"}}}]},
            }),
        ),
    }
}

/// The requests of a seed.
pub fn requests(seed: u64, count: usize) -> Vec<Mutated> {
    let mut dice = Dice::new(seed);
    let mut all = Vec::new();
    while all.len() < count {
        let mut request = good(&mut dice);
        for _ in 0..1 + dice.below(2) {
            mutate(&mut request, &mut dice);
        }
        if is_sendable(&request) {
            all.push(request);
        }
    }
    all
}

/// Whether the request is one that HTTP can carry, and harms nothing but the objects of the namespace.
fn is_sendable(request: &Mutated) -> bool {
    let path = request.path.split('?').next().unwrap_or_default();
    let deletes = request.method == "DELETE";
    let segments: Vec<&str> = path.split('/').filter(|s| !s.is_empty()).collect();
    let inside = segments.windows(2).any(|w| w == ["namespaces", NAMESPACE])
        && segments.last() != Some(&NAMESPACE)
        && !path.contains("%");
    // A watch is a stream: others test it.
    let watches = request.path.contains("watch");
    let writes_elsewhere = !inside && request.method != "GET" && !request.path.contains("dryRun=All");
    // Reviews write nothing, wherever they are.
    let review = path.contains("review") || path == "/apis/authorization.k8s.io/v1";
    !(watches || deletes && !inside || writes_elsewhere && !review)
        && request.path.starts_with('/')
        && request.path.parse::<http::Uri>().is_ok()
        && request.headers.iter().all(|(k, v)| {
            http::HeaderName::try_from(k.as_str()).is_ok() && http::HeaderValue::try_from(v.as_str()).is_ok()
        })
}

fn mutate(request: &mut Mutated, dice: &mut Dice) {
    match dice.below(10) {
        0 => path(request, dice),
        1 | 2 => query(request, dice),
        3 => header(request, dice),
        4 => bytes(request, dice),
        _ => body(request, dice),
    }
}

fn path(request: &mut Mutated, dice: &mut Dice) {
    let (path, query) = match request.path.split_once('?') {
        Some((path, query)) => (path.to_owned(), format!("?{query}")),
        None => (request.path.clone(), String::new()),
    };
    let mut segments: Vec<String> = path.split('/').skip(1).map(str::to_owned).collect();
    let at = dice.below(segments.len());
    let long = "x".repeat(300);
    let junk = [
        "",
        "A_b",
        "no-such",
        "..",
        ".",
        "a%2Fb",
        "%zz",
        "%00",
        "v9",
        "-",
        "a.b.c",
        "ÄÖ",
        "a%20b",
        "configmaps",
        "status",
        &long,
    ];
    match dice.below(6) {
        0 => {
            let cut = path.len() - dice.below(path.len()).min(12);
            request.path = format!("{}{query}", path.chars().take(cut.max(1)).collect::<String>());
            return;
        }
        1 => segments[at] = (*dice.pick(&junk)).to_owned(),
        2 => segments.push((*dice.pick(&junk)).to_owned()),
        3 => {
            segments.remove(at);
        }
        4 => segments.insert(at, (*dice.pick(&junk)).to_owned()),
        _ => segments[at] = segments[at].to_uppercase(),
    }
    request.path = format!("/{}{query}", segments.join("/"));
}

const PARAMETERS: &[(&str, &[&str])] = &[
    (
        "limit",
        &["0", "1", "-1", "abc", "1.5", "99999999999999999999", ""],
    ),
    (
        "continue",
        &[
            "abc",
            "e30",
            "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MSwic3RhcnQiOiJ4In0",
            "%00",
            "eyJ2Ijoi",
            "",
        ],
    ),
    (
        "resourceVersion",
        &["abc", "-1", "0", "1.0", "", "0x1", "18446744073709551616"],
    ),
    (
        "resourceVersionMatch",
        &["Exact", "NotOlderThan", "exact", "Maybe", ""],
    ),
    (
        "labelSelector",
        &[
            "app%3Da",
            "a%3D%3D%3Db",
            "!app",
            "app+in+(a%2Cb)",
            "app+in+(",
            "app+in",
            "%3D",
            "a+b",
            "app!%3Da",
            "app+notin+()",
            "x%2Fy%2Fz%3D1",
            "app%3E1",
            "%2C",
            "",
        ],
    ),
    (
        "fieldSelector",
        &[
            "metadata.name%3Da",
            "metadata.name",
            "spec.none%3D1",
            "metadata.name!%3Da",
            "%3D%3D",
            "metadata.name%3Da%2Cmetadata.namespace%3Dfuzz",
            "metadata.name%3D%5C",
            "type%3DOpaque",
            "",
        ],
    ),
    (
        "dryRun",
        &["All", "all", "Some", "", "All&dryRun=All", "All&dryRun=x"],
    ),
    (
        "fieldManager",
        &[
            "me",
            "",
            "%01",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "%C3%A4",
        ],
    ),
    (
        "fieldValidation",
        &["Strict", "Warn", "Ignore", "strict", "Loud", ""],
    ),
    ("force", &["true", "false", "1", "yes", ""]),
    (
        "propagationPolicy",
        &["Background", "Orphan", "background", "Never", ""],
    ),
    ("gracePeriodSeconds", &["0", "-1", "abc", "5", ""]),
    ("orphanDependents", &["true", "false", "maybe", ""]),
    ("pretty", &["true", "1", "maybe"]),
    ("timeoutSeconds", &["abc", "5", "-1"]),
    ("timeout", &["abc", "5s", "-1s", "5"]),
    ("sendInitialEvents", &["true", "false", "maybe"]),
    ("allowWatchBookmarks", &["true", "maybe"]),
    ("includeObject", &["None", "Everything"]),
    ("unheard", &["of"]),
    ("", &["x"]),
    ("%zz", &["%zz"]),
    (
        "ignoreStoreReadErrorWithClusterBreakingPotential",
        &["true", "false"],
    ),
];

fn query(request: &mut Mutated, dice: &mut Dice) {
    let (name, values) = *dice.pick(PARAMETERS);
    let value = *dice.pick(values);
    let sign = if request.path.contains('?') { '&' } else { '?' };
    request.path = match dice.below(12) {
        0 if request.path.contains('?') => request.path.split('?').next().unwrap_or_default().to_owned(),
        1 => format!("{}{sign}{name}", request.path),
        _ => format!("{}{sign}{name}={value}", request.path),
    };
}

fn header(request: &mut Mutated, dice: &mut Dice) {
    let types = [
        JSON,
        MERGE,
        PATCH,
        STRATEGIC,
        APPLY,
        "application/yaml",
        "text/plain",
        "application/x-www-form-urlencoded",
        "",
        "junk",
        "application/json; charset=utf-8",
        "application/json;;",
        "APPLICATION/JSON",
        "application/apply-patch+cbor",
        "*/*",
        "/",
    ];
    let accepts = [
        "application/yaml",
        "*/*",
        "text/html",
        "text/*",
        "application/*",
        "",
        "junk",
        "application/json;q=0.5",
        "text/plain, application/json",
        "application/json;as=Table;g=meta.k8s.io;v=v1",
        "application/json;as=Table;g=meta.k8s.io;v=v9",
        "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
        "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
        "application/json;as=Nothing;g=x;v=y",
        "application/json;as=Table",
        "application/xml,*/*;q=0.1",
        "application/json;as=Table;g=meta.k8s.io;v=v1beta1,application/json",
        ";",
        "application/json;charset=x",
    ];
    let (name, value) = match dice.below(9) {
        0..=3 => ("content-type", *dice.pick(&types)),
        4..=6 => ("accept", *dice.pick(&accepts)),
        7 => *dice.pick(&[
            ("impersonate-user", "bob"),
            ("impersonate-group", "g"),
            ("impersonate-uid", "1"),
            ("impersonate-extra-x", "y"),
            ("impersonate-user", "system:serviceaccount:fuzz:default"),
            ("impersonate-user", ""),
        ]),
        _ => *dice.pick(&[
            ("user-agent", ""),
            ("user-agent", "a/b/c (d)"),
            ("if-match", "\"x\""),
            ("x-unheard", "of"),
            ("accept-encoding", "identity"),
            ("kubectl-command", "x"),
        ]),
    };
    request.headers.retain(|(known, _)| known != name);
    if !(value.is_empty() && name == "content-type") {
        request.headers.push((name.to_owned(), value.to_owned()));
    }
}

/// Breaks the text of the body.
fn bytes(request: &mut Mutated, dice: &mut Dice) {
    let length = request.body.len();
    if length == 0 {
        request.body = dice
            .pick(&["{}", "[]", "null", "x", " ", "\"\"", "1", "{\"kind\":1}"])
            .as_bytes()
            .to_vec();
        return;
    }
    let at = dice.below(length);
    match dice.below(9) {
        0 | 1 => request.body.truncate(at),
        2 => request.body[at] ^= 1 << dice.below(7),
        3 => request.body[at] = 0xff,
        4 => {
            request.body = dice
                .pick(&[
                    "", "{}", "[]", "null", "\"x\"", "7", "{", "---\n", "a: b: c", "\u{0}", "{}{}", "true",
                ])
                .as_bytes()
                .to_vec()
        }
        5 => request
            .body
            .extend_from_slice(dice.pick(&["x", "{}", " ", "\n---\na: b\n", ",", "}"]).as_bytes()),
        6 => {
            // The same as YAML.
            let value: Value = serde_json::from_slice(&request.body).unwrap_or_default();
            request.body = serde_saphyr::to_string(&value).unwrap_or_default().into_bytes();
        }
        7 => {
            let text = String::from_utf8_lossy(&request.body).into_owned();
            request.body = text
                .replacen('{', "{\"kind\":\"Other\",\"kind\":\"Third\",", 1)
                .into_bytes();
        }
        _ => {
            let deep = format!(
                "{{\"metadata\":{{\"annotations\":{}1{}}}}}",
                "{\"a\":".repeat(200),
                "}".repeat(200)
            );
            request.body = deep.into_bytes();
        }
    }
}

/// Every place of a value that can be changed.
fn places(value: &Value, at: &str, into: &mut Vec<String>) {
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| {
            let at = format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
            into.push(at.clone());
            places(value, &at, into);
        }),
        Value::Array(list) => list.iter().enumerate().for_each(|(i, value)| {
            let at = format!("{at}/{i}");
            into.push(at.clone());
            places(value, &at, into);
        }),
        _ => {}
    }
}

/// Changes the meaning of the body.
fn body(request: &mut Mutated, dice: &mut Dice) {
    let Ok(mut value) = serde_json::from_slice::<Value>(&request.body) else {
        return bytes(request, dice);
    };
    if request.method == "GET" {
        return query(request, dice);
    }
    let mut all = Vec::new();
    places(&value, "", &mut all);
    if all.is_empty() {
        return bytes(request, dice);
    }
    let place = dice.pick(&all).clone();
    let long = "y".repeat(300);
    let junk = [
        Value::Null,
        json!(true),
        json!(0),
        json!(-1),
        json!(1.5),
        json!(9_223_372_036_854_775_807_u64),
        json!(1e300),
        json!(""),
        json!("x"),
        json!("a b"),
        json!("A_b"),
        json!([]),
        json!({}),
        json!([null]),
        json!({"a": null}),
        json!(["x", "x"]),
        json!("-1"),
        json!(long),
        json!({"$patch": "replace"}),
        json!({"$patch": "merge"}),
        json!([{"$patch": "replace"}]),
        json!({"name": 1}),
        json!("/"),
        json!("99999999999999999999"),
    ];
    match dice.below(6) {
        0..=2 => *value.pointer_mut(&place).unwrap() = dice.pick(&junk).clone(),
        3 => remove(&mut value, &place),
        4 => metadata(&mut value, dice),
        _ => {
            let unheard = json!({"unheard": dice.pick(&junk).clone()});
            if let Some(map) = value.pointer_mut(&place).and_then(Value::as_object_mut) {
                map.extend(unheard.as_object().cloned().unwrap_or_default());
            } else if let Some(list) = value.pointer_mut(&place).and_then(Value::as_array_mut) {
                let copy = list.first().cloned().unwrap_or(unheard);
                list.push(copy);
            } else if let Some(map) = value.as_object_mut() {
                map.insert("unheard".to_owned(), json!("of"));
            }
        }
    }
    request.body = value.to_string().into_bytes();
}

fn remove(value: &mut Value, place: &str) {
    let (parent, key) = place.rsplit_once('/').unwrap();
    let key = key.replace("~1", "/").replace("~0", "~");
    match value.pointer_mut(parent) {
        Some(Value::Object(map)) => {
            map.remove(&key);
        }
        Some(Value::Array(list)) => {
            list.remove(key.parse().unwrap());
        }
        _ => {}
    }
}

fn metadata(value: &mut Value, dice: &mut Dice) {
    let fields = [
        ("name", json!("b")),
        ("name", json!("A_b")),
        ("namespace", json!("other")),
        ("namespace", json!("fuzz")),
        ("generateName", json!("gen-")),
        ("uid", json!("1234")),
        ("resourceVersion", json!("1")),
        ("resourceVersion", json!("abc")),
        ("resourceVersion", json!("0")),
        ("labels", json!({"a b": "c"})),
        ("labels", json!({"a": "b c"})),
        ("labels", json!(["a"])),
        ("annotations", json!({"": "x"})),
        ("annotations", json!({"a/b/c": "x"})),
        ("finalizers", json!(["plain"])),
        ("finalizers", json!(["a.b/c"])),
        ("finalizers", json!(["orphan", "foregroundDeletion"])),
        (
            "ownerReferences",
            json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "a"}]),
        ),
        (
            "ownerReferences",
            json!([{"apiVersion": "v1", "kind": "Event", "name": "a", "uid": "1"}]),
        ),
        ("managedFields", json!([{"manager": "x"}])),
        ("managedFields", json!([{}])),
        ("managedFields", json!([])),
        ("creationTimestamp", json!("yesterday")),
        ("creationTimestamp", json!("2020-01-01T00:00:00Z")),
        ("generation", json!(7)),
        ("deletionTimestamp", json!("2020-01-01T00:00:00Z")),
        ("selfLink", json!("/x")),
        ("unheard", json!("of")),
    ];
    let (field, new) = dice.pick(&fields).clone();
    if !value.is_object() {
        return;
    }
    if !value["metadata"].is_object() {
        value["metadata"] = Value::Object(Map::new());
    }
    value["metadata"][field] = new;
}
