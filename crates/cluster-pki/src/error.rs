//! What can go wrong with keys, certificates and kubeconfigs.

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a key, certificate, token or kubeconfig could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Text that should be PEM is not, or holds another kind of block.
    #[error("{what} is not PEM with a {expected} block: {reason}")]
    Pem {
        /// What was read.
        what: &'static str,
        /// The kind of block that was looked for.
        expected: &'static str,
        /// What was found instead.
        reason: String,
    },
    /// A private key cannot be read or is of a kind that is not supported.
    #[error(
        "cannot read the private key (RSA, ECDSA P-256 and P-384 in PKCS#1, SEC 1 or PKCS#8 form are supported): {0}"
    )]
    Key(String),
    /// A key could not be generated.
    #[error("cannot generate a {algorithm} key: {reason}")]
    Generate {
        /// The wanted algorithm, e.g. `RSA-2048`.
        algorithm: String,
        /// What the crypto library said.
        reason: String,
    },
    /// A name of a key algorithm is unknown.
    #[error("unknown key algorithm {0:?}, use one of RSA-2048, RSA-3072, RSA-4096, ECDSA-P256, ECDSA-P384")]
    Algorithm(String),
    /// A certificate cannot be parsed.
    #[error("cannot read the certificate: {0}")]
    Certificate(String),
    /// A certificate and a private key do not belong together.
    #[error("the private key does not belong to the certificate of {0:?}")]
    Mismatch(String),
    /// A certificate could not be signed.
    #[error("cannot issue the certificate of {subject:?}: {reason}")]
    Issue {
        /// Its common name.
        subject: String,
        /// What was wrong.
        reason: String,
    },
    /// A kubeconfig cannot be read or lacks something.
    #[error("cannot use the kubeconfig: {0}")]
    Kubeconfig(String),
    /// A bootstrap token is not of the form `[a-z0-9]{6}.[a-z0-9]{16}`.
    #[error("the bootstrap token is not of the form [a-z0-9]{{6}}.[a-z0-9]{{16}}")]
    Token,
}
