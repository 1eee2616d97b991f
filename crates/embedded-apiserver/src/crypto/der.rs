//! Writing DER, as far as certificates need it.

/// A NULL.
pub(crate) const NULL: &[u8] = &[0x05, 0x00];

/// One value.
pub(crate) fn value(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    match content.len() {
        length @ 0..=0x7f => out.push(length as u8),
        length => {
            let bytes = length.to_be_bytes();
            let first = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
            let digits = &bytes[first..];
            out.push(0x80 | digits.len() as u8);
            out.extend_from_slice(digits);
        }
    }
    out.extend_from_slice(content);
    out
}

/// A SEQUENCE of values.
pub(crate) fn sequence(values: &[Vec<u8>]) -> Vec<u8> {
    value(0x30, &values.concat())
}

/// An OBJECT IDENTIFIER, given encoded.
pub(crate) fn object(oid: &[u8]) -> Vec<u8> {
    value(0x06, oid)
}

/// A BIT STRING of whole bytes.
pub(crate) fn bits(content: &[u8]) -> Vec<u8> {
    value(0x03, &[&[0], content].concat())
}

/// An OCTET STRING.
pub(crate) fn octets(content: &[u8]) -> Vec<u8> {
    value(0x04, content)
}

/// A positive INTEGER of big-endian bytes.
pub(crate) fn integer(digits: &[u8]) -> Vec<u8> {
    let digits = match digits.iter().position(|digit| *digit != 0) {
        Some(first) => &digits[first..],
        None => &[0],
    };
    match digits.first() {
        Some(first) if first & 0x80 != 0 => value(0x02, &[&[0], digits].concat()),
        _ => value(0x02, digits),
    }
}

/// A BIT STRING of single flags, the first one the most significant; trailing zeros are left out.
pub(crate) fn flags(set: u16) -> Vec<u8> {
    let bytes = set.reverse_bits().to_be_bytes();
    let used = 16 - set.leading_zeros() as usize;
    let kept = used.div_ceil(8);
    let unused = (kept * 8 - used) as u8;
    value(0x03, &[&[unused], &bytes[..kept]].concat())
}

/// A time: UTCTime until 2049, GeneralizedTime after it, as RFC 5280 wants.
pub(crate) fn time(time: jiff::Timestamp) -> Vec<u8> {
    let year: i32 = time.strftime("%Y").to_string().parse().unwrap_or(9999);
    match year {
        ..2050 => value(0x17, time.strftime("%y%m%d%H%M%SZ").to_string().as_bytes()),
        _ => value(0x18, time.strftime("%Y%m%d%H%M%SZ").to_string().as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_the_shortest_form() {
        assert_eq!(value(4, &[1]), [4, 1, 1]);
        assert_eq!(value(4, &[0; 200])[..3], [4, 0x81, 200]);
        assert_eq!(value(4, &[0; 300])[..4], [4, 0x82, 1, 44]);
        assert_eq!(integer(&[0, 0, 0x80]), [2, 2, 0, 0x80]);
        assert_eq!(integer(&[0, 0]), [2, 1, 0]);
        // digitalSignature (0) and keyEncipherment (2)
        assert_eq!(flags(0b101), [3, 2, 5, 0b1010_0000]);
        // decipherOnly (8)
        assert_eq!(flags(0b1_0000_0000), [3, 3, 7, 0, 0b1000_0000]);
        assert_eq!(
            time("2049-12-31T23:59:59Z".parse().unwrap()),
            value(0x17, b"491231235959Z")
        );
        assert_eq!(
            time("2050-01-01T00:00:00Z".parse().unwrap()),
            value(0x18, b"20500101000000Z")
        );
    }
}
