//! The subject of a client certificate: common name and organizations, read from its DER text.

/// The object identifiers of the attributes that matter, encoded.
const COMMON_NAME: [u8; 3] = [0x55, 0x04, 0x03];
const ORGANIZATION: [u8; 3] = [0x55, 0x04, 0x0a];
/// `1.3.6.1.4.1.57683.2`, Kubernetes' own attribute.
const UID: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x83, 0xc2, 0x53, 0x02];

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

/// Whom a certificate names.
#[derive(Debug, Default)]
pub(crate) struct Subject {
    pub common_name: Option<String>,
    pub organizations: Vec<String>,
    pub uid: Option<String>,
}

/// Reads the subject of a certificate; nothing is verified here.
pub(crate) fn read(certificate: &[u8]) -> Option<Subject> {
    let attributes = attributes(certificate)?;
    let all = |oid: &[u8]| -> Vec<String> {
        let matching = attributes.iter().filter(|(o, _)| *o == oid);
        matching.map(|(_, value)| value.clone()).collect()
    };
    Some(Subject {
        // The last one counts, as in Go.
        common_name: all(&COMMON_NAME).pop(),
        organizations: all(&ORGANIZATION),
        uid: all(UID).pop(),
    })
}
