//! Private keys: where they come from and the forms in which they are written.

use std::{fmt, str::FromStr, sync::Arc};

use rcgen::{
    KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256, PublicKeyData, RsaKeySize,
};

use crate::{
    Error, Result,
    der::{self, Pkcs8},
};

/// The key algorithms of kubeadm's `encryptionAlgorithm`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyAlgorithm {
    /// RSA with 2048 bits: kubeadm's default.
    #[default]
    Rsa2048,
    /// RSA with 3072 bits.
    Rsa3072,
    /// RSA with 4096 bits.
    Rsa4096,
    /// ECDSA on the curve P-256.
    EcdsaP256,
    /// ECDSA on the curve P-384.
    EcdsaP384,
}

impl KeyAlgorithm {
    /// The name that kubeadm's configuration uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rsa2048 => "RSA-2048",
            Self::Rsa3072 => "RSA-3072",
            Self::Rsa4096 => "RSA-4096",
            Self::EcdsaP256 => "ECDSA-P256",
            Self::EcdsaP384 => "ECDSA-P384",
        }
    }
}

impl fmt::Display for KeyAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for KeyAlgorithm {
    type Err = Error;

    /// Reads kubeadm's name; the empty text is the default.
    fn from_str(name: &str) -> Result<Self> {
        match name {
            "" | "RSA-2048" => Ok(Self::Rsa2048),
            "RSA-3072" => Ok(Self::Rsa3072),
            "RSA-4096" => Ok(Self::Rsa4096),
            "ECDSA-P256" => Ok(Self::EcdsaP256),
            "ECDSA-P384" => Ok(Self::EcdsaP384),
            other => Err(Error::Algorithm(other.to_owned())),
        }
    }
}

/// A private key (with its public half). Cloning shares it.
#[derive(Clone)]
pub struct PrivateKey {
    pair: Arc<KeyPair>,
    /// PKCS#1 or SEC 1, the forms that Go writes.
    der: Arc<[u8]>,
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateKey")
            .field("pem_label", &self.pem_label())
            .finish_non_exhaustive()
    }
}

impl PrivateKey {
    /// Reads the first private key block of `text`: PKCS#1, SEC 1 or PKCS#8.
    pub fn from_pem(text: &str) -> Result<Self> {
        let blocks = pem::parse_many(text).map_err(|e| Error::Key(e.to_string()))?;
        let block = blocks
            .iter()
            .find(|block| block.tag().ends_with("PRIVATE KEY"))
            .ok_or_else(|| Error::Key("there is no PRIVATE KEY block".into()))?;
        let pair = KeyPair::try_from(block.contents()).map_err(|e| Error::Key(e.to_string()))?;
        Self::from_pair(pair, block.contents())
    }

    /// Generates a key with the crypto library.
    fn fresh(algorithm: KeyAlgorithm) -> Result<Self> {
        let pair = match algorithm {
            KeyAlgorithm::Rsa2048 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048),
            KeyAlgorithm::Rsa3072 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_3072),
            KeyAlgorithm::Rsa4096 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_4096),
            KeyAlgorithm::EcdsaP256 => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
            KeyAlgorithm::EcdsaP384 => KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384),
        }
        .map_err(|e| Error::Generate {
            algorithm: algorithm.to_string(),
            reason: e.to_string(),
        })?;
        let der = pair.serialize_der();
        Self::from_pair(pair, &der)
    }

    fn from_pair(pair: KeyPair, der: &[u8]) -> Result<Self> {
        let der = match der::open_pkcs8(der)? {
            None => der.to_vec(),
            Some(Pkcs8 {
                algorithm: der::OID_RSA,
                key,
                ..
            }) => key.to_vec(),
            Some(Pkcs8 {
                algorithm: der::OID_EC,
                curve: Some(curve),
                key,
            }) => der::sec1_with_curve(key, curve, pair.der_bytes())?,

            Some(_) => return Err(Error::Key("it is neither RSA nor ECDSA on a named curve".into())),
        };
        Ok(Self {
            pair: Arc::new(pair),
            der: der.into(),
        })
    }

    pub(crate) fn pair(&self) -> &KeyPair {
        &self.pair
    }

    fn pem_label(&self) -> &'static str {
        match self.pair.algorithm() == &PKCS_RSA_SHA256 {
            true => "RSA PRIVATE KEY",
            false => "EC PRIVATE KEY",
        }
    }

    /// The key as PEM in the forms of Go's Cluster API: `RSA PRIVATE KEY` (PKCS#1) or `EC PRIVATE KEY` (SEC 1).
    pub fn to_pem(&self) -> String {
        encode_pem(self.pem_label(), &self.der)
    }

    /// The public key as PEM (`PUBLIC KEY`, PKIX).
    pub fn public_key_pem(&self) -> String {
        encode_pem("PUBLIC KEY", &self.public_key_der())
    }

    /// The public key as DER `SubjectPublicKeyInfo`.
    pub fn public_key_der(&self) -> Vec<u8> {
        self.pair.subject_public_key_info()
    }
}

/// PEM with line feeds, as Go writes it.
pub(crate) fn encode_pem(label: &str, der: &[u8]) -> String {
    pem::encode_config(
        &pem::Pem::new(label, der),
        pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF),
    )
}

/// Makes private keys.
pub trait KeySource: Send + Sync + 'static {
    /// A key of the given algorithm.
    fn generate(&self, algorithm: KeyAlgorithm) -> Result<PrivateKey>;
}

/// A shared [`KeySource`].
pub type SharedKeys = Arc<dyn KeySource>;

/// New keys from the crypto library: what production uses. An RSA key takes tens to hundreds of milliseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct FreshKeys;

impl KeySource for FreshKeys {
    fn generate(&self, algorithm: KeyAlgorithm) -> Result<PrivateKey> {
        PrivateKey::fresh(algorithm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_written_in_the_forms_of_go_and_read_back() {
        for (algorithm, label) in [
            (KeyAlgorithm::Rsa2048, "-----BEGIN RSA PRIVATE KEY-----\n"),
            (KeyAlgorithm::EcdsaP256, "-----BEGIN EC PRIVATE KEY-----\n"),
            (KeyAlgorithm::EcdsaP384, "-----BEGIN EC PRIVATE KEY-----\n"),
        ] {
            let key = FreshKeys.generate(algorithm).unwrap();
            let text = key.to_pem();
            assert!(text.starts_with(label), "{algorithm}: {text}");
            assert!(text.ends_with("-----\n"));
            let again = PrivateKey::from_pem(&text).unwrap();
            assert_eq!(again.public_key_der(), key.public_key_der());
            assert_eq!(again.to_pem(), text);
            assert!(key.public_key_pem().starts_with("-----BEGIN PUBLIC KEY-----\n"));
        }
    }

    #[test]
    fn pkcs8_keys_are_accepted_and_rewritten() {
        for algorithm in [
            KeyAlgorithm::Rsa2048,
            KeyAlgorithm::EcdsaP256,
            KeyAlgorithm::EcdsaP384,
        ] {
            let key = FreshKeys.generate(algorithm).unwrap();
            let pkcs8 = key.pair().serialize_pem();
            assert!(pkcs8.starts_with("-----BEGIN PRIVATE KEY-----"));
            assert_eq!(PrivateKey::from_pem(&pkcs8).unwrap().to_pem(), key.to_pem());
        }
    }

    #[test]
    fn a_block_before_the_key_is_skipped() {
        let key = FreshKeys.generate(KeyAlgorithm::EcdsaP256).unwrap();
        let text = format!(
            "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n{}",
            key.to_pem()
        );
        assert_eq!(PrivateKey::from_pem(&text).unwrap().to_pem(), key.to_pem());
    }

    #[test]
    fn broken_keys_are_refused_with_the_supported_forms() {
        for text in [
            "",
            "nonsense",
            "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n",
        ] {
            let error = PrivateKey::from_pem(text).unwrap_err().to_string();
            assert!(error.contains("PKCS#8"), "{error}");
        }
    }

    #[test]
    fn algorithm_names_round_trip() {
        for name in ["RSA-2048", "RSA-3072", "RSA-4096", "ECDSA-P256", "ECDSA-P384"] {
            assert_eq!(name.parse::<KeyAlgorithm>().unwrap().as_str(), name);
        }
        assert_eq!("".parse::<KeyAlgorithm>().unwrap(), KeyAlgorithm::Rsa2048);
        assert!("DSA".parse::<KeyAlgorithm>().is_err());
    }
}
