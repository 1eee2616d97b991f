//! Making a certificate out of a request.

use jiff::{SignedDuration, Timestamp};
use seams::Randomness;

use super::Authority;
use super::request::Request;
use crate::crypto::der;

/// How long certificates live at most.
const LONGEST: SignedDuration = SignedDuration::from_hours(365 * 24);
const SHORTEST: SignedDuration = SignedDuration::from_mins(10);
/// Certificates begin to be valid so much before they are made, since clocks differ.
const BACKDATE: SignedDuration = SignedDuration::from_mins(5);
/// Those that live shorter than this get their whole life after being made.
const SHORT: SignedDuration = SignedDuration::from_hours(8);

/// Bits of the extension "key usage", by the names of the API.
const USAGES: [(&str, u16); 10] = [
    ("signing", 1),
    ("digital signature", 1),
    ("content commitment", 1 << 1),
    ("key encipherment", 1 << 2),
    ("data encipherment", 1 << 3),
    ("key agreement", 1 << 4),
    ("cert sign", 1 << 5),
    ("crl sign", 1 << 6),
    ("encipher only", 1 << 7),
    ("decipher only", 1 << 8),
];

/// Last parts of the object identifiers `1.3.6.1.5.5.7.3.N` of the extension "extended key usage", in Go's order.
const EXTENDED: [(&str, u8); 10] = [
    ("server auth", 1),
    ("client auth", 2),
    ("code signing", 3),
    ("email protection", 4),
    ("s/mime", 4),
    ("ipsec end system", 5),
    ("ipsec tunnel", 6),
    ("ipsec user", 7),
    ("timestamping", 8),
    ("ocsp signing", 9),
];
const EXTENDED_PREFIX: [u8; 7] = [0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03];
/// Those with identifiers of their own.
const ODD: [(&str, &[u8]); 3] = [
    ("any", &[0x55, 0x1d, 0x25, 0x00]),
    (
        "microsoft sgc",
        &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x0a, 0x03, 0x03],
    ),
    (
        "netscape sgc",
        &[0x60, 0x86, 0x48, 0x01, 0x86, 0xf8, 0x42, 0x04, 0x01],
    ),
];

/// Every usage that the API knows, sorted.
pub(super) fn known_usages() -> Vec<&'static str> {
    let plain = USAGES.iter().map(|(name, _)| *name);
    let extended = EXTENDED.iter().map(|(name, _)| *name);
    let mut all: Vec<&str> = plain
        .chain(extended)
        .chain(ODD.iter().map(|(name, _)| *name))
        .collect();
    all.sort_unstable();
    all
}

/// The identifiers of an extension: `2.5.29.N`.
fn extension(number: u8, critical: bool, content: &[u8]) -> Vec<u8> {
    let critical = match critical {
        true => vec![0x01, 0x01, 0xff],
        false => Vec::new(),
    };
    der::sequence(&[der::object(&[0x55, 0x1d, number]), critical, der::octets(content)])
}

fn usage_extensions(usages: &[String]) -> Vec<Vec<u8>> {
    let wanted = |name: &str| usages.iter().any(|usage| usage == name);
    let bits = USAGES
        .iter()
        .filter(|(name, _)| wanted(name))
        .fold(0, |bits, (_, bit)| bits | bit);
    let mut all = Vec::new();
    if bits != 0 {
        all.push(extension(15, true, &der::flags(bits)));
    }
    let mut identifiers: Vec<Vec<u8>> = Vec::new();
    let mut add = |oid: &[u8]| {
        let encoded = der::object(oid);
        if !identifiers.contains(&encoded) {
            identifiers.push(encoded);
        }
    };
    for (_, oid) in ODD.iter().take(1).filter(|(name, _)| wanted(name)) {
        add(oid);
    }
    for (_, last) in EXTENDED.iter().filter(|(name, _)| wanted(name)) {
        add(&[&EXTENDED_PREFIX[..], &[*last]].concat());
    }
    for (_, oid) in ODD.iter().skip(1).filter(|(name, _)| wanted(name)) {
        add(oid);
    }
    if !identifiers.is_empty() {
        all.push(extension(37, false, &der::sequence(&identifiers)));
    }
    all
}

fn names_extension(request: &Request) -> Option<Vec<u8>> {
    let text = |tag: u8, texts: &[String]| -> Vec<Vec<u8>> {
        texts
            .iter()
            .map(|text| der::value(tag, text.as_bytes()))
            .collect()
    };
    let mut names = text(0x82, &request.dns_names);
    names.extend(text(0x81, &request.emails));
    names.extend(request.addresses.iter().map(|address| match address {
        std::net::IpAddr::V4(address) => der::value(0x87, &address.octets()),
        std::net::IpAddr::V6(address) => der::value(0x87, &address.octets()),
    }));
    names.extend(text(0x86, &request.uris));
    // Without a subject, the names are all there is.
    let nameless = request.subject == [0x30, 0x00];
    (!names.is_empty()).then(|| extension(17, nameless, &der::sequence(&names)))
}

/// The end of a certificate that is made now, whose asker wants so many seconds.
fn end(now: Timestamp, seconds: Option<i64>) -> Timestamp {
    let asked = seconds.map_or(LONGEST, SignedDuration::from_secs);
    let life = asked.clamp(SHORTEST, LONGEST);
    match life < SHORT {
        true => now + life,
        false => now + life - BACKDATE,
    }
}

/// Signs a request; the certificate comes in PEM.
pub(super) fn sign(
    authority: &Authority,
    request: &Request,
    usages: &[String],
    seconds: Option<i64>,
    now: Timestamp,
    randomness: &dyn Randomness,
) -> Result<String, String> {
    let key = authority.key.as_ref().ok_or("there is no key to sign with")?;
    if now >= authority.expires {
        return Err(format!(
            "refusing to sign a certificate that expired in the past: NotAfter={}",
            authority.expires
        ));
    }
    let end = end(now, seconds).min(authority.expires);
    let mut serial = [0; 16];
    randomness.fill(&mut serial);
    let mut extensions = usage_extensions(usages);
    // Basic constraints: no authority.
    extensions.push(extension(19, true, &der::sequence(&[])));
    if let Some(id) = &authority.key_id {
        extensions.push(extension(35, false, &der::sequence(&[der::value(0x80, id)])));
    }
    extensions.extend(names_extension(request));
    let body = der::sequence(&[
        der::value(0xa0, &der::integer(&[2])),
        der::integer(&serial),
        key.x509_algorithm(),
        authority.subject.clone(),
        der::sequence(&[der::time(now - BACKDATE), der::time(end)]),
        request.subject.clone(),
        request.public_key.clone(),
        der::value(0xa3, &der::sequence(&extensions)),
    ]);
    let (algorithm, signature) = key.sign_x509(&body)?;
    let certificate = der::sequence(&[body, algorithm, der::bits(&signature)]);
    let encoding = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    Ok(pem::encode_config(
        &pem::Pem::new("CERTIFICATE", certificate),
        encoding,
    ))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::pki_types::{CertificateDer, UnixTime};
    use rustls::server::WebPkiClientVerifier;

    use super::super::request::{self, tests::object};
    use super::super::{CertificateAuthority, KUBELET_CLIENT};
    use super::*;
    use crate::auth::User;

    fn authority(algorithm: &'static rcgen::SignatureAlgorithm) -> (Authority, CertificateDer<'static>) {
        let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        let config = CertificateAuthority {
            certificate: certificate.pem(),
            key: Some(key.serialize_pem()),
        };
        (Authority::new(&config).unwrap(), certificate.der().clone())
    }

    #[test]
    fn certificates_are_what_tls_takes_for_a_client() {
        let usages = ["digital signature", "client auth"];
        let object = object(KUBELET_CLIENT, "system:node:a", &["system:nodes"], &[], &usages);
        let request = request::of(&object).unwrap();
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        for algorithm in [
            &rcgen::PKCS_ECDSA_P256_SHA256,
            &rcgen::PKCS_ECDSA_P384_SHA384,
            &rcgen::PKCS_RSA_SHA256,
        ] {
            let (authority, root) = authority(algorithm);
            let usages = usages.map(str::to_owned);
            let text = sign(
                &authority,
                &request,
                &usages,
                Some(3600),
                now,
                &seams::SeededRandomness::new(1),
            )
            .unwrap();
            let der = pem::parse(text).unwrap().into_contents();
            let user = User::from_certificate(&der).unwrap();
            assert_eq!(
                (user.name.as_str(), user.groups[0].as_str()),
                ("system:node:a", "system:nodes")
            );
            let mut roots = rustls::RootCertStore::empty();
            roots.add(root).unwrap();
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .unwrap();
            let at = |time: Timestamp| {
                UnixTime::since_unix_epoch(std::time::Duration::from_secs(time.as_second() as u64))
            };
            let certificate = CertificateDer::from(der);
            let check = |time| verifier.verify_client_cert(&certificate, &[], at(time)).is_ok();
            assert!(check(now) && check(now - BACKDATE) && check(now + SignedDuration::from_secs(3600)));
            assert!(
                !check(now + SignedDuration::from_secs(3601))
                    && !check(now - BACKDATE - SignedDuration::from_secs(1))
            );
        }
    }

    #[test]
    fn lives_are_kept_within_limits() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let cases = [
            (None, "2026-12-31T23:55:00Z"),
            (Some(600), "2026-01-01T00:10:00Z"),
            (Some(1), "2026-01-01T00:10:00Z"),
            (Some(8 * 3600), "2026-01-01T07:55:00Z"),
            (Some(i64::from(i32::MAX)), "2026-12-31T23:55:00Z"),
        ];
        for (seconds, expected) in cases {
            assert_eq!(end(now, seconds).to_string(), expected, "{seconds:?}");
        }
    }

    #[test]
    fn all_usages_of_the_api_are_known() {
        assert_eq!(known_usages().len(), 23);
    }
}
