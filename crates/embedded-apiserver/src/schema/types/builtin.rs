//! The table of built-in types, parsed once when first needed.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use super::{Atom, Field, List, Map, PatchRule, Ref, Relation, Scalar};

pub(super) const TABLE: &str = include_str!("builtin.types");

struct Table {
    atoms: Vec<Atom>,
    names: HashMap<&'static str, usize>,
    kinds: HashMap<&'static str, usize>,
}

static PARSED: LazyLock<Table> = LazyLock::new(|| parse(TABLE));
static UNTYPED: LazyLock<Atom> = LazyLock::new(|| any(Ref::Untyped, true));
static DEDUCED: LazyLock<Atom> = LazyLock::new(|| any(Ref::Deduced, false));

fn any(map_value: Ref, atomic: bool) -> Atom {
    Atom {
        scalar: Some(Scalar::Untyped),
        list: Some(List {
            relation: Relation::Atomic,
            item: Ref::Untyped,
        }),
        map: Some(Map {
            atomic,
            fields: BTreeMap::new(),
            other: map_value,
        }),
    }
}

pub(super) fn untyped() -> &'static Atom {
    &UNTYPED
}

pub(super) fn deduced() -> &'static Atom {
    &DEDUCED
}

pub(super) fn atom(index: usize) -> Option<&'static Atom> {
    PARSED.atoms.get(index)
}

pub(super) fn named(name: &str) -> Option<usize> {
    PARSED.names.get(name).copied()
}

pub(super) fn kind(group: &str, version: &str, kind: &str) -> Option<usize> {
    PARSED
        .kinds
        .get(format!("{group}/{version}/{kind}").as_str())
        .copied()
}

/// Reads the table; its grammar stands in its head.
fn parse(text: &'static str) -> Table {
    let lines = || {
        text.lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty())
    };
    let heads = lines().filter(|line| !line.starts_with(' '));
    let mut names = HashMap::new();
    let mut kinds = HashMap::new();
    for (index, head) in heads.enumerate() {
        let mut words = head.split(' ');
        names.insert(words.next().unwrap_or_default(), index);
        for word in words.take_while(|word| *word != "=").filter(|word| *word != "^") {
            kinds.insert(word, index);
        }
    }
    let mut atoms: Vec<Atom> = Vec::with_capacity(names.len());
    for line in lines() {
        match line.strip_prefix(' ') {
            None => atoms.push(head(line, &names)),
            Some(field) => {
                if let (Some(map), Some((name, field))) = (
                    atoms.last_mut().and_then(|atom| atom.map.as_mut()),
                    parse_field(field, &names),
                ) {
                    map.fields.insert(name, field);
                }
            }
        }
    }
    Table { atoms, names, kinds }
}

fn head(line: &str, names: &HashMap<&'static str, usize>) -> Atom {
    if let Some((_, alias)) = line.split_once(" = ") {
        let type_ = parse_type(alias, names);
        return type_.atom_or_builtin();
    }
    let atomic = line.ends_with(" ^");
    Atom {
        map: Some(Map {
            atomic,
            fields: BTreeMap::new(),
            other: Ref::Undeclared,
        }),
        ..Atom::default()
    }
}

impl Ref {
    /// The atom of an alias; aliases never name other types of the table.
    fn atom_or_builtin(&self) -> Atom {
        match self {
            Self::Inline(atom) => (**atom).clone(),
            Self::Untyped => any(Self::Untyped, true),
            _ => any(Self::Deduced, false),
        }
    }
}

fn parse_field(line: &str, names: &HashMap<&'static str, usize>) -> Option<(String, Field)> {
    let (line, default) = match line.split_once(" =") {
        Some((line, default)) => (line, serde_json::from_str(default).ok()),
        None => (line, None),
    };
    let mut words = line.split(' ');
    let name = words.next()?;
    let type_ = parse_type(words.next()?, names);
    let (mut required, mut always, mut patch) = (false, false, PatchRule::default());
    for word in words {
        if word == "!" {
            required = true;
        } else if word == "+" {
            always = true;
        } else if let Some(rule) = word.strip_prefix('~') {
            let (strategies, key) = rule
                .split_once(':')
                .map_or((rule, None), |(s, k)| (s, Some(k.to_owned())));
            let has = |name: &str| strategies.split(',').any(|s| s == name);
            patch = PatchRule {
                merge: has("merge"),
                retain_keys: has("retainKeys"),
                replace: has("replace"),
                key,
            };
        }
    }
    Some((
        name.to_owned(),
        Field {
            type_,
            default,
            required,
            always,
            patch,
        },
    ))
}

fn parse_type(text: &str, names: &HashMap<&'static str, usize>) -> Ref {
    let inline = |atom: Atom| Ref::Inline(std::sync::Arc::new(atom));
    let scalar = |scalar: Scalar| {
        inline(Atom {
            scalar: Some(scalar),
            ..Atom::default()
        })
    };
    if let Some(rest) = text.strip_prefix('[') {
        let (kind, item) = rest.split_once(']').unwrap_or((rest, "x"));
        let relation = match kind {
            "s" => Relation::Set,
            "a" => Relation::Atomic,
            keys => Relation::Keys(
                keys.trim_start_matches("k:")
                    .split(',')
                    .map(str::to_owned)
                    .collect(),
            ),
        };
        return inline(Atom {
            list: Some(List {
                relation,
                item: parse_type(item, names),
            }),
            ..Atom::default()
        });
    }
    if let Some(rest) = text.strip_prefix('{') {
        let (kind, value) = rest.split_once('}').unwrap_or((rest, "j"));
        let map = Map {
            atomic: kind == "a",
            fields: BTreeMap::new(),
            other: parse_type(value, names),
        };
        return inline(Atom {
            map: Some(map),
            ..Atom::default()
        });
    }
    if let Some(name) = text.strip_prefix('@') {
        return names.get(name).map_or(Ref::Deduced, |index| Ref::Builtin(*index));
    }
    match text {
        "s" => scalar(Scalar::Text),
        "i" | "n" => scalar(Scalar::Numeric),
        "b" => scalar(Scalar::Boolean),
        "u" => scalar(Scalar::Untyped),
        "x" => Ref::Untyped,
        _ => Ref::Deduced,
    }
}
