//! Kubernetes versions as people write them: with or without a leading `v`, sometimes without a patch number.

use std::cmp::Ordering;

use semver::Version;

/// Reads a version tolerantly: blanks around it, a leading `v`, and leading zeros are accepted, missing minor and patch
/// numbers are 0.
pub fn parse_tolerant(text: &str) -> Option<Version> {
    let text = text.trim().trim_start_matches('v');
    let end = text.find(['-', '+']).unwrap_or(text.len());
    let (numbers, rest) = text.split_at(end);
    let mut parts: Vec<&str> = numbers.split('.').collect();
    if parts.len() > 3 || (parts.len() < 3 && !rest.is_empty()) {
        return None;
    }
    while parts.len() < 3 {
        parts.push("0");
    }
    let numbers: Option<Vec<u64>> = parts.iter().map(|part| part.parse().ok()).collect();
    let numbers = numbers?;
    Version::parse(&format!("{}.{}.{}{rest}", numbers[0], numbers[1], numbers[2])).ok()
}

/// Reads a version strictly: `v1.35.0`, `v1.35.0-rc.1`, `v1.35.0+vendor.1`, the `v` required.
pub fn parse_strict(text: &str) -> Option<Version> {
    Version::parse(text.strip_prefix('v')?).ok()
}

/// `version` with a leading `v`, as it is defaulted.
pub fn with_v(version: &str) -> String {
    if version.is_empty() || version.starts_with('v') {
        version.to_owned()
    } else {
        format!("v{version}")
    }
}

/// Compares major, minor, patch and pre-release; vendors' build tags do not count.
pub fn compare(a: &Version, b: &Version) -> Ordering {
    a.cmp_precedence(b)
}

/// Compares with build tags: numeric parts by value, others by text.
pub fn compare_with_build(a: &Version, b: &Version) -> Ordering {
    a.cmp_precedence(b).then_with(|| a.build.cmp(&b.build))
}

/// Compares two version texts with build tags; texts that are no versions come first, by text.
pub fn compare_texts(a: &str, b: &str) -> Ordering {
    match (parse_tolerant(a), parse_tolerant(b)) {
        (Some(a), Some(b)) => compare_with_build(&a, &b),
        (None, None) => a.cmp(b),
        (a, b) => a.is_some().cmp(&b.is_some()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_tolerantly_and_strictly() {
        for (text, expected) in [
            ("v1.35.0", Some("1.35.0")),
            ("1.35", Some("1.35.0")),
            (" v1.35.1-rc.0+vendor.2 ", Some("1.35.1-rc.0+vendor.2")),
            ("v01.035.0", Some("1.35.0")),
            ("latest", None),
            ("", None),
            ("1.2.3.4", None),
        ] {
            assert_eq!(
                parse_tolerant(text).map(|v| v.to_string()).as_deref(),
                expected,
                "{text:?}"
            );
        }
        assert!(parse_strict("v1.35.0").is_some());
        assert!(parse_strict("1.35.0").is_none());
        assert!(parse_strict("v1.35").is_none());
    }

    #[test]
    fn build_tags_count_only_where_asked() {
        let (a, b) = (
            parse_tolerant("v1.35.0+a.2").unwrap(),
            parse_tolerant("v1.35.0+a.10").unwrap(),
        );
        assert_eq!(compare(&a, &b), Ordering::Equal);
        assert_eq!(compare_with_build(&a, &b), Ordering::Less);
        assert_eq!(compare_texts("v1.9.0", "v1.10.0"), Ordering::Less);
    }

    #[test]
    fn a_missing_v_is_added_once() {
        assert_eq!(
            (with_v("1.35.0"), with_v("v1.35.0"), with_v("")),
            ("v1.35.0".into(), "v1.35.0".into(), String::new())
        );
    }
}
