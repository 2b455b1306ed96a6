//! Keys under which something is counted or remembered: keyed hashes, so that nobody outside can make two of them meet,
//! and no octets of a client are kept. They must be the same for every build: keys stand on disk.

use std::fmt;
use std::hash::Hasher;
use std::net::IpAddr;
use std::sync::Arc;

use siphasher::sip128::Hasher128;
use siphasher::sip128::SipHasher13;

use crate::policy::net;

/// The secret of the keys. Whatever is kept under them survives a restart only with it.
#[derive(Clone, PartialEq, Eq)]
pub struct Seed(Arc<Secret>);

#[derive(PartialEq, Eq)]
struct Secret {
    octets: [u8; 16],
    /// The key of fingerprints, made of the octets once.
    fingerprint_key: [u8; 32],
}

/// A key in the making, which can be continued in several ways. Explicit octets and lengths instead of `Hash`, whose
/// input is not the same for every build.
#[derive(Clone)]
pub struct KeyHash {
    hash: SipHasher13,
    /// Octets not hashed yet: a key has many short parts, and the hash takes long ones faster.
    waiting: [u8; WAITING],
    filled: usize,
}

impl Seed {
    /// A seed of 16 octets that nobody can guess.
    pub fn new(octets: [u8; 16]) -> Self {
        let fingerprint_key = blake3::derive_key("portcullis 2026 fingerprints of messages", &octets);
        Self(Arc::new(Secret { octets, fingerprint_key }))
    }

    /// The octets, to be kept beside what was counted with them.
    pub fn octets(&self) -> [u8; 16] {
        self.0.octets
    }

    /// The key of fingerprints: a collision that fits it cannot be looked for without it.
    pub fn fingerprint_key(&self) -> &[u8; 32] {
        &self.0.fingerprint_key
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(..)")
    }
}

impl KeyHash {
    /// A key with nothing in it yet.
    pub fn new(seed: &Seed) -> Self {
        Self { hash: SipHasher13::new_with_key(&seed.0.octets), waiting: [0; WAITING], filled: 0 }
    }

    /// Adds one part, with its length.
    pub fn add(&mut self, octets: &[u8]) {
        self.write(&(octets.len() as u64).to_le_bytes());
        self.write(octets);
    }

    /// Adds one part in lower case, so that letter case makes no difference.
    pub fn add_folded(&mut self, octets: &[u8]) {
        self.write(&(octets.len() as u64).to_le_bytes());
        let mut piece = [0; 64];
        for octets in octets.chunks(piece.len()) {
            let piece = &mut piece[..octets.len()];
            piece.copy_from_slice(octets);
            piece.make_ascii_lowercase();
            self.write(piece);
        }
    }

    /// Adds a list of words.
    pub fn add_names<'a>(&mut self, names: impl ExactSizeIterator<Item = &'a str>) {
        self.write(&(names.len() as u64).to_le_bytes());
        names.for_each(|name| self.add(name.as_bytes()));
    }

    /// Adds one client.
    pub fn add_client(&mut self, client: IpAddr) {
        self.add_address(net::client(client));
    }

    /// Adds the network of a client.
    pub fn add_client_net(&mut self, client: IpAddr) {
        self.add_address(net::client_net(client).addr());
    }

    /// The key.
    pub fn finish(mut self) -> u128 {
        self.hash.write(&self.waiting[..self.filled]);
        self.hash.finish128().as_u128()
    }

    fn add_address(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(address) => self.add(&address.octets()),
            IpAddr::V6(address) => self.add(&address.octets()),
        }
    }

    fn write(&mut self, octets: &[u8]) {
        if octets.len() > WAITING - self.filled {
            self.hash.write(&self.waiting[..self.filled]);
            self.filled = 0;
        }
        match self.waiting.get_mut(self.filled..self.filled + octets.len()) {
            Some(room) => {
                room.copy_from_slice(octets);
                self.filled += octets.len();
            }
            None => self.hash.write(octets),
        }
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHash(..)")
    }
}

/// Octets that wait at most: those of most keys.
const WAITING: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_is_not_shown() {
        assert_eq!(format!("{:?}", Seed::new([7; 16])), "Seed(..)");
        assert_ne!(Seed::new([7; 16]).fingerprint_key(), Seed::new([8; 16]).fingerprint_key());
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        let key = |parts: &[&str]| {
            let mut hash = KeyHash::new(&Seed::new([0; 16]));
            parts.iter().for_each(|part| hash.add(part.as_bytes()));
            hash.finish()
        };
        assert_ne!(key(&["ab", "c"]), key(&["a", "bc"]));
        assert_ne!(key(&["a", ""]), key(&["", "a"]));
    }

    #[test]
    fn parts_that_wait_change_no_key() {
        for lengths in [vec![], vec![0, 1, 2], vec![120], vec![121], vec![300, 5, 127, 1, 128], (0..60).collect()] {
            let (mut hash, mut in_a_row) = (KeyHash::new(&Seed::new([7; 16])), SipHasher13::new_with_key(&[7; 16]));
            for length in lengths {
                let part = vec![b'x'; length];
                hash.add(&part);
                in_a_row.write(&[&(length as u64).to_le_bytes(), part.as_slice()].concat());
            }
            assert_eq!(hash.finish(), in_a_row.finish128().as_u128());
        }
    }

    #[test]
    fn folded_is_as_if_it_had_been_lower_case() {
        for length in [0, 1, 63, 64, 65, 200] {
            let (mut upper, mut lower) = (KeyHash::new(&Seed::new([0; 16])), KeyHash::new(&Seed::new([0; 16])));
            upper.add_folded("X".repeat(length).as_bytes());
            lower.add("x".repeat(length).as_bytes());
            assert_eq!(upper.finish(), lower.finish(), "{length}");
        }
    }
}
