//! What names may look like, and how API versions are ordered.

use std::cmp::Ordering;

/// The form that names of a kind must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NameRule {
    /// RFC 1123 subdomain.
    Subdomain,
    /// RFC 1123 label.
    Label,
    /// RFC 1035 label.
    Label1035,
    /// Whatever fits into a path.
    PathSegment,
}

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and \
                         end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
                         '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an \
                     alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const LABEL_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and \
                          end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is \
                          '[a-z]([-a-z0-9]*[a-z0-9])?')";

fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    let inner = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-';
    let edge = |b: Option<&u8>| b.is_some_and(|b| *b != b'-');
    bytes.iter().all(inner) && edge(bytes.first()) && edge(bytes.last())
}

/// Whether `text` is an RFC 1123 label.
pub(crate) fn is_dns_label(text: &str) -> bool {
    text.len() <= 63 && is_label(text)
}

/// Whether `text` is an RFC 1123 subdomain.
pub(crate) fn is_dns_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_label)
}

impl NameRule {
    /// What is wrong with a name; `prefix` says that more characters will follow (`generateName`).
    pub fn check(self, name: &str, prefix: bool) -> Vec<String> {
        // A prefix may end where a name may not.
        let shown = if prefix && name.ends_with('-') {
            format!("{}a", &name[..name.len() - 1])
        } else {
            name.to_owned()
        };
        let too_long =
            |limit: usize| (name.len() > limit).then(|| format!("must be no more than {limit} bytes"));
        let form = |ok: bool, text: &str| (!ok).then(|| text.to_owned());
        match self {
            Self::Subdomain => [too_long(253), form(shown.split('.').all(is_label), SUBDOMAIN)]
                .into_iter()
                .flatten()
                .collect(),
            Self::Label if shown.contains('.') && shown.split('.').all(is_label) => too_long(63)
                .into_iter()
                .chain([String::from("must not contain dots")])
                .collect(),
            Self::Label => [too_long(63), form(is_label(&shown), LABEL)]
                .into_iter()
                .flatten()
                .collect(),
            Self::Label1035 => {
                let starts_well = shown.as_bytes().first().is_some_and(u8::is_ascii_lowercase);
                [too_long(63), form(is_label(&shown) && starts_well, LABEL_1035)]
                    .into_iter()
                    .flatten()
                    .collect()
            }
            Self::PathSegment => match name {
                "." | ".." => vec![format!("may not be '{name}'")],
                _ => ['/', '%']
                    .iter()
                    .filter(|c| name.contains(**c))
                    .map(|c| format!("may not contain '{c}'"))
                    .collect(),
            },
        }
    }
}

/// `v1` > `v1beta2` > `v1beta1` > `v1alpha1` > anything else by name: the order in which versions are preferred.
pub(crate) fn compare_versions(a: &str, b: &str) -> Ordering {
    fn rank(version: &str) -> Option<(u8, u64, u64)> {
        let rest = version.strip_prefix('v')?;
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let major = rest[..digits].parse().ok()?;
        let tail = &rest[digits..];
        let minor = |text: &str| text.parse().ok();
        match (tail.strip_prefix("alpha"), tail.strip_prefix("beta")) {
            (Some(number), _) => Some((0, major, minor(number)?)),
            (_, Some(number)) => Some((1, major, minor(number)?)),
            _ if tail.is_empty() => Some((2, major, 0)),
            _ => None,
        }
    }
    match (rank(a), rank(b)) {
        (Some(a), Some(b)) => a.cmp(&b),
        (Some(_), None) => Ordering::Greater,
        (None, Some(_)) => Ordering::Less,
        (None, None) => b.cmp(a),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_by_their_rule() {
        let cases = [
            (NameRule::Subdomain, "a.b-c.d", true),
            (NameRule::Subdomain, "a..b", false),
            (NameRule::Subdomain, "A", false),
            (NameRule::Label, "a-b", true),
            (NameRule::Label, "a.b", false),
            (NameRule::Label1035, "1a", false),
            (NameRule::PathSegment, "system:node", true),
            (NameRule::PathSegment, "a/b", false),
        ];
        for (rule, name, good) in cases {
            assert_eq!(rule.check(name, false).is_empty(), good, "{name}");
        }
        assert!(NameRule::Subdomain.check("a-", true).is_empty());
    }

    #[test]
    fn versions_are_ordered_by_stability() {
        let mut versions = ["v1beta1", "foo", "v2", "v1alpha9", "v1", "v1beta2", "v11alpha1"];
        versions.sort_by(|a, b| compare_versions(b, a));
        assert_eq!(
            versions,
            ["v2", "v1", "v1beta2", "v1beta1", "v11alpha1", "v1alpha9", "foo"]
        );
    }
}
