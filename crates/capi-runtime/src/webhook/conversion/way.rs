//! The steps from one version of a kind to another.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use capi_api::{
    conversion::{self, Around, Field, Nothings},
    crd::{self, Shipped},
};
use serde_json::Value;

use super::{Conversion, Convert};

/// How the objects of a kind are converted.
#[derive(Clone, Debug)]
pub(super) enum Way {
    Code(Conversion),
    Tables(&'static conversion::Kind, Arc<Schemas>),
}

/// Makes the definitions of a provider's kinds.
pub type Definitions = fn() -> Result<Vec<Shipped>, crd::Error>;

/// What the schemas of v1beta2 say about values that say nothing; read once, when they are needed.
#[derive(Debug)]
pub(super) struct Schemas {
    definitions: Definitions,
    nothings: OnceLock<BTreeMap<String, Nothings>>,
}

impl Schemas {
    pub(super) fn of(definitions: Definitions) -> Self {
        Self {
            definitions,
            nothings: OnceLock::new(),
        }
    }

    fn nothings(&self, kind: &conversion::Kind) -> Nothings {
        let all = self.nothings.get_or_init(|| {
            // That a provider's definitions can be made is tested; without them the conversion is less tidy.
            let shipped = (self.definitions)().unwrap_or_default();
            shipped.iter().filter_map(nothings_of).collect()
        });
        all.get(kind.kind).cloned().unwrap_or_default()
    }
}

fn nothings_of(shipped: &Shipped) -> Option<(String, Nothings)> {
    let spec = &shipped.definition.spec;
    let stored = spec.versions.iter().find(|version| version.storage)?;
    let schema = stored.schema.as_ref()?.open_api_v3_schema.as_ref()?;
    let schema = serde_json::to_value(schema).ok()?;
    Some((spec.names.kind.clone(), Nothings::of(&schema)))
}

/// One step from a version to another.
pub(super) enum Step {
    Code(Convert),
    Up(&'static [Field], Nothings),
    Down(&'static [Field]),
}

impl Way {
    pub(super) fn definition(&self) -> String {
        match self {
            Self::Code(conversion) => conversion.definition(),
            Self::Tables(kind, _) => format!("{}.{}", kind.plural, kind.group),
        }
    }

    pub(super) fn hub(&self) -> &str {
        match self {
            Self::Code(conversion) => conversion.hub,
            Self::Tables(..) => "v1beta2",
        }
    }

    /// Whether what the stored version has no word for is kept in stored objects too. Cluster API's own kinds never did,
    /// and their stored objects stay free of it.
    pub(super) fn keeps_in_hub(&self) -> bool {
        matches!(self, Self::Code(_))
    }

    /// The steps to the stored version and from it.
    fn spoke(&self, version: &str) -> Result<(Step, Step), String> {
        let (kind, found) = match self {
            Self::Code(conversion) => {
                let spoke = conversion.spokes.iter().find(|spoke| spoke.version == version);
                let steps = spoke.map(|spoke| (Step::Code(spoke.to_hub), Step::Code(spoke.from_hub)));
                (conversion.kind, steps)
            }
            Self::Tables(kind, schemas) => {
                let found = kind.versions.iter().find(|(name, _)| *name == version);
                let steps =
                    found.map(|(_, table)| (Step::Up(table, schemas.nothings(kind)), Step::Down(table)));
                (kind.kind, steps)
            }
        };
        found.ok_or_else(|| format!("{kind} has no version {version}"))
    }

    /// The steps that lead from one version to another, through the stored one.
    pub(super) fn path(&self, from: &str, to: &str) -> Result<Vec<Step>, String> {
        let mut path = Vec::new();
        if from != self.hub() {
            path.push(self.spoke(from)?.0);
        }
        if to != self.hub() {
            path.push(self.spoke(to)?.1);
        }
        Ok(path)
    }
}

impl Step {
    fn take(&self, mut object: Value, around: &Around<'_>) -> Result<Value, String> {
        let fields = object.as_object_mut();
        match (self, fields) {
            (Self::Code(convert), _) => return convert(object),
            (Self::Up(table, nothings), Some(fields)) => {
                conversion::up(table, fields);
                nothings.take_out(&mut object);
            }
            (Self::Down(table), Some(fields)) => conversion::down(table, fields, around),
            (_, None) => return Err("an object is wanted".to_owned()),
        }
        Ok(object)
    }
}

pub(super) fn along<'a>(
    api_version: &'a str,
    path: &'a [Step],
    around: &'a Around<'a>,
) -> impl Fn(Value) -> Result<Value, String> + 'a {
    move |mut object| {
        for step in path {
            object = step.take(object, around)?;
        }
        object["apiVersion"] = api_version.into();
        Ok(object)
    }
}
