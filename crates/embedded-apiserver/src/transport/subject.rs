//! The subject of a client certificate: common name and organizations, read from its DER text.

use crate::http::request::User;

/// The object identifiers of the two attributes, encoded.
const COMMON_NAME: [u8; 3] = [0x55, 0x04, 0x03];
const ORGANIZATION: [u8; 3] = [0x55, 0x04, 0x0a];

/// One element: its tag, its content, and what follows.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (first as usize, rest),
        0x81..=0x84 => {
            let count = (first & 0x7f) as usize;
            let digits = rest.get(..count)?;
            (
                digits.iter().fold(0usize, |n, d| n << 8 | *d as usize),
                &rest[count..],
            )
        }
        _ => return None,
    };
    Some((tag, rest.get(..length)?, &rest[length..]))
}

fn elements(mut bytes: &[u8]) -> Vec<(u8, &[u8])> {
    let mut all = Vec::new();
    while let Some((tag, content, rest)) = element(bytes) {
        all.push((tag, content));
        bytes = rest;
    }
    all
}

fn attributes(certificate: &[u8]) -> Option<Vec<(&[u8], String)>> {
    let (_, whole, _) = element(certificate)?;
    let (_, body, _) = element(whole)?;
    // version [0] (optional), serial, signature, issuer, validity, subject
    let parts = elements(body);
    let skip = usize::from(parts.first()?.0 == 0xa0);
    let (_, subject) = *parts.get(skip + 4)?;
    let mut found = Vec::new();
    for (_, set) in elements(subject) {
        for (_, pair) in elements(set) {
            if let [(_, oid), (_, value), ..] = elements(pair).as_slice() {
                found.push((*oid, String::from_utf8_lossy(value).into_owned()));
            }
        }
    }
    Some(found)
}

/// The user that a certificate stands for; verification is not done here.
pub(super) fn user(certificate: &[u8]) -> User {
    let attributes = attributes(certificate).unwrap_or_default();
    let all = |oid: [u8; 3]| {
        attributes
            .iter()
            .filter(move |(o, _)| *o == oid)
            .map(|(_, value)| value.clone())
    };
    let mut groups: Vec<String> = all(ORGANIZATION).collect();
    groups.push("system:authenticated".to_owned());
    User {
        name: all(COMMON_NAME).next().unwrap_or_default(),
        groups,
    }
}
