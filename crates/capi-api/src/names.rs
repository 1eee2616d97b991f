//! Names and hashes: how children are called, what a label can hold, how a kind is spelt in the plural.

use serde::Serialize;

/// The longest name of a child with a random-looking suffix.
pub const MAX_NAME: usize = 63;
/// The length of that suffix.
pub const SUFFIX: usize = 5;
/// The letters of suffixes, those of Kubernetes' `generateName`.
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// `base` cut so that `length` characters more make at most 63.
pub fn truncated(base: &str, length: usize) -> &str {
    let limit = MAX_NAME.saturating_sub(length);
    if base.len() <= limit {
        return base;
    }
    let end = (0..=limit).rev().find(|i| base.is_char_boundary(*i)).unwrap_or(0);
    &base[..end]
}

/// `base` and `suffix`, cut between them where together they exceed 63 characters.
pub fn suffixed(base: &str, suffix: &str) -> String {
    format!("{}{suffix}", truncated(base, suffix.len()))
}

/// A suffix that looks random but follows from what a child is derived from (the owner's uid, what was seen): a retry
/// after a crash computes the same name, meets the child and goes on with it.
pub fn derived_suffix(parts: &[&str]) -> String {
    let mut hash = Fnv64::new();
    for part in parts {
        hash.write(part.as_bytes());
        hash.write(&[0]);
    }
    let mut rest = hash.mixed();
    (0..SUFFIX)
        .map(|_| {
            let letter = ALPHABET[(rest % 27) as usize] as char;
            rest /= 27;
            letter
        })
        .collect()
}

/// `<base>-<derived suffix>`, at most 63 characters.
pub fn derived_child(base: &str, parts: &[&str]) -> String {
    suffixed(base, &format!("-{}", derived_suffix(parts)))
}

/// A name as a label value: itself where a label can hold it, otherwise `hash_<...>_z`.
pub fn label_value(name: &str) -> String {
    if is_label_value(name) {
        return name.to_owned();
    }
    use base64::Engine as _;
    let hash = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(fnv32(name.as_bytes()).to_be_bytes());
    format!("hash_{hash}_z")
}

/// Whether a label can hold this value: at most 63 of `[A-Za-z0-9._-]`, with a letter or digit at both ends, or nothing.
pub fn is_label_value(value: &str) -> bool {
    let bytes = value.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
        return true;
    };
    bytes.len() <= 63
        && first.is_ascii_alphanumeric()
        && last.is_ascii_alphanumeric()
        && bytes
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(b))
}

/// Whether `value` is a DNS label (RFC 1123): lower case letters, digits and dashes, at most 63.
pub fn is_dns_label(value: &str) -> bool {
    let bytes = value.as_bytes();
    let edge = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    bytes.len() <= 63
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes
            .iter()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
}

/// A hash of anything that can be serialised, as a decimal number; the same in every process and release.
pub fn hash_of(value: &impl Serialize) -> String {
    let mut hash = Fnv64::new();
    // Through a Value: its maps are sorted, so the order in which a map was filled cannot be seen.
    let text = serde_json::to_value(value)
        .map(|v| v.to_string())
        .unwrap_or_default();
    hash.write(text.as_bytes());
    ((hash.mixed() >> 32) as u32).to_string()
}

/// A kind or resource word in the plural.
pub fn plural(word: &str) -> String {
    let lower = word.to_ascii_lowercase();
    let stem = |cut: usize| &word[..word.len() - cut];
    let ends = |ending: &str| lower.ends_with(ending);
    if ends("endpoints") || ends("metadata") || ends("data") || ends("series") {
        word.to_owned()
    } else if ends("sis") {
        format!("{}es", stem(2))
    } else if ends("s") || ends("x") || ends("z") || ends("ch") || ends("sh") {
        format!("{word}es")
    } else if ends("y") && !["ay", "ey", "iy", "oy", "uy"].iter().any(|e| ends(e)) {
        format!("{}ies", stem(1))
    } else {
        format!("{word}s")
    }
}

/// FNV-1a with 32 bits.
pub fn fnv32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}

/// FNV-1a with 64 bits.
struct Fnv64(u64);

impl Fnv64 {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// The hash with its bits spread, so that every part of it can be used alone.
    fn mixed(&self) -> u64 {
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_too_long_are_cut_before_the_suffix() {
        assert_eq!(suffixed("short", "-abcde"), "short-abcde");
        let long = "a".repeat(70);
        let name = suffixed(&long, "-abcde");
        assert_eq!((name.len(), name.ends_with("a-abcde")), (63, true));
    }

    #[test]
    fn a_derived_suffix_repeats_and_differs_with_every_part() {
        let suffix = derived_suffix(&["uid", "1"]);
        assert_eq!(suffix, derived_suffix(&["uid", "1"]));
        assert_eq!(suffix.len(), SUFFIX);
        assert!(suffix.bytes().all(|b| ALPHABET.contains(&b)));
        assert_ne!(suffix, derived_suffix(&["uid", "2"]));
        assert_ne!(derived_suffix(&["ab", "c"]), derived_suffix(&["a", "bc"]));
        let many: std::collections::BTreeSet<_> = (0..2000)
            .map(|i| derived_suffix(&["uid", &i.to_string()]))
            .collect();
        assert_eq!(many.len(), 2000);
    }

    #[test]
    fn a_label_holds_a_name_or_its_hash() {
        assert_eq!(label_value("my-set.1"), "my-set.1");
        assert_eq!(label_value(""), "");
        // FNV-1a of 64 times "a", as four bytes, most significant first.
        let long = "a".repeat(64);
        let value = label_value(&long);
        assert!(
            value.starts_with("hash_") && value.ends_with("_z") && is_label_value(&value),
            "{value}"
        );
        assert_eq!(value.len(), "hash_".len() + 6 + "_z".len());
        assert_eq!(fnv32(b"a"), 0xe40c_292c);
        assert_eq!(fnv32(b"foobar"), 0xbf9c_f968);
        assert!(label_value("-x").starts_with("hash_"));
    }

    #[test]
    fn kinds_have_a_plural() {
        let cases = [
            ("machine", "machines"),
            ("devcluster", "devclusters"),
            ("clusterclass", "clusterclasses"),
            ("policy", "policies"),
            ("gateway", "gateways"),
            ("proxy", "proxies"),
            ("machineset", "machinesets"),
            ("MachineDeployment", "MachineDeployments"),
        ];
        for (one, many) in cases {
            assert_eq!(plural(one), many);
        }
    }

    #[test]
    fn the_hash_ignores_the_order_of_map_entries() {
        use std::collections::HashMap;
        let a: HashMap<String, i32> = (0..50).map(|i| (i.to_string(), i)).collect();
        let b: HashMap<String, i32> = (0..50).rev().map(|i| (i.to_string(), i)).collect();
        assert_eq!(hash_of(&a), hash_of(&b));
        assert_ne!(hash_of(&1), hash_of(&2));
    }
}
