//! Microversions: numbered dialects of one API.

use std::fmt;

/// A microversion, as in `2.53`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Microversion(pub u16, pub u16);

impl Microversion {
    /// Reads `2.53`.
    pub fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once('.')?;
        Some(Self(major.parse().ok()?, minor.parse().ok()?))
    }
}

impl fmt::Display for Microversion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn microversions_compare_as_numbers() {
        let [old, new] = ["2.9", "2.53"].map(|text| Microversion::parse(text).unwrap());
        assert!(old < new);
        assert_eq!(new.to_string(), "2.53");
        assert_eq!(Microversion::parse("2"), None);
    }
}
