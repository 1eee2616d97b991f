//! Compares definitions with upstream's by meaning: fields, types, limits, defaults, rules, columns, names.
//!
//! Descriptions, the order of keys and annotations do not count. Meant for tests, therefore the one place of this crate
//! that reads files.

use std::{collections::BTreeMap, fmt, path::Path};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::{Map, Value, json};

use super::Error;

/// One point where two definitions differ.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// The name of the definition, `<plural>.<group>`.
    pub definition: String,
    /// Where, as `versions.v1beta2.schema.properties.spec...`; empty when one side lacks the whole definition.
    pub path: String,
    /// What we say, if anything.
    pub ours: Option<Value>,
    /// What upstream says, if anything.
    pub upstream: Option<Value>,
}

impl fmt::Display for Difference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |side: &Option<Value>| side.as_ref().map_or_else(|| "nothing".to_owned(), shortened);
        write!(
            formatter,
            "{} {}: ours {}, upstream {}",
            self.definition,
            self.path,
            show(&self.ours),
            show(&self.upstream)
        )
    }
}

/// Differences that are known and meant.
#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    /// The name of the definition, or `*` for all.
    pub definition: &'static str,
    /// Where the path of the difference starts.
    pub path: &'static str,
    /// Why it is meant.
    pub why: &'static str,
}

impl Allowance {
    fn covers(&self, difference: &Difference) -> bool {
        (self.definition == "*" || self.definition == difference.definition)
            && difference
                .path
                .strip_prefix(self.path)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }
}

/// What a comparison found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// How many definitions were compared.
    pub compared: usize,
    /// Differences that nobody explained.
    pub unexplained: Vec<Difference>,
    /// Differences that are known and meant, with the reason.
    pub allowed: Vec<(Difference, &'static str)>,
    /// Reasons that no difference needed.
    pub unused: Vec<&'static str>,
}

/// Compares definitions with all files of a folder that belong to the same groups.
///
/// A kind of these groups that only one side has is a difference, too.
pub fn check(
    ours: &[CustomResourceDefinition],
    folder: &Path,
    allowances: &[Allowance],
) -> Result<Report, Error> {
    let mut upstream = read(folder)?;
    let mut differences = Vec::new();
    let mut report = Report::default();
    for definition in ours {
        let name = definition.metadata.name.clone().unwrap_or_default();
        match upstream.remove(&name) {
            Some(theirs) => {
                report.compared += 1;
                differences.extend(compare(definition, &theirs)?);
            }
            None => differences.push(whole(&name, Some(json!(definition.spec.names.kind)), None)),
        }
    }
    for (name, theirs) in upstream {
        let group = &theirs["spec"]["group"];
        if ours.iter().any(|definition| *group == definition.spec.group) {
            differences.push(whole(&name, None, Some(theirs["spec"]["names"]["kind"].clone())));
        }
    }
    let mut used = vec![false; allowances.len()];
    for difference in differences {
        match allowances
            .iter()
            .position(|allowance| allowance.covers(&difference))
        {
            Some(index) => {
                used[index] = true;
                report.allowed.push((difference, allowances[index].why));
            }
            None => report.unexplained.push(difference),
        }
    }
    let unused = allowances.iter().zip(used).filter(|(_, used)| !used);
    report.unused = unused.map(|(allowance, _)| allowance.why).collect();
    Ok(report)
}

/// Compares one definition with upstream's definition of the same name.
pub fn compare(ours: &CustomResourceDefinition, upstream: &Value) -> Result<Vec<Difference>, Error> {
    let name = ours.metadata.name.clone().unwrap_or_default();
    let value = serde_json::to_value(ours).map_err(|source| Error::Definition {
        name: name.clone(),
        source,
    })?;
    let mut differ = Differ {
        definition: name,
        found: Vec::new(),
    };
    differ.visit(&meaning(&value), &meaning(upstream), "");
    Ok(differ.found)
}

fn whole(name: &str, ours: Option<Value>, upstream: Option<Value>) -> Difference {
    Difference {
        definition: name.to_owned(),
        path: String::new(),
        ours,
        upstream,
    }
}

fn read(folder: &Path) -> Result<BTreeMap<String, Value>, Error> {
    let failed = |path: &Path| {
        let path = path.display().to_string();
        move |source| Error::Read { path, source }
    };
    let mut definitions = BTreeMap::new();
    for entry in std::fs::read_dir(folder).map_err(failed(folder))? {
        let path = entry.map_err(failed(folder))?.path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let text = std::fs::read_to_string(&path).map_err(failed(&path))?;
        let value: Value = serde_saphyr::from_str(&text).map_err(|source| Error::Parse {
            path: path.display().to_string(),
            source: Box::new(source),
        })?;
        if value["kind"] != "CustomResourceDefinition" {
            continue;
        }
        if let Some(name) = value["metadata"]["name"].as_str() {
            definitions.insert(name.to_owned(), value.clone());
        }
    }
    Ok(definitions)
}

/// What counts of a definition, in one spelling: lists whose order says nothing are sorted, defaults are filled in.
fn meaning(definition: &Value) -> Value {
    let spec = &definition["spec"];
    let names = &spec["names"];
    let mut versions = Map::new();
    for version in spec["versions"].as_array().into_iter().flatten() {
        let name = version["name"].as_str().unwrap_or_default().to_owned();
        versions.insert(name, version_meaning(version));
    }
    json!({
        "group": spec["group"],
        "scope": spec["scope"],
        "conversion": spec["conversion"],
        "names": {
            "kind": names["kind"],
            "listKind": names["listKind"],
            "plural": names["plural"],
            "singular": names["singular"],
            "shortNames": sorted(&names["shortNames"]),
            "categories": sorted(&names["categories"]),
        },
        "versions": versions,
    })
}

fn version_meaning(version: &Value) -> Value {
    let columns = version["additionalPrinterColumns"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|column| {
            let mut column = column.clone();
            if let Some(map) = column.as_object_mut() {
                map.remove("description");
            }
            column
        });
    json!({
        "served": version["served"],
        "storage": version["storage"],
        "deprecated": version["deprecated"].as_bool().unwrap_or_default(),
        "columns": columns.collect::<Vec<_>>(),
        "selectableFields": sorted(&version["selectableFields"]),
        "subresources": version["subresources"].as_object().cloned().unwrap_or_default(),
        "schema": schema_meaning(&version["schema"]["openAPIV3Schema"]),
    })
}

fn schema_meaning(schema: &Value) -> Value {
    let Some(map) = schema.as_object() else {
        return schema.clone();
    };
    let mut result = Map::new();
    for (word, value) in map {
        let value = match word.as_str() {
            "description" => continue,
            "properties" => {
                let fields = value.as_object().into_iter().flatten();
                fields
                    .map(|(name, field)| (name.clone(), schema_meaning(field)))
                    .collect()
            }
            "items" | "additionalProperties" | "not" => schema_meaning(value),
            "allOf" | "anyOf" | "oneOf" => value
                .as_array()
                .into_iter()
                .flatten()
                .map(schema_meaning)
                .collect(),
            "required" | "enum" | "x-kubernetes-list-map-keys" | "x-kubernetes-validations" => sorted(value),
            _ => value.clone(),
        };
        result.insert(word.clone(), value);
    }
    Value::Object(result)
}

fn sorted(list: &Value) -> Value {
    let mut items = list.as_array().cloned().unwrap_or_default();
    items.sort_by_key(Value::to_string);
    Value::Array(items)
}

/// Collects the points where two definitions of one name differ.
struct Differ {
    definition: String,
    found: Vec<Difference>,
}

impl Differ {
    /// Goes through two values side by side; a missing object is noted whole.
    fn visit(&mut self, ours: &Value, upstream: &Value, path: &str) {
        let join = |key: &str| {
            if path.is_empty() {
                key.to_owned()
            } else {
                format!("{path}.{key}")
            }
        };
        match (ours, upstream) {
            (Value::Object(ours), Value::Object(upstream)) => {
                for (key, value) in ours {
                    match upstream.get(key) {
                        Some(other) => self.visit(value, other, &join(key)),
                        None => self.note(join(key), Some(value), None),
                    }
                }
                for (key, value) in upstream.iter().filter(|(key, _)| !ours.contains_key(*key)) {
                    self.note(join(key), None, Some(value));
                }
            }
            (Value::Array(ours), Value::Array(upstream)) if ours.len() == upstream.len() => {
                for (index, (value, other)) in ours.iter().zip(upstream).enumerate() {
                    self.visit(value, other, &join(&index.to_string()));
                }
            }
            (Value::Number(a), Value::Number(b)) if a.as_f64() == b.as_f64() => {}
            _ if ours == upstream => {}
            _ => self.note(path.to_owned(), Some(ours), Some(upstream)),
        }
    }

    fn note(&mut self, path: String, ours: Option<&Value>, upstream: Option<&Value>) {
        let definition = self.definition.clone();
        self.found.push(Difference {
            definition,
            path,
            ours: ours.cloned(),
            upstream: upstream.cloned(),
        });
    }
}

fn shortened(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(200) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn differences(ours: &Value, upstream: &Value) -> Vec<String> {
        let mut differ = Differ {
            definition: String::new(),
            found: Vec::new(),
        };
        differ.visit(&schema_meaning(ours), &schema_meaning(upstream), "");
        let text = |side: &Option<Value>| side.as_ref().map(Value::to_string).unwrap_or_default();
        differ
            .found
            .iter()
            .map(|one| format!("{}|{}|{}", one.path, text(&one.ours), text(&one.upstream)))
            .collect()
    }

    #[test]
    fn order_descriptions_and_number_spelling_do_not_count() {
        let ours = json!({ "type": "integer", "minimum": 1.0, "description": "ours", "enum": ["a", "b"] });
        let upstream = json!({ "minimum": 1, "type": "integer", "enum": ["b", "a"] });
        assert_eq!(differences(&ours, &upstream), Vec::<String>::new());
    }

    #[test]
    fn a_limit_or_field_that_differs_is_named_with_its_path() {
        let ours = json!({ "properties": { "description": { "type": "string", "maxLength": 3 } } });
        let upstream =
            json!({ "properties": { "description": { "type": "string" }, "b": { "type": "string" } } });
        assert_eq!(
            differences(&ours, &upstream),
            [
                "properties.description.maxLength|3|",
                r#"properties.b||{"type":"string"}"#
            ]
        );
    }

    #[test]
    fn an_allowance_covers_a_path_and_what_is_below_it() {
        let difference = |path: &str| whole_path("x.example.io", path);
        let allowance = Allowance {
            definition: "*",
            path: "versions.v1beta1",
            why: "",
        };
        assert!(allowance.covers(&difference("versions.v1beta1")));
        assert!(allowance.covers(&difference("versions.v1beta1.schema")));
        assert!(!allowance.covers(&difference("versions.v1beta10")));
        assert!(
            !Allowance {
                definition: "y.example.io",
                ..allowance
            }
            .covers(&difference("versions.v1beta1"))
        );
    }

    fn whole_path(definition: &str, path: &str) -> Difference {
        Difference {
            definition: definition.to_owned(),
            path: path.to_owned(),
            ours: None,
            upstream: None,
        }
    }

    #[test]
    fn a_definition_equals_itself_and_not_another_scope_or_column() {
        let ours = crate::crd::crds().unwrap().swap_remove(0).definition;
        let mut upstream = serde_json::to_value(&ours).unwrap();
        assert_eq!(compare(&ours, &upstream).unwrap(), []);
        upstream["spec"]["scope"] = json!("Cluster");
        upstream["spec"]["versions"][0]["additionalPrinterColumns"][0]["name"] = json!("Other");
        let found = compare(&ours, &upstream).unwrap();
        let paths: Vec<_> = found.iter().map(|one| one.path.as_str()).collect();
        assert_eq!(paths, ["scope", "versions.v1beta1.columns.0.name"]);
    }
}
