//! Types as merging sees them: which lists have keys, which are sets, which parts are atomic, what fields there are.
//!
//! Server-side apply, strategic merge patches and the pruning of built-in kinds all read this model. Types of custom
//! resources come from their schema, those of built-in kinds from a generated table (`builtin.types`).

mod builtin;
mod custom;
pub(crate) mod documents;
mod prune;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::Structural;

/// How the fields of a kind merge: list keys, sets, atomic parts. Cheap to clone.
#[derive(Clone, Debug)]
pub struct TypeSchema {
    pub(crate) root: Ref,
}

/// A reference to a type.
#[derive(Clone, Debug)]
pub(crate) enum Ref {
    /// A type of a custom resource.
    Inline(Arc<Atom>),
    /// A type of the table, by its place there.
    Builtin(usize),
    /// Anything, replaced as a whole.
    Untyped,
    /// Anything; maps merge, lists are replaced.
    Deduced,
    /// No such field.
    Undeclared,
}

/// What a value of a type may be; several parts where the type allows several shapes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Atom {
    pub(crate) scalar: Option<Scalar>,
    pub(crate) list: Option<List>,
    pub(crate) map: Option<Map>,
}

/// Kinds of scalars that are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scalar {
    Text,
    Numeric,
    Boolean,
    Untyped,
}

/// What identifies the items of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Relation {
    /// Nothing: the list is replaced as a whole.
    Atomic,
    /// Their value.
    Set,
    /// The values of these fields.
    Keys(Vec<String>),
}

#[derive(Clone, Debug)]
pub(crate) struct List {
    pub(crate) relation: Relation,
    pub(crate) item: Ref,
}

#[derive(Clone, Debug)]
pub(crate) struct Map {
    pub(crate) atomic: bool,
    pub(crate) fields: BTreeMap<String, Field>,
    /// The type of fields that are not listed.
    pub(crate) other: Ref,
}

#[derive(Clone, Debug)]
pub(crate) struct Field {
    pub(crate) type_: Ref,
    pub(crate) default: Option<Value>,
    /// An empty value is written too, where it is left out otherwise.
    pub(crate) required: bool,
    /// The encoder of the real server always writes this struct, even when it is empty.
    pub(crate) always: bool,
    pub(crate) patch: PatchRule,
}

/// `patchStrategy` and `patchMergeKey` of strategic merge patches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PatchRule {
    pub(crate) merge: bool,
    pub(crate) retain_keys: bool,
    pub(crate) replace: bool,
    pub(crate) key: Option<String>,
}

impl Map {
    /// The type of a field; [`Ref::Undeclared`] when there is none.
    pub(crate) fn field_type(&self, name: &str) -> &Ref {
        self.fields.get(name).map_or(&self.other, |field| &field.type_)
    }
}

impl Ref {
    /// The type referred to; None for [`Ref::Undeclared`].
    pub(crate) fn atom(&self) -> Option<&Atom> {
        match self {
            Self::Inline(atom) => Some(atom),
            Self::Builtin(index) => builtin::atom(*index),
            Self::Untyped => Some(builtin::untyped()),
            Self::Deduced => Some(builtin::deduced()),
            Self::Undeclared => None,
        }
    }
}

impl TypeSchema {
    /// The type of a custom resource, from its schema.
    #[must_use]
    pub fn custom(schema: &Structural) -> Self {
        Self {
            root: custom::root(schema.root()),
        }
    }

    /// The type of a built-in kind; None when it is not in the table. The core group is the empty string.
    #[must_use]
    pub fn builtin(group: &str, version: &str, kind: &str) -> Option<Self> {
        builtin::kind(group, version, kind).map(|index| Self {
            root: Ref::Builtin(index),
        })
    }

    /// The type of an object nothing is known about: maps merge, lists are atomic.
    #[must_use]
    pub fn deduced() -> Self {
        Self { root: Ref::Deduced }
    }

    /// Removes fields that a built-in kind does not have, nulls, and optional maps and lists that are empty, as decoding
    /// and encoding on the real server do; returns the paths of the unknown fields, sorted.
    pub fn prune(&self, object: &mut Value) -> Vec<String> {
        prune::prune(&self.root, object)
    }

    /// Adds the empty structs that the real server always writes (`status: {}`, `resources: {}`), and the defaults that
    /// its OpenAPI documents tell (`protocol: TCP`).
    pub fn fill_structs(&self, object: &mut Value) {
        prune::fill_structs(&self.root, object);
    }

    /// The first value whose JSON type does not fit, worded as decoding would word it; None when all fit.
    #[must_use]
    pub fn decode_error(&self, object: &Value) -> Option<String> {
        prune::decode_error(&self.root, object)
    }
}

pub(crate) use prune::{find_error as decode_error_at, walk as prune_at};

/// The type of `metadata`.
pub(crate) fn object_meta() -> Ref {
    builtin::named("meta.v1.ObjectMeta").map_or(Ref::Deduced, Ref::Builtin)
}
