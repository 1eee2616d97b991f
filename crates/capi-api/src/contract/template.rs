//! Templates, and the objects cloned from them.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::core::{ApiResource, DynamicObject, TypeMeta};
use serde_json::{Value, json};

use super::{FieldError, View};
use crate::{annotations, labels};

/// A `<Kind>Template`.
#[derive(Clone, Copy, Debug)]
pub struct Template<'a>(View<'a>);

/// What a clone gets besides what its template says.
#[derive(Clone, Debug, Default)]
pub struct NewClone {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// The Cluster it is for.
    pub cluster: String,
    /// Labels beside the template's; they win over the template's.
    pub labels: BTreeMap<String, String>,
    /// Annotations beside the template's; they win over the template's.
    pub annotations: BTreeMap<String, String>,
    /// Its owner.
    pub owner: Option<OwnerReference>,
}

impl<'a> Template<'a> {
    /// Reads `object` as a template. Templates have the same shape in both contracts.
    pub fn new(object: &'a DynamicObject) -> Self {
        Self(View {
            object,
            contract: super::ContractVersion::V1Beta2,
        })
    }

    /// The kind of what is cloned from a template kind.
    pub fn cloned_kind(template_kind: &str) -> &str {
        template_kind.strip_suffix("Template").unwrap_or(template_kind)
    }

    fn metadata(&self, field: &str) -> BTreeMap<String, String> {
        let map = self
            .0
            .value("spec.template.metadata")
            .and_then(|m| m[field].as_object());
        map.into_iter()
            .flatten()
            .filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned())))
            .collect()
    }

    /// The resource of the clones of a template with this resource.
    pub fn cloned_resource(template: &ApiResource) -> ApiResource {
        let kind = Self::cloned_kind(&template.kind).to_owned();
        let plural = crate::names::plural(&kind.to_ascii_lowercase());
        ApiResource {
            kind,
            plural,
            ..template.clone()
        }
    }

    /// An object made from the template, to be created.
    pub fn cloned(&self, clone: NewClone) -> Result<DynamicObject, FieldError> {
        let body = self.0.value("spec.template").filter(|t| t.is_object());
        let body = body.ok_or_else(|| self.0.wrong("spec.template", "set"))?;
        let types = self.0.object.types.clone().unwrap_or_default();
        let group = types.api_version.split_once('/').map_or("", |(group, _)| group);

        let mut all_labels = self.metadata("labels");
        all_labels.extend(clone.labels);
        all_labels.insert(labels::CLUSTER_NAME.to_owned(), clone.cluster);
        let mut all_annotations = self.metadata("annotations");
        all_annotations.extend(clone.annotations);
        let template_name = self.0.object.metadata.name.clone().unwrap_or_default();
        all_annotations.insert(annotations::CLONED_FROM_NAME.to_owned(), template_name);
        all_annotations.insert(
            annotations::CLONED_FROM_GROUP_KIND.to_owned(),
            format!("{}.{group}", types.kind),
        );

        let mut object = DynamicObject {
            types: Some(TypeMeta {
                kind: Self::cloned_kind(&types.kind).to_owned(),
                api_version: types.api_version,
            }),
            metadata: kube::core::ObjectMeta {
                name: Some(clone.name),
                namespace: Some(clone.namespace),
                labels: Some(all_labels),
                annotations: Some(all_annotations),
                owner_references: clone.owner.map(|owner| vec![owner]),
                ..Default::default()
            },
            data: json!({}),
        };
        // Whatever stands beside `metadata` in spec.template belongs to the clone; in practice that is `spec`.
        if let (Some(fields), Value::Object(data)) = (body.as_object(), &mut object.data) {
            for (field, value) in fields
                .iter()
                .filter(|(field, _)| !["metadata", "status", "apiVersion", "kind"].contains(&field.as_str()))
            {
                data.insert(field.clone(), value.clone());
            }
        }
        Ok(object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::testing::object;

    #[test]
    fn a_clone_has_the_templates_spec_its_metadata_and_where_it_comes_from() {
        let template = object(
            "FooMachineTemplate",
            json!({"spec": {"template": {"metadata": {"labels": {"a": "template", "b": "b"}, "annotations": {"n": "1"}},
                "spec": {"flavor": "m1"}}}}),
        );
        let clone = NewClone {
            name: "m".into(),
            namespace: "ns".into(),
            cluster: "c".into(),
            labels: [("a".to_owned(), "machine".to_owned())].into(),
            ..Default::default()
        };
        let object = Template::new(&template).cloned(clone).unwrap();
        assert_eq!(
            serde_json::to_value(object).unwrap(),
            json!({"apiVersion": "infrastructure.example.com/v1", "kind": "FooMachine",
                "metadata": {"name": "m", "namespace": "ns",
                    "labels": {"a": "machine", "b": "b", "cluster.x-k8s.io/cluster-name": "c"},
                    "annotations": {"n": "1", "cluster.x-k8s.io/cloned-from-name": "x",
                        "cluster.x-k8s.io/cloned-from-groupkind": "FooMachineTemplate.infrastructure.example.com"}},
                "spec": {"flavor": "m1"}})
        );
    }

    #[test]
    fn a_template_without_a_template_is_refused() {
        let template = object("FooMachineTemplate", json!({"spec": {}}));
        assert!(Template::new(&template).cloned(NewClone::default()).is_err());
    }
}
