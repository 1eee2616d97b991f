//! A small set of fixed keys for simulations, benchmarks and tests.
//!
//! The keys are part of this public repository: never use them for a real cluster.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;

use crate::{Error, KeyAlgorithm, KeySource, PrivateKey, Result};

/// Hands out fixed, published keys in turn. Not for production: everybody has them.
///
/// A simulation needs neither secrecy nor the seconds that generating RSA keys for thousands of clusters takes, and wants
/// the same bytes each time. [`PooledKeys::count`] tells how many keys a run would have generated.
#[derive(Default)]
pub struct PooledKeys {
    next: Mutex<BTreeMap<KeyAlgorithm, usize>>,
    count: AtomicU64,
}

impl fmt::Debug for PooledKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PooledKeys")
            .field("count", &self.count())
            .finish_non_exhaustive()
    }
}

impl PooledKeys {
    /// A pool that starts with its first key.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many keys were handed out.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

impl KeySource for PooledKeys {
    fn generate(&self, algorithm: KeyAlgorithm) -> Result<PrivateKey> {
        let pool = pool(algorithm);
        let mut next = self.next.lock();
        let next = next.entry(algorithm).or_default();
        let key = pool
            .get(*next % pool.len().max(1))
            .cloned()
            .ok_or_else(|| Error::Generate {
                algorithm: algorithm.to_string(),
                reason: "the pool is empty".into(),
            })?;
        *next += 1;
        self.count.fetch_add(1, Ordering::Relaxed);
        Ok(key)
    }
}

/// The keys of one algorithm; parsed once per process, because checking an RSA key takes milliseconds.
fn pool(algorithm: KeyAlgorithm) -> &'static [PrivateKey] {
    static RSA_2048: LazyLock<Vec<PrivateKey>> =
        LazyLock::new(|| parse(include_str!("../testdata/pool-rsa2048.pem")));
    static RSA_3072: LazyLock<Vec<PrivateKey>> =
        LazyLock::new(|| parse(include_str!("../testdata/pool-rsa3072.pem")));
    static RSA_4096: LazyLock<Vec<PrivateKey>> =
        LazyLock::new(|| parse(include_str!("../testdata/pool-rsa4096.pem")));
    static P256: LazyLock<Vec<PrivateKey>> =
        LazyLock::new(|| parse(include_str!("../testdata/pool-p256.pem")));
    static P384: LazyLock<Vec<PrivateKey>> =
        LazyLock::new(|| parse(include_str!("../testdata/pool-p384.pem")));
    match algorithm {
        KeyAlgorithm::Rsa2048 => &RSA_2048,
        KeyAlgorithm::Rsa3072 => &RSA_3072,
        KeyAlgorithm::Rsa4096 => &RSA_4096,
        KeyAlgorithm::EcdsaP256 => &P256,
        KeyAlgorithm::EcdsaP384 => &P384,
    }
}

fn parse(file: &str) -> Vec<PrivateKey> {
    let blocks = pem::parse_many(file).unwrap_or_default();
    blocks
        .iter()
        .filter_map(|block| PrivateKey::from_pem(&pem::encode(block)).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_algorithm_has_keys_and_they_come_in_turn() {
        let keys = PooledKeys::new();
        for (algorithm, size) in [
            (KeyAlgorithm::Rsa2048, 12),
            (KeyAlgorithm::Rsa3072, 2),
            (KeyAlgorithm::Rsa4096, 2),
            (KeyAlgorithm::EcdsaP256, 4),
            (KeyAlgorithm::EcdsaP384, 2),
        ] {
            let round = |keys: &PooledKeys| {
                (0..size)
                    .map(|_| keys.generate(algorithm).unwrap().to_pem())
                    .collect::<Vec<_>>()
            };
            let first = round(&keys);
            assert_eq!(
                first,
                round(&keys),
                "{algorithm}: the pool starts over after {size} keys"
            );
            let distinct: std::collections::BTreeSet<_> = first.iter().collect();
            assert_eq!(distinct.len(), size, "{algorithm}");
        }
        assert_eq!(keys.count(), 44);
    }

    #[test]
    fn two_pools_hand_out_the_same_sequence() {
        let (a, b) = (PooledKeys::new(), PooledKeys::new());
        for _ in 0..3 {
            let pem = |keys: &PooledKeys| keys.generate(KeyAlgorithm::Rsa2048).unwrap().to_pem();
            assert_eq!(pem(&a), pem(&b));
        }
    }
}
