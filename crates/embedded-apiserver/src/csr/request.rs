//! A PKCS#10 request, read.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer as _;

use crate::crypto::{oid, verify_x509};

/// What a request asks for.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Request {
    pub common_name: String,
    pub organizations: Vec<String>,
    pub dns_names: Vec<String>,
    pub emails: Vec<String>,
    pub addresses: Vec<IpAddr>,
    pub uris: Vec<String>,
    /// The subject, encoded.
    pub subject: Vec<u8>,
    /// The public key with its algorithm, encoded.
    pub public_key: Vec<u8>,
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

/// Reads `spec.request` of an object; the error has Go's words where they are few.
pub(super) fn of(object: &Value) -> Result<Request, String> {
    const TYPE: &str = "PEM block type must be CERTIFICATE REQUEST";
    let text = object["spec"]["request"].as_str().unwrap_or_default();
    let bytes = STANDARD.decode(text).map_err(|_| TYPE.to_owned())?;
    let block = pem::parse(bytes).map_err(|_| TYPE.to_owned())?;
    if block.tag() != "CERTIFICATE REQUEST" {
        return Err(TYPE.to_owned());
    }
    read(block.contents())
}

fn read(der: &[u8]) -> Result<Request, String> {
    let (rest, parsed) = X509CertificationRequest::from_der(der)
        .map_err(|_| "asn1: structure error: the request cannot be read".to_owned())?;
    if !rest.is_empty() {
        return Err("asn1: syntax error: trailing data".to_owned());
    }
    check_signature(&parsed)?;
    let info = &parsed.certification_request_info;
    let text = |value: &x509_parser::x509::AttributeTypeAndValue<'_>| {
        String::from_utf8_lossy(value.as_slice()).into_owned()
    };
    let mut request = Request {
        // The last one counts, as in Go.
        common_name: info
            .subject
            .iter_common_name()
            .last()
            .map(text)
            .unwrap_or_default(),
        organizations: info.subject.iter_organization().map(text).collect(),
        subject: info.subject.as_raw().to_vec(),
        public_key: info.subject_pki.raw.to_vec(),
        ..Request::default()
    };
    for extension in parsed.requested_extensions().into_iter().flatten() {
        let ParsedExtension::SubjectAlternativeName(names) = extension else {
            continue;
        };
        for name in &names.general_names {
            match name {
                GeneralName::DNSName(name) => request.dns_names.push((*name).to_owned()),
                GeneralName::RFC822Name(name) => request.emails.push((*name).to_owned()),
                GeneralName::URI(uri) => request.uris.push((*uri).to_owned()),
                GeneralName::IPAddress(bytes) => {
                    let address = address(bytes).ok_or("x509: cannot parse IP address of length")?;
                    request.addresses.push(address);
                }
                _ => {}
            }
        }
    }
    Ok(request)
}

fn check_signature(parsed: &X509CertificationRequest<'_>) -> Result<(), String> {
    let info = &parsed.certification_request_info;
    let algorithm = parsed.signature_algorithm.algorithm.as_bytes();
    let curve = info
        .subject_pki
        .algorithm
        .parameters
        .as_ref()
        .and_then(|parameters| parameters.as_oid().ok());
    let good = verify_x509(
        algorithm,
        curve.as_ref().map(|curve| curve.as_bytes()),
        &info.subject_pki.subject_public_key.data,
        info.raw,
        &parsed.signature_value.data,
    );
    match good {
        Some(true) => Ok(()),
        None => Err("x509: cannot verify signature: algorithm unimplemented".to_owned()),
        Some(false) if algorithm.starts_with(&oid::RSA[..8]) => {
            Err("crypto/rsa: verification error".to_owned())
        }
        Some(false) if algorithm == oid::ED25519 => Err("x509: Ed25519 verification failure".to_owned()),
        Some(false) => Err("x509: ECDSA verification failure".to_owned()),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    /// A signing request as an object: signer, subject, alternative names, usages.
    pub fn object(
        signer: &str,
        name: &str,
        organizations: &[&str],
        names: &[&str],
        usages: &[&str],
    ) -> Value {
        let key = rcgen::KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = rcgen::CertificateParams::new(names).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        for organization in organizations {
            params
                .distinguished_name
                .push(rcgen::DnType::OrganizationName, *organization);
        }
        let pem = params.serialize_request(&key).unwrap().pem().unwrap();
        json!({
            "metadata": {"name": "x"},
            "spec": {"request": STANDARD.encode(pem), "signerName": signer, "usages": usages},
            "status": {},
        })
    }

    #[test]
    fn requests_are_read_and_their_signature_is_checked() {
        let object = object("s", "system:node:a", &["system:nodes"], &["a.b", "10.0.0.1"], &[]);
        let request = of(&object).unwrap();
        assert_eq!(request.common_name, "system:node:a");
        assert_eq!(request.organizations, ["system:nodes"]);
        assert_eq!(request.dns_names, ["a.b"]);
        assert_eq!(request.addresses, ["10.0.0.1".parse::<IpAddr>().unwrap()]);
        let text = STANDARD
            .decode(object["spec"]["request"].as_str().unwrap())
            .unwrap();
        let mut der = pem::parse(text).unwrap().into_contents();
        let at = der.windows(3).position(|window| window == b"a.b").unwrap();
        der[at] = b'c';
        assert_eq!(read(&der), Err("x509: ECDSA verification failure".to_owned()));
        for end in 0..der.len() {
            assert!(read(&der[..end]).is_err());
        }
        assert!(of(&json!({"spec": {"request": "eA=="}})).is_err());
    }
}
