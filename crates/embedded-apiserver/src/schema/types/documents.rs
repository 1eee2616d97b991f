//! The table of built-in types as OpenAPI schemas, without descriptions: what `kubectl explain` and clients' own
//! validation read.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use serde_json::{Map, Value, json};

/// The folder of schemas in a document of OpenAPI v3; the one of v2 differs.
const V3: &str = "#/components/schemas/";
const V2: &str = "#/definitions/";

static OF_V3: LazyLock<Map<String, Value>> = LazyLock::new(|| all(super::builtin::TABLE, V3));
static OF_V2: LazyLock<Map<String, Value>> = LazyLock::new(|| all(super::builtin::TABLE, V2));

/// The name under which upstream's documents have a type of the table: `core.v1.Pod` -> `io.k8s.api.core.v1.Pod`.
pub(crate) fn long_name(short: &str) -> String {
    let first = short.split('.').next().unwrap_or_default();
    match first {
        "meta" => format!("io.k8s.apimachinery.pkg.apis.{short}"),
        "api" | "util" => format!("io.k8s.apimachinery.pkg.{short}"),
        "pkg" => format!("io.k8s.apimachinery.{short}"),
        "apiextensions" => format!("io.k8s.apiextensions-apiserver.pkg.apis.{short}"),
        "apiregistration" => format!("io.k8s.kube-aggregator.pkg.apis.{short}"),
        _ => format!("io.k8s.api.{short}"),
    }
}

/// The schemas of some types and of all that they refer to, by their long names.
pub(crate) fn closure<'a>(names: impl Iterator<Item = &'a str>, v3: bool) -> Map<String, Value> {
    let (all, folder) = if v3 { (&*OF_V3, V3) } else { (&*OF_V2, V2) };
    let mut open: Vec<String> = names.map(str::to_owned).collect();
    let mut seen = BTreeSet::new();
    let mut found = Map::new();
    while let Some(name) = open.pop() {
        if !seen.insert(name.clone()) {
            continue;
        }
        if let Some(schema) = all.get(&name) {
            references(schema, folder, &mut open);
            found.insert(name, schema.clone());
        }
    }
    found
}

/// The long name of a built-in kind, if the table has it.
pub(crate) fn kind(group: &str, version: &str, kind: &str) -> Option<&'static str> {
    static KINDS: LazyLock<std::collections::HashMap<String, String>> = LazyLock::new(|| {
        let mut kinds = std::collections::HashMap::new();
        for head in super::builtin::TABLE
            .lines()
            .filter(|l| !l.starts_with([' ', '#']))
        {
            let mut words = head.split(' ');
            let name = long_name(words.next().unwrap_or_default());
            for word in words.take_while(|w| *w != "=").filter(|w| *w != "^") {
                kinds.insert(word.to_owned(), name.clone());
            }
        }
        kinds
    });
    KINDS
        .get(&format!("{group}/{version}/{kind}"))
        .map(String::as_str)
}

fn references(schema: &Value, folder: &str, into: &mut Vec<String>) {
    match schema {
        Value::Object(map) => {
            if let Some(name) = map.get("$ref").and_then(|r| r.as_str()?.strip_prefix(folder)) {
                into.push(name.to_owned());
            }
            map.values().for_each(|child| references(child, folder, into));
        }
        Value::Array(list) => list.iter().for_each(|child| references(child, folder, into)),
        _ => {}
    }
}

fn all(table: &str, folder: &str) -> Map<String, Value> {
    let mut schemas = Map::new();
    let mut current = String::new();
    for line in table
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
    {
        match line.strip_prefix(' ') {
            None => {
                let (name, schema) = head(line, folder);
                schemas.insert(name.clone(), schema);
                current = name;
            }
            Some(field) => {
                if let Some(schema) = schemas.get_mut(&current) {
                    add_field(schema, field, folder);
                }
            }
        }
    }
    schemas
}

fn head(line: &str, folder: &str) -> (String, Value) {
    if let Some((name, alias)) = line.split_once(" = ") {
        let v3 = folder == V3;
        let schema = match name {
            "api.resource.Quantity" if v3 => json!({"oneOf": [{"type": "string"}, {"type": "number"}]}),
            "util.intstr.IntOrString" if v3 => {
                json!({"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]})
            }
            "util.intstr.IntOrString" => json!({"type": "string", "format": "int-or-string"}),
            "meta.v1.Time" | "meta.v1.MicroTime" => json!({"type": "string", "format": "date-time"}),
            "pkg.runtime.RawExtension" => json!({"type": "object"}),
            _ => type_schema(alias, folder),
        };
        return (long_name(name), schema);
    }
    let mut words = line.split(' ');
    let name = long_name(words.next().unwrap_or_default());
    let mut schema = json!({"type": "object"});
    let mut kinds = Vec::new();
    for word in words {
        if word == "^" {
            schema["x-kubernetes-map-type"] = "atomic".into();
            continue;
        }
        let mut parts = word.split('/');
        let (group, version, kind) = (parts.next(), parts.next(), parts.next());
        kinds.push(json!({"group": group, "version": version, "kind": kind}));
    }
    if !kinds.is_empty() {
        schema["x-kubernetes-group-version-kind"] = kinds.into();
    }
    (name, schema)
}

fn add_field(schema: &mut Value, line: &str, folder: &str) {
    let line = line.split(" =").next().unwrap_or(line);
    let mut words = line.split(' ');
    let (Some(name), Some(type_)) = (words.next(), words.next()) else {
        return;
    };
    let mut field = type_schema(type_, folder);
    for word in words {
        if word == "!" {
            let required = &mut schema["required"];
            match required.as_array_mut() {
                Some(list) => list.push(name.into()),
                None => *required = json!([name]),
            }
        } else if let Some(rule) = word.strip_prefix('~') {
            let (strategy, key) = rule.split_once(':').map_or((rule, None), |(s, k)| (s, Some(k)));
            field["x-kubernetes-patch-strategy"] = strategy.into();
            if let Some(key) = key {
                field["x-kubernetes-patch-merge-key"] = key.into();
            }
        }
    }
    schema["properties"][name] = field;
}

fn type_schema(text: &str, folder: &str) -> Value {
    if let Some(rest) = text.strip_prefix('[') {
        let (kind, item) = rest.split_once(']').unwrap_or((rest, "x"));
        let mut schema = json!({"type": "array", "items": type_schema(item, folder)});
        match kind {
            "s" => schema["x-kubernetes-list-type"] = "set".into(),
            "a" => schema["x-kubernetes-list-type"] = "atomic".into(),
            keys => {
                let keys: Vec<&str> = keys.trim_start_matches("k:").split(',').collect();
                schema["x-kubernetes-list-type"] = "map".into();
                schema["x-kubernetes-list-map-keys"] = json!(keys);
            }
        }
        return schema;
    }
    if let Some(rest) = text.strip_prefix('{') {
        let (kind, value) = rest.split_once('}').unwrap_or((rest, "j"));
        let mut schema = json!({"type": "object"});
        if value != "j" {
            schema["additionalProperties"] = type_schema(value, folder);
        }
        if kind == "a" {
            schema["x-kubernetes-map-type"] = "atomic".into();
        }
        return schema;
    }
    if let Some(name) = text.strip_prefix('@') {
        let reference = json!({"$ref": format!("{folder}{}", long_name(name))});
        // A reference may have no neighbours in v3.
        return match folder == V3 {
            true => json!({"allOf": [reference]}),
            false => reference,
        };
    }
    match text {
        "s" | "u" => json!({"type": "string"}),
        "i" => json!({"type": "integer"}),
        "n" => json!({"type": "number"}),
        "b" => json!({"type": "boolean"}),
        _ => json!({}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_stands_with_all_that_it_refers_to() {
        let name = kind("", "v1", "Pod").unwrap();
        assert_eq!(name, "io.k8s.api.core.v1.Pod");
        for v3 in [true, false] {
            let found = closure([name].into_iter(), v3);
            let folder = if v3 { V3 } else { V2 };
            let mut referred = Vec::new();
            found
                .values()
                .for_each(|schema| references(schema, folder, &mut referred));
            assert!(referred.len() > 100);
            for name in referred {
                assert!(found.contains_key(&name), "{name} is missing");
            }
        }
        let pod = &closure([name].into_iter(), true)[name];
        assert_eq!(pod["x-kubernetes-group-version-kind"][0]["kind"], "Pod");
        let spec = &closure([name].into_iter(), true)["io.k8s.api.core.v1.PodSpec"];
        assert_eq!(spec["required"], json!(["containers"]));
        assert_eq!(
            spec["properties"]["containers"]["x-kubernetes-patch-merge-key"],
            "name"
        );
    }
}
