//! Keys of the host that this server signs with: tokens of service accounts and certificates of signing requests.
//!
//! Only private keys that a host hands in are used here; nothing makes keys. Signatures with RSA repeat exactly, those
//! with elliptic curves never do.

pub(crate) mod der;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    self, ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING,
    ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, KeyPair, RsaKeyPair,
    UnparsedPublicKey, VerificationAlgorithm,
};

/// Object identifiers, encoded.
pub(crate) mod oid {
    pub const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
    pub const RSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b];
    pub const RSA_SHA384: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0c];
    pub const RSA_SHA512: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0d];
    pub const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
    pub const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
    pub const P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
    pub const P521: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x23];
    pub const ECDSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
    pub const ECDSA_SHA384: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03];
    pub const ECDSA_SHA512: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x04];
    pub const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
}

/// An elliptic curve: its identifier, that of its signatures, their name in tokens, and both encodings of them.
struct Curve {
    name: &'static [u8],
    signature: &'static [u8],
    jws: &'static str,
    fixed: &'static EcdsaSigningAlgorithm,
    asn1: &'static EcdsaSigningAlgorithm,
    verify: &'static dyn VerificationAlgorithm,
}

static CURVES: [Curve; 2] = [
    Curve {
        name: oid::P256,
        signature: oid::ECDSA_SHA256,
        jws: "ES256",
        fixed: &ECDSA_P256_SHA256_FIXED_SIGNING,
        asn1: &ECDSA_P256_SHA256_ASN1_SIGNING,
        verify: &signature::ECDSA_P256_SHA256_FIXED,
    },
    Curve {
        name: oid::P384,
        signature: oid::ECDSA_SHA384,
        jws: "ES384",
        fixed: &ECDSA_P384_SHA384_FIXED_SIGNING,
        asn1: &ECDSA_P384_SHA384_ASN1_SIGNING,
        verify: &signature::ECDSA_P384_SHA384_FIXED,
    },
];

enum Kind {
    Rsa(RsaKeyPair),
    Ecdsa {
        curve: &'static Curve,
        fixed: EcdsaKeyPair,
        asn1: EcdsaKeyPair,
    },
}

/// A private key for signatures.
pub(crate) struct PrivateKey(Kind);

impl PrivateKey {
    /// Reads a key in PEM: PKCS#8, PKCS#1 (RSA) or SEC 1 (P-256, P-384).
    pub fn from_pem(text: &str) -> Result<Self, String> {
        let block = pem::parse(text).map_err(|error| format!("is no PEM text: {error}"))?;
        let der = block.contents();
        if let Ok(pair) = RsaKeyPair::from_pkcs8(der).or_else(|_| RsaKeyPair::from_der(der)) {
            return Ok(Self(Kind::Rsa(pair)));
        }
        for curve in &CURVES {
            let pair = |algorithm| EcdsaKeyPair::from_private_key_der(algorithm, der);
            if let (Ok(fixed), Ok(asn1)) = (pair(curve.fixed), pair(curve.asn1)) {
                return Ok(Self(Kind::Ecdsa { curve, fixed, asn1 }));
            }
        }
        Err("is neither an RSA key of at least 2048 bits nor one on the curves P-256 or P-384".to_owned())
    }

    /// The public key as X.509 has it (SubjectPublicKeyInfo).
    pub fn public_der(&self) -> Vec<u8> {
        let (algorithm, key) = match &self.0 {
            Kind::Rsa(pair) => (
                der::sequence(&[der::object(oid::RSA), der::NULL.to_vec()]),
                pair.public_key().as_ref(),
            ),
            Kind::Ecdsa { curve, fixed, .. } => (
                der::sequence(&[der::object(oid::EC), der::object(curve.name)]),
                fixed.public_key().as_ref(),
            ),
        };
        der::sequence(&[algorithm, der::bits(key)])
    }

    /// The name of the signatures that [`PrivateKey::sign_jws`] makes.
    pub fn jws_algorithm(&self) -> &'static str {
        match &self.0 {
            Kind::Rsa(_) => "RS256",
            Kind::Ecdsa { curve, .. } => curve.jws,
        }
    }

    fn sign_rsa(pair: &RsaKeyPair, message: &[u8]) -> Result<Vec<u8>, String> {
        let mut out = vec![0; pair.public_modulus_len()];
        pair.sign(
            &signature::RSA_PKCS1_SHA256,
            &SystemRandom::new(),
            message,
            &mut out,
        )
        .map_err(|_| "the key does not sign".to_owned())?;
        Ok(out)
    }

    fn sign_ecdsa(pair: &EcdsaKeyPair, message: &[u8]) -> Result<Vec<u8>, String> {
        let signed = pair.sign(&SystemRandom::new(), message);
        Ok(signed
            .map_err(|_| "the key does not sign".to_owned())?
            .as_ref()
            .to_vec())
    }

    /// A signature as JSON Web Signatures have it.
    pub fn sign_jws(&self, message: &[u8]) -> Result<Vec<u8>, String> {
        match &self.0 {
            Kind::Rsa(pair) => Self::sign_rsa(pair, message),
            Kind::Ecdsa { fixed, .. } => Self::sign_ecdsa(fixed, message),
        }
    }

    /// Whether this key made a signature of a JSON Web Signature.
    pub fn verify_jws(&self, message: &[u8], signed: &[u8]) -> bool {
        match &self.0 {
            Kind::Rsa(pair) => verify(
                &signature::RSA_PKCS1_2048_8192_SHA256,
                pair.public_key().as_ref(),
                message,
                signed,
            ),
            Kind::Ecdsa { curve, fixed, .. } => {
                verify(curve.verify, fixed.public_key().as_ref(), message, signed)
            }
        }
    }

    /// The algorithm identifier and the signature as certificates have them.
    pub fn sign_x509(&self, message: &[u8]) -> Result<(Vec<u8>, Vec<u8>), String> {
        Ok((
            self.x509_algorithm(),
            match &self.0 {
                Kind::Rsa(pair) => Self::sign_rsa(pair, message)?,
                Kind::Ecdsa { asn1, .. } => Self::sign_ecdsa(asn1, message)?,
            },
        ))
    }

    /// The algorithm identifier of [`PrivateKey::sign_x509`].
    pub fn x509_algorithm(&self) -> Vec<u8> {
        match &self.0 {
            Kind::Rsa(_) => der::sequence(&[der::object(oid::RSA_SHA256), der::NULL.to_vec()]),
            Kind::Ecdsa { curve, .. } => der::sequence(&[der::object(curve.signature)]),
        }
    }
}

fn verify(algorithm: &'static dyn VerificationAlgorithm, key: &[u8], message: &[u8], signed: &[u8]) -> bool {
    UnparsedPublicKey::new(algorithm, key)
        .verify(message, signed)
        .is_ok()
}

/// Whether a signature that names its algorithm by `signature` was made with the public key (its bare bits), whose curve,
/// if it is on one, is `curve`. `None`: the algorithm is not known.
pub(crate) fn verify_x509(
    signature_oid: &[u8],
    curve: Option<&[u8]>,
    key: &[u8],
    message: &[u8],
    signed: &[u8],
) -> Option<bool> {
    let algorithm: &'static dyn VerificationAlgorithm = match (signature_oid, curve) {
        (oid::RSA_SHA256, _) => &signature::RSA_PKCS1_2048_8192_SHA256,
        (oid::RSA_SHA384, _) => &signature::RSA_PKCS1_2048_8192_SHA384,
        (oid::RSA_SHA512, _) => &signature::RSA_PKCS1_2048_8192_SHA512,
        (oid::ECDSA_SHA256, Some(oid::P256)) => &signature::ECDSA_P256_SHA256_ASN1,
        (oid::ECDSA_SHA384, Some(oid::P256)) => &signature::ECDSA_P256_SHA384_ASN1,
        (oid::ECDSA_SHA256, Some(oid::P384)) => &signature::ECDSA_P384_SHA256_ASN1,
        (oid::ECDSA_SHA384, Some(oid::P384)) => &signature::ECDSA_P384_SHA384_ASN1,
        (oid::ECDSA_SHA512, Some(oid::P521)) => &signature::ECDSA_P521_SHA512_ASN1,
        (oid::ED25519, _) => &signature::ED25519,
        _ => return None,
    };
    Some(verify(algorithm, key, message, signed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_all_kinds_sign_and_know_their_own_signatures() {
        for algorithm in [
            &rcgen::PKCS_ECDSA_P256_SHA256,
            &rcgen::PKCS_ECDSA_P384_SHA384,
            &rcgen::PKCS_RSA_SHA256,
        ] {
            let pair = rcgen::KeyPair::generate_for(algorithm).unwrap();
            let key = PrivateKey::from_pem(&pair.serialize_pem()).unwrap();
            assert_eq!(
                key.public_der(),
                rcgen::PublicKeyData::subject_public_key_info(&pair)
            );
            let signed = key.sign_jws(b"text").unwrap();
            assert!(key.verify_jws(b"text", &signed));
            assert!(!key.verify_jws(b"other", &signed));
            assert!(!key.verify_jws(b"text", &signed[1..]));
        }
    }

    #[test]
    fn what_is_no_key_is_refused() {
        assert!(PrivateKey::from_pem("nothing").is_err());
        let text = pem::encode(&pem::Pem::new("PRIVATE KEY", vec![1, 2, 3]));
        assert!(PrivateKey::from_pem(&text).is_err());
    }
}
