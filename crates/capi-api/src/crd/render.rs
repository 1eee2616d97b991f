//! Definitions as files.

use std::collections::BTreeMap;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::Value;

use super::{Error, Shipped};

/// The name of the file that a definition belongs in: `<group>_<plural>.yaml`.
pub fn file_name(definition: &CustomResourceDefinition) -> String {
    format!("{}_{}.yaml", definition.spec.group, definition.spec.names.plural)
}

/// A definition as YAML, keys sorted.
pub fn to_yaml(definition: &CustomResourceDefinition) -> Result<String, Error> {
    let name = || definition.metadata.name.clone().unwrap_or_default();
    let mut value =
        serde_json::to_value(definition).map_err(|source| Error::Definition { name: name(), source })?;
    whole_numbers(&mut value);
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    serde_saphyr::to_string_with_options(&value, options).map_err(|source| Error::Write {
        name: name(),
        source: Box::new(source),
    })
}

/// All files of the given definitions, by path below the `deploy` folder.
pub fn render(shipped: &[Shipped]) -> Result<BTreeMap<String, String>, Error> {
    let file = |one: &Shipped| {
        Ok((
            format!("{}/crds/{}", one.provider, file_name(&one.definition)),
            to_yaml(&one.definition)?,
        ))
    };
    shipped.iter().map(file).collect()
}

/// Limits are floating point numbers in the API; `1` reads better than `1.0`.
fn whole_numbers(value: &mut Value) {
    match value {
        Value::Number(number) => {
            let whole = number
                .as_f64()
                .filter(|float| number.is_f64() && float.fract() == 0.0 && float.abs() < 1e15);
            if let Some(float) = whole {
                *number = (float as i64).into();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(whole_numbers),
        Value::Object(fields) => fields.values_mut().for_each(whole_numbers),
        _ => {}
    }
}
