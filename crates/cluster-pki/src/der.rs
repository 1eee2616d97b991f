//! The few lines of DER that are needed to move between PKCS#8 and the older key forms that Go writes.

use crate::{Error, Result};

pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(crate) const SEQUENCE: u8 = 0x30;

/// `rsaEncryption`, 1.2.840.113549.1.1.1.
pub(crate) const OID_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
/// `id-ecPublicKey`, 1.2.840.10045.2.1.
pub(crate) const OID_EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];

/// Walks over DER values that stand one after the other.
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The tag and content of the next value.
    pub(crate) fn next(&mut self) -> Result<(u8, &'a [u8])> {
        let broken = || Error::Key("the DER encoding is broken".into());
        let (&tag, rest) = self.0.split_first().ok_or_else(broken)?;
        let (&first, mut rest) = rest.split_first().ok_or_else(broken)?;
        let length = if first < 0x80 {
            usize::from(first)
        } else {
            let count = usize::from(first & 0x7f);
            if count == 0 || count > 4 || count > rest.len() {
                return Err(broken());
            }
            let (bytes, after) = rest.split_at(count);
            rest = after;
            bytes
                .iter()
                .fold(0usize, |length, byte| length << 8 | usize::from(*byte))
        };
        if length > rest.len() {
            return Err(broken());
        }
        let (content, after) = rest.split_at(length);
        self.0 = after;
        Ok((tag, content))
    }

    /// The content of the next value, which must have the tag `tag`.
    pub(crate) fn expect(&mut self, tag: u8) -> Result<&'a [u8]> {
        match self.next()? {
            (found, content) if found == tag => Ok(content),
            (found, _) => Err(Error::Key(format!(
                "expected DER tag {tag:#04x}, found {found:#04x}"
            ))),
        }
    }
}

/// Encodes one value.
pub(crate) fn value(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    match content.len() {
        length @ 0..=0x7f => out.push(length as u8),
        length => {
            let bytes = length.to_be_bytes();
            let significant = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
            out.push(0x80 | significant.len() as u8);
            out.extend_from_slice(significant);
        }
    }
    out.extend_from_slice(content);
    out
}

/// The parts of a PKCS#8 structure that matter here.
pub(crate) struct Pkcs8<'a> {
    /// The algorithm's object identifier.
    pub(crate) algorithm: &'a [u8],
    /// The curve's object identifier, for ECDSA.
    pub(crate) curve: Option<&'a [u8]>,
    /// The inner key: PKCS#1 or SEC 1.
    pub(crate) key: &'a [u8],
}

/// Opens a PKCS#8 structure; `None` if `der` is something else.
pub(crate) fn open_pkcs8(der: &[u8]) -> Result<Option<Pkcs8<'_>>> {
    let mut outer = Reader::new(Reader::new(der).expect(SEQUENCE)?);
    outer.expect(INTEGER)?;
    let (tag, algorithm) = outer.next()?;
    if tag != SEQUENCE {
        return Ok(None);
    }
    let mut algorithm = Reader::new(algorithm);
    let oid = algorithm.expect(OBJECT_IDENTIFIER)?;
    let curve = match algorithm.is_empty() {
        true => None,
        false => match algorithm.next()? {
            (OBJECT_IDENTIFIER, curve) => Some(curve),
            _ => None,
        },
    };
    Ok(Some(Pkcs8 {
        algorithm: oid,
        curve,
        key: outer.expect(OCTET_STRING)?,
    }))
}

/// A SEC 1 key with its curve and public point, as Go writes it (PKCS#8 encoders leave the curve out of the inner key).
pub(crate) fn sec1_with_curve(sec1: &[u8], curve: &[u8], public_point: &[u8]) -> Result<Vec<u8>> {
    let mut inner = Reader::new(Reader::new(sec1).expect(SEQUENCE)?);
    let version = inner.expect(INTEGER)?;
    let secret = inner.expect(OCTET_STRING)?;
    let mut point = vec![0];
    point.extend_from_slice(public_point);
    let content = [
        value(INTEGER, version),
        value(OCTET_STRING, secret),
        value(0xa0, &value(OBJECT_IDENTIFIER, curve)),
        value(0xa1, &value(BIT_STRING, &point)),
    ]
    .concat();
    Ok(value(SEQUENCE, &content))
}
